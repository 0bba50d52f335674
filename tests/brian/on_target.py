"""A scenario on one target of Brian2, in a process of its own: python -m tests.brian.on_target TARGET SCENARIO FILE."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import brian2
import numpy as np

ROOT = Path(__file__).parent.parent.parent

Results = dict[str, np.ndarray]
Scenario = Callable[..., Callable[[], Results]]
"""Sets all up and calls run(); what it returns reads the results. Builds a standalone program where it needs more."""


def simulate(scenario: str, target: str, folder: Path) -> Results:
    """The results of a scenario, `package.module:function` or `...:argument`, on a target: a device is set for good."""
    file = folder / f"{target}.npz"
    command = [sys.executable, "-W", "ignore", "-m", "tests.brian.on_target", target, scenario, str(file)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    with np.load(file) as saved:
        return dict(saved)


def main(target: str, name: str, file: str) -> None:
    """Run a scenario and save its results."""
    standalone = target == "cpp_standalone"
    if standalone:
        brian2.set_device("cpp_standalone", build_on_run=False, directory=None)
        # Brian2's own is "-j": a compiler for every file at once, hundreds of them, whatever the machine.
        brian2.prefs["devices.cpp_standalone.extra_make_args_unix"] = ["-j2"]
    else:
        brian2.prefs.codegen.target = target
    module, function, *arguments = name.split(":")
    scenario: Scenario = getattr(import_module(module), function)
    results = scenario(*arguments)
    if standalone and not brian2.device.has_been_run:
        with tempfile.TemporaryDirectory() as directory:
            brian2.device.build(directory=directory, compile=True, run=True)
            np.savez(file, **results())
    else:
        np.savez(file, **results())


if __name__ == "__main__":
    main(*sys.argv[1:])
