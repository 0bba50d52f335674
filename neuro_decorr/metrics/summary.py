"""The standard set of measures of a population with their intervals and floors, never one number alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

from neuro_decorr.errors import require, unknown_name
from neuro_decorr.metrics import bootstrap
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.measures import independent
from neuro_decorr.metrics.resampling import Over, Resampling
from neuro_decorr.metrics.samples import Silent

if TYPE_CHECKING:
    import pandas as pd


class Row(NamedTuple):
    """One measure of a summary."""

    estimate: float  # of all samples; NaN where it is not defined
    low: float  # of its interval, see `bootstrap.interval`; NaN without one
    high: float
    bias: float  # what resampling adds to it
    floor: float  # expected of independent units with these variances at this number of samples; NaN where unknown


@final
@dataclass(frozen=True)
class Summary:
    """What is measured of a population; `summary["whiteness"].low`, or all of it by `.to_frame()`."""

    samples: int  # number of samples
    units: int  # number of units, silent ones included
    silent: int  # units that never vary
    policy: Silent  # what was done with them
    center: bool  # whether the mean over samples was removed
    bin: float | None  # seconds a sample of spike trains or rates; None for arrays
    sparse: int | None  # spike trains: units with fewer than three spikes, which have no CV2 and are left out of it
    replicates: int  # resamplings behind the intervals; 0: no intervals
    resampled: str  # what they resample, such as "blocks of 120 samples"
    level: float  # coverage of the intervals
    rows: Mapping[str, Row]

    def __getitem__(self, name: str) -> Row:
        """The row of a measure."""
        if name not in self.rows:
            raise unknown_name("measure", name, self.rows)
        return self.rows[name]

    def record(self) -> dict[str, float]:
        """The estimates with the numbers of samples, units and silent units: a flat row of a table."""
        facts: dict[str, float] = {"samples": self.samples, "units": self.units, "silent": self.silent}
        return facts | {name: row.estimate for name, row in self.rows.items()}

    def to_frame(self) -> pd.DataFrame:
        """The table, one row a measure: estimate, low, high, bias, floor."""
        pandas = require("pandas", "recordings")
        frame: pd.DataFrame = pandas.DataFrame(list(self.rows.values()), index=list(self.rows), columns=Row._fields)
        frame.index.name = "measure"
        return frame

    @property
    def facts(self) -> str:
        """What the numbers rest on, in one line."""
        bins = "" if self.bin is None else f" of {self.bin:g} s"
        parts = [f"{self.samples} samples{bins}, {self.units} units, {self.silent} silent (policy: {self.policy})"]
        if self.sparse:
            parts.append(f"{self.sparse} with fewer than 3 spikes (not in mean_cv2)")
        if not self.center:
            parts.append("mean not removed")
        if self.replicates:
            parts.append(f"{self.level:.0%} intervals: {self.replicates} resamplings of {self.resampled}")
        return "; ".join(parts)

    def __str__(self) -> str:
        """The facts, then one measure a line; what is not defined is left blank."""
        width = max(map(len, self.rows))
        lines = [self.facts, f"{'':<{width}}  {'estimate':>10}  {'interval':^22}  {'floor':>10}"]
        for name, row in self.rows.items():
            between = "" if math.isnan(row.low) else f"{row.low:.4g} to {row.high:.4g}"
            floor = "" if math.isnan(row.floor) else f"{row.floor:.4g}"
            lines.append(f"{name:<{width}}  {row.estimate:>10.4g}  {between:^22}  {floor:>10}".rstrip())
        return "\n".join(lines)


def summary(
    activity: Activity,
    *,
    bin: float | None = None,
    silent: Silent = "nan",
    center: bool = True,
    replicates: int = 200,
    level: float = 0.95,
    over: Over = "time",
    block: int | None = None,
    seed: int = 0,
) -> Summary:
    """The standard set of measures, each with an interval and with what independent units would show.

    Why a set: the mean correlation alone misleads, since correlations cancel, and dead units lower all of them;
    Umakantha et al. (2021), Bridging neuronal correlations and dimensionality reduction, Neuron 109,
    doi:10.1016/j.neuron.2021.06.028. Each measure is defined at the function of its name. Spike trains and rates have
    the mean rate, spike trains also the Fano factor of the counts and the CV2 of the intervals between spikes: a
    decorrelation that is a collapse of the rate shows there.

    Intervals: circular moving-block bootstrap from sums over 64 cells, or over trials; see `bootstrap.draws` and
    `bootstrap.interval`. A block must outlast the autocorrelation of the activity. The floor takes the samples as
    independent; for autocorrelated activity compare with `surrogate_null` too.

    Cost: P N^2 once, and for every replicate 64 N^2 + 4/3 N^3. Memory: the sums of 64 cells, 256 N^2 bytes for counts
    and 512 N^2 for other numbers, 64 N^2 for the replicates; without intervals 40 N^2. Spike trains are counted in
    chunks.

    Args:
        activity: Array or tensor `(samples, units)`, spike trains or rates.
        bin: Width of the bins (s) for spike trains, or of means of rates; correlations of counts grow with it.
        silent: Policy for units that never vary: `"nan"` keeps them (measures of correlation are NaN, the condition
            number infinite), `"drop"` measures the others, `"error"` refuses. Their number is in the result.
        center: Remove the mean over samples; without, measures of the second moment about zero.
        replicates: Resamplings for the intervals; 0 leaves the intervals out, for a fast flat record.
        level: Coverage of the intervals.
        over: What is resampled: blocks of `"time"`, or the `"trials"` of a recording, of which the bins inside the
            trials are then measured.
        block: Samples a block of time; 1/32 of the samples when None.
        seed: Seed of the resampling.

    Returns:
        The table; NaN marks what is not defined, such as correlations of a single unit.

    Raises:
        InvalidValue: See `moments`; spike trains without a bin; fewer than 20 samples, or blocks longer than a quarter
            of them, with intervals; parameters out of range.
    """
    resampling = Resampling.of(
        activity, bin, center=center, silent=silent, over=over, block=block, replicates=replicates, seed=seed
    )
    bootstrap.check_level(level)
    estimates, replicated = resampling.estimates, resampling.replicated
    population, variation = resampling.population, resampling.reader.variation
    floors = independent(population)
    rows = {}
    for name, estimate in estimates.items():
        bounds = bootstrap.interval(estimate, replicated.get(name, [math.nan]), level)
        rows[name] = Row(estimate, *bounds, floors.get(name, math.nan))
    return Summary(
        samples=population.samples,
        units=population.units,
        silent=population.silent,
        policy=silent,
        center=center,
        bin=resampling.reader.bin,
        sparse=None if variation is None else variation.sparse,
        replicates=replicates,
        resampled=resampling.blocks,
        level=level,
        rows=rows,
    )
