"""The picture of a recording: what is measured, with intervals and chance beside it, as tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics import chance
from neuro_decorr.recording import Rates, SpikeTrains
from neuro_decorr.report import recordings as figures
from neuro_decorr.report.figures import save_figure
from neuro_decorr.report.tables import save_table

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

SURROGATES, DRAWS, BLOCKS, LAGS, LEVEL = 99, 400, 20, 20, 0.95
_ENTRIES = 100_000_000  # samples x units that are held as float64 at a time: 800 MB


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
    """

    recording: SpikeTrains | Rates
    values: NDArray[Any]
    trial: NDArray[np.int64]
    units: tuple[str, ...]
    silent: tuple[str, ...]
    bin: float


def sample(recording: SpikeTrains | Rates, bin: float, conditions: Sequence[str] = ()) -> Sample:
    """Counts of spikes, or means of rates, in bins.

    Args:
        recording: The recording.
        bin: Width of a bin (s).
        conditions: Only bins in trials of these conditions; all of the recording when none are given.

    Returns:
        The samples.

    Raises:
        InvalidValue: No spikes, fewer than two units that vary, fewer than 40 samples, too many for the memory, or
            whatever the counting refuses.
    """
    if isinstance(recording, SpikeTrains) and recording.spikes == 0:
        raise InvalidValue(
            f"recording: no spikes of {len(recording.units)} units from {recording.start:g} to {recording.stop:g} s; "
            "there is nothing to correlate."
        )
    size = recording.duration / bin * len(recording.units)
    if size > _ENTRIES:
        raise InvalidValue(
            f"bin: {size:.2g} counts are more than {_ENTRIES:.0e} that are analysed at a time; choose a wider bin or a "
            "period."
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
    if varying.sum() < 2 or len(values) < 2 * BLOCKS:
        raise InvalidValue(
            f"recording: got {int(varying.sum())} units that vary in {len(values)} bins of {bin:g} s; correlations and "
            f"their intervals need at least 2 units in {2 * BLOCKS} bins."
        )
    names = np.array(recording.units)
    return Sample(
        recording, values[:, varying], trial, tuple(names[varying].tolist()), tuple(names[~varying].tolist()), bin
    )


def measures(covariance: Array) -> dict[str, float]:
    """Measures of a covariance that intervals are drawn for.

    Args:
        covariance: Shape `(units, units)`, positive diagonal.

    Returns:
        Number by name; each is the function of its name in `metrics`.
    """
    deviation = np.sqrt(covariance.diagonal())
    with np.errstate(divide="ignore", invalid="ignore"):  # a unit that a bootstrap sample leaves without a spike
        correlation = (covariance / deviation / deviation[:, None])[np.triu_indices(len(covariance), 1)]
    correlation = correlation[np.isfinite(correlation)]
    trace, units = float(np.trace(covariance)), len(covariance)
    ratio = trace**2 / float(np.square(covariance).sum())
    return {
        "mean variance": trace / units,
        "mean correlation": float(correlation.mean()),
        "deviation of correlations over pairs": float(correlation.std()),
        "mean absolute correlation": float(np.abs(correlation).mean()),
        "mean squared correlation": float(np.square(correlation).mean()),
        "participation ratio": ratio,
        "whiteness (0: white)": math.sqrt(max(0.0, units / ratio - 1)),
    }


@final
@dataclass(frozen=True)
class Picture:
    """The numbers of a recording.

    Attributes:
        sample: What was measured.
        table: One row a measure: value, interval, what chance gives.
        correlation: Correlation, shape `(units, units)`.
        null: Correlations of all pairs in the surrogates.
        p_value: Share of surrogates whose mean absolute correlation reaches that of the data.
    """

    sample: Sample
    table: pd.DataFrame
    correlation: Array
    null: Array
    p_value: float


def picture(taken: Sample, seed: int = 0, tick: Callable[[], None] = lambda: None) -> Picture:
    """Measure a recording.

    The interval of a measure is that of 400 bootstrap samples of 20 blocks (percentiles of 95 %, Efron 1979, shifted to
    the estimate: a bootstrap sample has more of its own noise than the data, which would move every interval up).
    Chance: means over 99 surrogates in which every unit is shifted in time.

    Args:
        taken: What is measured.
        seed: Seed of surrogates and bootstrap.
        tick: Called after each surrogate.

    Returns:
        The numbers.
    """
    pandas = require("pandas", "analysis")
    values = taken.values
    estimate = measures(metrics.covariance(values))
    drawn = pandas.DataFrame([measures(matrix) for matrix in chance.block_covariances(values, BLOCKS, DRAWS, seed)])
    upper = np.triu_indices(values.shape[1], 1)
    surrogates, null = [], []
    scale = np.sqrt(np.var(values, axis=0, ddof=1))
    for matrix in chance.shifted(values, SURROGATES, seed):
        surrogates.append(measures(matrix * scale * scale[:, None]))
        null.append(matrix[upper])
        tick()
    by_chance = pandas.DataFrame(surrogates)
    rows = []
    for name, value in estimate.items():
        low, high = np.quantile(drawn[name] - drawn[name].mean() + value, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        rows.append({"measure": name, "value": value, "low": low, "high": high, "chance": by_chance[name].mean()})
    corrected = metrics.participation_ratio(values, correction="samples")
    correlation = metrics.correlation(values)
    edge = chance.marchenko_pastur_edge(*values.shape)
    above = int((np.linalg.eigvalsh(correlation) > edge).sum())
    exact = {
        "participation ratio, corrected for the number of samples": corrected,
        "eigenvalues above the Marchenko-Pastur edge": above,
        **_level(taken),
        "silent units (left out)": len(taken.silent),
        "units": len(taken.units),
        "samples": len(values),
        "bin (s)": taken.bin,
    }
    rows += [{"measure": name, "value": float(value)} for name, value in exact.items()]
    key = "mean absolute correlation"
    reached = int((by_chance[key] >= estimate[key]).sum())
    p_value = (1 + reached) / (1 + SURROGATES)
    return Picture(taken, pandas.DataFrame(rows), correlation, np.concatenate(null), p_value)


def compare(first: Sample, second: Sample, seed: int = 0) -> pd.DataFrame:
    """How two recordings or periods of the same units differ: second minus first.

    Intervals: both are drawn again by blocks, independently, as in `picture`. Effect sizes: difference over the
    standard deviation of its bootstrap; for the correlations also Cohen's d of the paired differences over pairs, mean
    over standard deviation (pairs share units, so d describes and is no test).

    Args:
        first: The one that is compared with.
        second: The other.
        seed: Seed of the bootstrap.

    Returns:
        One row a measure: first, second, difference, low, high, effect size; the last row is over pairs.

    Raises:
        InvalidValue: Fewer than two units that vary in both, or different bins.
    """
    pandas = require("pandas", "analysis")
    shared = [name for name in first.units if name in second.units]
    if len(shared) < 2 or first.bin != second.bin:
        raise InvalidValue(
            f"against: {len(shared)} units of one label vary in both recordings; at least 2 are needed, in one bin."
        )
    values = [taken.values[:, [taken.units.index(name) for name in shared]] for taken in (first, second)]
    one, two = (measures(metrics.covariance(part)) for part in values)
    drawn = [
        pandas.DataFrame([measures(matrix) for matrix in chance.block_covariances(part, BLOCKS, DRAWS, seed + k)])
        for k, part in enumerate(values)
    ]
    rows = []
    for name in one:
        spread = drawn[1][name] - drawn[0][name]
        difference = two[name] - one[name]
        low, high = np.quantile(spread - spread.mean() + difference, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        row = {"measure": name, "first": one[name], "second": two[name], "difference": difference}
        rows.append({**row, "low": low, "high": high, "effect size": difference / spread.std()})
    upper = np.triu_indices(len(shared), 1)
    pairs = [metrics.correlation(part)[upper] for part in values]
    paired = pairs[1] - pairs[0]
    d = float(paired.mean() / paired.std(ddof=1)) if len(paired) > 1 and paired.std() > 0 else math.nan
    over = {
        "measure": f"correlation, paired over {len(paired)} pairs",
        "first": pairs[0].mean(),
        "second": pairs[1].mean(),
    }
    rows.append({**over, "difference": paired.mean(), "low": np.nan, "high": np.nan, "effect size": d})
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
    pandas = require("pandas", "analysis")
    taken, correlation = made.sample, made.correlation
    where = f"bins of {1000 * taken.bin:g} ms"
    save_table(
        made.table, directory, f"{prefix}summary", f"Measures in {where}; 95 % intervals by blocks; chance: shifts."
    )
    upper = np.triu_indices(len(taken.units), 1)
    names = np.array(taken.units)
    pairs = pandas.DataFrame({"first": names[upper[0]], "second": names[upper[1]], "correlation": correlation[upper]})
    save_table(pairs, directory, f"{prefix}pairs", f"Correlation of every pair in {where}.")
    eigenvalues = np.linalg.eigvalsh(correlation)[::-1]
    edge = chance.marchenko_pastur_edge(*taken.values.shape)
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
            "Mean and quartiles over pairs of the cross-correlation; band: one deviation of an independent pair.",
        ),
        "eigenspectrum": (
            figures.eigenspectrum(eigenvalues, edge),
            "Eigenvalues of the correlation matrix and the edge that independent units would not pass.",
        ),
        "distribution": (
            figures.correlation_distribution(correlation[upper], made.null, made.p_value),
            "Correlations over pairs, and those of surrogates in which every unit is shifted in time.",
        ),
        "dimensionality": (
            figures.dimensionality(*_growth(taken.values), len(taken.units)),
            "Participation ratio of the first samples, as it is and corrected for their number.",
        ),
    }
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
    longest = max(1, min(longest, int(np.bincount(taken.trial)[np.unique(taken.trial)].min()) // 2))
    values = taken.values - taken.values.mean(axis=0)
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
    naive, corrected = (
        np.array([metrics.participation_ratio(values[:size], correction=which) for size in sizes.tolist()])
        for which in ("none", "samples")
    )
    return sizes.astype(np.float64), naive, corrected


def _with_trials(recording: SpikeTrains | Rates, conditions: Sequence[str]) -> SpikeTrains | Rates:
    assert recording.trials is not None
    return replace(recording, trials=recording.trials.select(conditions))


def _level(taken: Sample) -> dict[str, float]:
    level = float(taken.values.mean())
    spikes = isinstance(taken.recording, SpikeTrains)
    return {"mean rate of these units (Hz)": level / taken.bin} if spikes else {"mean value of these units": level}
