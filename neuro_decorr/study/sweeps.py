"""Parts of a sweep: ranges of settings, a search in them, early ending of settings, and the trial of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final, get_args

from neuro_decorr.errors import InvalidValue, require, shown, unknown_name
from neuro_decorr.study.conditions import RESERVED, Scalar, scalar

if TYPE_CHECKING:
    import optuna

SamplerName = Literal["random", "tpe", "gp"]
State: TypeAlias = Literal["complete", "pruned", "failed", "waiting"]
Levels: TypeAlias = Mapping[str, Any]
"""Level of every factor: str, int, float, bool or None; the types are known to the protocol that gives them."""

_DIGITS = 6
"""Significant digits of a number that a sampler proposes; further digits differ between processors."""


@final
@dataclass(frozen=True)
class Range:
    """Range of numbers from `low` to `high`, both included.

    Numbers that need not be whole are rounded: to six significant digits on a logarithmic axis, to an equally small
    part of the width on a linear one.

    Attributes:
        low: Smallest number.
        high: Largest number.
        log: True if a sampler uses the logarithm of the numbers.
        whole: True if the numbers are whole.

    Raises:
        InvalidValue: The ends are not finite or not in order; or not above zero with `log`; or not whole with `whole`.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InvalidValue(f"Range({self.low}, {self.high}): give two finite numbers, the smaller one first.")
        if self.log and self.low <= 0:
            raise InvalidValue(f"Range({self.low}, {self.high}, log=True): give numbers above zero, or log=False.")
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise InvalidValue(f"Range({self.low}, {self.high}, whole=True): give whole numbers, or whole=False.")

    def position(self, value: float) -> float:
        """Return the position of a number on the axis that a sampler uses: 0 at the lower end, 1 at the upper."""
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (at - low) / (high - low)

    def rounded(self, value: float) -> float:
        """Return the rounded number, which is the one that is run."""
        if self.whole:
            return int(value)
        width = self.high - self.low
        digits = _DIGITS - 1 - math.floor(math.log10(min(value, width) if self.log else width))
        return float(min(max(round(value, digits), self.low), self.high))


Ranges: TypeAlias = Mapping[str, Range | Sequence[Scalar]]


@final
@dataclass(frozen=True, kw_only=True)
class Search:
    """Search for the best setting of one condition, with settings that a sampler of Optuna proposes.

    All conditions with equal ranges get the same settings in the first round. A setting that is proposed again counts
    as a setting but is not run again: the same seeds would give the same score, which the sampler gets once more.

    `random` is Optuna's `RandomSampler` (Bergstra and Bengio, 2012, Random search for hyper-parameter optimization,
    JMLR 13:281-305), `tpe` its `TPESampler` (Bergstra et al., 2011, Algorithms for hyper-parameter optimization,
    NeurIPS 24), `gp` its `GPSampler` (Gaussian process, expected improvement; it takes about 0.25 s per setting). The
    first ten settings of `tpe` and of `gp` are random. The settings of `gp` result from long computations, which may
    end differently on another processor: a study that is resumed there may run other settings.

    Attributes:
        ranges: A `Range` or a tuple of choices for every factor.
        settings: Number of settings in all rounds together.
        sampler: A name, or a function that returns a sampler of Optuna for a seed.
        seed: Seed of the sampler, the same for every condition.

    Raises:
        InvalidValue: There is no range or no setting, or a range is neither a `Range` nor a tuple. Ranges that depend
            on other factors are refused: make each branch a separate condition with its own budget.
        UnknownName: There is no sampler of this name.
    """

    ranges: Ranges = field(hash=False)
    settings: int
    sampler: SamplerName | Callable[[int], optuna.samplers.BaseSampler] = "tpe"
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.sampler, str) and self.sampler not in get_args(SamplerName):
            raise unknown_name("sampler", self.sampler, get_args(SamplerName))
        if not isinstance(self.sampler, str) and not callable(self.sampler):
            raise InvalidValue(
                f"Search: got sampler={shown(self.sampler)}; allowed is a name or a function of the seed, such as "
                "lambda seed: optuna.samplers.NSGAIISampler(seed=seed)."
            )
        if not self.ranges or self.settings < 1:
            raise InvalidValue(
                f"Search: got {len(self.ranges)} ranges and settings={self.settings}; give at least 1 of each."
            )
        for name, among in self.ranges.items():
            if name in RESERVED:
                raise InvalidValue(f"Search: got the factor '{name}'; the names {', '.join(RESERVED)} are reserved.")
            if isinstance(among, Range):
                continue
            if not isinstance(among, list | tuple) or not among:
                raise InvalidValue(
                    f"Search: the range of '{name}' is {shown(among)}; allowed is a Range(low, high) or a tuple of "
                    "choices. Where a range depends on another factor, make each branch a separate condition."
                )
            if len({scalar(name, choice) for choice in among}) < len(among):
                raise InvalidValue(
                    f"Search: '{name}' has a choice twice: {', '.join(map(str, among))}; give each once."
                )

    def sizes(self, rounds: int) -> list[int]:
        """Return the number of settings of every round, as equal as whole numbers allow."""
        ends = [self.settings * number // rounds for number in range(rounds + 1)]
        return [end - begin for begin, end in itertools.pairwise(ends)]

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return the ranges as distributions of Optuna."""
        kinds = require("optuna", "sweeps").distributions
        made = {}
        for name, among in self.ranges.items():
            if not isinstance(among, Range):
                made[name] = kinds.CategoricalDistribution([scalar(name, choice) for choice in among])
            elif among.whole:
                made[name] = kinds.IntDistribution(int(among.low), int(among.high), log=among.log)
            else:
                made[name] = kinds.FloatDistribution(among.low, among.high, log=among.log)
        return made


@final
@dataclass(frozen=True, kw_only=True)
class Halving:
    r"""Successive halving: early ending of settings within every round of a selection.

    Rung $k$ of $R$ runs a setting for $n / \eta^{R - k}$ steps, where $n$ is the longest run and $\eta$ the ratio. The
    best $1 / \eta$ of the settings of a rung go on to the next rung, and start again from their seed. No threshold
    depends on scores, so the budget is known before the first run and is the same for every condition. Only settings
    that reached the last rung can be chosen.

    Sources: Jamieson and Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization,
    AISTATS 51:240-248; Li et al. (2018), Hyperband, JMLR 18(185):1-52.

    Attributes:
        factor: Factor of the conditions that sets the length of a run: passes, steps or updates. The protocol's `run`
            must use it.
        longest: Function of the configuration that returns the length in the last rung and of the measured runs.
        rungs: Number of rungs.
        ratio: Ratio $\eta$ of the lengths of successive rungs, and of their numbers of settings.

    Raises:
        InvalidValue: There are fewer than two rungs, or the ratio is below 2.
    """

    factor: str
    longest: Callable[[Any], int]
    rungs: int = 3
    ratio: int = 3

    def __post_init__(self) -> None:
        if self.rungs < 2 or self.ratio < 2:
            raise InvalidValue(f"Halving: got rungs={self.rungs} and ratio={self.ratio}; give at least 2 for each.")

    def lengths(self, configuration: Any) -> list[int]:
        """Return the length of the runs of every rung.

        Args:
            configuration: Configuration of the protocol.

        Raises:
            InvalidValue: The longest run is too short for so many rungs.
        """
        longest = self.longest(configuration)
        found = [round(longest / self.ratio**left) for left in reversed(range(self.rungs))]
        if found[0] < 1:
            raise InvalidValue(
                f"{self.factor}={longest} is too short for {self.rungs} rungs of ratio {self.ratio}: runs of the first "
                f"rung would have {self.factor}={longest / self.ratio ** (self.rungs - 1):.2g}; give at least "
                f"{self.ratio ** (self.rungs - 1)}, or fewer rungs."
            )
        return found


@final
@dataclass(kw_only=True)
class Trial:
    """Setting of a condition in a selection, with its scores.

    Attributes:
        number: Position among the settings of its condition.
        round: Round in which it was proposed, from 0.
        setting: Level of every factor that is chosen.
        lengths: Length of its runs in every rung; the single number 0 where there is no `Halving`.
        scores: Mean over seeds in every rung that it has run; infinite, and worse than all others, where a divergence
            left no score.
        diverged: Number of its runs that diverged.
        waiting: True if it waits for a run that is not stored.
    """

    number: int
    round: int
    setting: Levels
    lengths: Sequence[int]
    scores: list[float] = field(default_factory=list)
    diverged: int = 0
    waiting: bool = False

    @property
    def state(self) -> State:
        """`complete`; `pruned` in an early rung; `failed` where a divergence left no score; `waiting` for a run."""
        if self.waiting:
            return "waiting"
        if not self.scores or not math.isfinite(self.scores[-1]):
            return "failed"
        return "complete" if len(self.scores) == len(self.lengths) else "pruned"

    @property
    def values(self) -> dict[int, float]:
        """Finite scores by length of the runs; empty where there is no `Halving`."""
        pairs = zip(self.lengths, self.scores, strict=False) if len(self.lengths) > 1 else ()
        return {length: score for length, score in pairs if math.isfinite(score)}
