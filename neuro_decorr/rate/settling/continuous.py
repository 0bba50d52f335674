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
    r"""Settling in continuous time, $\tau x'(t) = -x(t) + z - M x(t - \delta)$, with the drive held for a finite time.

    Without a step the solution is exact, by the matrix exponential. A delay needs a step, and Euler's method. The
    result is the activity at the end of the hold time, which is not the fixed point if the circuit has not settled.

    Before the start the activity is `initial`, for as long as the delay reaches back.

    Cost: exact, about 20 features^3 flop once and 4 features^2 per row; Euler, 2 features^2 per row and step.

    Attributes:
        hold: Time for which each stimulus is held, in time constants.
        step: Step of Euler's method, in time constants; hold and delay are whole multiples of it. None: exact.
        delay: delta, the delay of the lateral inhibition, in time constants.
        successive: True if the rows of the drive are successive stimuli, each of which starts from the last activity of
            the one before; False if each row starts from `initial`.

    Raises:
        InvalidValue: A parameter is out of range.
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
                f"a delay of {self.delay:g} time constants needs a step that divides it, got none: set "
                f"step={self.delay / max(4, math.ceil(self.delay / 0.05)):g}, for instance."
            )
        if self.step is not None:
            whole_steps("hold", self.hold, self.step)
            whole_steps("delay", self.delay, self.step)

    def _settle(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None) -> Tensor:
        if self.successive and drive.dim() != 2:
            raise InvalidValue(
                f"successive stimuli must be the rows of a drive (stimuli, features), got {tuple(drive.shape)}."
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
                    f"{largest:g} time constants (2 / lambda_max(I + M) for symmetric weights), or None, which is "
                    "exact."
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
                f"{longest:.4g} time constants): use a smaller step, at most 1."
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
    r"""Compute the course of the activity by Euler's method, also for a circuit that does not settle.

    $$x_{n+1} = x_n + \alpha (z - x_n - M x_{n-k}), \quad \alpha = \Delta t / \tau, \quad k = \delta / \Delta t$$

    Args:
        drive: z, shape (..., features), constant in time.
        lateral: M, or `LateralWeights`.
        duration: Duration in time constants; a whole multiple of the step.
        step: Step of Euler's method, in time constants.
        delay: Delay of the lateral inhibition, in time constants; a whole multiple of the step.
        initial: Activity until the start. None: rest.

    Returns:
        Times, shape (steps + 1,), and activities, shape (steps + 1, ..., features). The activities of an unstable
        circuit grow without bound. Cost: 2 features^2 flop per row and step.

    Raises:
        InvalidValue: A time is not a whole multiple of the step, or shapes do not fit.
        Diverged: The activity is not finite.
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
        raise Diverged(
            f"the activity left the finite numbers within {duration:g} time constants: use a shorter duration."
        )
    return step * torch.arange(count + 1, dtype=torch.float64), torch.stack(course)


def whole_steps(name: str, duration: float, step: float) -> int:
    """Number of steps in a duration.

    Raises:
        InvalidValue: The duration is not a whole number of steps.
    """
    if not (0 <= duration < math.inf and 0 < step < math.inf):
        raise InvalidValue(
            f"settling: {name} must be >= 0 and the step > 0, both finite, got {duration!r} and {step!r}."
        )
    count = round(duration / step)
    if abs(count * step - duration) > 1e-9 * max(duration, step):
        below = math.floor(duration / step) * step
        raise InvalidValue(
            f"settling: {name}={duration:g} is not a whole multiple of step={step:g}: use {below:g} or "
            f"{below + step:g}, or a step such as {duration / math.ceil(duration / step):g}."
        )
    return count


def _past(activity: Tensor, late: int) -> deque[Tensor]:
    """Activities of the last `late` steps and the present one."""
    return deque([activity] * (late + 1), maxlen=late + 1)


def _advance(weights: LateralWeights, drive: Tensor, past: deque[Tensor], step: float) -> None:
    now = past[-1]
    past.append(now + step * (drive - now - weights.inhibition(past[0])))


def _one(drive: Tensor, initial: Tensor | None) -> Tensor:
    """Activity before the first of successive stimuli, shape (features,)."""
    return start(torch.zeros_like(drive[0]) if len(drive) else drive.new_zeros(drive.shape[-1]), initial)
