"""Quality of sorted units: one neuron each, recorded throughout, with times in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.coincidences import coincidences, jittered, merged, short_intervals
from neuro_decorr.metrics.parameters import check_level
from neuro_decorr.metrics.plausibility import time_unit
from neuro_decorr.recording import SpikeTrains

if TYPE_CHECKING:
    import pandas as pd

DUPLICATE = 0.5
"""Two units are near-duplicates if they share more than this fraction of the spikes of the smaller unit."""


@final
@dataclass(frozen=True, eq=False)
class UnitQuality:
    """Quality of every unit and of every pair; tables by `.to_frame()` and `.pairs_frame()`."""

    units: tuple[str, ...]
    columns: dict[str, NDArray[np.float64]]  # each (units,); defined in `unit_quality`
    coincidences: NDArray[np.int64]  # (units, units): pairs of spikes that fall together
    expected: NDArray[np.float64]  # (units, units): expected number when spikes are jittered
    p_value: NDArray[np.float64]  # (units, units): for so many or so few coincidences, two-sided; 1 on the diagonal
    q_value: NDArray[np.float64]  # (units, units): false discovery rate over all pairs
    duplicates: tuple[tuple[str, str], ...]  # pairs that share most of the smaller unit's spikes
    level: float  # coverage of the intervals
    facts: str  # numbers of units and spikes, and the methods
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per unit."""
        frame: pd.DataFrame = require("pandas", "recordings").DataFrame(self.columns, index=list(self.units))
        frame.index.name = "unit"
        return frame

    def pairs_frame(self, *, everything: bool = False) -> pd.DataFrame:
        """Table with one row per pair whose coincidences differ from chance, the largest share first.

        Args:
            everything: True gives all pairs.

        Returns:
            Labels of both units, coincidences, expected coincidences, excess (their ratio, with its interval), share of
            the smaller unit's spikes (above one if that unit has spikes closer together than the window), p-value,
            false discovery rate, and True for near-duplicates.
        """
        first, second = np.triu_indices(len(self.units), 1)
        chosen = (self.q_value[first, second] < 1 - self.level) | everything
        first, second = first[chosen], second[chosen]
        found, expected = self.coincidences[first, second], self.expected[first, second]
        low, high = poisson_bounds(found, self.level)
        smaller = np.minimum(self.columns["spikes"][first], self.columns["spikes"][second])
        names = np.array(self.units, dtype=object)
        with np.errstate(divide="ignore", invalid="ignore"):
            table = {
                "first": names[first],
                "second": names[second],
                "coincidences": found,
                "expected": expected,
                "excess": found / expected,
                "excess_low": low / expected,
                "excess_high": high / expected,
                "share": found / smaller,
                "share_expected": expected / smaller,
                "p_value": self.p_value[first, second],
                "q_value": self.q_value[first, second],
            }
        frame: pd.DataFrame = require("pandas", "recordings").DataFrame(table)
        pairs = set(self.duplicates)
        frame["duplicate"] = [pair in pairs for pair in zip(frame["first"], frame["second"], strict=True)]
        return frame.sort_values("share", ascending=False, ignore_index=True)


def unit_quality(
    trains: SpikeTrains,
    *,
    refractory: float = 0.0015,
    censored: float = 0.0,
    coincidence: float = 0.0005,
    jitter: float = 0.02,
    stretches: int = 60,
    level: float = 0.95,
) -> UnitQuality:
    r"""Quality of sorted units: contamination, duplicates, units that come and go, a wrong unit of time.

    Columns for each unit: `spikes` and `rate` (Hz). `presence` is the share of equal stretches of the recording with a
    spike, `presence_expected` that of a Poisson process with the same rate, and `presence_floor` the value below which
    that process falls in (1 - level) / 2 of the cases. `doubles` counts pairs of the unit's spikes within the window of
    a coincidence, which no neuron fires, with `doubles_expected` of a Poisson process. `violations`, v, counts pairs of
    the unit's spikes closer than the refractory period $\tau_r$ and not closer than the censored period $\tau_c$, with
    `violations_expected` of a Poisson process. The contamination C is the share of spikes that are not the unit's, with
    intervals from those of the Poisson count v. For T seconds and n spikes:

    $$
    \text{one other neuron:} \quad C (1 - C) = \frac{v T}{2 n^2 (\tau_r - \tau_c)}, \qquad
    \text{many:} \quad 1 - (1 - C)^2 = \frac{v (T - 2 n \tau_c)}{n^2 (\tau_r - \tau_c)}
    $$

    C is NaN where no C solves the equation: there are more violations than the rate explains. Both equations assume
    that the contaminants are independent of the unit and that both rates are steady. For each pair, `coincidences`
    within the window, of either sign of the lag, are compared with those expected when every spike is drawn anew within
    its interval of `jitter` (`coincidences.jittered`), by the tails of the Poisson law. The false discovery rate over
    all pairs follows Benjamini and Hochberg. An excess is precise synchrony, a duplicate or an artefact; a deficit is
    typical of two units of one electrode, whose overlapping spikes are lost.

    Cost: linear in the spikes and in the coincidences, and N^2 per interval of the jitter.

    Sources: Hill, Mehta and Kleinfeld (2011), Quality metrics to accompany spike sorting of extracellular signals,
    J. Neuroscience 31, doi:10.1523/JNEUROSCI.0971-11.2011; Llobet, Wyngaard and Barbour (2022), Automatic
    post-processing and merging of multiple spike-sorting analyses with Lussac, doi:10.1101/2022.02.08.479192;
    Amarasingham, Harrison, Hatsopoulos and Geman (2012), Conditional modeling and the jitter method of spike
    resampling, J. Neurophysiology 107, doi:10.1152/jn.00633.2011; Benjamini and Hochberg (1995),
    doi:10.1111/j.2517-6161.1995.tb02031.x.

    Args:
        trains: Spike trains.
        refractory: Refractory period $\tau_r$ (s).
        censored: Shortest interval that detection allows, $\tau_c$ (s).
        coincidence: Largest distance of coincident spikes (s), at most a quarter of `jitter`.
        jitter: Interval within which spikes are jittered (s); coarser synchrony does not count as an excess.
        stretches: Number of stretches of the recording for the presence, at least 2.
        level: Coverage of the intervals, between 0 and 1; pairs are marked at a false discovery rate of 1 - level.

    Returns:
        Tables of units and of pairs, and warnings.

    Raises:
        InvalidValue: A parameter is out of range, or no unit has a spike.
    """
    checks.refuse(
        "unit_quality",
        checks.number("refractory", refractory, above=0, hint="seconds"),
        checks.number("censored", censored, least=0, below=refractory, hint="seconds, shorter than refractory"),
        checks.number(
            "coincidence", coincidence, above=0, most=jitter / 4, hint="seconds, a quarter of jitter at most"
        ),
        checks.whole_number("stretches", stretches, least=2),
    )
    check_level(level)
    if trains.spikes == 0:
        raise InvalidValue("trains: no unit has a spike; give a recording with spikes.")
    columns = _each(trains, refractory, censored, coincidence, level) | _presence(trains, stretches, level)
    units = len(trains.units)
    times, unit = merged(trains)
    found = coincidences(times, unit, units, coincidence)
    expected = jittered(times, unit, units, coincidence, jitter)
    p_value, q_value = _tested(found, expected)
    marked = q_value < 1 - level
    smaller = np.minimum(columns["spikes"][:, None], columns["spikes"])
    twins = np.argwhere(np.triu(marked & (found > DUPLICATE * smaller), 1)).tolist()
    return UnitQuality(
        units=trains.units,
        columns=columns,
        coincidences=found,
        expected=expected,
        p_value=p_value,
        q_value=q_value,
        duplicates=tuple((trains.units[i], trains.units[j]) for i, j in twins),
        level=level,
        facts=(
            f"{units} units, {trains.spikes} spikes, {trains.duration:g} s; refractory period {1e3 * refractory:g} ms, "
            f"coincidences within {1e3 * coincidence:g} ms against spikes jittered within {1e3 * jitter:g} ms; "
            f"{level:.0%} intervals of Poisson counts; pairs at a false discovery rate of {1 - level:.0%}"
        ),
        warnings=_warnings(trains, columns, found, expected, marked, twins),
    )


def _tested(found: NDArray[np.int64], expected: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided p-value of each pair's Poisson count, and its false discovery rate; one on the diagonal."""
    stats = require("scipy.stats", "recordings")
    tails = np.minimum(stats.poisson.sf(found - 1, expected), stats.poisson.cdf(found, expected))
    p_value = np.minimum(2 * tails, 1.0)
    np.fill_diagonal(p_value, 1.0)
    q_value = np.ones_like(p_value)
    upper = np.triu_indices(len(found), 1)
    if len(found) > 1:
        q_value[upper] = stats.false_discovery_control(p_value[upper])
    return p_value, np.minimum(q_value, q_value.T)


def poisson_bounds(counts: NDArray[np.int64], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exact interval of the mean of a Poisson count; Garwood (1936), Biometrika 28, doi:10.1093/biomet/28.3-4.437."""
    law = require("scipy.stats", "recordings").chi2
    low = np.where(counts > 0, law.ppf((1 - level) / 2, 2 * np.maximum(counts, 1)) / 2, 0.0)
    return low, law.ppf((1 + level) / 2, 2 * (counts + 1)) / 2


def _each(
    trains: SpikeTrains, refractory: float, censored: float, coincidence: float, level: float
) -> dict[str, NDArray[np.float64]]:
    spikes = np.array([len(unit) for unit in trains.times])
    violations = np.array([short_intervals(unit, censored, refractory) for unit in trains.times])
    doubles = np.array([short_intervals(unit, 0.0, coincidence) for unit in trains.times])
    duration, span = trains.duration, refractory - censored
    with np.errstate(divide="ignore", invalid="ignore"):
        one = duration / (2 * spikes**2 * span)
        many = (duration - 2 * spikes * censored) / (spikes**2 * span)
    low, high = poisson_bounds(violations, level)
    columns = {
        "spikes": spikes.astype(float),
        "rate": trains.rate,
        "doubles": doubles.astype(float),
        "doubles_expected": spikes * (spikes - 1) * coincidence / duration,
        "violations": violations.astype(float),
        "violations_expected": spikes * (spikes - 1) * span / duration,
    }
    with np.errstate(invalid="ignore"):  # NaN where the equation has no solution
        for name, values in (("", violations), ("_low", low), ("_high", high)):
            columns[f"contamination_one{name}"] = (1 - np.sqrt(1 - 4 * one * values)) / 2
            columns[f"contamination_many{name}"] = 1 - np.sqrt(1 - many * values)
    for name, most in (("one", 0.5), ("many", 1.0)):  # the upper end is at most what the model allows
        ends = columns[f"contamination_{name}_high"]
        known = np.isfinite(columns[f"contamination_{name}_low"])
        columns[f"contamination_{name}_high"] = np.where(known & np.isnan(ends), most, ends)
    return columns


def _presence(trains: SpikeTrains, stretches: int, level: float) -> dict[str, NDArray[np.float64]]:
    edges = np.linspace(trains.start, trains.stop, stretches + 1)
    recorded = np.diff(edges)
    for low, high in trains.gaps:
        recorded -= np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
    there = recorded > 1e-9 * recorded.max()
    counts = np.array([np.histogram(unit, edges)[0] for unit in trains.times])[:, there]
    chance = (1 - np.exp(-trains.rate[:, None] * recorded[there])).mean(axis=1)
    least = require("scipy.stats", "recordings").binom.ppf((1 - level) / 2, int(there.sum()), chance)
    return {
        "presence": (counts > 0).mean(axis=1),
        "presence_expected": chance,
        "presence_floor": least / there.sum(),
    }


def _warnings(
    trains: SpikeTrains,
    columns: dict[str, NDArray[np.float64]],
    found: NDArray[np.int64],
    expected: NDArray[np.float64],
    marked: NDArray[np.bool_],
    twins: list[list[int]],
) -> tuple[str, ...]:
    names = trains.units
    warnings = time_unit(trains)
    for i, j in twins[:5]:
        share = found[i, j] / min(columns["spikes"][i], columns["spikes"][j])
        warnings.append(
            f"units {names[i]!r} and {names[j]!r} share {share:.0%} of the smaller one's spikes: duplicates"
        )
    if len(twins) > 5:
        warnings.append(f"{len(twins)} pairs of units share most of their spikes")
    others = np.triu(marked, 1)
    for i, j in twins:
        others[i, j] = False
    pairs = math.comb(len(names), 2)
    for what, chosen in (("more", others & (found > expected)), ("fewer", others & (found < expected))):
        if chosen.any():
            warnings.append(f"{int(chosen.sum())} of {pairs} pairs have {what} coincident spikes than jittered ones")
    poisson = require("scipy.stats", "recordings").poisson
    doubled = poisson.sf(columns["doubles"] - 1, columns["doubles_expected"]) < 0.001 / len(names)
    told = {
        "more spikes closer together than a neuron fires than chance has (detected twice?)": doubled,
        "more refractory violations than 10 % of foreign spikes explain": columns["contamination_many_low"] > 0.1,
        "more refractory violations than any share of foreign spikes explains": np.isnan(
            columns["contamination_many_low"]
        )
        & (columns["spikes"] > 0),
        "stretches of silence that a steady rate does not explain": columns["presence"] < columns["presence_floor"],
    }
    for what, mask in told.items():
        which = [names[k] for k in np.flatnonzero(mask).tolist()]
        if which:
            shown = ", ".join(which[:5]) + (", ..." if len(which) > 5 else "")
            warnings.append(f"{len(which)} of {len(names)} units have {what}: {shown}")
    return tuple(warnings)
