"""The choice of learning rates and settings, on equal budgets and seeds that are not measured: two stages.

Every condition gets selection runs, one for each setting of its grid and each selection seed; the measured runs take
the setting with the best score, with every paired seed. What scores is a column of the rows that the protocol records,
one that the validation split gives: the test split chooses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.study.conditions import Condition, Scalar, seeds
from neuro_decorr.study.tables import RUNS, Tables

if TYPE_CHECKING:
    import pandas as pd

SELECT, MEASURE = "select", "measure"
SELECTION_SEED = 1_000
"""The first seed of the selection runs; measured seeds are smaller."""

Levels: TypeAlias = Mapping[str, Any]
"""Level of every factor: str, int, float, bool or None; the protocol, which gives them, knows their types."""
Setting: TypeAlias = tuple[Scalar, ...]


@final
@dataclass(frozen=True, kw_only=True)
class Selection:
    """Selection runs, and measured runs with the best setting.

    The score of a setting is the mean, over the selection seeds, of the last value of `column` in each run. Of equal
    scores the setting that comes first in the grid is chosen. A diverged run counts as `diverged`; without it as worse
    than all others, so that a setting with a diverged run is chosen only where every setting has one.

    Attributes:
        conditions: From the configuration the levels of every condition, without those that are chosen.
        grid: From the configuration and the levels of a condition the settings to choose from: each has levels too,
            of the same factors for all settings.
        kind: Kind of the rows that score.
        column: Column of these rows.
        maximise: Whether the largest score is the best; else the smallest one is.
        seeds: From the configuration how many seeds every setting is run with.
        diverged: Score of a diverged run.
        equal_budgets: Refuse grids of different sizes.
    """

    conditions: Callable[[Any], Sequence[Levels]]
    grid: Callable[[Any, Levels], Sequence[Levels]]
    kind: str
    column: str
    maximise: bool = True
    seeds: Callable[[Any], int] = lambda _: 1
    diverged: float | None = None
    equal_budgets: bool = True

    @property
    def stages(self) -> tuple[Callable[..., list[Condition]], Callable[..., list[Condition]]]:
        """The two stages, for `Protocol(stages=...)`."""
        return self.selection_runs, self.measured_runs

    def selection_runs(self, configuration: Any, seeds: list[int], tables: Tables) -> list[Condition]:
        """Every condition's settings, with every selection seed; a stage, see `Protocol`.

        Raises:
            InvalidValue: A grid is empty, or larger than another one.
        """
        grids = [(levels, list(self.grid(configuration, levels))) for levels in self.conditions(configuration)]
        sizes = {len(grid) for _, grid in grids}
        if 0 in sizes or (self.equal_budgets and len(sizes) > 1):
            raise InvalidValue(
                f"the selection has conditions of {sorted(sizes)} settings; give every condition at least one"
                f"{', and all of them as many' if self.equal_budgets else ''}."
            )
        return [
            Condition(SELECT, seed, {**levels, **setting})
            for levels, grid in grids
            for setting in grid
            for seed in selection_seeds(self.seeds(configuration))
        ]

    def measured_runs(self, configuration: Any, seeds: list[int], tables: Tables) -> list[Condition]:
        """The best setting of every condition, with every paired seed; a stage, see `Protocol`.

        Raises:
            InvalidValue: A run that did not diverge has no score, or a measured seed is one of the selection's.
        """
        if set(seeds) & set(selection_seeds(self.seeds(configuration))):
            raise InvalidValue(f"seeds from {SELECTION_SEED} on select and are not measured; take fewer seeds.")
        return [
            Condition(MEASURE, seed, {**levels, **setting})
            for levels, setting in self._chosen(configuration, tables)
            for seed in seeds
        ]

    def _chosen(self, configuration: Any, tables: Tables) -> list[tuple[Levels, Levels]]:
        best = []
        scores: dict[tuple[str, ...], dict[Setting, float]] = {}
        for levels in self.conditions(configuration):
            grid = list(self.grid(configuration, levels))
            factors = (*levels, *grid[0])
            if factors not in scores:
                scores[factors] = self._scores(tables.of(SELECT), list(factors))
            found = [scores[factors][tuple({**levels, **setting}.values())] for setting in grid]
            best.append((levels, grid[found.index(max(found) if self.maximise else min(found))]))
        return best

    def _scores(self, tables: Tables, factors: list[str]) -> dict[Setting, float]:
        keys = [*factors, "seed"]
        runs = tables[RUNS][[*keys, "diverged"]]
        if self.kind in tables:
            rows = tables[self.kind]
            runs = runs.merge(rows.groupby(keys, dropna=False).tail(1)[[*keys, self.column]], how="left", on=keys)
        worst = self.diverged if self.diverged is not None else -math.inf if self.maximise else math.inf
        scores: dict[Setting, list[float]] = {}
        for run in runs.to_dict("records"):
            score = worst if run["diverged"] else run.get(self.column, math.nan)
            setting = tuple(None if _missing(run[name]) else run[name] for name in factors)
            if _missing(score):
                told = " ".join(f"{name}={level}" for name, level in zip(factors, setting, strict=True))
                raise InvalidValue(f"the selection run {told} has no '{self.column}' in its last row of '{self.kind}'.")
            scores.setdefault(setting, []).append(float(score))
        return {setting: math.fsum(values) / len(values) for setting, values in scores.items()}


def best(rows: pd.DataFrame, conditions: Sequence[str], settings: Sequence[str], column: str) -> pd.DataFrame:
    """The setting with the largest mean of every condition, where all settings are in one table of rows.

    Args:
        rows: Tidy rows.
        conditions: Columns that tell conditions apart.
        settings: Columns to choose.
        column: What is averaged over all rows of a condition and setting. Of equal means the smaller setting is taken.

    Returns:
        One row a condition, with the columns of conditions and settings.
    """
    means = rows.groupby([*conditions, *settings])[column].mean().sort_index()
    chosen = means.groupby(list(conditions)).idxmax()
    made: pd.DataFrame = require("pandas", "study").DataFrame(list(chosen), columns=[*conditions, *settings])
    return made


def selection_seeds(count: int) -> list[int]:
    """Seeds of selection runs, which no measured run has.

    Args:
        count: How many.
    """
    return seeds(count, start=SELECTION_SEED)


def logarithmic_grid(low: float, high: float, count: int) -> list[float]:
    """Values at even ratios, with six decimals.

    Args:
        low: The first one.
        high: The last one, if there are two or more.
        count: How many.
    """
    return [round(value, 6) for value in np.geomspace(low, high, count).tolist()]


def random_search(ranges: Mapping[str, tuple[float, float]], count: int, seed: int = 0) -> list[dict[str, Scalar]]:
    """Settings drawn at random, evenly on logarithmic axes: a grid for `Selection`, the same for every condition.

    Source: Bergstra and Bengio (2012), Random search for hyper-parameter optimization, JMLR 13:281-305.

    Args:
        ranges: Least and largest value of every factor, above zero.
        count: How many settings.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    drawn = {
        name: np.exp(generator.uniform(math.log(low), math.log(high), count)).tolist()
        for name, (low, high) in ranges.items()
    }
    return [{name: values[index] for name, values in drawn.items()} for index in range(count)]


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
