"""Measures of an activity and of resamplings of its blocks of time or of its trials."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

import numpy as np
import torch

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import bootstrap
from neuro_decorr.metrics.activity import Activity, as_stream
from neuro_decorr.metrics.measures import Reader
from neuro_decorr.metrics.samples import Silent
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.sums import Sums, accumulate
from neuro_decorr.metrics.variation import Variation
from neuro_decorr.recording import Rates, SpikeTrains

Over: TypeAlias = Literal["time", "trials"]
"""What is resampled: `"time"`, blocks of consecutive samples; `"trials"`, the trials of a recording."""

CELLS = 64
"""Cells that a recording is cut into."""
CELLS_A_BLOCK = 2
"""A block is so many of them: 1/32 of the recording, beginning at any cell."""
FEWEST = 10
"""Fewer blocks or trials allow no interval."""


@final
@dataclass(frozen=True, eq=False)
class Resampling:
    """The measures of all samples, and those of every resampling."""

    sums: Sums
    reader: Reader
    population: Moments
    estimates: dict[str, float]
    replicated: dict[str, list[float]]  # empty without replicates
    blocks: str  # what was resampled, in words; empty without replicates

    @classmethod
    def of(
        cls,
        activity: Activity,
        bin: float | None = None,
        *,
        center: bool = True,
        silent: Silent = "nan",
        over: Over = "time",
        block: int | None = None,
        replicates: int = 200,
        seed: int = 0,
    ) -> Resampling:
        """Read the activity once, then resample its sums.

        Args:
            activity: Array or recording.
            bin: Width of the bins (s).
            center: Remove the mean over samples.
            silent: Policy for units that never vary.
            over: What is resampled.
            block: Samples a block of time; 1/32 of the samples when None.
            replicates: Number of resamplings; 0 for none.
            seed: Seed of the resampling.

        Returns:
            The measures.

        Raises:
            InvalidValue: See `summary`.
        """
        words = checks.word("silent", silent, get_args(Silent)), checks.word("over", over, get_args(Over))
        checks.refuse("summary", *words)
        if replicates < 0 or replicates == 1:
            raise InvalidValue(
                f"replicates: got {replicates}; allowed are 0 (no intervals) and 2 and more, such as 200."
            )
        source = bootstrap.generator(seed)
        if over == "trials":
            samples, length = _in_trials(activity, bin)
            stream, cells, blocks = as_stream(samples), 1, "trials"
        else:
            stream, blocks = as_stream(activity, bin), ""
            length, cells = _cell(stream.samples, block) if replicates else (stream.samples, 1)
        sums = accumulate(stream, length, center=center)
        if over == "trials":
            _enough(sums.cells, "trials")
        elif replicates:
            blocks = f"blocks of {int(sums.lengths[0]) * cells} samples"
        reader = _reader(activity, bin, sums, over)
        population = sums.moments(silent)
        replicated: dict[str, list[float]] = {}
        if replicates:
            weights = bootstrap.draws(sums.cells, cells, replicates, source)
            replicated = bootstrap.resample(sums, weights, reader.read, silent)
        ones = torch.ones(sums.cells, dtype=torch.float64)
        return cls(sums, reader, population, reader.read(population, ones), replicated, blocks)


def _reader(activity: Activity, bin: float | None, sums: Sums, over: Over) -> Reader:
    if isinstance(activity, Rates):
        return Reader(activity.step if bin is None else bin)
    if not isinstance(activity, SpikeTrains):
        return Reader()
    if over == "trials":
        assert activity.trials is not None
        width = bin if bin is not None else float(activity.trials.durations[0])
        return Reader(width, Variation.of(activity, activity.trials.start[1:]))
    assert bin is not None
    edges = activity.start + bin * np.cumsum(sums.lengths.cpu().numpy())[:-1]
    return Reader(bin, Variation.of(activity, edges))


def _cell(samples: int, block: int | None) -> tuple[int, int]:
    """Samples a cell and cells a block."""
    if block is None:
        _enough(samples // CELLS_A_BLOCK, "blocks of 2 samples")
        return -(-samples // CELLS), CELLS_A_BLOCK
    try:
        length = operator.index(block)
    except TypeError:
        length = 0
    if length < 1:
        raise InvalidValue(f"block: got {block!r}; allowed are the whole numbers of samples from 1 on.")
    _enough(samples // length, f"blocks of {length} samples")
    return -(-length // CELLS_A_BLOCK), min(length, CELLS_A_BLOCK)


def _enough(blocks: int, what: str) -> None:
    if blocks < FEWEST:
        raise InvalidValue(
            f"samples: got {blocks} {what}; intervals need at least {FEWEST}. Measure more, use narrower bins, or take "
            "the estimates alone with replicates=0."
        )


def _in_trials(activity: Activity, bin: float | None) -> tuple[np.ndarray, int]:
    """The samples inside the trials, and how many each of the trials has."""
    if isinstance(activity, SpikeTrains):
        samples, trial = activity.trial_counts(bin)
    elif isinstance(activity, Rates):
        samples, trial = activity.trial_binned(bin)
    else:
        raise InvalidValue("over: an array has no trials; give SpikeTrains or Rates with trials, or over='time'.")
    sizes = np.bincount(trial)
    if sizes.min() != sizes.max():
        raise InvalidValue(
            f"trials: they hold {sizes.min()} to {sizes.max()} bins; resampling needs trials of one length."
        )
    return samples, int(sizes[0])
