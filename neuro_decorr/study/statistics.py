"""Statistics over paired seeds, in which a diverged run always counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require

Policy: TypeAlias = Literal["last", "chance"]
"""What stands for a diverged run: `last`, its last measured value (chance level if it measured nothing finite);
`chance`, the chance level always."""


@final
@dataclass(frozen=True)
class Description:
    """Description of some values.

    Attributes:
        mean: Arithmetic mean.
        standard_deviation: With n - 1 in the denominator; nan for one value.
        n: How many values, diverged runs included.
        minimum: The smallest one.
        maximum: The largest one.
        diverged: How many of them are of diverged runs.
    """

    mean: float
    standard_deviation: float
    n: int
    minimum: float
    maximum: float
    diverged: int


@final
@dataclass(frozen=True)
class PairedDifference:
    """Mean difference over paired seeds, with its interval.

    Attributes:
        mean: Mean of a - b.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: How many pairs.
        confidence: Coverage of the interval.
        diverged: How many pairs have a diverged run.
    """

    mean: float
    low: float
    high: float
    n: int
    confidence: float
    diverged: int


def outcomes(
    values: Sequence[float | None],
    diverged: Sequence[bool] | None = None,
    policy: Policy = "last",
    chance: float | None = None,
) -> NDArray[np.float64]:
    """One finite value for every run, diverged ones included; none is ever dropped.

    Args:
        values: The last measured value of each run; nan or None where a diverged run measured none.
        diverged: Which runs diverged; none when not given.
        policy: What stands for a diverged run, see `Policy`.
        chance: The chance level, in the units of the values.

    Returns:
        The values, shape (runs,).

    Raises:
        InvalidValue: A run that did not diverge has no finite value, or the chance level is needed and not given.
    """
    if policy not in ("last", "chance"):
        raise InvalidValue(f"policy is {policy!r}; allowed: 'last', 'chance'.")
    array = np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)
    flags = np.zeros(len(array), dtype=bool) if diverged is None else np.array(diverged, dtype=bool)
    if len(array) == 0 or flags.shape != array.shape:
        raise InvalidValue(f"got {len(array)} values and {len(flags)} marks; give at least one, and one mark a value.")
    unexplained = np.flatnonzero(~np.isfinite(array) & ~flags)
    if len(unexplained):
        raise InvalidValue(
            f"run {unexplained[0]} has the value {array[unexplained[0]]} and is not marked as diverged; "
            "mark it, or look for what went wrong."
        )
    replaced = flags if policy == "chance" else flags & ~np.isfinite(array)
    if replaced.any():
        if chance is None or not math.isfinite(chance):
            raise InvalidValue(
                f"{int(replaced.sum())} diverged runs need the chance level, which is {chance}; give chance=..."
            )
        array[replaced] = chance
    return array


def describe(
    values: Sequence[float | None],
    diverged: Sequence[bool] | None = None,
    policy: Policy = "last",
    chance: float | None = None,
) -> Description:
    """Mean, spread and extremes over runs.

    Args:
        values: See `outcomes`.
        diverged: See `outcomes`.
        policy: See `Policy`.
        chance: See `outcomes`.

    Returns:
        The description.

    Raises:
        InvalidValue: See `outcomes`.
    """
    array = outcomes(values, diverged, policy, chance)
    spread = float(array.std(ddof=1)) if len(array) > 1 else math.nan
    count = 0 if diverged is None else int(np.sum(np.asarray(diverged, dtype=bool)))
    return Description(float(array.mean()), spread, len(array), float(array.min()), float(array.max()), count)


def paired_difference(
    a: Sequence[float | None],
    b: Sequence[float | None],
    confidence: float = 0.95,
    *,
    diverged_a: Sequence[bool] | None = None,
    diverged_b: Sequence[bool] | None = None,
    policy: Policy = "last",
    chance: float | None = None,
) -> PairedDifference:
    r"""Mean of a - b over paired seeds, with Student's interval.

    With differences d of mean m and standard deviation s over n seeds, the interval is
    $m \pm t_{n-1}((1 + \text{confidence}) / 2)\, s / \sqrt n$ (Student 1908). It assumes differences that are near
    normal; with a diverged run among them it is a description rather than a test. One pair gives an infinite interval.

    Args:
        a: One value a seed, see `outcomes`.
        b: One value a seed, in the same order of seeds.
        confidence: Coverage of the interval, between 0 and 1.
        diverged_a: Which runs of a diverged.
        diverged_b: Which runs of b diverged.
        policy: See `Policy`.
        chance: See `outcomes`.

    Returns:
        Mean difference, interval, number of pairs.

    Raises:
        InvalidValue: The lengths differ, the confidence is not between 0 and 1, or see `outcomes`.
    """
    if len(a) != len(b):
        raise InvalidValue(f"got {len(a)} and {len(b)} values; paired runs have one of each a seed.")
    if not 0 < confidence < 1:
        raise InvalidValue(f"confidence is {confidence}; allowed: between 0 and 1.")
    difference = outcomes(a, diverged_a, policy, chance) - outcomes(b, diverged_b, policy, chance)
    n = len(difference)
    mean = float(difference.mean())
    half = math.inf
    if n > 1:
        quantile = float(require("scipy.stats", "study").t.ppf((1 + confidence) / 2, n - 1))
        half = quantile * float(difference.std(ddof=1)) / math.sqrt(n)
    marks = np.zeros(n, dtype=bool)
    for given in (diverged_a, diverged_b):
        if given is not None:
            marks |= np.asarray(given, dtype=bool)
    return PairedDifference(mean, mean - half, mean + half, n, confidence, int(marks.sum()))
