"""A whole study from the command line: run, go on with nothing missing, report; and its page in a browser.

Each command is a process. Wall time; processor time of it and its workers; peak of the memory of the command itself.
The page is opened in headless Chromium, where that is installed: seconds until every figure is drawn.

Usage: python benchmarks/study_commands.py [--runs 40] [--rows 25000] [--workers 2]     a million rows
       python benchmarks/study_commands.py --runs 1000 --rows 20                         many runs
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, Python looks in this folder only

PROTOCOL = """
import numpy as np
from pydantic import Field

from neuro_decorr import study


class Configuration(study.Configuration):
    rows: int = Field(3, ge=1, description="Rows of a run.")


def measure(configuration, seeds, tables):
    return [study.Condition("measure", seed, {"arm": arm}) for seed in seeds for arm in ("center", "whitening")]


def run(configuration, condition, recorder):
    draws = np.random.default_rng(condition.seed)
    for step in range(configuration.rows):
        recorder.row("curves", step=step, loss=1 / (step + 1) + 0.1 * draws.random())


def report(configuration, tables, directory):
    print(len(tables["curves"]), "rows")


PROTOCOL = study.Protocol(
    name="benchmark", question="How long does it take?", configuration=Configuration, stages=(measure,), run=run,
    report=report,
)
"""


class Measured(NamedTuple):
    """Wall and processor time (s) and peak memory (MB) of one command."""

    wall: float
    processor: float
    peak: float


def measured(arguments: list[str], folder: Path) -> Measured:
    """Seconds of wall and processor time, and MB, of a command of `neuro-decorr`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "neuro_decorr", *arguments]
    began = time.perf_counter()
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said)
    # Of this child alone, with its own children's processor time; its peak is not theirs.
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status != 0:
        raise SystemExit(f"neuro-decorr {' '.join(arguments)}: {(folder / 'said.txt').read_text()}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def opened(page: Path) -> float | None:
    """Seconds until a browser has drawn every figure of a page; None without Chromium."""
    from tests import _chromium

    if _chromium.PROGRAM is None:
        return None
    with tempfile.TemporaryDirectory() as profile, _chromium.chromium(Path(profile) / "profile") as tab:
        began = time.perf_counter()
        tab.open(page.as_uri())
        tab.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert tab.value("[...document.querySelectorAll('.plot')].every(place => place.querySelector('svg'))")
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "protocols").mkdir()
        (folder / "protocols" / "benchmark.py").write_text(PROTOCOL)
        run = ["run", "benchmark", "--rows", str(chosen.rows), "--seeds", str(chosen.runs // 2), "--out", "study"]
        run += ["--workers", str(chosen.workers)]
        print(f"{chosen.runs} runs of {chosen.rows} rows, {chosen.workers} workers")
        print(f"{'':24s}{'wall (s)':>10s}{'CPU (s)':>10s}{'peak (MB)':>11s}")
        for title, arguments in (("run", run), ("again, nothing missing", run), ("report", ["report", "study"])):
            found = measured(arguments, folder)
            print(f"{title:24s}{found.wall:10.1f}{found.processor:10.1f}{found.peak:11.0f}", flush=True)
        page = folder / "study" / "index.html"
        seconds = opened(page)
        told = "no Chromium here" if seconds is None else f"drawn in {seconds:.1f} s"
        print(f"the page: {page.stat().st_size / 1e6:.1f} MB, {told}")


if __name__ == "__main__":
    main()
