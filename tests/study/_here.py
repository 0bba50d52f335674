"""A small study whose runs are computed within the process of the test, for what a study makes of their ends."""

from __future__ import annotations

import sys
import textwrap
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from neuro_decorr.errors import brief
from neuro_decorr.study import Condition, Recorder, discovery, execution
from neuro_decorr.study.outcome import Outcome
from neuro_decorr.study.store import Store
from neuro_decorr.study.worker import Message, Setup
from neuro_decorr.study.workers import Event

TEXT = """
import sys
from pydantic import Field
from neuro_decorr import study
from neuro_decorr.errors import Diverged, InvalidValue
from neuro_decorr.report import save_table

class Configuration(study.Configuration):
    items: int = Field(2, ge=1, description="Levels of the factor item.")

def measure(configuration, seeds, tables):
{stage}
    return [
        study.Condition("measure", seed, {"arm": arm, "item": item})
        for arm in ("center", "whitening") for seed in seeds for item in range(configuration.items)
    ]

def second(configuration, seeds, tables):
{second}
    return []

def run(configuration, condition, recorder):
    seed, arm, item = condition.seed, condition.factors["arm"], condition.factors["item"]
{run}
    recorder.row("values", value=seed + item / 8)

def report(configuration, tables, directory):
    save_table(tables["values"].groupby("item")["value"].mean().reset_index(), directory, "means", "Means.")
{report}
    print("The sum is", tables["values"]["value"].sum())

PROTOCOL = study.Protocol(
    name="p", question="Is it?", configuration=Configuration, stages=(measure, second), run=run, report=report, seeds=2,
)
"""


class Here:
    """Workers that are no processes.

    Args:
        setup: The study.
        stored: Runs that are stored although they are told to have failed.
    """

    description = "this process"
    size = 1

    def __init__(self, setup: Setup, stored: Iterable[Condition] = ()) -> None:
        self.tried: list[Condition] = []
        self._protocol = discovery.load(setup.root, setup.protocol)
        self._configuration = self._protocol.configure(setup.configuration)
        self._store = Store(setup.directory, setup.fingerprint, setup.origin.brief)
        self._stored = set(stored)

    def run(self, conditions: Iterable[Condition]) -> Iterator[Event]:
        for condition in conditions:
            self.tried.append(condition)
            recorder = Recorder(condition.factors)
            message = Message("finished")
            try:
                self._protocol.run(self._configuration, condition, recorder)
            except Exception as error:
                message = Message("failed", brief(error), traceback.format_exc())
            if message.kind == "finished" or condition in self._stored:
                self._store.save(condition, recorder, 0.0, 0.0)
            yield Event(condition, 0, message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def write(root: Path, **parts: str) -> None:
    """Write the protocol `p`.

    Args:
        root: The study directory.
        **parts: What its functions do besides: `stage`, `second`, `run`, `report`.
    """
    text = TEXT
    for part in ("stage", "second", "run", "report"):
        body = textwrap.indent(textwrap.dedent(parts.get(part, "pass")), "    ")
        text = text.replace(f"{{{part}}}", body)
    (root / "protocols" / "p.py").write_text(text)


def execute(root: Path, items: int, made: list[Here] | None = None, stored: Iterable[Condition] = ()) -> Outcome:
    """Run the protocol `p` in `root/o`.

    Args:
        root: The study directory.
        items: Levels of its factor `item`; it has two arms and two seeds besides.
        made: Gets the workers.
        stored: Runs that are stored although they are told to have failed.
    """
    sys.modules.pop("protocols.p", None)
    protocol = discovery.load(root, "p")

    def workers(setup: Setup) -> Here:
        here = Here(setup, stored)
        if made is not None:
            made.append(here)
        return here

    configuration = protocol.configure({"items": items})
    return execution.execute(protocol, configuration, root / "o", root=root, workers=workers, accept="keep")
