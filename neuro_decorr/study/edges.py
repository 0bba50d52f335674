"""Warning about a selection: chosen settings at an edge of what was tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neuro_decorr.study.sweep_files import selections
from neuro_decorr.study.sweeps import Range, Search, Trial

if TYPE_CHECKING:
    from neuro_decorr.study.protocol import Protocol
    from neuro_decorr.study.selection import Selection
    from neuro_decorr.study.tables import Tables

HEADING = "Settings were chosen at an edge"
_EDGE = 0.05
"""Part of a range, at each end, that counts as its edge."""


def told(protocol: Protocol, configuration: Any, tables: Tables) -> list[str]:
    """Warn of chosen settings that lie at an edge: a better one may lie beyond. One line for each selection.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        tables: Tables of the study; conditions whose selection is not complete do not count.

    Returns:
        The warnings; none where no chosen setting lies at an edge.
    """
    lines = []
    for selection in selections(protocol.stages):
        count, at, among = 0, 0, set()
        factors: Counter[str] = Counter()
        for levels, trials in selection.trials(configuration, tables):
            best, search = chosen(selection, trials), selection.searching(configuration, levels)
            if best is None:
                continue
            count += 1
            found = edges(best, search, trials)
            at += bool(found)
            factors.update(found)
            among |= {"grid" if search is None else "range"} if found else set()
        if at:
            lines.append(
                f"{at} of {count} selected settings lie at an edge of their {' or '.join(sorted(among))} "
                f"({', '.join(factors)}): a better one may lie beyond; widen it."
            )
    return lines


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
