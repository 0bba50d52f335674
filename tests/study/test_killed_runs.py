"""kill -9 in the middle of a run: it goes on from its checkpoint and ends as one that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

import neuro_decorr
from neuro_decorr import study
from neuro_decorr.study import discovery
from tests.study import test_interruption
from tests.study.conftest import imports_restored

Command = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

LONG = """
import os, time
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

import neuro_decorr as nd
from neuro_decorr import study
from neuro_decorr.study import discovery
from neuro_decorr.data import batches, stream

HERE = Path(__file__).parent


class Configuration(study.Configuration):
    steps: int = Field(12, ge=1, description="Passes.")


def measure(configuration, seeds, tables):
    return [study.Condition("measure", seed, {"arm": arm}) for seed in seeds for arm in ("whitening", "center")]


def run(configuration, condition, recorder):
    seed = condition.seed
    torch.manual_seed(seed)
    model = nd.decorrelate(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 2)))
    plasticity = nd.Plasticity(model, nd.rules.get(condition.factors["arm"]), row_fraction=0.5)
    credit = nd.credit.get("node_perturbation", model, seed=seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    inputs = torch.randn(64, 6, generator=stream(seed, "inputs"))
    order = stream(seed, "order")
    checkpoints = recorder.checkpoints(
        every=0, model=model, plasticity=plasticity, credit=credit, optimiser=optimiser, order=order
    )
    for step in checkpoints.steps(configuration.steps):
        for x, y in batches(inputs, (inputs[:, 0] > 0).long(), 16, order):
            optimiser.zero_grad()
            loss = credit.backward(F.cross_entropy, x, y)
            optimiser.step()
            plasticity.step()
        recorder.row("curves", step=step, loss=float(loss))
        with open(HERE / "log", "a") as log:
            log.write(f"{os.getpid()} {condition.key} {step}\\n")
        time.sleep(float((HERE / "pause").read_text()) if (HERE / "pause").exists() else 0)
        while step == 7 and seed == 0 and (HERE / "gate").exists():
            time.sleep(0.01)
    recorder.weights(model.state_dict())


def report(configuration, tables, directory):
    print(len(tables["curves"]), "rows")


PROTOCOL = study.Protocol(
    name="long", question="Does it last?", configuration=Configuration, stages=(measure,), run=run, report=report,
    seeds=1,
)
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "long.py").write_text(LONG)
    monkeypatch.chdir(tmp_path)
    with imports_restored():
        yield tmp_path


@contextmanager
def begun(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which does not outlive the block."""
    source = str(Path(neuro_decorr.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-m", "neuro_decorr", "run", "long", "--out", "one", *arguments],
        env={**os.environ, "PYTHONPATH": source}, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as program:  # fmt: skip
        try:
            yield program
        finally:
            program.kill()


def _longer(directory: Path, before: int) -> bool:
    return len(log(directory)) > before


def wait_for(happened: Callable[[], bool], program: subprocess.Popen[str]) -> None:
    # A limit only for a test that fails; nothing is measured.
    for _ in range(12_000):
        if happened() or program.poll() is not None:
            return
        time.sleep(0.02)
    raise AssertionError("waited four minutes for a step")


def log(directory: Path) -> list[list[str]]:
    path = directory / "protocols" / "log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def workers(program: subprocess.Popen[str]) -> list[int]:
    """Processes of the program that run conditions, and no others that have their numbers by now."""
    listed = subprocess.run(
        ["pgrep", "-P", str(program.pid), "-f", "spawn_main"], check=False, capture_output=True, text=True
    )
    return [int(line) for line in listed.stdout.split()]


def wait_until_dead(directory: Path) -> None:
    """Until no worker of an earlier program can write any more."""
    for worker in {int(line[0]) for line in log(directory)}:
        test_interruption.wait_for(lambda worker=worker: not test_interruption.alive(worker), "the end of a worker")  # type: ignore[misc]


def check_as_if_left_alone(directory: Path, seeds: int) -> None:
    """Against the runs as this process computes them, without a study and without checkpoints."""
    protocol = discovery.load(directory, "long")
    rows = []
    for condition in protocol.stages[0](protocol.configure(), list(range(seeds)), study.Tables()):
        recorder = study.Recorder()
        torch.manual_seed(condition.seed)
        protocol.run(protocol.configure(), condition, recorder)
        rows += [{"seed": condition.seed, "arm": condition.factors["arm"], **row} for row in recorder.rows["curves"]]
        weights = study.load_weights(directory / "one", condition)
        torch.testing.assert_close(weights, dict(recorder.tensors or {}), rtol=0, atol=0)
    columns = ["seed", "arm", "step", "loss"]
    found, expected = (
        frame[columns].sort_values(columns[:3], ignore_index=True)
        for frame in (study.read_tables(directory / "one")["curves"], pd.DataFrame(rows))
    )
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)
    assert not (directory / "one" / "checkpoints").exists()


@pytest.mark.parametrize("blow", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_run_goes_on_in_its_middle(directory: Path, command: Command, blow: signal.Signals) -> None:
    gate, pause = directory / "protocols" / "gate", directory / "protocols" / "pause"
    if blow is signal.SIGINT:
        pause.write_text("1")  # the step ends before the worker is killed, or not
    else:
        gate.touch()
    with begun("--workers", "1") as program:
        wait_for(lambda: bool(log(directory)) and log(directory)[-1][2] == "7", program)
        if blow is signal.SIGINT:
            os.killpg(program.pid, blow)
            program.wait()
    for path in (gate, pause):
        path.unlink(missing_ok=True)
    wait_until_dead(directory)
    ((stage, key),) = [path.parts[-3:-1] for path in (directory / "one" / "checkpoints").glob("*/*/1")]
    assert (stage, key) == ("measure", log(directory)[-1][1])
    before, last = len(log(directory)), int(log(directory)[-1][2])
    code, _, err = command("run", "long", "--out", "one", "--workers", "1")
    assert code == 0, err
    assert "checkpoint" not in err
    # The step in which it was killed is done again, unless it had ended before the blow came.
    assert int(log(directory)[before][2]) in (last, last + 1)
    check_as_if_left_alone(directory, 1)


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(directory: Path) -> None:
    """Programs and workers, with -9 and with SIGTERM, and damages of what they left."""
    draw = random.Random(0)
    (directory / "protocols" / "pause").write_text("0.05")
    for _ in range(8):
        before = len(log(directory))
        with begun("--workers", "2", "--seeds", "2") as program:
            wait_for(partial(_longer, directory, before), program)
            time.sleep(draw.random())
            if draw.random() < 0.5:
                for worker in workers(program):
                    os.kill(worker, draw.choice([signal.SIGKILL, signal.SIGTERM]))
                time.sleep(draw.random())
        wait_until_dead(directory)
        if draw.random() < 0.3:
            for path in (directory / "one" / "checkpoints").rglob("*.*"):
                if draw.random() < 0.3:
                    path.write_bytes(path.read_bytes()[: draw.randrange(200)])
    with begun("--workers", "2", "--seeds", "2") as program:
        _, err = program.communicate()
    assert program.returncode == 0, err
    assert list((directory / "one").rglob("*.tmp")) == []
    check_as_if_left_alone(directory, 2)
