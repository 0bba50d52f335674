"""The standard set of measures of a population with their intervals and floors, never one number alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, final

from neuro_decorr.errors import require, unknown_name
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.fluctuations import Bounds, Fluctuations, Over, Source, interval_warnings
from neuro_decorr.metrics.measures import sampling_floors
from neuro_decorr.metrics.parameters import check_level
from neuro_decorr.metrics.samples import Silent

if TYPE_CHECKING:
    import pandas as pd


class Row(NamedTuple):
    """One measure of a summary."""

    estimate: float  # of all samples; NaN where it is not defined
    low: float  # of its interval; NaN without one
    high: float
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
    level: float | None  # coverage of the intervals; None without
    time_unit: str  # of the two times below: s, samples or trials
    resolution: float  # length of a cell, 1/64 of the recording: what is faster is not looked at
    autocorrelation_time: float  # of the mean activity or half of the measures; 0: below resolution; NaN: no intervals
    warnings: tuple[str, ...]  # what is withheld, and why
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
        """The table, one row a measure: estimate, low, high, floor."""
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
        if self.level is not None:
            time, unit = self.autocorrelation_time, self.time_unit
            length = f"{time:.3g} {unit}" if time > 0 else f"below {self.resolution:.3g} {unit}"
            parts.append(f"{self.level:.0%} intervals; autocorrelation time {length}")
        return "; ".join(parts)

    def __str__(self) -> str:
        """The facts, then one measure a line, then the warnings; what is not defined is left blank."""
        width = max(map(len, self.rows))
        lines = [self.facts, f"{'':<{width}}  {'estimate':>10}  {'interval':^22}  {'floor':>10}"]
        for name, row in self.rows.items():
            between = "" if math.isnan(row.low) else f"{row.low:.4g} to {row.high:.4g}"
            floor = "" if math.isnan(row.floor) else f"{row.floor:.4g}"
            lines.append(f"{name:<{width}}  {row.estimate:>10.4g}  {between:^22}  {floor:>10}".rstrip())
        return "\n".join([*lines, *(f"warning: {told}" for told in self.warnings)])


def summary(
    activity: Activity,
    *,
    bin: float | None = None,
    silent: Silent = "nan",
    center: bool = True,
    intervals: bool = True,
    level: float = 0.95,
    over: Over = "time",
    block: float | None = None,
) -> Summary:
    r"""The standard set of measures, each with an interval and with what independent units would show.

    Why a set: the mean correlation alone misleads, since correlations cancel, and dead units lower all of them;
    Umakantha et al. (2021), Bridging neuronal correlations and dimensionality reduction, Neuron 109,
    doi:10.1016/j.neuron.2021.06.028. Each measure is defined at the function of its name. Spike trains and rates have
    the mean rate, spike trains also the Fano factor of the counts and the CV2 of the intervals between spikes: a
    decorrelation that is a collapse of the rate shows there.

    Intervals are of what is measured on average at this number of samples, to be compared with the floor at this number
    of samples. The estimates' fluctuations along the recording tell their error and its autocorrelation
    (`autocorrelation.Memory`, where the equations are), of which the slower of two counts: the measure's own, and that
    of the mean activity. They are found on a scale on which the measure is unbounded, so that intervals stay inside
    its bounds (`scales.scales`). They allow for an autocorrelation that is not known: in simulations those of 95 % held
    92 to 95 % with a shared state as slow as 1/200 of the recording, 97 to 99 % of independent samples. No interval is
    given where the recording holds fewer than ten autocorrelation times, as under bleaching or drift: remove the slow
    part first (`high_pass`, `detrended`) or record for longer.
    `participation_ratio_both` is withheld where its denominator is not clearly positive. The floor takes the samples as
    independent; for autocorrelated activity compare with `surrogate_null` too.

    Cost: P N^2 once, then 127 times 64 N^2 + 4/3 N^3. Memory: the sums of 64 cells, 256 N^2 bytes for counts and 512
    N^2 for other numbers, 64 N^2 for the weightings; without intervals 40 N^2. Spike trains are counted in chunks.

    Args:
        activity: Array or tensor `(samples, units)`, spike trains or rates.
        bin: Width of the bins (s) for spike trains, or of means of rates; correlations of counts grow with it.
        silent: Policy for units that never vary: `"nan"` keeps them (measures of correlation are NaN, the condition
            number infinite), `"drop"` measures the others, `"error"` refuses. Their number is in the result.
        center: Remove the mean over samples; without, measures of the second moment about zero.
        intervals: False leaves the intervals out, for a fast flat record.
        level: Coverage of the intervals.
        over: What fluctuates: `"time"`, or the `"trials"` of a recording, of which the bins inside the trials are then
            measured.
        block: How long activity must be apart to be independent (s; samples of arrays, trials over trials): the number
            of blocks less one is then the number of cosines and the degrees of freedom. Found from the data when None.

    Returns:
        The table; NaN marks what is not defined, such as correlations of a single unit.

    Raises:
        InvalidValue: See `moments`; spike trains without a bin; fewer than 20 samples, 10 trials or 5 blocks with
            intervals; parameters out of range.
    """
    check_level(level)
    source = Source.of(activity, bin, over)
    unit, chosen = source.unit, source.in_pieces(block)
    read = Fluctuations.of(source, center=center, silent=silent, intervals=intervals, block=chosen)
    found = {name: read.interval(name, level) for name in read.estimates} if intervals else {}
    floors = sampling_floors(read.population)
    nothing = Bounds(math.nan, math.nan)
    rows = {}
    for name, estimate in read.estimates.items():
        bounds = found.get(name, nothing)
        value = math.nan if bounds.withheld else estimate
        rows[name] = Row(value, bounds.low, bounds.high, floors.get(name, math.nan))
    # The largest of many medians is mostly chance, their median is not; the mean activity's is one.
    middle = median(bounds.time for bounds in found.values()) if found else math.nan
    time = max(read.memory.time, middle) * read.pieces * unit
    variation = read.reader.variation
    return Summary(
        samples=read.population.samples,
        units=read.population.units,
        silent=read.population.silent,
        policy=silent,
        center=center,
        bin=source.step,
        sparse=None if variation is None else variation.sparse,
        level=level if intervals else None,
        time_unit=source.words,
        resolution=read.pieces * unit / read.cells,
        autocorrelation_time=time,
        warnings=tuple(interval_warnings(found, read, source, block)),
        rows=rows,
    )
