"""Selection of learning rates and other settings, with equal budgets and with seeds that are not measured.

Every condition gets selection runs: each of its settings runs with every selection seed. The measured runs use the
setting with the best score, with every paired seed. The settings form a grid, or a `Search` proposes them in rounds;
`Halving` ends most of them early. The score is a column of the rows that the protocol records, on the validation split;
the test split is never used for a choice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.study.conditions import Condition, seeds
from neuro_decorr.study.proposals import proposed
from neuro_decorr.study.scores import SELECT, Missing, Scores, check
from neuro_decorr.study.sweeps import Halving, Levels, Search, Trial
from neuro_decorr.study.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

    from neuro_decorr.study.store import StoredRun

MEASURE = "measure"
SELECTION_SEED = 1_000
"""First seed of the selection runs; measured seeds are smaller."""

Stage: TypeAlias = Callable[[Any, list[int], Tables], list[Condition]]
_TEST = re.compile("(^|_)tests?(_|$)")


@final
@dataclass(frozen=True, kw_only=True)
class Selection:
    """Selection runs, and measured runs with the best setting.

    The score of a setting is the mean, over the selection seeds, of the last value of `column` in each run. Of equal
    scores the first setting is chosen. A diverged run has the score `diverged`. Where `diverged` is None it is worse
    than all others: a setting with a diverged run is chosen only if every setting has one, and a sampler learns nothing
    from it.

    Attributes:
        conditions: Function of the configuration that returns the levels of every condition, without the factors that
            are chosen.
        grid: Function of the configuration and the levels of a condition that returns the settings to choose from. Each
            setting gives the levels of the same factors. None where every condition has a search.
        search: Function of the configuration and the levels of a condition that returns the search for its settings, or
            None to run the grid.
        rounds: Number of rounds in which a search proposes its settings. Each round is a stage, and uses the scores of
            all earlier rounds.
        halving: Rule by which settings end early. None: all settings run to their end.
        kind: Kind of the rows with the score.
        column: Column of these rows with the score.
        maximise: True if the largest score is the best, False if the smallest is.
        seeds: Function of the configuration that returns the number of selection seeds of every setting.
        diverged: Score of a diverged run. None: worse than all others.
        equal_budgets: True to refuse conditions with different budgets (settings, and steps where some end early).

    Raises:
        InvalidValue: There is neither a grid nor a search, or no round; or `kind` or `column` names the test split,
            whose results must not influence a choice.
    """

    conditions: Callable[[Any], Sequence[Levels]]
    grid: Callable[[Any, Levels], Sequence[Levels]] | None = None
    search: Callable[[Any, Levels], Search | None] | None = None
    rounds: int = 1
    halving: Halving | None = None
    kind: str
    column: str
    maximise: bool = True
    seeds: Callable[[Any], int] = lambda _: 1
    diverged: float | None = None
    equal_budgets: bool = True

    def __post_init__(self) -> None:
        if self.grid is None and self.search is None:
            raise InvalidValue("Selection: there is nothing to choose from; give a grid or a search.")
        if self.rounds < 1 or (self.rounds > 1 and self.search is None):
            raise InvalidValue(f"Selection: got rounds={self.rounds}; allowed: 1 for a grid, 1 or more for a search.")
        for name, value in (("kind", self.kind), ("column", self.column)):
            if _TEST.search(value):
                raise InvalidValue(
                    f"Selection: {name} '{value}' is of the test split, which must not influence a choice; give one "
                    "of the validation split."
                )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Stages for `Protocol(stages=...)`: one for each round and rung, and one for the measured runs."""
        later = (partial(self.selection_runs, step=step) for step in range(1, self._steps))
        return (self.selection_runs, *later, self.measured_runs)

    def selection_runs(self, configuration: Any, seeds: list[int], tables: Tables, *, step: int = 0) -> list[Condition]:
        """Return the selection runs of one round and rung: all conditions, settings and selection seeds.

        It is a stage, see `Protocol`.

        Args:
            configuration: Configuration of the protocol.
            seeds: The paired seeds, which are not used.
            tables: Tables of the earlier steps.
            step: Number of the step: round times number of rungs, plus rung.

        Returns:
            The runs; none in the later rounds where a grid is run.

        Raises:
            InvalidValue: There is no condition; a condition has no setting; budgets differ; two factors have one name;
                or a run of an earlier step has no score.
            MissingExtra: A search needs Optuna, which is not installed.
        """
        if step == 0:
            self._check_budgets(configuration)
        if self.at_most(configuration, step) == 0:  # the later rounds where a grid is run
            return []
        given, rung = self._scores(configuration, tables), step % self._rungs
        found = []
        for levels in self.conditions(configuration):
            known, going = self._course(configuration, levels, given, step)
            # A setting that was proposed before is not run again.
            ran = {_key(trial) for trial in known if len(trial.scores) > rung}
            new = {_key(trial): trial for trial in going if _key(trial) not in ran}
            found += [self._factors(levels, trial, trial.lengths[rung]) for trial in new.values()]
        chosen = selection_seeds(self.seeds(configuration))
        return [Condition(SELECT, seed, factors) for factors in found for seed in chosen]

    def measured_runs(self, configuration: Any, seeds: list[int], tables: Tables) -> list[Condition]:
        """Return the measured runs: the best setting of every condition, with every paired seed.

        It is a stage, see `Protocol`.

        Args:
            configuration: Configuration of the protocol.
            seeds: The paired seeds.
            tables: Tables of all earlier steps.

        Returns:
            The runs.

        Raises:
            InvalidValue: A run that did not diverge has no score, or a paired seed is also a selection seed.
        """
        if set(seeds) & set(selection_seeds(self.seeds(configuration))):
            raise InvalidValue(f"seeds from {SELECTION_SEED} on are reserved for selection runs; give fewer seeds.")
        given = self._scores(configuration, tables)
        return [
            Condition(MEASURE, seed, self._factors(levels, self.best(trials), trials[0].lengths[-1]))
            for levels in self.conditions(configuration)
            for trials in [self._course(configuration, levels, given)[0]]
            for seed in seeds
        ]

    def trials(self, configuration: Any, tables: Tables) -> list[tuple[Levels, list[Trial]]]:
        """Return the trials of every condition; of an incomplete study those that are known.

        Args:
            configuration: Configuration of the protocol.
            tables: Tables of the study.

        Returns:
            Levels of each condition, and its trials in the order in which they were proposed.
        """
        given = self._scores(configuration, tables)
        found = []
        for levels in self.conditions(configuration):
            known: list[Trial] = []
            for going in self._walk(configuration, levels, known):
                for trial in going:
                    try:
                        self._score(levels, trial, given)
                    except Missing:
                        trial.waiting = True
                if any(trial.waiting for trial in going):
                    break
            found.append((levels, known))
        return found

    def at_most(self, configuration: Any, step: int) -> int:
        """Return the largest number of runs of a step, whatever the earlier steps measure.

        The step has fewer runs where a setting is proposed twice.

        Args:
            configuration: Configuration of the protocol.
            step: Number of the step: round times number of rungs, plus rung.
        """
        number, rung = divmod(step, self._rungs)
        sizes = [self._sizes(configuration, levels)[number] for levels in self.conditions(configuration)]
        return self.seeds(configuration) * sum(self._counts(size)[rung] for size in sizes)

    def best(self, trials: Sequence[Trial]) -> Trial:
        """Choose the best trial among those that ran to the end.

        Args:
            trials: All trials of a condition.
        """
        return self._ranked([trial for trial in trials if len(trial.scores) == len(trial.lengths)])[0]

    def searching(self, configuration: Any, levels: Levels) -> Search | None:
        """Return the search of a condition, or None where it has a grid.

        Args:
            configuration: Configuration of the protocol.
            levels: Levels of the condition.
        """
        return None if self.search is None else self.search(configuration, levels)

    def _scores(self, configuration: Any, tables: Tables) -> Scores:
        worst = self.diverged if self.diverged is not None else -math.inf if self.maximise else math.inf
        return Scores(tables, self.kind, self.column, self.seeds(configuration), worst)

    @property
    def _rungs(self) -> int:
        return 1 if self.halving is None else self.halving.rungs

    @property
    def _steps(self) -> int:
        return self.rounds * self._rungs

    def _lengths(self, configuration: Any) -> list[int]:
        return [0] if self.halving is None else self.halving.lengths(configuration)

    def _factors(self, levels: Levels, trial: Trial, length: int) -> dict[str, Any]:
        length_too = {} if self.halving is None else {self.halving.factor: length}
        return {**levels, **trial.setting, **length_too}

    def _ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        return sorted(trials, key=lambda trial: trial.scores[-1], reverse=self.maximise)

    def _course(
        self, configuration: Any, levels: Levels, given: Scores, until: int | None = None
    ) -> tuple[list[Trial], list[Trial]]:
        """Return the scored trials of all steps before a step, and the trials that run in it."""
        known: list[Trial] = []
        for step, going in enumerate(self._walk(configuration, levels, known)):
            if step == until:
                return known, going
            for trial in going:
                self._score(levels, trial, given)
        return known, []

    def _walk(self, configuration: Any, levels: Levels, known: list[Trial]) -> Iterator[list[Trial]]:
        """Yield the trials of each step, which the caller scores; new trials are appended to `known`."""
        lengths, search = self._lengths(configuration), self.searching(configuration, levels)
        for number in range(self.rounds):
            settings: Sequence[Levels] = []
            if search is not None:
                settings = proposed(search, self.maximise, self.rounds, levels, number, known)
            elif number == 0:
                settings = self._grid(configuration, levels)
            going = [
                Trial(number=len(known) + place, round=number, setting=setting, lengths=lengths)
                for place, setting in enumerate(settings)
            ]
            known += going
            for count in self._counts(len(going)):
                going = sorted(self._ranked(going)[:count] if count < len(going) else going, key=lambda t: t.number)
                yield going

    def _counts(self, settings: int) -> list[int]:
        """Return the number of settings of a round that run in each of its rungs."""
        ratio = 1 if self.halving is None else self.halving.ratio
        return [min(settings, max(1, settings // ratio**rung)) for rung in range(self._rungs)]

    def _score(self, levels: Levels, trial: Trial, given: Scores) -> None:
        length = trial.lengths[len(trial.scores)]
        score, diverged = given.of(self._factors(levels, trial, length))
        trial.scores.append(score)
        trial.diverged += diverged

    def _grid(self, configuration: Any, levels: Levels) -> Sequence[Levels]:
        if self.grid is None:
            raise InvalidValue(
                "Selection: its search returned None for a condition, and there is no grid; give a grid."
            )
        return list(self.grid(configuration, levels))

    def _sizes(self, configuration: Any, levels: Levels) -> list[int]:
        """Return the number of settings of a condition that begin in every round."""
        search = self.searching(configuration, levels)
        later = [0] * (self.rounds - 1)
        return search.sizes(self.rounds) if search else [len(self._grid(configuration, levels)), *later]

    def _check_budgets(self, configuration: Any) -> None:
        budgets, lengths = [], self._lengths(configuration)
        for levels in self.conditions(configuration):
            sizes, search = self._sizes(configuration, levels), self.searching(configuration, levels)
            names = {*(search.ranges if search else [*self._grid(configuration, levels), {}][0])}
            own = {self.halving.factor} if self.halving else set()
            if twice := (names & set(levels)) | (own & (names | set(levels))):
                raise InvalidValue(f"Selection: two factors are named {', '.join(sorted(twice))}; choose other names.")
            steps = sum(n * length for size in sizes for n, length in zip(self._counts(size), lengths, strict=True))
            budgets.append((sum(sizes), steps))
        if not budgets:
            raise InvalidValue("there is no condition to select for; check that none of the options' lists is empty.")
        counts, all_steps = (sorted(set(values)) for values in zip(*budgets, strict=True))
        if counts[0] == 0 or (self.equal_budgets and len(set(budgets)) > 1):
            what = f"{counts} settings" if counts[0] == 0 or len(counts) > 1 else f"{all_steps} steps"
            raise InvalidValue(
                f"the selection has conditions of {what}; give every condition at least one setting"
                f"{', and all conditions equally many' if self.equal_budgets else ''}."
            )


def at_most(stage: Stage, configuration: Any, seeds: list[int]) -> int | None:
    """Return the largest number of runs of a stage of a selection; None for other stages.

    Args:
        stage: Stage of a protocol.
        configuration: Configuration of the protocol.
        seeds: The paired seeds.
    """
    owner, step = _owner(stage)
    if owner is None:
        return None
    if stage == owner.measured_runs:
        return len(owner.conditions(configuration)) * len(seeds)
    return owner.at_most(configuration, step)


def check_score(stage: Stage, run: StoredRun) -> None:
    """Refuse a run of a stage of a selection that has no column of the score.

    Args:
        stage: Stage of a protocol.
        run: A run of it.

    Raises:
        InvalidValue: The run did not diverge and lacks the kind of rows, or the column, of the selection.
    """
    owner, _ = _owner(stage)
    if owner is not None and run.condition.stage == SELECT:
        check(run, owner.kind, owner.column)


def _owner(stage: Stage) -> tuple[Selection | None, int]:
    """Return the selection to which a stage belongs, if any, and the number of its step."""
    function, step = (stage.func, stage.keywords.get("step", 0)) if isinstance(stage, partial) else (stage, 0)
    owner = getattr(function, "__self__", None)
    return (owner if isinstance(owner, Selection) else None), step


def best(rows: pd.DataFrame, conditions: Sequence[str], settings: Sequence[str], column: str) -> pd.DataFrame:
    """Choose the setting with the largest mean for every condition, from one table with all settings.

    Args:
        rows: Tidy rows.
        conditions: Columns that distinguish the conditions.
        settings: Columns of the setting to choose.
        column: Column that is averaged over all rows of a condition and setting. Of equal means the smaller setting is
            chosen.

    Returns:
        One row per condition, with the columns of conditions and settings.
    """
    means = rows.groupby([*conditions, *settings])[column].mean().sort_index()
    chosen = means.groupby(list(conditions)).idxmax()
    made: pd.DataFrame = require("pandas", "study").DataFrame(list(chosen), columns=[*conditions, *settings])
    return made


def selection_seeds(count: int) -> list[int]:
    """Return seeds for selection runs, which no measured run has.

    Args:
        count: Number of seeds.
    """
    return seeds(count, start=SELECTION_SEED)


def logarithmic_grid(low: float, high: float, count: int) -> list[float]:
    """Return values with equal ratios, rounded to six decimals.

    Args:
        low: The first value.
        high: The last value, if there are two or more.
        count: Number of values.
    """
    return [round(value, 6) for value in np.geomspace(low, high, count).tolist()]


def _key(trial: Trial) -> tuple[tuple[str, Any], ...]:
    return tuple(trial.setting.items())
