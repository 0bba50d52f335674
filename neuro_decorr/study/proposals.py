"""Settings that a sampler of Optuna proposes, round by round.

A sampler is asked for all settings of a round at once, and gets their scores before the next round. So its proposals
depend on stored scores alone: not on the order in which runs ended, on the number of workers, or on a kill.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

from neuro_decorr.errors import InvalidValue, NeuroDecorrError, require, shown
from neuro_decorr.study.conditions import Scalar
from neuro_decorr.study.sweeps import Levels, Range, Search, State, Trial

if TYPE_CHECKING:
    import optuna

Told: TypeAlias = tuple[State, tuple[float, ...]]


def proposed(
    search: Search, maximise: bool, rounds: int, arm: Levels, number: int, trials: Sequence[Trial]
) -> list[dict[str, Scalar]]:
    """Propose the settings of a round, as a plain loop of Optuna does that asks for a whole round.

    Args:
        search: The sweep.
        maximise: True if larger scores are better.
        rounds: Number of rounds.
        arm: Condition for which the search is made.
        number: Number of the round, from 0.
        trials: Trials of the earlier rounds, in their order.

    Returns:
        The settings: the level of every factor that is searched.

    Raises:
        MissingExtra: Optuna is not installed.
    """
    conversation = _conversation(search, maximise, rounds, tuple(sorted(arm.items())))
    return conversation.ask(number, trials)


@lru_cache(maxsize=512)
def _conversation(search: Search, maximise: bool, rounds: int, _arm: tuple[tuple[str, Scalar], ...]) -> _Conversation:
    # One for each arm: a new one replays all scores to the sampler, which costs time and changes nothing.
    return _Conversation(search, maximise, rounds)


@final
class _Conversation:
    """A study of Optuna in memory, asked and told round by round."""

    def __init__(self, search: Search, maximise: bool, rounds: int) -> None:
        self._search, self._maximise, self._sizes = search, maximise, search.sizes(rounds)
        self._begin()

    def _begin(self) -> None:
        self._study = self._created()
        if not isinstance(self._search.sampler, str):
            self._check_seed()
        self._told: list[Told] = []
        self._asked: list[list[optuna.trial.Trial]] = []
        self._settings: list[list[dict[str, Scalar]]] = []

    def _created(self) -> optuna.Study:
        with quiet() as library, _named(self._search):
            sampler = _sampler(self._search)
            made: optuna.Study = library.create_study(direction=direction(self._maximise), sampler=sampler)
            return made

    def _check_seed(self) -> None:
        """Refuse a sampler without a seed, which would propose other settings in a resumed study."""
        studies, kinds = (self._created(), self._created()), self._search.distributions()
        with quiet(), _named(self._search):
            first, second = ([each.ask(kinds).params for _ in range(self._sizes[0])] for each in studies)
        if first != second:
            raise InvalidValue(
                "Search: the sampler proposes different settings each time that it is made with seed "
                f"{self._search.seed}; pass the seed on, as in lambda seed: optuna.samplers.NSGAIISampler(seed=seed)."
            )

    def ask(self, number: int, trials: Sequence[Trial]) -> list[dict[str, Scalar]]:
        told: list[Told] = [(trial.state, tuple(trial.scores)) for trial in trials]
        if self._told[: len(told)] != told[: len(self._told)]:
            self._begin()  # the same search with other scores
        with quiet(), _named(self._search):
            while len(self._asked) <= number:
                if self._asked:
                    self._tell(trials)
                kinds, count = self._search.distributions(), self._sizes[len(self._asked)]
                self._asked.append([self._study.ask(kinds) for _ in range(count)])
                self._settings.append([self._rounded(trial.params) for trial in self._asked[-1]])
        return self._settings[number]

    def _tell(self, trials: Sequence[Trial]) -> None:
        from optuna.trial import TrialState  # this is called only where optuna is

        for asked in self._asked[-1]:
            trial = trials[asked.number]
            for length, score in trial.values.items():
                asked.report(score, length)
            value = trial.scores[-1] if trial.state == "complete" else None
            states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
            self._study.tell(asked, value, states[trial.state])
            self._told.append((trial.state, tuple(trial.scores)))

    def _rounded(self, given: Mapping[str, Any]) -> dict[str, Scalar]:
        ranges = self._search.ranges
        return {
            name: among.rounded(given[name]) if isinstance(among, Range) else given[name]
            for name, among in ranges.items()
        }


@contextlib.contextmanager
def _named(search: Search) -> Iterator[None]:
    """Turn an error of the user's sampler into one line; the samplers known by name raise none."""
    try:
        yield
    except NeuroDecorrError:
        raise
    except Exception as error:  # of any kind: the sampler is foreign code
        if isinstance(search.sampler, str):
            raise
        raise InvalidValue(
            f"Search: the sampler fails: {type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}. Use one "
            "that proposes a whole round before it gets scores, and as many settings as the search asks for."
        ) from error


def _sampler(search: Search) -> optuna.samplers.BaseSampler:
    known = require("optuna", "sweeps").samplers
    named = {"random": known.RandomSampler, "tpe": known.TPESampler, "gp": known.GPSampler}
    give: Any = search.sampler
    made = named[give](seed=search.seed) if isinstance(give, str) else give(search.seed)
    if not isinstance(made, known.BaseSampler):
        raise InvalidValue(
            f"Search: sampler({search.seed}) returned {shown(made)}; it must return a sampler of Optuna."
        )
    sampler: optuna.samplers.BaseSampler = made
    return sampler


def direction(maximise: bool) -> Literal["maximize", "minimize"]:
    """Return Optuna's word for the direction of the search."""
    return "maximize" if maximise else "minimize"


@contextlib.contextmanager
def quiet() -> Iterator[Any]:
    """Yield Optuna, silenced: it would print a line about every study that is made."""
    optuna = require("optuna", "sweeps")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield optuna
    finally:
        optuna.logging.set_verbosity(before)
