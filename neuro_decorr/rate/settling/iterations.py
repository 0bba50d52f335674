"""Methods of settling to the fixed point: exact solve, damped iteration, naive iteration."""

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
    """Exact fixed point. Cost: 2/3 features^3 flop once and 2 features^2 per row (or with the rank, if low)."""

    name = "solve"

    def _settle(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None) -> Tensor:
        if initial is not None:
            raise InvalidValue("settling by 'solve' has no course and takes no initial activity: leave it out.")
        return weights.settled(drive)


@dataclass(frozen=True, kw_only=True)
class Damped(Settling):
    r"""Damped iteration: $x \leftarrow x + \alpha (z - x - M x)$.

    The number n of iterations is known beforehand: q^n <= tolerance with the proven contraction q of
    `neuro_decorr.rate.settling_limits.contraction`. For symmetric weights and the default step q is
    (kappa - 1) / (kappa + 1), with kappa the condition number of I + M. If the symmetric part of I + M is not positive,
    there is no such q; n is then the first number for which the norm of the n-th power of the iteration is small
    enough. The bound holds for exact arithmetic; rounding adds about the precision of the dtype times kappa.

    Cost: 2 features^2 flop per row and iteration.

    Attributes:
        tolerance: Distance from the fixed point at the end, relative to that at the start, for every row.
        step: alpha. None: the step with the best bound. A step of `largest_step` or more is refused.
        most_iterations: Largest number of iterations; weights that need more are refused.

    Raises:
        InvalidValue: A parameter is out of range.
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
            Diverged: The circuit settles at no step, or not at the given step.
            InvalidValue: The weights need more iterations than allowed.
        """
        check_stable(weights)
        largest = limits.largest_step(weights)
        if self.step is not None and self.step >= largest:
            raise Diverged(
                f"damped iteration with step {self.step:g} diverges for these lateral weights: steps must be below "
                f"{largest:g} (2 / lambda_max(I + M) for symmetric weights): leave step out to get the best one."
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
    r"""Naive iteration $x \leftarrow z - M x$, which settles if and only if the spectral radius of M is below 1.

    At the fixed point of whitening, I + M = (S / c)^{1/2}, this means lambda_max(S) < 4 c, with S the covariance of the
    drive and c its mean power. Correlated inputs violate this condition, although the circuit itself is stable. The
    number of iterations is the first power of M whose norm is below the tolerance. Cost: 2 features^2 flop per row and
    iteration.

    Attributes:
        tolerance: Distance from the fixed point at the end, relative to that at the start, for every row.
        most_iterations: Largest number of iterations; weights that need more are refused.

    Raises:
        InvalidValue: A parameter is out of range.
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
                f"below 1 (after whitening: the largest eigenvalue of the drive's covariance is "
                f"{(1 + radius) ** 2:.4g} times the mean power, and must be below 4 times). {advice}"
            )
        activity = start(drive, initial)
        for _ in range(limits.naive_iterations(weights, self.tolerance, self.most_iterations)):
            activity = drive - weights.inhibition(activity)
        return activity
