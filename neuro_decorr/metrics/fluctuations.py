"""Measures of an activity and their fluctuations along the recording, from which intervals follow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import autocorrelation
from neuro_decorr.metrics.activity import Activity, Stream, as_stream
from neuro_decorr.metrics.autocorrelation import Memory
from neuro_decorr.metrics.measures import Reader
from neuro_decorr.metrics.samples import Silent, check_policy
from neuro_decorr.metrics.scales import INVERSE, Scale, scales
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.sums import Sums, accumulate, edges
from neuro_decorr.metrics.variation import Variation
from neuro_decorr.recording import Rates, SpikeTrains
from neuro_decorr.recording.binning import SLACK

Array = NDArray[np.float64]

Over: TypeAlias = Literal["time", "trials"]
"""Origin of fluctuations: `"time"`, all of the recording; `"trials"`, the trials of a recording."""

FEWEST = 20
"""Smallest number of samples that allows an interval."""
FEWEST_TRIALS = 10
"""Smallest number of trials that allows an interval."""
FEWEST_BLOCKS = 5
"""Smallest number of blocks that allows an interval."""
_BATCH = 8
"""Number of weightings whose second moments are in memory at once."""


@final
@dataclass(frozen=True, eq=False)
class Source:
    """Samples in order, with their times."""

    stream: Stream
    step: float | None  # seconds per sample; None for arrays
    trains: SpikeTrains | None  # source of CV2
    over: Over
    trial: int  # samples per trial; 1 over time

    @classmethod
    def of(cls, activity: Activity, bin: float | None, over: Over) -> Source:
        """Samples of an activity: all, or those inside its trials; raises the errors of `summary`."""
        checks.refuse("metrics", checks.word("over", over, get_args(Over)))
        trains = activity if isinstance(activity, SpikeTrains) else None
        if over == "time":
            stream = as_stream(activity, bin)
            return cls(stream, getattr(activity, "step", None) if bin is None else bin, trains, over, 1)
        if not isinstance(activity, SpikeTrains | Rates):
            raise InvalidValue("over: an array has no trials; give SpikeTrains or Rates with trials, or over='time'.")
        spikes = isinstance(activity, SpikeTrains)
        samples, trial = activity.trial_counts(bin) if spikes else activity.trial_binned(bin)  # type: ignore[union-attr]
        sizes = np.bincount(trial)
        if sizes.min() != sizes.max():
            raise InvalidValue(
                f"trials: got trials of {sizes.min()} to {sizes.max()} bins; intervals need trials of one length."
            )
        assert activity.trials is not None
        whole = float(activity.trials.durations[0]) if spikes else getattr(activity, "step", None)
        return cls(as_stream(samples), whole if bin is None else bin, trains, over, int(sizes[0]))

    @property
    def pieces(self) -> int:
        """Number of samples or trials."""
        return self.stream.samples // self.trial

    @property
    def unit(self) -> float:
        """Length of a sample in seconds, or 1 for samples of arrays and for trials."""
        return self.step if self.over == "time" and self.step is not None else 1.0

    def in_pieces(self, block: float | None) -> float | None:
        """Convert a length that the caller gave to samples or trials."""
        if block is None:
            return None
        checks.refuse("metrics", checks.number("block", block, above=0, hint=f"in {self.words}"))
        return block / self.unit

    @property
    def words(self) -> str:
        """Unit of lengths in words: seconds, samples or trials."""
        return "trials" if self.over == "trials" else "samples" if self.step is None else "s"

    def sums(self) -> Sums:
        """Sums over the cells from which intervals follow."""
        _enough(self.pieces, self.over)
        return accumulate(self.stream, min(self.pieces, autocorrelation.CELLS), grain=self.trial)

    def variation(self, ends: NDArray[np.int64]) -> Variation | None:
        """Sums for CV2 over cells that begin and end at these samples or trials; None without spikes."""
        if self.trains is None:
            return None
        assert self.step is not None
        if self.over == "trials":
            trials = self.trains.trials
            assert trials is not None
            at = np.append(trials.start, trials.stop[-1])[ends]
            windows = list(zip(trials.start.tolist(), trials.stop.tolist(), strict=True))
            return Variation.of(self.trains, at, windows).between(1, len(ends))
        starts, stops = np.array(self.trains.pieces).T
        held = np.floor((stops - starts) / self.step + SLACK).astype(np.int64)
        firsts = held.cumsum() - held
        piece = np.searchsorted(firsts, ends, side="right") - 1
        at = starts[piece] + self.step * (ends - firsts[piece])
        at[-1] = max(at[-1], stops[-1]) + 1 if ends[-1] == held.sum() else at[-1]  # no spike after the last bin is lost
        at[0] = -np.inf if ends[0] == 0 else at[0]
        return Variation.of(self.trains, at).between(1, len(ends))


class Bounds(NamedTuple):
    """An interval and its basis."""

    low: float  # NaN without an interval
    high: float
    time: float = 0.0  # median autocorrelation time as a share of the period
    slow: bool = False  # True if that time is too long for an interval
    withheld: bool = False  # True if the estimate has no meaning either


@final
@dataclass(frozen=True, eq=False)
class Fluctuations:
    """Measures of a period, also with the cells of the period weighted by slow cosines."""

    reader: Reader
    population: Moments
    estimates: Mapping[str, float]
    moved: Mapping[str, Array]  # (1 + 2 J,) values: unweighted, then J cosines up, J down; empty without intervals
    memory: Memory  # memory of the mean activity
    fixed: bool  # True if the caller chose the blocks
    pieces: int  # number of samples or trials of the period
    cells: int

    @classmethod
    def of(
        cls,
        source: Source,
        period: tuple[int, int] | None = None,
        *,
        center: bool = True,
        silent: Silent = "nan",
        intervals: bool = True,
        block: float | None = None,
    ) -> Fluctuations:
        """Read a period once, then weight its sums.

        Args:
            source: The samples.
            period: First sample or trial of the period, and the one after the last; None: all.
            center: True removes the mean over samples.
            silent: Policy for units that never vary.
            intervals: False computes the estimates alone.
            block: Number of samples or trials after which activity is independent; None: found from the data.

        Returns:
            The measures.

        Raises:
            InvalidValue: See `summary`.
        """
        check_policy(silent)
        first, last = (0, source.pieces) if period is None else period
        pieces = last - first
        count = 1
        if intervals:
            _enough(pieces, source.over)
            count = min(pieces, autocorrelation.CELLS)
        rows = first * source.trial, last * source.trial
        stream = source.stream.between(*rows) if period is not None else source.stream
        sums = accumulate(stream, count, center=center, grain=source.trial)
        reader = Reader(source.step, source.variation(first + edges(pieces, count)))
        population = sums.moments(silent)
        estimates = reader.read(population, torch.ones(sums.cells, dtype=torch.float64))
        moved: dict[str, Array] = {}
        memory, fixed = autocorrelation.certain(2), block is not None
        if intervals:
            cosines = min(autocorrelation.COSINES, count - 1)
            if block is not None:
                cosines = min(cosines, _blocks(pieces, block) - 1)
            weights = autocorrelation.weights(count, cosines)
            moved = _read(sums, reader, weights, silent)
            memory = Memory.of(sums.mean_activity(weights[1 : 1 + cosines] - 1))
        return cls(reader, population, estimates, moved, memory, fixed, pieces, count)

    def scaled(self, name: str, scale: Scale) -> tuple[float, Array, Array] | None:
        """Estimate, projections and second differences of a measure on a scale; None if they are not defined."""
        values = self.moved[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            on = scale.forward(values)
        if not np.isfinite(on).all():
            return None
        up, down = np.split(on[1:], 2)
        return float(on[0]), *autocorrelation.differences(up, down, on[:1])

    def remembers(self, first: Array) -> Memory:
        """The slower of the memories of a measure and of the mean activity, which affects many measures."""
        if self.fixed:
            return autocorrelation.certain(len(first))
        return Memory.of(first).slower(self.memory)

    def scale(self, name: str) -> tuple[Scale | None, bool]:
        """Best scale on which a measure is clearly defined, or None; and True if it is the first of its scales."""
        found = scales(name, self.population.kept)
        defined = [scale for scale in found if self.scaled(name, scale) is not None]
        if len(found) == len(defined) == 2 and not self._clear(name, *found):
            defined = defined[1:]
        return (defined[0], defined[0] is found[0]) if defined else (None, False)

    def interval(self, name: str, level: float) -> Bounds:
        """Interval of a measure.

        Args:
            name: Name of the measure.
            level: Coverage of the interval.

        Returns:
            The interval; NaN if the measure is not defined, too slow or withheld.
        """
        values = self.moved[name]
        if name not in INVERSE and math.isfinite(values[0]) and bool((values == values[0]).all()):
            return Bounds(float(values[0]), float(values[0]))
        scale, best = self.scale(name)
        if name == "participation_ratio_both" and not (best and math.isfinite(self.estimates[name])):
            return Bounds(math.nan, math.nan, withheld=True)
        on = None if scale is None else self.scaled(name, scale)
        if scale is None or on is None:
            return Bounds(math.nan, math.nan)
        middle, width = self.width(name, scale, level)
        time = self.remembers(on[1]).time
        if math.isnan(width):
            return Bounds(math.nan, math.nan, time, slow=True)
        low, high = scale.backward(middle - width), scale.backward(middle + width)
        first = scales(name, self.population.kept)[0]
        if not best and self.scaled(name, first) is not None:  # defined, but not clearly: the union of both intervals
            middle, width = self.width(name, first, level)
            low, high = min(low, first.backward(middle - width)), max(high, first.backward(middle + width))
        return Bounds(low, high, time)

    def width(self, name: str, scale: Scale, level: float) -> tuple[float, float]:
        """Estimate and half-width of the interval on a scale on which the measure is defined; NaN if it is too slow."""
        on = self.scaled(name, scale)
        assert on is not None
        memory = self.remembers(on[1])
        return on[0], math.nan if memory.too_slow else memory.half_width(on[1], on[2], level)

    @staticmethod
    def common(periods: Sequence[Fluctuations], name: str) -> Scale | None:
        """Best scale on which a measure is clearly defined in all periods; None if there is none, or if withheld."""
        found = [period.scale(name) for period in periods]
        if all(best for _, best in found):
            return found[0][0]
        other = scales(name, periods[0].population.kept)[-1]
        if name == "participation_ratio_both" or any(period.scaled(name, other) is None for period in periods):
            return None
        return other

    def _clear(self, name: str, best: Scale, other: Scale) -> bool:
        """True if the interval on the other scale stays in the range where the best scale is defined."""
        on = self.scaled(name, other)
        assert on is not None
        width = self.remembers(on[1]).half_width(on[1], on[2], 0.95)
        end = other.backward(on[0] + width)  # the largest participation ratio
        with np.errstate(divide="ignore", invalid="ignore"):
            return math.isfinite(end) and bool(np.isfinite(best.forward(np.array([1 / end]))).all())


def interval_warnings(
    found: Mapping[str, Bounds], read: Fluctuations, source: Source, block: float | None
) -> list[str]:
    """Warnings about intervals that are withheld or too narrow, with the reasons.

    Args:
        found: The intervals.
        read: The measures with their fluctuations.
        source: The samples.
        block: Length of a block that the caller chose; None: found from the data.

    Returns:
        The warnings.
    """
    warnings = []
    slow = [name for name, bounds in found.items() if bounds.slow]
    length = f"{read.pieces * source.unit:.4g} {source.words}"
    if slow:
        longest = max(found[name].time for name in slow) * read.pieces * source.unit
        warnings.append(
            f"no interval can be given for {', '.join(slow)}: the autocorrelation time, some {longest:.2g} "
            f"{source.words} or longer, is too long for {length}; record for longer, or remove slow changes first "
            "(high_pass, detrended)"
        )
    if any(bounds.withheld for bounds in found.values()):
        warnings.append(
            "participation_ratio_both is withheld: its denominator, the mean squared covariance of pairs, is not "
            "clearly above zero"
        )
    if block is not None:
        longest = read.memory.time * read.pieces * source.unit
        if longest > block:
            warnings.append(
                f"block: {block:g} {source.words} is shorter than the autocorrelation time of {longest:.3g} "
                f"{source.words}: the intervals are too narrow; leave block out, or take a longer one"
            )
    return warnings


def _read(sums: Sums, reader: Reader, weights: torch.Tensor, silent: Silent) -> dict[str, Array]:
    found: dict[str, list[float]] = {}
    for batch in weights.split(_BATCH):  # type: ignore[no-untyped-call]
        for weight, population in zip(batch, sums.weighted(batch, silent), strict=True):
            values = reader.read(population, weight)
            values |= {
                "participation_ratio_samples": population.inverse_participation_ratio("samples"),
                "participation_ratio_both": population.inverse_participation_ratio("both"),
            }
            for name, value in values.items():
                found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def _enough(pieces: int, over: Over) -> None:
    what, fewest = ("trials", FEWEST_TRIALS) if over == "trials" else ("samples", FEWEST)
    if pieces < fewest:
        raise InvalidValue(
            f"{what}: got {pieces}; intervals need at least {fewest}. Measure more, use narrower bins, or take the "
            "estimates alone with intervals=False."
        )


def _blocks(pieces: int, block: float) -> int:
    """Number of blocks; raises InvalidValue for too few."""
    count = int(pieces / block + 1e-9)
    if count < FEWEST_BLOCKS:
        raise InvalidValue(
            f"block: got {count} blocks in the recording; intervals need at least {FEWEST_BLOCKS}: give a shorter "
            "block, or a longer recording."
        )
    return count
