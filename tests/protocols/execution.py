"""A protocol run small in one process, without a directory: the tables of its runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neuro_decorr import study
from neuro_decorr.study.store import StoredRun
from neuro_decorr.study.tables import tabulate


def run(
    protocol: study.Protocol, configuration: study.Configuration, conditions: Iterable[study.Condition]
) -> list[StoredRun]:
    """Some runs of a protocol."""
    made = []
    for condition in conditions:
        recorder = study.Recorder(condition.factors)
        protocol.run(configuration, condition, recorder)
        diverged = recorder.reason is not None
        made.append(StoredRun(condition, recorder.rows, diverged, recorder.step, recorder.reason, 0.0, 0.0))
    return made


def whole(protocol: study.Protocol, values: dict[str, Any], seeds: int = 2) -> tuple[study.Configuration, study.Tables]:
    """All stages with some seeds, and the configuration."""
    configuration = protocol.configure(values)
    runs: list[StoredRun] = []
    for stage in protocol.stages:
        runs += run(protocol, configuration, stage(configuration, study.seeds(seeds), tabulate(runs)))
    return configuration, tabulate(runs)
