"""Warning about a selection: chosen settings at an edge of what was tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from neuro_decorr.study.sweeps import Levels, Range, Search, Trial

if TYPE_CHECKING:
    from neuro_decorr.study.selection import Selection

Tried: TypeAlias = Sequence[tuple[Levels, list[Trial]]]
"""Levels of every condition, and the settings that were tried for it."""
HEADING = "Settings were chosen at an edge"
_EDGE = 0.05
"""Part of a range, at each end, that counts as its edge."""


def told(selection: Selection, configuration: Any, tried: Tried) -> list[str]:
    """Warn of chosen settings that lie at an edge: a better one may lie beyond.

    Args:
        selection: Selection of the protocol.
        configuration: Configuration of the protocol.
        tried: Trials of every condition; conditions whose selection is not complete do not count.

    Returns:
        One line; none where no chosen setting lies at an edge.
    """
    count, at, among = 0, 0, set()
    factors: Counter[str] = Counter()
    for levels, trials in tried:
        best, search = chosen(selection, trials), selection.searching(configuration, levels)
        if best is None:
            continue
        count += 1
        found = edges(best, search, trials)
        at += bool(found)
        factors.update(found)
        among |= {"grid" if search is None else "range"} if found else set()
    if not at:
        return []
    return [
        f"{at} of {count} selected settings lie at an edge of their {' or '.join(sorted(among))} "
        f"({', '.join(factors)}): a better one may lie beyond; widen it."
    ]


def chosen(selection: Selection, trials: list[Trial]) -> Trial | None:
    """Return the best trial of a condition; None while its selection is not complete.

    Args:
        selection: Selection of the protocol.
        trials: All trials of the condition that are known.
    """
    return None if any(trial.state == "waiting" for trial in trials) or not trials else selection.best(trials)


def edges(best: Trial, search: Search | None, trials: Sequence[Trial]) -> dict[str, str]:
    """Find the numbers of a setting that lie at the edge of what was tried.

    Args:
        best: The setting.
        search: The search; the edges of a range are its first and its last twentieth. None: a grid.
        trials: The settings of a grid; its edges are its ends where it has three numbers or more.

    Returns:
        For each factor at an edge, `lowest` or `highest`.
    """
    found = {}
    for name, level in best.setting.items():
        among = search.ranges[name] if search else [trial.setting[name] for trial in trials]
        if isinstance(level, bool | str) or level is None:
            continue
        if isinstance(among, Range):
            at = among.position(level)
            side = "lowest" if at < _EDGE else "highest" if at > 1 - _EDGE else ""
        else:
            numbers = sorted({one for one in among if isinstance(one, int | float)})
            ends = {numbers[0]: "lowest", numbers[-1]: "highest"} if len(numbers) > 2 else {}
            side = ends.get(level, "")
        if side:
            found[name] = side
    return found
