"""How two recordings, periods or conditions of the same units differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.report.picture import LEVEL
from neuro_decorr.report.sample import Sample

if TYPE_CHECKING:
    import pandas as pd


def compare(first: Sample, second: Sample, seed: int = 0) -> pd.DataFrame:
    """How two recordings or periods of the same units differ: second minus first; see `metrics.comparison`.

    Args:
        first: The one that is compared with.
        second: The other.
        seed: Seed of the spikes that are deleted to match rates.

    Returns:
        The table of the comparison.

    Raises:
        InvalidValue: Fewer than two units that vary in both, or different bins.
    """
    if first.within_trials != second.within_trials:
        raise InvalidValue("against: one of both is of trials; compare trials with trials, or time with time.")
    over: metrics.Over = "trials" if first.within_trials else "time"
    found = metrics.comparison(first.recording, second.recording, first.bin, over=over, level=LEVEL, seed=seed)
    return found.to_frame()
