"""Network of Brian2 as one program, which is compiled once for a study and then run with different settings."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import brian2
import numpy as np
from brian2 import TimedArray
from brian2.codegen.cpp_prefs import get_compiler_and_args
from brian2.utils.filelock import FileLock
from numpy.typing import NDArray

Target: TypeAlias = Literal["cpp_standalone", "numpy"]
"""`cpp_standalone` compiles once, then runs about as fast as C++ can; `numpy` needs no compiler and is for tests."""
Progress: TypeAlias = Callable[[float, float], None]
Values: TypeAlias = Mapping[str, NDArray[np.float64] | float]
Results: TypeAlias = dict[str, Any]
"""Arrays and recordings, by the names that the network gives them."""


@final
class Program:
    """Runs of one network, each from its initial state.

    In C++ every process writes the sources to a folder of its own. The first one compiles them, on all cores, and
    leaves the program in the folder of temporary files for the others that have the same sources; all of it is removed
    when the processes end, unless they are killed.

    Args:
        build: Makes the network: an object with `network`, `duration`, `settings` (what can be set, by name) and
            `results()` (what is read after a run, by name). One setting is `random_seed`, an integer variable.
        target: Target of Brian2. `cpp_standalone` sets the device of this process, for good.
    """

    def __init__(self, build: Callable[[], Any], target: Target) -> None:
        self._build, self._target = build, target
        self._compiled: Any = None

    def run(self, values: Values, seed: int, progress: Progress = lambda done, total: None) -> Results:
        """Run the network.

        Args:
            values: Settings by name; those left out keep the network's own values.
            seed: Seed of all random numbers of the run; the numbers are the same on every target.
            progress: Called with (done, total) files while it compiles.

        Returns:
            What the network's `results()` gives.
        """
        if self._target == "numpy":
            return self._interpret(values, seed)
        if self._compiled is None:
            self._compiled = self._compile(progress)
        made, device = self._compiled, brian2.device
        with_units = {
            made.settings[name]: brian2.Quantity(value, dim=made.settings[name].dim) for name, value in values.items()
        }
        with_units[made.settings["random_seed"]] = seed
        device.run(run_args=with_units, with_output=False)
        found: Results = made.results()
        for name in device.run_args_arrays:  # would pile up, one file for every array of every run
            (Path(device.project_dir) / "static_arrays" / name).unlink(missing_ok=True)
        return found

    def _interpret(self, values: Values, seed: int) -> Results:
        before = brian2.prefs.codegen.target
        brian2.prefs.codegen.target = "numpy"  # before anything is made, since Brian2 compiles connections too
        try:
            made = self._build()
            for name, value in values.items():
                setting = made.settings[name]
                if isinstance(setting, TimedArray):
                    setting.values[...] = value
                else:
                    setting.set_item(slice(None), brian2.Quantity(value, dim=setting.dim))
            brian2.seed(seed)
            made.network.run(made.duration)
        finally:
            brian2.prefs.codegen.target = before
        found: Results = made.results()
        return found

    def _compile(self, progress: Progress) -> Any:
        brian2.set_device("cpp_standalone", build_on_run=False)
        device = brian2.device
        folder = tempfile.mkdtemp(prefix="neuro_decorr_")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        brian2.prefs.devices.cpp_standalone.extra_make_args_unix = ["-j", str(os.cpu_count() or 1), "--silent"]
        made = self._build()
        device.apply_run_args()
        # A seed is compiled in by Brian2; this one comes with the settings.
        seed = device.get_array_name(made.settings["random_seed"].variable)
        device.insert_code("main", f"_random_generators[0].seed({seed}[0]);")
        # Without a report: Brian2 would ask for the time before every code object of every time step.
        made.network.run(made.duration)
        device.build(directory=folder, compile=False, run=False)
        shared = Path(tempfile.gettempdir()) / f"neuro_decorr_{os.getuid()}_{_digest(Path(folder))}"
        with FileLock(f"{shared}.lock"):
            if not (shared.is_file() and shared.stat().st_uid == os.getuid()):
                compiler, files = get_compiler_and_args()[0], list(Path(folder).rglob("*.cpp"))
                _watch(
                    lambda: device.compile_source(folder, compiler, False, False),
                    lambda: progress(sum(file.with_suffix(".o").exists() for file in files), len(files)),
                )
                (Path(folder) / "main").rename(shared)
                for file in (shared, Path(f"{shared}.lock")):
                    weakref.finalize(self, file.unlink, missing_ok=True)
            shutil.copy(shared, Path(folder) / "main")
        return made


def _digest(folder: Path) -> str:
    """Digest the lines of all sources; another program has another digest."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".cpp", ".h") or file.name == "makefile":
            # In any order: Brian2 writes the clocks in that of a set.
            digest.update("\n".join(sorted(file.read_text().splitlines())).encode())
    return digest.hexdigest()[:16]


def _watch(work: Callable[[], Any], look: Callable[[], None]) -> None:
    """Do some work in a thread and look how far it is, five times a second."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        while not wait([future], timeout=0.2).done:
            look()
        future.result()
