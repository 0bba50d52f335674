"""Further measures of a recording: noise correlations, slow and fast parts, quality of units, dependence of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, final

import numpy as np

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, MissingExtra, require
from neuro_decorr.recording import SpikeTrains, Trials
from neuro_decorr.recording.checks import chosen
from neuro_decorr.report import detail_panels, sizes
from neuro_decorr.report.labels import printable
from neuro_decorr.report.picture import Picture
from neuro_decorr.report.results import Table
from neuro_decorr.report.sheets import Panel, Sheet, sheet

if TYPE_CHECKING:
    import pandas as pd

_BETWEEN = "bars, 95 % intervals over units; grey, the middle 95 % when it is exchanged between units; dots, pairs"
_WIDTHS = (
    "mean correlation against the width of the bins; bars, 95 % intervals over time; grey, 95 % of units that share "
    "nothing"
)
_COUPLING = (
    "correlation of each unit with the sum of all others, ordered; bars, 95 % intervals over time; grey, the middle "
    "95 % when the others are shifted by up to 50 bins: what is slower stays in it"
)


@final
@dataclass(frozen=True, eq=False)
class Details:
    """Results beside the standard measures.

    Attributes:
        prefix: Prefix of the file names.
        tables: The numbers.
        panels: Panels of the figure of correlations against properties of the pairs.
        sheets: Other figures.
        warnings: Warnings for the reader.
        facts: Basis of the numbers, and the measures that the data do not allow, with the reasons.
    """

    prefix: str
    tables: list[Table] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def take(self, name: str, measure: Callable[[], Any], caption: str = "", *, printed: bool = False) -> Any:
        """Take a measure; where the data do not allow it, add the reason to the facts.

        Args:
            name: Name of the table.
            measure: Function that returns a result with `to_frame`, usually with `facts` and `warnings`.
            caption: Caption of the table.
            printed: True if the command prints the table.

        Returns:
            The result; None where the data do not allow it.
        """
        try:
            found = measure()
        except (InvalidValue, MissingExtra) as error:
            self.facts.append(f"No {name.replace('_', ' ')}: {error}")
            return None
        self.warnings.extend(map(printable, getattr(found, "warnings", ())))
        said = " ".join(filter(None, (caption, getattr(found, "facts", ""))))
        self.tables.append(Table(f"{self.prefix}{name}", said, _indexed(found.to_frame()), printed))
        return found

    def drawn(self, title: str, n: str) -> list[Sheet]:
        """Draw the figure of correlations against properties of the pairs; no figure where nothing could be measured.

        Args:
            title: Name of the recording.
            n: Numbers of units, pairs and bins, in words.
        """
        if not self.panels:
            return []
        letters = "ABCDE"[: len(self.panels)]
        rows = [letters[k : k + 2] for k in range(0, len(letters), 2)]
        layout = ";".join(row if len(row) == 2 or len(rows) == 1 else 2 * row for row in rows)
        width = sizes.DOUBLE if len(letters) > 1 else sizes.MIDDLE
        heading = f"What correlations of {title} go with"
        return [sheet(f"{self.prefix}profiles", heading, self.panels, n, layout, 2.5 * len(rows), width=width)]


def always(made: Picture, prefix: str, width: float | None) -> Details:
    """Take the measures that are always printed: noise correlations, slow and fast parts.

    Args:
        made: The numbers of a recording.
        prefix: Prefix of the file names.
        width: Width of a bin (s) that the user gave; None: noise correlations of one count per trial.
    """
    found, taken = Details(prefix), made.sample
    trials = taken.recording.trials
    if trials is not None:
        bin = noise_bin(trials, taken.bin, width)
        caption = "Noise correlations (without the mean response): their mean with its interval, null and p."
        found.take("noise", lambda: metrics.noise_correlations(taken.recording, bin), caption, printed=True)
        if not taken.within_trials:
            found.warnings.append(
                f"only the noise correlations use the {len(trials)} trials; all other measures are of the whole "
                "recording, with the shared response to stimuli: for those of trials give --trials all"
            )
        elif bin is None and taken.bin < trials.durations[0] * (1 - 1e-6):
            found.warnings.append(
                f"the noise correlations have one count per trial, all other measures bins of {taken.bin:g} s; for "
                f"one width give it, such as --bin {trials.durations[0]:.9g}s for one count per trial"
            )
        if width is None and bin is not None:
            shortest, longest = trials.durations.min(), trials.durations.max()
            once = "" if trials.one_bin is None else f"; for one count per trial give --bin {trials.one_bin:g}s"
            found.warnings.append(
                f"the noise correlations have bins of {bin:g} s, since trials last {shortest:g} to {longest:g} s{once}"
            )
    if not taken.within_trials and made.surrogates.cutoff is not None:
        activity, cutoff = _untrialled(made), made.surrogates.cutoff
        caption = (
            f"Correlations of the parts slower and faster than {cutoff:.3g} s, and their contributions to the mean."
        )
        found.take("slow_fast", lambda: metrics.slow_fast(activity, taken.bin, cutoff=cutoff), caption, printed=True)
    return found


def noise_bin(trials: Trials, bin: float, width: float | None) -> float | None:
    """Choose the width of the bins of noise correlations.

    Args:
        trials: Trials of the recording.
        bin: Width of the bins of the other measures (s).
        width: Width that the user gave (s), or None.

    Returns:
        The width that the user gave; else None, which is one count per trial; else, for trials of unequal lengths,
        whose counts cannot be compared, the width of the other measures.
    """
    return width if width is not None or trials.one_length else bin


def quality(made: Picture, found: Details) -> None:
    """Check the spike sorting: warnings, and tables of the units and of pairs with coincident spikes.

    Args:
        made: The numbers of a recording.
        found: Details that get the results.
    """
    trains = made.sample.recording
    if not isinstance(trains, SpikeTrains):
        return
    judged = found.take("units", lambda: metrics.unit_quality(trains), "Quality of every unit.")
    if judged is not None:
        caption = f"Pairs with more or fewer coincident spikes than jittered trains have. {judged.facts}"
        found.tables.append(Table(f"{found.prefix}coincident_pairs", caption, judged.pairs_frame(), False))


def written(made: Picture, found: Details, seed: int) -> None:
    """Take the measures for files and pages only: correlations against properties of the pairs, and dimensions.

    Args:
        made: The numbers of a recording.
        found: Details that get the results.
        seed: Seed of the permutations.
    """
    taken, activity = made.sample, _untrialled(made)
    if not taken.within_trials:
        _profile(found, activity, taken.bin, "rate", seed)
        if activity.positions is None:
            found.facts.append("No r against distance: the positions of the units are not known.")
        else:
            _profile(found, activity, taken.bin, "distance", seed)
        widths = found.take("bin_widths", lambda: metrics.bin_profile(activity), "Mean correlation by width of bins.")
        if widths is not None:
            found.panels.append(Panel(_WIDTHS, partial(detail_panels.widths, found=widths), "by width of bins"))
        coupled = found.take("coupling", lambda: metrics.population_coupling(activity, taken.bin),
                             "Correlation of every unit with the sum of the others.")  # fmt: skip
        if coupled is not None:
            found.panels.append(
                Panel(_COUPLING, partial(detail_panels.coupling, found=coupled), "coupling to the others")
            )
    elif len(set(taken.recording.trials.conditions if taken.recording.trials else ())) > 1:
        _profile(found, taken.recording, None, "signal", seed)
    found.take(
        "dimensions", lambda: _Dimensions(made), "Dimensions by several measures, also of units that share nothing."
    )


def _profile(found: Details, activity: Any, bin: float | None, against: Any, seed: int) -> None:
    name = {"rate": "against_rate", "distance": "against_distance", "signal": "noise_against_signal"}[against]
    caption = f"Mean correlation of pairs alike in {against}."
    profile = found.take(f"r_{name}", lambda: metrics.pair_profile(activity, bin, against=against, seed=seed), caption)
    if profile is None:
        return
    trend = profile.mantel
    told = f"{'noise ' * (against == 'signal')}correlation against {profile.axis}; {_BETWEEN}; r of both "
    told += f"{trend.estimate:.2g} [{trend.low:.2g}, {trend.high:.2g}], p = {trend.p_value:.2g}"
    found.panels.append(Panel(told, partial(detail_panels.profile, found=profile), f"by {against}"))


def pair(made: Picture, found: Details, labels: tuple[str, str], seed: int) -> None:
    """Measure the correlogram of two units, and compare it with jittered spikes.

    Args:
        made: The numbers of a recording.
        found: Details that get the results.
        labels: Labels of the units.
        seed: Seed of the jitter.

    Raises:
        InvalidValue: See `metrics.pair_correlogram`.
    """
    trains = made.sample.recording
    assert isinstance(trains, SpikeTrains)  # checked before anything was computed
    if made.sample.within_trials:
        trains = trains.within_trials()
    drawn = metrics.pair_correlogram(trains, *labels, seed=seed)
    first, second = map(printable, labels)
    found.take("pair", lambda: drawn, f"Correlogram of {first} and {second}.")
    beyond = ", ".join(f"{1e3 * lag:.3g} ms" for lag in drawn.lags[drawn.significant].tolist()) or "none"
    found.facts.append(
        f"Spikes of {second} around those of {first}: p = {drawn.p_value:.2g} against jittered spikes; lags beyond "
        f"the band for all lags: {beyond}."
    )
    told = f"spikes of {second} around those of {first}; grey, 95 % of jittered spikes at each lag; dashed, at all "
    told += f"lags together; p = {drawn.p_value:.2g}"
    panel = Panel(told, partial(detail_panels.pair, found=drawn), "correlogram")
    counts = [len(trains.times[row]) for row in chosen(labels, trains.units)]
    n = f"{counts[0]} and {counts[1]} spikes in {trains.duration:g} s"
    n += " inside the trials" * made.sample.within_trials
    found.sheets.append(sheet(f"{found.prefix}pair", f"{first} and {second}", [panel], n, "A", 2.6, width=sizes.MIDDLE))


@final
class _Dimensions:
    """Dimensions by several measures, of the activity that is compared with surrogates.

    Args:
        made: The numbers of a recording.
    """

    def __init__(self, made: Picture) -> None:
        values, moments = np.asarray(made.surrogates.samples, dtype=np.float64), made.surrogates.observed
        shared = metrics.shared_variance(values, cutoff=None)
        ratios = {
            "participation_ratio": moments.participation_ratio(),
            "participation_ratio_samples": moments.participation_ratio("samples"),
        }
        nulls = {name: np.nan if made.chance is None else float(made.chance.measures[name].mean()) for name in ratios}
        self.rows: dict[str, tuple[float, float]] = {name: (value, nulls[name]) for name, value in ratios.items()} | {
            "parallel_analysis": (float(made.above), 0.0),
            "factors": (float(shared.factors), 0.0),
            "dimensions_95": (float(shared.dimensions), 0.0),
            "percent_shared": (shared.mean_percent, 0.0),
        }

    def to_frame(self) -> pd.DataFrame:
        """Make a table with one row per measure."""
        pandas = require("pandas", "recordings")
        frame: pd.DataFrame = pandas.DataFrame.from_dict(self.rows, orient="index", columns=["value", "independent"])
        return frame.rename_axis("measure")


def _untrialled(made: Picture) -> Any:
    """Return the recording over its whole time, with the units that are compared."""
    recording = replace(made.sample.recording, trials=None)
    return recording.select(list(made.units)) if len(made.units) < len(recording.units) else recording


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn a named index into the first column, and make labels printable."""
    named = frame.reset_index() if frame.index.name is not None else frame
    for column in named.select_dtypes(include=["object", "string"]):
        named[column] = [printable(value) if isinstance(value, str) else value for value in named[column]]
    return named
