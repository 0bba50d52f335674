"""Hundreds of kills -9 of everything a study on a cluster consists of; `KILLS=20` for fewer."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from neuro_decorr.study import provenance
from tests._dask import SOURCE, DaskProcesses, alive, wait_for

pytest.importorskip("distributed")
KILLS = int(os.environ.get("KILLS", "200"))
WORKERS, ITEMS = 4, 4
# Of a run's process, a worker with its run, the study's own process, the scheduler.
SHARES = {"run": 0.6, "worker": 0.28, "client": 0.08, "scheduler": 0.04}

PROTOCOL = """
import os, time
from pathlib import Path

from pydantic import Field

from neuro_decorr import study

HERE = Path(__file__).parent


class Configuration(study.Configuration):
    items: int = Field(4, description="Levels of the factor item.")


def measure(configuration, seeds, tables):
    return [study.Condition("a", seed, {"item": item}) for seed in seeds for item in range(configuration.items)]


def run(configuration, condition, recorder):
    mark = HERE / f"{os.getpid()}.pid"
    mark.touch()
    for step in range(5):
        recorder.row("rows", step=step, value=condition.seed * 100 + condition.factors["item"] * 10 + step)
        time.sleep(0.2)
    mark.unlink()


def report(configuration, tables, directory):
    print(len(tables["rows"]))


PROTOCOL = study.Protocol(
    name="p", question="Is it?", configuration=Configuration, stages=(measure,), run=run, report=report
)
"""


class Attack:
    """A study on a cluster of four workers, and kills of all it consists of."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.seeds, self.chance = root, 40, random.Random(0)
        self.killed: Counter[str] = Counter()
        self.stored: dict[Path, int] = {}
        self.dask = DaskProcesses(folder)
        self.dask.start_scheduler()
        self.workers = [self.dask.start_worker() for _ in range(WORKERS)]
        self.client = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        command = ["-m", "neuro_decorr", "run", "p", "--out", "one", "--scheduler", self.dask.address]
        with (self.root / "client.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *command, "--seeds", str(self.seeds)],
                env={**os.environ, "PYTHONPATH": SOURCE},
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.root,
            )

    def running(self) -> list[Path]:
        """Marks of the processes that are within a run."""
        return [path for path in (self.root / "protocols").glob("*.pid") if alive(int(path.stem))]

    def look(self) -> None:
        """What is stored stays as it is, whoever dies."""
        for path in (self.root / "one" / "runs").glob("*/*.json"):
            assert self.stored.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns, path
        assert all(path.exists() for path in self.stored)

    def over(self) -> bool:
        """Whether all is done; a study that ended before is begun again, with more seeds when it was complete."""
        code = self.client.poll()
        if code is None:
            return False
        told = (self.root / "client.log").read_text()
        assert "Traceback" not in told and code in (0, 1, -signal.SIGKILL), told
        if code == 0 and self.killed.total() >= KILLS:
            return True
        self.seeds += 20 if code == 0 else 0
        self.client = self.start()
        return False

    def blow(self) -> None:
        """Kill something, while a run is in its middle."""
        marks = self.running()
        if not marks or self.killed.total() >= KILLS:
            return
        what = self.chance.choices(list(SHARES), list(SHARES.values()))[0]
        if what == "run":
            mark = self.chance.choice(marks)
            try:
                os.kill(int(mark.stem), signal.SIGKILL)
            except ProcessLookupError:  # It ended by itself.
                return
        elif what == "worker":
            self.dask.kill(self.workers.pop(self.chance.randrange(WORKERS)))
            self.workers.append(self.dask.start_worker())
        elif what == "client":
            self.client.kill()
            self.client.wait()
        else:
            self.dask.kill(self.dask.scheduler)
            for worker in self.workers:
                self.dask.kill(worker)
            self.dask.start_scheduler()
            self.workers = [self.dask.start_worker() for _ in range(WORKERS)]
        self.killed[what] += 1

    def close(self) -> None:
        self.client.kill()
        self.client.wait()
        self.dask.close()


@pytest.mark.slow
def test_nothing_is_lost_or_counted_twice(tmp_path: Path, root: Path) -> None:
    (root / "protocols" / "p.py").write_text(PROTOCOL)
    (tmp_path / "dask").mkdir()
    attack = Attack(root, tmp_path / "dask")
    began = time.monotonic()
    try:
        while not attack.over():
            time.sleep(attack.chance.uniform(0.2, 1.2))
            attack.look()
            attack.blow()
            if os.environ.get("KILLS"):
                told = f"{time.monotonic() - began:.0f} s, {len(attack.stored)} runs stored"
                print(f"{attack.killed.total()} kills {dict(attack.killed)}, {told}", flush=True)
    finally:
        attack.close()
    wait_for(lambda: not attack.running(), "the end of the runs")
    runs = attack.seeds * ITEMS
    expected = sorted(
        (seed, item, step, seed * 100 + item * 10 + step)
        for seed in range(attack.seeds) for item in range(ITEMS) for step in range(5)
    )  # fmt: skip
    rows = pd.read_parquet(root / "one" / "rows" / "rows.parquet")
    assert sorted(rows[["seed", "item", "step", "value"]].itertuples(index=False, name=None)) == expected
    computed = sum(session["runs_computed"] for session in provenance.read(root / "one"))
    # A session that is killed between a run and its record has computed one more than it says.
    assert runs - attack.killed["client"] <= computed <= runs
    assert list((root / "one").rglob("*.tmp")) == []
    assert attack.killed.total() == KILLS
