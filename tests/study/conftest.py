"""A study directory with one tiny protocol, and the command run within this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from neuro_decorr.cli import main

TINY = """
import os, signal, time
from pathlib import Path
from typing import Literal

from pydantic import Field

from neuro_decorr import study
from neuro_decorr.errors import Diverged
from neuro_decorr.report import save_table

HERE = Path(__file__).parent


class Configuration(study.Configuration):
    rates: tuple[float, ...] = Field((0.1, 0.5), description="Rates to choose from.")
    arm: Literal["center", "whitening"] = Field("center", description="The arm that diverges for seed 1.")
    items: int = Field(2, ge=1, description="Levels of the factor item.")
    compensate: bool = Field(False, description="A switch.")
    damping: float | None = Field(None, description="A number or none.")


def select(configuration, seeds, tables):
    return [study.Condition("select", 1000, {"rate": rate}) for rate in configuration.rates]


def measure(configuration, seeds, tables):
    best = tables["courses"].loc[tables["courses"]["value"].idxmax(), "rate"]
    return [
        study.Condition("measure", seed, {"rate": best, "arm": arm, "item": item})
        for seed in seeds for arm in ("whitening", "center") for item in range(configuration.items)
    ]


def run(configuration, condition, recorder):
    (HERE / f"{os.getpid()}.pid").touch()
    trouble = HERE / f"{condition.stage}.trouble"
    if trouble.exists() and condition.seed == 0 and condition.factors["arm"] == "whitening":
        what = trouble.read_text()
        if what == "kill once":
            trouble.unlink()
        if what.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("a bug in the protocol")
    while (HERE / "gate").exists() and condition.seed == 1:
        time.sleep(0.02)
    for step in range(3):
        recorder.progress(step, 3)
        recorder.row("courses", step=step, value=condition.factors["rate"] * step + condition.seed / 7)
        if condition.seed == 1 and condition.factors["arm"] == configuration.arm and step == 1:
            raise Diverged("loss is nan")
    recorder.time(seconds=time.perf_counter())


def report(configuration, tables, directory):
    courses = tables["courses"]
    print("The mean is", round(courses["value"].mean(), 3))
    save_table(courses.groupby("stage")["value"].mean().reset_index(), directory, "means", "Means | of a stage.")


PROTOCOL = study.Protocol(
    name="tiny", question="Is it <small>?", configuration=Configuration, full={"items": 5},
    stages=(select, measure), run=run, report=report, seeds=2,
)
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


@contextmanager
def imports_restored() -> Iterator[None]:
    """Leaves the path and the module `protocols` as they were."""
    path = list(sys.path)
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "protocols"}
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.split(".")[0] == "protocols"]:
            del sys.modules[name]
        sys.modules.update(modules)


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete study of the protocol `tiny`, made by one worker; to be copied, not to be changed."""
    root = tmp_path_factory.mktemp("complete")
    (root / "protocols").mkdir()
    (root / "protocols" / "tiny.py").write_text(TINY)
    with imports_restored(), chdir(root):
        assert main(["run", "tiny", "--out", "one", "--workers", "1"]) == 0
    return root / "one"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A study directory with the protocol `tiny`; the current directory."""
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "tiny.py").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    with imports_restored():
        yield tmp_path


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`neuro-decorr ARGUMENTS` within this process (its workers are processes all the same)."""

    def run(*arguments: str) -> Said:
        capfd.readouterr()
        code = main(arguments)
        return Said(code, *capfd.readouterr())

    return run
