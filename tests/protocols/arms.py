"""A protocol that compares arms, run small in one process: its selection, then what was chosen."""

from __future__ import annotations

from typing import Any

import pandas as pd

from neuro_decorr import study
from protocols import _arms


def execute(
    protocol: study.Protocol, configuration: study.Configuration, conditions: list[study.Condition]
) -> pd.DataFrame:
    """Tidy results of some conditions."""
    rows = []
    for condition in conditions:
        recorder = study.Recorder(condition.factors)
        protocol.run(configuration, condition, recorder)
        shared = {"stage": condition.stage, "seed": condition.seed, **condition.factors}
        rows += [{**shared, "diverged": recorder.reason is not None, **row} for row in recorder.rows]
    return pd.DataFrame(rows)


def whole(protocol: study.Protocol, values: dict[str, Any]) -> tuple[study.Configuration, pd.DataFrame]:
    """Both stages with two seeds, and the configuration."""
    configuration = protocol.configure(values)
    selection = execute(protocol, configuration, _arms.select(configuration, [0, 1], pd.DataFrame()))
    measured = execute(protocol, configuration, _arms.measure(configuration, [0, 1], selection))
    return configuration, pd.concat([selection, measured])
