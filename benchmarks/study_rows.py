"""Rows of a study on disk: Parquet beside each run, against JSON within it and one table of dicts.

Every phase is a process of its own, as in a study:

- store: a worker records the rows of all runs and stores them;
- report: the next session checks what is stored, writes the tables by kind and reads a kind with one row a run.

CPU time, since other programs may run; peak of the memory, of which what the imports alone take is told.

Usage: python benchmarks/study_rows.py [--runs 40] [--rows 25000] [--rounds 3] [--out TABLE.csv]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

from neuro_decorr.study import store as storage
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.recorder import Recorder
from neuro_decorr.study.store import Store, StoredRun
from neuro_decorr.study.tables import tabulate, write_tables

WAYS = ("json", "parquet")
PHASES = ("imports", "store", "report")


def store(directory: Path, way: str, runs: int, rows: int) -> None:
    """Store runs, as workers do."""
    if way == "json":
        vars(storage)["FEW"] = sys.maxsize
    made = Store(directory, "benchmark", {})
    for run in range(runs):
        condition = Condition("measure", run // 2, {"arm": ("center", "whitening")[run % 2], "rate": 0.1})
        recorder = Recorder(condition.factors)
        for step in range(rows):
            recorder.row("curves", step=step, loss=step / 7, part=("a", "b")[step % 2])
        recorder.row("ends", accuracy=run / 7)
        made.save(condition, recorder, 1.0, 1.0)


def report(directory: Path, way: str) -> None:
    """Load the stored runs and write their tables, as the next session does."""
    found = list(Store(directory, "benchmark", {}).survey().values())
    if way == "json":
        for kind in ("curves", "ends"):
            _all_at_once(found, kind, directory / f"{kind}.parquet")
        return
    tables = tabulate(found)
    write_tables(tables, directory, "benchmark", "How long does it take?")
    assert len(tables["ends"]) == len(found)


def _all_at_once(runs: list[StoredRun], kind: str, path: Path) -> None:
    import pandas as pd

    records = [
        {"stage": run.condition.stage, "seed": run.condition.seed, **run.condition.factors, **row}
        for run in runs
        for row in run.rows[kind]
    ]
    pd.DataFrame.from_records(records).to_parquet(path)


def imports() -> None:
    """Import the packages that tables need, and nothing else."""
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401


def measured(phase: str, way: str, directory: Path, runs: int, rows: int) -> dict[str, float]:
    """CPU seconds and peak of memory in MB of one phase, in a process of its own."""
    command = [sys.executable, __file__, "--phase", phase, "--way", way, "--directory", str(directory)]
    command += ["--runs", str(runs), "--rows", str(rows)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(told)
    return found


def child(chosen: argparse.Namespace) -> dict[str, float]:
    """Run one phase."""
    if chosen.phase == "imports":
        imports()
    elif chosen.phase == "store":
        store(chosen.directory, chosen.way, chosen.runs, chosen.rows)
    else:
        report(chosen.directory, chosen.way)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {"seconds": time.process_time(), "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    for name in ("--phase", "--way", "--directory"):
        parser.add_argument(name, help=argparse.SUPPRESS, type=Path if name == "--directory" else str)
    chosen = parser.parse_args()
    if chosen.phase:
        print(json.dumps(child(chosen)))
        return
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    sizes: dict[str, float] = {}
    for number in range(chosen.rounds):
        for way in WAYS[:: 1 if number % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                for phase in PHASES:
                    one = measured(phase, way, Path(folder), chosen.runs, chosen.rows)
                    found.setdefault((phase, way), []).append(one)
                    if phase == "store":
                        inside = (path for path in Path(folder).rglob("*") if path.is_file())
                        sizes[way] = sum(path.stat().st_size for path in inside) / 2**20
    # Not before: it imports torch, and a process begins with the peak of the memory of the one that started it.
    from benchmarks._measure import ratio, show

    table: list[dict[str, str]] = []
    for phase in PHASES:
        row = {"phase": phase}
        for unit in ("seconds", "MB"):
            values = {way: [one[unit] for one in found[phase, way]] for way in WAYS}
            row |= {f"{way}, {unit}": f"{statistics.median(values[way]):.1f}" for way in WAYS}
            row[f"ratio of {unit}"] = ratio(values["parquet"], values["json"])
        table.append(row)
    print(
        f"{chosen.runs} runs of {chosen.rows} rows; on disk " + ", ".join(f"{way} {sizes[way]:.1f} MB" for way in WAYS)
    )
    show(table, chosen.out)


if __name__ == "__main__":
    main()
