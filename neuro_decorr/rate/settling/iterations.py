"""Settling to the fixed point: by an exact solve, by damped iteration, by the naive iteration."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import Diverged, InvalidValue
from neuro_decorr.rate.settling import limits
from neuro_decorr.rate.settling.method import Settling, check_reachable, check_stable, start
from neuro_decorr.rate.settling.weights import LateralWeights


@dataclass(frozen=True, kw_only=True)
class Solve(Settling):
    """The exact fixed point: 2/3 features^3 flop once and 2 features^2 a row (rank instead of features if low)."""

    name = "solve"

    def _settle(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None) -> Tensor:
        if initial is not None:
            raise InvalidValue("settling by 'solve' has no course, so no initial activity; leave it out.")
        return weights.settled(drive)


@dataclass(frozen=True, kw_only=True)
class Damped(Settling):
    r"""Damped iteration: $x \leftarrow x + \alpha (z - x - M x)$.

    The number n of iterations is known beforehand: q^n <= tolerance with the proven contraction q of
    `neuro_decorr.rate.settling_limits.contraction`; for symmetric weights and the default step it is
    (kappa - 1) / (kappa + 1), with kappa the condition of I + M. Weights whose symmetric part is not positive, which
    have no such q, get the first n for which the norm of the n-th power of the iteration, computed, is small enough.
    The bound holds for exact arithmetic; rounding adds about the precision of the dtype times kappa.

    Cost: 2 features^2 flop a row and iteration.

    Attributes:
        tolerance: The distance from the fixed point relative to the distance at the start, for every row.
        step: alpha; the one with the best bound where None. A step at or beyond `largest_step` is refused.
        most_iterations: More than these are refused instead of run.
    """

    name = "damped"

    tolerance: float = 1e-6
    step: float | None = None
    most_iterations: int = 100_000

    def __post_init__(self) -> None:
        """Check the parameters."""
        checks.positive("settling", self, "tolerance", "most_iterations", *(() if self.step is None else ("step",)))

    def plan(self, weights: LateralWeights) -> limits.DampedPlan:
        """Step, contraction and number of iterations for these weights.

        Raises:
            Diverged: No step settles, or the given one does not.
            InvalidValue: More iterations than allowed.
        """
        check_stable(weights)
        largest = limits.largest_step(weights)
        if self.step is not None and self.step >= largest:
            raise Diverged(
                f"damped iteration with step {self.step:g} diverges for these lateral weights: steps must be below "
                f"{largest:g} (2 / lambda_max(I + M) for symmetric ones); leave step out to get the best."
            )
        step = self.step or limits.best_step(weights)
        return limits.damped_plan(weights, step, self.tolerance, self.most_iterations)

    def _settle(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None) -> Tensor:
        check_reachable(self.tolerance, drive)
        plan = self.plan(weights)
        activity = start(drive, initial)
        for _ in range(plan.iterations):
            activity = activity + plan.step * (drive - activity - weights.inhibition(activity))
        return activity


@dataclass(frozen=True, kw_only=True)
class Naive(Settling):
    r"""The naive iteration $x \leftarrow z - M x$: it settles if and only if the spectral radius of M is below 1.

    At the fixed point of whitening, I + M = (S / c)^{1/2}, that is lambda_max(S) < 4 c, with S the covariance of the
    drive and c its mean power: correlated inputs violate it, although the circuit itself is stable. The number of
    iterations is the first power of M whose norm is below the tolerance.

    Attributes:
        tolerance: The distance from the fixed point relative to the distance at the start, for every row.
        most_iterations: More than these are refused instead of run.
    """

    name = "naive"

    tolerance: float = 1e-6
    most_iterations: int = 100_000

    def __post_init__(self) -> None:
        """Check the parameters."""
        checks.positive("settling", self, "tolerance", "most_iterations")

    def _settle(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None) -> Tensor:
        check_reachable(self.tolerance, drive)
        radius = limits.spectral_radius(weights)
        if radius >= 1:
            if limits.slowest_rate(weights) <= 0:
                advice = "The circuit itself is unstable: an eigenvalue of I + M has no positive real part."
            else:
                advice = "The circuit itself is stable: use method='damped', 'continuous' or 'solve'."
            raise Diverged(
                f"the naive iteration x <- z - M x diverges: the spectral radius of M is {radius:.4g}, and must be "
                f"below 1 (after whitening: largest eigenvalue of the drive's covariance {(1 + radius) ** 2:.4g} times "
                f"the mean power, and must be below 4 times). {advice}"
            )
        activity = start(drive, initial)
        for _ in range(limits.naive_iterations(weights, self.tolerance, self.most_iterations)):
            activity = drive - weights.inhibition(activity)
        return activity
