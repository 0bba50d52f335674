"""Warning about a selection: chosen settings that do far worse in the measured seeds than in the selection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np

from neuro_decorr.errors import require
from neuro_decorr.study.edges import Tried, chosen
from neuro_decorr.study.scores import last
from neuro_decorr.study.selection import MEASURE, Selection
from neuro_decorr.study.tables import Tables

HEADING = "Settings fall behind in the measured seeds"
_LEVEL = 0.05
"""Bound on the probability of a false alarm in a study with normal noise."""
_LEAST = 0.1
"""Least distance of the worst score from the chosen one, relative to the latter; less is no fall, however exact."""
_NAMED = 3
"""Largest number of settings that the line names."""


@final
class Chosen(NamedTuple):
    """Chosen setting of one condition, with its measured runs.

    Attributes:
        name: Its levels in words.
        score: Its score in the selection.
        tried: Number of settings of its condition.
        diverged: Number of its selection runs that diverged.
        measured: Score of every measured run; nan where the run diverged or recorded none.
        lost: Number of measured runs that diverged.
    """

    name: str
    score: float
    tried: int
    diverged: int
    measured: Sequence[float]
    lost: int


def told(selection: Selection, configuration: Any, tables: Tables, tried: Tried) -> list[str]:
    """Warn of chosen settings that fall far behind in the measured seeds; see `fallen` for the criterion.

    Args:
        selection: Selection of the protocol.
        configuration: Configuration of the protocol.
        tables: Tables of the study; conditions whose selection is not complete do not count.
        tried: Trials of every condition.

    Returns:
        One line, or none.
    """
    found, scores = [], []
    for levels, trials in tried:
        best = chosen(selection, trials)
        if best is None:
            continue
        length = {selection.halving.factor: best.lengths[-1]} if selection.halving else {}
        factors = {**levels, **best.setting, **length}
        runs = last(tables, MEASURE, selection.kind, selection.column, list(factors)).get(tuple(factors.values()), [])
        name = " ".join(f"{factor}={level}" for factor, level in {**levels, **best.setting}.items())
        measured = [math.nan if diverged else score for score, diverged in runs]
        lost = sum(diverged for _, diverged in runs)
        found.append(Chosen(name, best.scores[-1], len(trials), best.diverged, measured, lost))
        scores += [trial.scores[-1] for trial in trials if trial.state == "complete"]
    named = []
    for one, count in zip(
        found, fallen(found, scores, selection.seeds(configuration), selection.maximise), strict=True
    ):
        of = f"of {len(one.measured)} measured runs"
        if one.lost and not one.diverged:
            named.append(f"{one.name} ({one.lost} {of} diverged, no selection run did)")
        elif count:
            # The runs that fell are the worst ones.
            worst = sorted((x for x in one.measured if not math.isnan(x)), reverse=not selection.maximise)[:count]
            ends = " to ".join(dict.fromkeys(f"{x:.3g}" for x in (min(worst), max(worst))))
            named.append(
                f"{one.name} (selected with {selection.column} {one.score:.3g}, {count} {of} "
                f"{'has' if count == 1 else 'have'} {ends})"
            )
    if not named:
        return []
    more = f"; and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return [
        f"{len(named)} of {len(found)} selected settings {'falls' if len(named) == 1 else 'fall'} far behind in the "
        f"measured seeds: {'; '.join(named[:_NAMED])}{more}. Select with more seeds."
    ]


def fallen(found: Sequence[Chosen], scores: Sequence[float], seeds: int, maximise: bool = True) -> list[int]:
    r"""Count the measured runs of every chosen setting that fall far behind its score in the selection.

    The chosen score is the best of several, so the measured runs are a little worse on average, in every study. A run
    falls only if it is nearer to the worst score $w$ of all settings that were tried, in all conditions, than to the
    score $s$ for which its setting was chosen. It counts only where noise does not explain so long a way:

    $$\tfrac12 |s - w| > t_\nu(1 - p)\, \sigma \sqrt{1 + 1 / k}, \qquad p = 0.05 / (c\, g\, n)$$

    with $k$ selection seeds. $\sigma$ is the standard deviation of the measured runs of the setting, with those that
    fell and the others each around their own mean (so that two fallen runs of five do not hide themselves), and $\nu$
    its degrees of freedom. The bound of Bonferroni over the $c$ conditions, $g$ settings of this condition, and $n$
    measured runs allows for the choice of the best score. Where $w$ is within a tenth of $s$, nothing falls.

    The bound holds for normal noise if no run falls by chance, and is wide: in simulated studies of 1 to 40 conditions
    with normal noise, 2 % or less had a false alarm; with tails as long as those of $t_3$ or of an exponential, 7 % or
    less. A fall to chance of two of five runs is found where the standard deviation is below a fiftieth of it; fewer
    than four runs, or larger noise, often hide it.

    Args:
        found: The chosen settings.
        scores: Finite scores of all settings of all conditions.
        seeds: Number of selection seeds.
        maximise: True if the largest score is the best, False if the smallest is.

    Returns:
        Number of fallen runs of each chosen setting; 0 where noise explains them.
    """
    stdtrit, sign = require("scipy.special", "study").stdtrit, 1 if maximise else -1
    worst = min((sign * score for score in scores), default=math.nan)
    counts = []
    for one in found:
        values = sign * np.array([x for x in one.measured if math.isfinite(x)], dtype=np.float64)
        way = sign * one.score - worst
        if not len(values) or not math.isfinite(way) or way <= _LEAST * abs(one.score):
            counts.append(0)
            continue
        fell = values < worst + way / 2
        groups = [group for group in (values[fell], values[~fell]) if len(group)]
        freedom = len(values) - len(groups)
        if not fell.any() or freedom == 0:
            counts.append(0)
            continue
        sigma = math.sqrt(sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / freedom)
        quantile = -stdtrit(freedom, _LEVEL / (len(found) * one.tried * len(values)))
        counts.append(int(fell.sum()) if way / 2 > quantile * sigma * math.sqrt(1 + 1 / seeds) else 0)
    return counts
