"""Settling in continuous time: finite hold times, steps and delays."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import Diverged, InvalidValue
from neuro_decorr.rate.settling import limits
from neuro_decorr.rate.settling.method import Settling, check_drive, check_stable, start
from neuro_decorr.rate.settling.weights import LateralWeights


@dataclass(frozen=True, kw_only=True)
class Continuous(Settling):
    r"""Continuous time: $\tau x'(t) = -x(t) + z - M x(t - \delta)$, the drive held for a finite time.

    Without a step the solution is exact, by the matrix exponential; a delay needs one, and Euler's method. What is not
    settled when the hold time ends is what the circuit has: the returned activity is not the fixed point.

    Before the start the activity is `initial`, for all the time that the delay reaches back.

    Cost: exact, about 20 features^3 flop once and 4 features^2 a row; Euler, 2 features^2 a row and step.

    Attributes:
        hold: How long each stimulus is held, in time constants.
        step: Of Euler's method, in time constants, of which hold and delay are whole multiples; exact where None.
        delay: delta of the lateral inhibition, in time constants.
        successive: Rows of the drive are stimuli one after the other, each starting from where the last one ended;
            otherwise each row starts from `initial`.
    """

    name = "continuous"

    hold: float = 10.0
    step: float | None = None
    delay: float = 0.0
    successive: bool = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        checks.refuse(
            "settling",
            checks.number("hold", self.hold, above=0),
            None if self.step is None else checks.number("step", self.step, above=0),
            checks.number("delay", self.delay, least=0),
            checks.flag("successive", self.successive),
        )
        if self.delay and self.step is None:
            raise InvalidValue(
                f"a delay of {self.delay:g} time constants needs a step of which it is a whole multiple, such as "
                f"step={self.delay / max(4, math.ceil(self.delay / 0.05)):g}."
            )
        if self.step is not None:
            whole_steps("hold", self.hold, self.step)
            whole_steps("delay", self.delay, self.step)

    def _settle(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None) -> Tensor:
        if self.successive and drive.dim() != 2:
            raise InvalidValue(
                f"successive stimuli are the rows of a drive (stimuli, features), got {tuple(drive.shape)}."
            )
        if self.step is None:
            check_stable(weights)
            return self._exact(weights, drive, initial)
        self._check_loop(weights, self.step)
        return self._euler(weights, drive, initial, self.step)

    def _exact(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None) -> Tensor:
        fixed = weights.settled(drive)
        decayed = weights.decay(self.hold, drive.dtype)
        if not self.successive:
            return fixed + decayed(start(drive, initial) - fixed)
        activity = _one(drive, initial)
        ends = []
        for row in fixed:
            activity = row + decayed(activity - row)
            ends.append(activity)
        return torch.stack(ends) if ends else drive.clone()

    def _euler(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None, step: float) -> Tensor:
        count, late = whole_steps("hold", self.hold, step), whole_steps("delay", self.delay, step)
        if not self.successive:
            past = _past(start(drive, initial), late)
            for _ in range(count):
                _advance(weights, drive, past, step)
            return past[-1]
        past = _past(_one(drive, initial), late)
        ends = []
        for row in drive:
            for _ in range(count):
                _advance(weights, row, past, step)
            ends.append(past[-1])
        return torch.stack(ends) if ends else drive.clone()

    def _check_loop(self, weights: LateralWeights, step: float) -> None:
        if not self.delay:
            check_stable(weights)
            largest = limits.largest_step(weights)
            if step >= largest:
                raise Diverged(
                    f"Euler's method with step {step:g} diverges although the circuit settles: steps must be below "
                    f"{largest:g} time constants (2 / lambda_max(I + M) for symmetric weights); None is exact."
                )
            return
        longest = limits.largest_delay(weights)
        if self.delay >= longest:
            check_stable(weights)
            raise Diverged(
                f"with inhibition delayed by {self.delay:g} time constants the circuit oscillates ever more: the "
                f"delay must be below {longest:.4g} (about pi / (2 m) for the largest eigenvalue m of M, here "
                f"{limits.spectral_radius(weights):.4g})."
            )
        if step > 1 or not limits.delayed_steps_settle(weights, step, whole_steps("delay", self.delay, step)):
            raise Diverged(
                f"Euler's method with step {step:g} diverges although the circuit with this delay settles (up to "
                f"{longest:.4g} time constants); use a smaller step, at most 1."
            )


def settling_course(
    drive: Tensor,
    lateral: LateralWeights | Tensor,
    *,
    duration: float,
    step: float = 0.05,
    delay: float = 0.0,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The whole course of the activity by Euler's method, also of a circuit that does not settle.

    Args:
        drive: z, shape (..., features), held all the time.
        lateral: M, or `LateralWeights`.
        duration: How long, in time constants; a whole multiple of the step.
        step: Of Euler's method, in time constants.
        delay: Of the lateral inhibition, in time constants; a whole multiple of the step.
        initial: Activity until the start; rest where None.

    Returns:
        Times, shape (steps + 1,), and activities, shape (steps + 1, ..., features). They may grow without bound: this
        is what the equation does, and no fixed point.

    Raises:
        InvalidValue: Times that are no whole multiples of the step, or shapes that do not fit.
        Diverged: The activity leaves the finite numbers.
    """
    weights = lateral if isinstance(lateral, LateralWeights) else LateralWeights(lateral)
    check_drive(weights, drive)
    drive = drive * weights.gain
    count, late = whole_steps("duration", duration, step), whole_steps("delay", delay, step)
    past = _past(start(drive, initial), late)
    course = [past[-1]]
    for _ in range(count):
        _advance(weights, drive, past, step)
        course.append(past[-1])
    if not bool(torch.isfinite(course[-1]).all()):
        raise Diverged(f"the activity left the finite numbers within {duration:g} time constants; take a shorter time.")
    return step * torch.arange(count + 1, dtype=torch.float64), torch.stack(course)


def whole_steps(name: str, duration: float, step: float) -> int:
    """How many steps a duration is.

    Raises:
        InvalidValue: Not a whole number of them.
    """
    if not (0 <= duration < math.inf and 0 < step < math.inf):
        raise InvalidValue(f"settling: {name} must be >= 0 and the step > 0, both finite: {duration!r} and {step!r}.")
    count = round(duration / step)
    if abs(count * step - duration) > 1e-9 * max(duration, step):
        below = math.floor(duration / step) * step
        raise InvalidValue(
            f"settling: {name}={duration:g} is no whole multiple of step={step:g}; use {below:g} or {below + step:g}, "
            f"or a step such as {duration / math.ceil(duration / step):g}."
        )
    return count


def _past(activity: Tensor, late: int) -> deque[Tensor]:
    """Activities from `late` steps ago until now."""
    return deque([activity] * (late + 1), maxlen=late + 1)


def _advance(weights: LateralWeights, drive: Tensor, past: deque[Tensor], step: float) -> None:
    now = past[-1]
    past.append(now + step * (drive - now - weights.inhibition(past[0])))


def _one(drive: Tensor, initial: Tensor | None) -> Tensor:
    """The activity before the first of successive stimuli, shape (features,)."""
    return start(torch.zeros_like(drive[0]) if len(drive) else drive.new_zeros(drive.shape[-1]), initial)
