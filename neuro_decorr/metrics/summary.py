"""Standard set of measures of a population, with intervals and floors."""

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
from neuro_decorr.metrics.samples import Silent, correlations_are_nan

if TYPE_CHECKING:
    import pandas as pd


class Row(NamedTuple):
    """One measure of a summary."""

    estimate: float  # from all samples; NaN if not defined
    low: float  # lower end of its interval; NaN without one
    high: float  # upper end
    floor: float  # expected for independent units with these variances at this number of samples; NaN if unknown


@final
@dataclass(frozen=True)
class Summary:
    """Measures of a population; for example `summary["whiteness"].low`, or the whole table by `.to_frame()`."""

    samples: int  # number of samples
    units: int  # number of units, silent ones included
    silent: int  # number of units that never vary
    policy: Silent  # policy for these units
    center: bool  # True if the mean over samples was removed
    bin: float | None  # seconds per sample of spike trains or rates; None for arrays
    sparse: int | None  # number of units with fewer than three spikes, which have no CV2; None: no spike trains
    level: float | None  # coverage of the intervals; None without intervals
    time_unit: str  # unit of the two times below: s, samples or trials
    resolution: float  # length of a cell, 1/64 of the recording; shorter autocorrelation times are not resolved
    autocorrelation_time: float  # of the mean activity or half of the measures; 0: below resolution; NaN: no intervals
    warnings: tuple[str, ...]  # measures or intervals that are withheld, and the reason
    rows: Mapping[str, Row]

    def __getitem__(self, name: str) -> Row:
        """Row of a measure; raises UnknownName for another name."""
        if name not in self.rows:
            raise unknown_name("measure", name, self.rows)
        return self.rows[name]

    def record(self) -> dict[str, float]:
        """Estimates with the numbers of samples, units and silent units, as a flat row of a table."""
        facts: dict[str, float] = {"samples": self.samples, "units": self.units, "silent": self.silent}
        return facts | {name: row.estimate for name, row in self.rows.items()}

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per measure and the columns estimate, low, high, floor."""
        pandas = require("pandas", "recordings")
        frame: pd.DataFrame = pandas.DataFrame(list(self.rows.values()), index=list(self.rows), columns=Row._fields)
        frame.index.name = "measure"
        return frame

    @property
    def facts(self) -> str:
        """Numbers of samples and units, policy and level of the intervals, in one line."""
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
        """Facts, then one line per measure, then the warnings; undefined intervals and floors are left blank."""
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
    r"""Compute the standard set of measures, each with an interval and with its floor for independent units.

    The set is needed because the mean correlation alone misleads: correlations of both signs cancel, and silent units
    lower all of them; Umakantha et al. (2021), Bridging neuronal correlations and dimensionality reduction, Neuron 109,
    doi:10.1016/j.neuron.2021.06.028. Each measure is defined in the function of its name. Spike trains and rates have
    the mean rate, spike trains also the Fano factor of the counts and the CV2 of the intervals between spikes; these
    show if a decorrelation comes from a collapse of the rate.

    An interval covers the expected value of the measure at this number of samples, and is to be compared with the floor
    at this number of samples. The fluctuations of the estimates along the recording give their error and its
    autocorrelation (`autocorrelation.Memory` has the equations); the slower of two autocorrelations counts, that of the
    measure and that of the mean activity. The error is found on a scale on which the measure is unbounded, so that
    intervals stay inside its bounds (`scales.scales`). Intervals allow for an unknown autocorrelation: in simulations
    intervals of 95 % covered 92 to 95 % with a shared state as slow as 1/200 of the recording, and 97 to 99 % for
    independent samples. No interval is given if the recording holds fewer than ten autocorrelation times, as under
    bleaching or drift: remove the slow part first (`high_pass`, `detrended`) or record for longer.
    `participation_ratio_both` is withheld if its denominator is not clearly positive. The floor assumes independent
    samples; for autocorrelated activity compare with `surrogate_null` too. Patches of images are not independent: see
    `layer_inputs`.

    Cost: P N^2 once, then 127 times 64 N^2 + 4/3 N^3, for P samples and N units. Memory: the sums of 64 cells, 256 N^2
    bytes for counts and 512 N^2 for other numbers, and 64 N^2 for the weightings; without intervals 40 N^2. Spike
    trains are counted in chunks.

    Args:
        activity: Array or tensor `(samples, units)`, spike trains or rates.
        bin: Width of the bins (s), for spike trains and rates; correlations of counts grow with it.
        silent: Policy for units that never vary: `"nan"` keeps them (measures of correlation are NaN, the condition
            number is infinite), `"drop"` measures the others, `"error"` raises an error. The result has their number.
        center: True removes the mean over samples; False measures the second moment about zero.
        intervals: False leaves the intervals out, which is faster.
        level: Coverage of the intervals, between 0 and 1.
        over: Dimension of the fluctuations: `"time"`, or the `"trials"` of a recording, which measures the bins inside
            the trials.
        block: Time after which activity is independent (s; samples for arrays, trials with `over="trials"`); the number
            of blocks minus one is the number of cosines and the degrees of freedom. None: found from the data.

    Returns:
        Table of the measures; NaN marks undefined values, such as correlations of a single unit.

    Raises:
        InvalidValue: Spike trains are given without a bin; there are fewer than 20 samples, 10 trials or 5 blocks with
            intervals; or a parameter is out of range; see also `moments`.
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
    # The median of the times over measures is robust; their largest is mostly chance.
    middle = median(bounds.time for bounds in found.values()) if found else math.nan
    time = max(read.memory.time, middle) * read.pieces * unit
    variation = read.reader.variation
    told = interval_warnings(found, read, source, block)
    if silent == "nan" and read.population.silent:
        told.insert(0, correlations_are_nan(read.population.silent, read.population.units))
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
        warnings=tuple(told),
        rows=rows,
    )
