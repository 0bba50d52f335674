"""Report on a selection and its cost: a table of its conditions, one of all settings, and a figure."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from neuro_decorr.errors import require
from neuro_decorr.report import palette, sizes
from neuro_decorr.report.figures import save_figure
from neuro_decorr.report.tables import save_table
from neuro_decorr.study.edges import chosen, edges
from neuro_decorr.study.failures import counted
from neuro_decorr.study.selection import Selection
from neuro_decorr.study.sweeps import Levels, Range, Search, Trial
from neuro_decorr.study.tables import Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TICKS = 6
"""Largest number of levels on a linear axis that have a tick each."""
_HEIGHT = 2.6
"""Height of a panel (inches)."""
_BESIDE = 3
"""Largest number of panels beside each other."""


class _Swept(NamedTuple):
    """Condition with the source of its settings, and its trials."""

    levels: Levels
    search: Search | None
    trials: list[Trial]
    best: Trial | None  # None while the study is not complete


def save_sweep(
    selection: Selection, configuration: Any, tables: Tables, directory: str | PathLike[str], name: str = "sweep"
) -> None:
    """Write the tables `NAME` (one row per condition) and `NAME_settings` (one per setting), and the figure `NAME`.

    Args:
        selection: Selection of the protocol.
        configuration: Configuration of the protocol.
        tables: Tables of the study, with its selection runs.
        directory: Directory of the study.
        name: Name of the files.

    Raises:
        Unwritable: The directory cannot be written.
    """
    pandas = require("pandas", "study")
    swept = [
        _Swept(levels, selection.searching(configuration, levels), trials, chosen(selection, trials))
        for levels, trials in selection.trials(configuration, tables)
    ]
    seeds = selection.seeds(configuration)
    score = f"last {selection.column.replace('_', ' ')}, mean over {seeds} selection seed{'s' * (seeds > 1)}"
    figure, told = draw(swept, selection, score)
    save_figure(figure, directory, name, f"{told} n = {counted(seeds, 'selection seed')}.")
    settings = pandas.DataFrame([_setting(one.levels, trial) for one in swept for trial in one.trials])
    save_table(overview(swept, selection, seeds), directory, name, _caption(selection, score))
    save_table(settings, directory, f"{name}_settings", f"Every setting in the order of its condition. Score: {score}.")


def overview(swept: Sequence[_Swept], selection: Selection, seeds: int) -> pd.DataFrame:
    """Tabulate the conditions, one per row: the search, its cost, and the chosen setting.

    Args:
        swept: Conditions.
        selection: Selection of the protocol.
        seeds: Number of selection seeds.
    """
    rows = []
    for levels, search, trials, best in swept:
        # A setting that was proposed twice was run once.
        ran = {(_key(trial), trial.lengths[rung]) for trial in trials for rung in range(len(trial.scores))}
        halved = {}
        if selection.halving is not None:
            pruned = sum(trial.state == "pruned" for trial in trials)
            halved = {selection.halving.factor: seeds * sum(step for _, step in ran), "pruned": pruned}
        states, diverged = [trial.state for trial in trials], dict.fromkeys(map(_key, trials), 0)
        for trial in trials:
            diverged[_key(trial)] = max(diverged[_key(trial)], trial.diverged)
        rows.append({
            **levels,
            "search": "grid" if search is None else _name(search),
            "settings": len(trials),
            "repeated": len(trials) - len(diverged),
            "rounds": len({trial.round for trial in trials}),
            "seeds": seeds,
            "runs": seeds * len(ran),
            **halved,
            "failed": states.count("failed"),
            "waiting": states.count("waiting"),
            "diverged runs": sum(diverged.values()),
            **({f"best {name}": level for name, level in best.setting.items()} if best else {}),
            "score": best.scores[-1] if best and best.state == "complete" else math.nan,
            "edge": ", ".join(f"{name} {side}" for name, side in edges(best, search, trials).items()) if best else "",
        })  # fmt: skip
    made: pd.DataFrame = require("pandas", "study").DataFrame(rows)
    return made if made["waiting"].any() else made.drop(columns="waiting")


def draw(swept: Sequence[_Swept], selection: Selection, score: str) -> tuple[Figure, str]:
    """Draw the score of every setting against each factor that was chosen.

    Args:
        swept: Conditions.
        selection: Selection of the protocol.
        score: Name of the score, in words.

    Returns:
        The figure, and its caption.
    """
    matplotlib = require("matplotlib", "study")
    with matplotlib.rc_context(sizes.TEXT):
        return _draw(swept, selection, score)


def _draw(swept: Sequence[_Swept], selection: Selection, score: str) -> tuple[Figure, str]:
    plt = require("matplotlib.pyplot", "study")
    chosen = list(dict.fromkeys(name for one in swept for trial in one.trials for name in trial.setting))
    varied = [name for name in chosen if len(_levels(swept, name)) > 1] or chosen[:1]
    deep = -(-len(varied) // _BESIDE)
    wide = -(-len(varied) // deep)
    size = (sizes.MIDDLE if wide == 1 else sizes.DOUBLE, _HEIGHT * deep)
    figure, axes = plt.subplots(deep, wide, figsize=size, squeeze=False, sharey=True, layout="constrained")
    names = _labels(swept)
    colours = _colours([str(one.levels.get("arm", "")) for one in swept]) or _colours(names)
    for axis, name, letter in zip(axes.flat, varied, string.ascii_uppercase, strict=False):
        _panel(axis, name, swept, colours or ["#777777"] * len(swept), names)
        axis.set_title(letter if len(varied) > 1 else "", loc="left", fontweight="bold")
    for axis in axes.flat[len(varied) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel(selection.column.replace("_", " "))
    if colours and len(swept) > 1:
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(swept)), frameon=False)
    marks = ["Filled points, settings that ran to the end; ring, the chosen setting"]
    states = {trial.state for one in swept for trial in one.trials}
    marks += ["open points, settings that ended early, at their last score"] * ("pruned" in states)
    marks += ["crosses below, settings that diverged and have no score"] * ("failed" in states)
    marks += ["one colour for all conditions, since there are too many for separate ones"] * (colours is None)
    return figure, f"Settings that were tried: {score}. {'; '.join(marks)}."


def _labels(swept: Sequence[_Swept]) -> list[str]:
    """Name the conditions by the levels that distinguish them."""
    levels = [one.levels for one in swept]
    same = {name for name in levels[0] if all(name in one and one[name] == levels[0][name] for one in levels)}
    return [
        ", ".join(
            str(level) if isinstance(level, str) else f"{name} {level}"
            for name, level in one.items()
            if name not in same
        )
        for one in levels
    ]


def _colours(names: Sequence[str]) -> list[str] | None:
    """Choose a colour for each condition; None where there are not enough colours."""
    found = [look.colour for look in palette.looks(names)]
    return found if len(set(found)) == len(found) else None


def _panel(axis: Axes, name: str, swept: Sequence[_Swept], colours: Sequence[str], names: Sequence[str]) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    levels = _levels(swept, name)
    words = None if all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels) else levels
    for (_, _, trials, best), colour, label in zip(swept, colours, names, strict=True):
        having = [trial for trial in trials if name in trial.setting]

        def at(trial: Trial) -> Any:
            return trial.setting[name] if words is None else words.index(trial.setting[name])

        for state, face in (("complete", colour), ("pruned", "none")):
            some = [trial for trial in having if trial.state == state]
            axis.scatter(
                [at(trial) for trial in some], [trial.scores[-1] for trial in some], s=22, facecolors=face,
                edgecolors=colour, linewidths=1, label=label if state == "complete" else None,
            )  # fmt: skip
        failed = [at(trial) for trial in having if trial.state == "failed"]
        axis.plot(failed, [0.03] * len(failed), "x", markersize=5, color=colour, transform=axis.get_xaxis_transform())
        if best is not None and best in having and math.isfinite(best.scores[-1]):
            axis.scatter([at(best)], [best.scores[-1]], s=110, facecolors="none", edgecolors=colour, linewidths=1.2)
    axis.margins(y=0.1)  # a strip for the crosses
    if words is not None:
        axis.set_xticks(range(len(words)), [str(word) for word in words])
        axis.set_xlim(-0.5, len(words) - 0.5)
    elif _logarithmic(name, swept, levels):
        axis.set_xscale("log")
    elif len(levels) <= _TICKS:
        axis.set_xticks(sorted(levels))
    axis.set_xlabel(name.replace("_", " "))


def _logarithmic(name: str, swept: Sequence[_Swept], levels: Sequence[float]) -> bool:
    ranges = [one.search.ranges.get(name) for one in swept if one.search is not None]
    known = [among.log for among in ranges if isinstance(among, Range)]
    return all(known) if known else min(levels) > 0 and max(levels) >= 10 * min(levels)


def _levels(swept: Sequence[_Swept], name: str) -> list[Any]:
    return list(dict.fromkeys(t.setting[name] for one in swept for t in one.trials if name in t.setting))


def _setting(levels: Levels, trial: Trial) -> dict[str, Any]:
    several = len(trial.lengths) > 1
    scores = {f"score at {length}": score for length, score in trial.values.items()} if several else {}
    last = trial.scores[-1] if trial.state in ("complete", "pruned") else math.nan
    return {**levels, "number": trial.number, "round": trial.round + 1, **trial.setting, **scores, "score": last,
            "state": trial.state, "diverged runs": trial.diverged}  # fmt: skip


def _caption(selection: Selection, score: str) -> str:
    halving, told = selection.halving, ""
    if halving is not None:
        told = (
            f" In every round the best 1/{halving.ratio} of the settings go on from each of {halving.rungs} rungs to "
            f"the next, and start again; `{halving.factor}`: sum over all runs (a run that diverges ends earlier)."
        )
    if selection.diverged is not None:
        told += f" A diverged run has the score {selection.diverged:g}."
    return (
        f"Search and chosen setting of every condition. Score: {score}; the test split chooses nothing.{told} "
        "`repeated`: settings that were proposed before and not run again; `edge`: the choice lies at an end of its "
        "grid of three or more numbers, or in the first or last twentieth of its range."
    )


def _name(search: Search) -> str:
    return search.sampler if isinstance(search.sampler, str) else getattr(search.sampler, "__name__", "own sampler")


def _key(trial: Trial) -> tuple[tuple[str, Any], ...]:
    return tuple(trial.setting.items())
