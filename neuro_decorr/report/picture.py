"""The picture of a recording: what is measured, with intervals and chance beside it, as tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics import bootstrap
from neuro_decorr.metrics.measures import Reader
from neuro_decorr.metrics.resampling import Resampling
from neuro_decorr.recording import Rates, SpikeTrains
from neuro_decorr.report import recordings as figures
from neuro_decorr.report.figures import save_figure
from neuro_decorr.report.tables import save_table

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

SURROGATES, REPLICATES, LAGS, LEVEL = 99, 200, 20, 0.95
_FEWEST = 40  # samples: fewer allow no honest interval
_CORRELOGRAM = 200  # units that a correlogram is of at most: its pairs at all lags are held at once


@final
@dataclass(frozen=True)
class Sample:
    """What is measured of a recording.

    Attributes:
        recording: The recording, or the period of it.
        values: Counts or means of the units that vary, shape `(samples, units)`.
        trial: Trial of each sample; all zero without trials.
        units: Labels of these units.
        silent: Labels of the units that never vary: left out, and reported.
        bin: Width of a bin (s).
        within_trials: Whether the samples are those inside the trials of the recording.
    """

    recording: SpikeTrains | Rates
    values: NDArray[Any]
    trial: NDArray[np.int64]
    units: tuple[str, ...]
    silent: tuple[str, ...]
    bin: float
    within_trials: bool


def sample(recording: SpikeTrains | Rates, bin: float, conditions: Sequence[str] = ()) -> Sample:
    """Counts of spikes, or means of rates, in bins.

    Args:
        recording: The recording.
        bin: Width of a bin (s).
        conditions: Only bins in trials of these conditions; all of the recording when none are given.

    Returns:
        The samples.

    Raises:
        InvalidValue: No spikes, fewer than two units that vary, fewer than 40 samples, or what the counting refuses.
    """
    if isinstance(recording, SpikeTrains) and recording.spikes == 0:
        raise InvalidValue(
            f"recording: no spikes of {len(recording.units)} units from {recording.start:g} to {recording.stop:g} s; "
            "there is nothing to correlate."
        )
    if conditions:
        if recording.trials is None:
            raise InvalidValue("trials: the recording has none; leave the option out.")
        recording = _with_trials(recording, conditions)
        spikes = isinstance(recording, SpikeTrains)
        values, trial = recording.trial_counts(bin) if spikes else recording.trial_binned(bin)  # type: ignore[union-attr]
    else:
        values = recording.counts(bin) if isinstance(recording, SpikeTrains) else recording.binned(bin)
        trial = np.zeros(len(values), dtype=np.int64)
    varying = values.max(axis=0) > values.min(axis=0)
    if varying.sum() < 2 or len(values) < _FEWEST:
        raise InvalidValue(
            f"recording: got {int(varying.sum())} units that vary in {len(values)} bins of {bin:g} s; correlations and "
            f"their intervals need at least 2 units in {_FEWEST} bins."
        )
    names = np.array(recording.units)
    kept, left = (tuple(names[which].tolist()) for which in (varying, ~varying))
    return Sample(recording, values[:, varying], trial, kept, left, bin, bool(conditions))


@final
@dataclass(frozen=True)
class Picture:
    """The numbers of a recording.

    Attributes:
        sample: What was measured.
        table: One row a measure: estimate, its interval, the floor of independent units, the mean over surrogates.
        facts: What the numbers rest on, in one line.
        correlation: Correlation, shape `(units, units)`.
        null: Correlations of all pairs in the surrogates; empty without surrogates.
        p_value: Share of surrogates whose mean absolute correlation reaches that of the data; None without surrogates.
    """

    sample: Sample
    table: pd.DataFrame
    facts: str
    correlation: Array
    null: Array
    p_value: float | None


def picture(
    taken: Sample, seed: int = 0, surrogates: int = SURROGATES, tick: Callable[[], None] = lambda: None
) -> Picture:
    """Measure a recording: `metrics.summary` of it, and beside it the same measures of surrogates.

    Chance: means over surrogates in which every unit is shifted in time (`metrics.shifted`).

    Args:
        taken: What is measured.
        seed: Seed of surrogates and bootstrap.
        surrogates: How many surrogates; 0 for none.
        tick: Called after each surrogate.

    Returns:
        The numbers.

    Raises:
        InvalidValue: See `metrics.summary`.
    """
    pandas = require("pandas", "recordings")
    summary = metrics.summary(
        taken.recording, bin=taken.bin, silent="drop", over="trials" if taken.within_trials else "time",
        replicates=REPLICATES, level=LEVEL, seed=seed,
    )  # fmt: skip
    population = metrics.moments(taken.values)
    upper = np.triu_indices(len(taken.units), 1)
    by_chance, null = [], []
    if surrogates:
        for surrogate in metrics.shifted(taken.values, surrogates, seed):
            by_chance.append(_measures(surrogate))
            null.append(surrogate.correlation.numpy()[upper])
            tick()
    table = summary.to_frame().drop(columns="bias").reset_index()
    means = pandas.DataFrame(by_chance).mean() if by_chance else {}
    table["surrogates"] = [means.get(name, math.nan) for name in table["measure"]]
    correlation = population.correlation.numpy()
    edge = metrics.marchenko_pastur_edge(*taken.values.shape)
    above = float((np.linalg.eigvalsh(correlation) > edge).sum())
    table.loc[len(table)] = {"measure": "eigenvalues_above_marchenko_pastur", "estimate": above}
    p_value, facts = None, summary.facts
    if by_chance:
        key = "mean_absolute_correlation"
        reached = sum(drawn[key] >= summary[key].estimate for drawn in by_chance)
        p_value = (1 + reached) / (1 + surrogates)
        facts += f"; mean |r| against {surrogates} surrogates: p = {p_value:.2g}"
    together = np.concatenate(null) if null else np.empty(0)
    return Picture(taken, table, facts, correlation, together, p_value)


def compare(first: Sample, second: Sample, seed: int = 0) -> pd.DataFrame:
    """How two recordings or periods of the same units differ: second minus first.

    Intervals: blocks of time of both are drawn again, independently, as in `metrics.summary`. `in s.e.` is the
    difference in standard deviations of that bootstrap, and grows with the length of the recordings. The last row is
    `metrics.paired_change`: the same change paired over pairs of units, its interval over units, and its effect sizes.

    Args:
        first: The one that is compared with.
        second: The other.
        seed: Seed of the bootstrap.

    Returns:
        One row a measure: first, second, difference, low, high, in s.e.; Cohen's d and Cliff's delta in the last.

    Raises:
        InvalidValue: Fewer than two units that vary in both, or different bins.
    """
    pandas = require("pandas", "recordings")
    shared = [name for name in first.units if name in second.units]
    if len(shared) < 2 or first.bin != second.bin:
        raise InvalidValue(
            f"against: {len(shared)} units of one label vary in both recordings; at least 2 are needed, in one bin."
        )
    values = [taken.values[:, [taken.units.index(name) for name in shared]] for taken in (first, second)]
    drawn = [Resampling.of(part, replicates=REPLICATES, seed=seed + k) for k, part in enumerate(values)]
    rows: list[dict[str, object]] = []
    for name, value in drawn[0].estimates.items():
        other = drawn[1].estimates[name]
        spread = np.subtract(drawn[1].replicated[name], drawn[0].replicated[name])
        low, high, _ = bootstrap.interval(other - value, spread.tolist(), LEVEL)
        error = float(spread.std())
        row = {"measure": name, "first": value, "second": other, "difference": other - value, "low": low, "high": high}
        rows.append({**row, "in s.e.": (other - value) / error if error > 0 else math.nan})
    if len(shared) > 2:
        change = metrics.paired_change(values[0], values[1], level=LEVEL, seed=seed)
        means = {k: drawn[n].estimates["mean_correlation"] for n, k in enumerate(("first", "second"))}
        paired = {"difference": change.mean, "low": change.low, "high": change.high}
        effects = {"Cohen's d": change.cohens_d, "Cliff's delta": change.cliffs_delta}
        rows.append({"measure": "mean_correlation (paired)", **means, **paired, **effects})
    table: pd.DataFrame = pandas.DataFrame(rows)
    return table


def write(made: Picture, directory: Path, prefix: str = "") -> None:
    """Write the tables and figures of a recording into `DIR/tables` and `DIR/figures`.

    Args:
        made: The numbers.
        directory: Where to.
        prefix: Put before the names of the files.

    Raises:
        Unwritable: The directory cannot be written.
    """
    pandas = require("pandas", "recordings")
    taken, correlation = made.sample, made.correlation
    where = f"bins of {1000 * taken.bin:g} ms"
    save_table(made.table, directory, f"{prefix}summary", f"{made.facts}. Surrogates: every unit shifted in time.")
    upper = np.triu_indices(len(taken.units), 1)
    names = np.array(taken.units)
    pairs = pandas.DataFrame({"first": names[upper[0]], "second": names[upper[1]], "correlation": correlation[upper]})
    save_table(pairs, directory, f"{prefix}pairs", f"Correlation of every pair in {where}.")
    eigenvalues = np.linalg.eigvalsh(correlation)[::-1]
    edge = metrics.marchenko_pastur_edge(*taken.values.shape)
    order = figures.cluster_order(correlation)
    lags, lagged = correlogram(taken)
    spread = 1 / math.sqrt(len(taken.values))
    drawn: dict[str, tuple[Any, str]] = {
        "correlations": (
            figures.correlation_matrix(correlation, taken.units, order, where),
            "Correlation of all pairs, units ordered by clustering.",
        ),
        "correlogram": (
            figures.correlogram(lags, lagged, spread),
            "Mean and quartiles over pairs of the cross-correlation; band: one deviation of an independent pair."
            + (f" {_CORRELOGRAM} of the units, evenly spaced." if len(taken.units) > _CORRELOGRAM else ""),
        ),
        "eigenspectrum": (
            figures.eigenspectrum(eigenvalues, edge),
            "Eigenvalues of the correlation matrix and the edge that independent units would not pass.",
        ),
        "dimensionality": (
            figures.dimensionality(*_growth(taken.values), len(taken.units)),
            "Participation ratio of the first samples, as it is and corrected for their number.",
        ),
    }
    if made.p_value is not None:
        drawn["distribution"] = (
            figures.correlation_distribution(correlation[upper], made.null, made.p_value),
            "Correlations over pairs, and those of surrogates in which every unit is shifted in time.",
        )
    if isinstance(taken.recording, SpikeTrains):
        position = {name: k for k, name in enumerate(taken.recording.units)}
        rows = [position[taken.units[unit]] for unit in order]
        train = taken.recording
        drawn["raster"] = (
            figures.raster(train.times, train.start, train.stop, rows),
            "Spikes, units as in the matrix.",
        )
    for name, (figure, caption) in drawn.items():
        save_figure(figure, directory, f"{prefix}{name}", caption)


def correlogram(taken: Sample, longest: int = LAGS) -> tuple[Array, Array]:
    """Cross-correlation of all pairs at lags, within trials.

    Args:
        taken: What is measured.
        longest: Largest lag, in bins; less where a trial is shorter.

    Returns:
        Lags (s), shape `(lags,)`, and correlations, shape `(lags, pairs)`: a pair's first unit leads at positive lags.
    """
    chosen = (
        np.unique(np.linspace(0, len(taken.units) - 1, _CORRELOGRAM).astype(int))
        if (len(taken.units) > _CORRELOGRAM)
        else np.arange(len(taken.units))
    )
    longest = max(1, min(longest, int(np.bincount(taken.trial)[np.unique(taken.trial)].min()) // 2 - 1))
    if not taken.within_trials:
        found = metrics.lagged_covariance(taken.values[:, chosen], longest)
        return taken.bin * found.lags.numpy().astype(np.float64), found.pairs().numpy()
    values = taken.values[:, chosen] - taken.values[:, chosen].mean(axis=0)
    values = values / np.sqrt(np.square(values).mean(axis=0))
    upper = np.triu_indices(values.shape[1], 1)
    sides = []
    for lag in range(longest + 1):
        together = taken.trial[: len(values) - lag] == taken.trial[lag:]
        products = values[: len(values) - lag][together].T @ values[lag:][together] / together.sum()
        sides.append((products[upper], products.T[upper]))
    lagged = [before for _, before in sides[:0:-1]] + [after for after, _ in sides]
    lags: Array = taken.bin * np.arange(-longest, longest + 1, dtype=np.float64)
    return lags, np.array(lagged)


def _growth(values: NDArray[Any]) -> tuple[Array, Array, Array]:
    sizes = np.unique(np.geomspace(min(10, len(values)), len(values), 12).astype(int))
    drawn = [_measures(metrics.moments(values[:size])) for size in sizes.tolist()]
    naive, corrected = (
        np.array([one[name] for one in drawn]) for name in ("participation_ratio", "participation_ratio_samples")
    )
    return sizes.astype(np.float64), naive, corrected


def _measures(population: metrics.Moments) -> dict[str, float]:
    """The standard set of one population, without what follows from the spike times."""
    return Reader().read(population, torch.ones(1, dtype=torch.float64))


def _with_trials(recording: SpikeTrains | Rates, conditions: Sequence[str]) -> SpikeTrains | Rates:
    assert recording.trials is not None
    return replace(recording, trials=recording.trials.select(conditions))
