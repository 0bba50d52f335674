"""Statistics over paired seeds, in which a diverged run always counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, require

Policy: TypeAlias = Literal["last", "chance"]
"""Value of a diverged run: `last` is its last measured value (chance level if it measured nothing finite), `chance` is
always the chance level."""


@final
@dataclass(frozen=True)
class Description:
    """Description of some values.

    Attributes:
        mean: Arithmetic mean.
        standard_deviation: With n - 1 in the denominator; nan for one value.
        n: Number of values, diverged runs included.
        minimum: Smallest value.
        maximum: Largest value.
        diverged: Number of values of diverged runs.
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
        n: Number of pairs.
        confidence: Coverage of the interval.
        diverged: Number of pairs with a diverged run.
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
    """Return one finite value for every run, diverged ones included; no run is dropped.

    Args:
        values: Last measured value of each run; nan or None where a diverged run measured none.
        diverged: Mark for each run, True if it diverged. None: no run diverged.
        policy: Value of a diverged run, see `Policy`.
        chance: The chance level, in the units of the values.

    Returns:
        The values, shape (runs,).

    Raises:
        InvalidValue: A run that did not diverge has no finite value, or the chance level is needed and not given.
    """
    if policy not in ("last", "chance"):
        raise InvalidValue(f"policy: got {policy!r}; allowed: 'last', 'chance'.")
    array = np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)
    flags = np.zeros(len(array), dtype=bool) if diverged is None else np.array(diverged, dtype=bool)
    if len(array) == 0 or flags.shape != array.shape:
        raise InvalidValue(
            f"got {len(array)} values and {len(flags)} marks of divergence; give one mark per value, and at least one "
            "value."
        )
    unexplained = np.flatnonzero(~np.isfinite(array) & ~flags)
    if len(unexplained):
        raise InvalidValue(
            f"run {unexplained[0]} has the value {array[unexplained[0]]} and is not marked as diverged; mark it as "
            "diverged, or give a finite value."
        )
    replaced = flags if policy == "chance" else flags & ~np.isfinite(array)
    if replaced.any():
        if chance is None or not math.isfinite(chance):
            raise InvalidValue(
                f"chance: got {chance}; give the chance level, which {int(replaced.sum())} diverged runs need."
            )
        array[replaced] = chance
    return array


def describe(
    values: Sequence[float | None],
    diverged: Sequence[bool] | None = None,
    policy: Policy = "last",
    chance: float | None = None,
) -> Description:
    """Describe the values of runs: mean, standard deviation and extremes.

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
        a: One value per seed, see `outcomes`.
        b: One value per seed, in the same order of seeds.
        confidence: Coverage of the interval, between 0 and 1.
        diverged_a: Marks of the runs of a that diverged.
        diverged_b: Marks of the runs of b that diverged.
        policy: See `Policy`.
        chance: See `outcomes`.

    Returns:
        Mean difference, interval, number of pairs.

    Raises:
        InvalidValue: The lengths differ, the confidence is not between 0 and 1, or see `outcomes`.
    """
    if len(a) != len(b):
        raise InvalidValue(f"got {len(a)} values of a and {len(b)} of b; give one value of each per seed.")
    if not 0 < confidence < 1:
        raise InvalidValue(f"confidence: got {confidence}; allowed: between 0 and 1.")
    difference = outcomes(a, diverged_a, policy, chance) - outcomes(b, diverged_b, policy, chance)
    n = len(difference)
    mean = float(difference.mean())
    half = math.inf if n == 1 else float(half_width(difference.std(ddof=1), n, confidence))
    marks = np.zeros(n, dtype=bool)
    for given in (diverged_a, diverged_b):
        if given is not None:
            marks |= np.asarray(given, dtype=bool)
    return PairedDifference(mean, mean - half, mean + half, n, confidence, int(marks.sum()))


def half_width(deviation: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> NDArray[np.float64]:
    r"""Half the width of Student's interval of a mean, $t_{n-1}((1 + \text{confidence}) / 2)\, s / \sqrt n$.

    Args:
        deviation: Standard deviation s, with n - 1 in the denominator; any shape, nan where n is 1 or 0.
        n: Number of values, of the same shape.
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        Half the width, of the same shape; nan where the deviation is nan.
    """
    count = np.maximum(n, 2)  # fewer values have no deviation either
    quantile = require("scipy.special", "study").stdtrit(count - 1, (1 + confidence) / 2)
    half: NDArray[np.float64] = quantile * np.asarray(deviation) / np.sqrt(count)
    return half
