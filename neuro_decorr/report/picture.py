"""Numbers of a recording: the measures, with their intervals and their values by chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.null import p_value
from neuro_decorr.metrics.surrogates import Kind
from neuro_decorr.metrics.trends import Cutoff
from neuro_decorr.report.chance import Chance, measures
from neuro_decorr.report.sample import Sample

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

LEVEL = 0.95


@final
@dataclass(frozen=True)
class Method:
    """Method for intervals and for values by chance.

    Attributes:
        surrogates: Number of surrogates; 0 for none.
        kind: Kind of the surrogates.
        cutoff: Fluctuations slower than this (s) are removed from data and surrogates first.
        block: Time after which activity is independent (s), for the intervals. None: found from the data.
        seed: Seed of all random draws.
    """

    surrogates: int = 99
    kind: Kind = "auto"
    cutoff: Cutoff = "auto"
    block: float | None = None
    seed: int = 0

    def block_of(self, taken: Sample) -> float | None:
        """Return the block for `metrics.summary`: seconds, or a number of trials where trials fluctuate.

        Args:
            taken: The samples.

        Raises:
            InvalidValue: The block is shorter than a bin or a trial.
        """
        if self.block is not None and self.block < taken.bin:
            raise InvalidValue(
                f"--block: got {self.block:g} s, shorter than a bin of {taken.bin:g} s; give a longer one."
            )
        if self.block is None or not taken.within_trials or taken.recording.trials is None:
            return self.block
        trials = taken.recording.trials
        apart = float(np.median(np.diff(trials.start))) if len(trials) > 1 else math.inf
        if self.block < apart:
            raise InvalidValue(
                f"--block: got {self.block:g} s, shorter than the {apart:.3g} s from trial to trial; give a longer "
                "one, or leave the option out."
            )
        return self.block / apart


@final
@dataclass(frozen=True, eq=False)
class Picture:
    """Numbers of a recording.

    Attributes:
        sample: The samples.
        summary: Standard measures of the samples as they are, with intervals and floors.
        surrogates: Maker of the surrogates, and the data with the same treatment: without drifts, or without the mean
            responses to trials.
        chance: Values of the surrogates; None without surrogates.
    """

    sample: Sample
    summary: metrics.Summary
    surrogates: metrics.Surrogates
    chance: Chance | None

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Labels of the units that are compared with surrogates: those that still vary after the removal."""
        return tuple(self.sample.recording.units[unit] for unit in self.surrogates.units.tolist())

    @cached_property
    def correlation(self) -> Array:
        """Correlations of the activity that is compared with surrogates, shape `(units, units)`."""
        found: Array = self.surrogates.observed.correlation.numpy()
        return found

    @cached_property
    def eigenvalues(self) -> Array:
        """Eigenvalues of these correlations, in descending order."""
        return np.linalg.eigvalsh(self.correlation)[::-1].astype(np.float64, copy=False)

    @property
    def p_value(self) -> float | None:
        """P-value of the mean absolute correlation against the surrogates; None without surrogates."""
        observed = self.surrogates.observed.pairs.mean_absolute
        return None if self.chance is None else p_value(observed, self.chance.measures["mean_absolute_correlation"])

    @property
    def edge(self) -> tuple[float, str]:
        """Upper bound of the largest eigenvalue of units that share nothing, and the source of this bound."""
        if self.chance is not None:
            return self.chance.spectrum.edge, "95 % of surrogates"
        return metrics.marchenko_pastur_edge(self.surrogates.observed.samples, len(self.units)), "Marchenko-Pastur"

    @property
    def above(self) -> int:
        """Number of eigenvalues above that bound."""
        return int((self.eigenvalues > self.edge[0] * (1 + 1e-6)).sum())

    @property
    def removed(self) -> str:
        """Activity that was removed before the comparison with surrogates, in words; empty where nothing was."""
        trials = self.surrogates.kind.startswith("trial")
        found = ["the mean response to each condition"] if trials else []
        if self.sample.recording.gaps and self.surrogates.kind == "local_shift":
            found.append("the mean of each part between gaps")
        if self.surrogates.cutoff is not None:
            found.append(f"fluctuations slower than {self.surrogates.cutoff:.3g} {'trials' if trials else 's'}")
        return " and ".join(found)

    @property
    def facts(self) -> list[str]:
        """Basis of the numbers, in sentences."""
        if self.chance is None:
            without = f" The figures are without {self.removed}." if self.removed else ""
            return [self.summary.facts, f"No surrogates: the floor is the only value by chance.{without}"]
        kind = self.surrogates.kind.replace("_", " ")
        return [
            self.summary.facts,
            f"Chance by {kind}: {self.surrogates.reason}.",
            f"Mean |r| against {len(self.chance)} surrogates: p = {self.p_value:.2g}.",
        ]

    @cached_property
    def table(self) -> pd.DataFrame:
        """Table with estimate, interval, floor; the measure after the removal, if any; the middle of surrogates."""
        table = self.summary.to_frame().reset_index()
        compared = measures(self.surrogates.observed)
        if self.removed:
            table["compared"] = [compared.get(name, math.nan) for name in table["measure"]]
        if self.chance is not None:
            none = math.nan, math.nan
            middles = [self.chance.middle(name) if name in compared else none for name in table["measure"]]
            table["null_low"], table["null_high"] = zip(*middles, strict=True)
        column = "compared" if self.removed else "estimate"
        row = {"measure": [f"eigenvalues above {self.edge[1]}"], column: [float(self.above)]}
        pandas = require("pandas", "recordings")
        whole: pd.DataFrame = pandas.concat([table, pandas.DataFrame(row)], ignore_index=True)
        return whole


def chosen(taken: Sequence[Sample], method: Method) -> list[metrics.Surrogates]:
    """Choose the surrogates of recordings that are compared: all are treated as the one that needs most.

    Args:
        taken: Samples of the recordings.
        method: Method for values by chance; `auto` is settled by the data.

    Returns:
        The surrogates of each recording.

    Raises:
        InvalidValue: See `metrics.surrogates`.
    """
    made = [_surrogates(one, method.kind, method.cutoff) for one in taken]
    cutoffs = [found.cutoff for found in made]
    if len(set(cutoffs)) > 1:
        slower = min(found for found in cutoffs if found is not None)
        kinds = [found.kind for found in made if found.cutoff is not None]
        made = [_surrogates(one, kinds[0], slower) for one in taken]
    return made


def _surrogates(taken: Sample, kind: Kind, cutoff: Cutoff) -> metrics.Surrogates:
    if kind != "auto" and kind.startswith("trial") != taken.within_trials:
        what = "exchanges trials; choose trials with --trials, or give another kind"
        if taken.within_trials:
            what = "does not keep trials; with --trials give auto, trial_shuffle or trial_shift"
        raise InvalidValue(f"--surrogate: {kind} {what}.")
    activity = taken.recording if taken.within_trials else replace(taken.recording, trials=None)
    return metrics.surrogates(activity, taken.bin, kind=kind, cutoff=cutoff)


def picture(
    taken: Sample, made: metrics.Surrogates, method: Method, tick: Callable[[], None] = lambda: None
) -> Picture:
    """Measure a recording with `metrics.summary`, and its surrogates with the same measures.

    Args:
        taken: Samples of the recording.
        made: Its surrogates.
        method: Method for the intervals, and number of surrogates.
        tick: Function that is called after each surrogate.

    Returns:
        The numbers.

    Raises:
        InvalidValue: See `metrics.summary` and `metrics.surrogates`.
    """
    summary = metrics.summary(
        taken.recording, bin=taken.bin, silent="drop", over=taken.over, level=LEVEL, block=method.block_of(taken),
    )  # fmt: skip
    found = Chance.of(made, method.surrogates, method.seed, tick) if method.surrogates else None
    return Picture(taken, summary, made, found)
