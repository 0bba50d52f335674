r"""Exact limits of lateral inhibition: steps, delays and iterations with which a circuit settles.

The circuit is $\tau x' = -x + z - M x(t - \delta)$; times are in units of its time constant tau.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.settling.weights import LateralWeights


class DampedPlan(NamedTuple):
    """Plan by which a damped iteration reaches a tolerance.

    Attributes:
        step: alpha of x <- x + alpha (z - x - M x).
        contraction: q < 1: each iteration shrinks the Euclidean distance from the fixed point at least by this factor.
        iterations: Smallest n with q^n <= tolerance.
    """

    step: float
    contraction: float
    iterations: int


def spectral_radius(weights: LateralWeights) -> float:
    """Spectral radius of M: the iteration x <- z - M x settles if and only if it is below 1. Cost: rank^3 flop."""
    return float(weights.eigenvalues.abs().max())


def slowest_rate(weights: LateralWeights) -> float:
    """Smallest real part of an eigenvalue of I + M: the circuit without delay settles if and only if it is > 0."""
    return 1 + float(weights.eigenvalues.real.min())


def largest_step(weights: LateralWeights) -> float:
    r"""Step below which Euler's method, which is the damped iteration, settles; 0 if it settles at no step.

    $$
    |1 - \alpha \lambda| < 1 \iff \alpha < 2 \operatorname{Re} \lambda / |\lambda|^2
    \quad \text{for every eigenvalue } \lambda \text{ of } I + M
    $$

    For symmetric weights this is 2 / lambda_max(I + M).
    """
    values = 1 + weights.eigenvalues
    return max(0.0, float((2 * values.real / values.abs().square().clamp_min(1e-300)).min()))


def contraction(weights: LateralWeights, step: float) -> float:
    r"""Bound on ||I - alpha (I + M)|| in the Euclidean norm, the smaller of two.

    $$
    \max(|1 - \alpha \mu|, |1 - \alpha \Lambda|) + \alpha \lVert K \rVert, \qquad
    \sqrt{1 - 2 \alpha \mu + \alpha^2 L^2}
    $$

    mu and Lambda are the extreme eigenvalues of the symmetric part of I + M, K its skew part, L its largest singular
    value. The first is exact for symmetric weights; the second follows from
    $\langle x, (I + M) x \rangle \ge \mu |x|^2$.
    """
    low, high = weights.symmetric_range
    norm = weights.singular_range[1]
    nearly_symmetric = max(abs(1 - step * low), abs(1 - step * high)) + step * weights.asymmetry
    monotone = math.sqrt(max(0.0, 1 - 2 * step * low + (step * norm) ** 2))
    return min(nearly_symmetric, monotone)


def best_step(weights: LateralWeights) -> float:
    """Step with the best bound: 2 / (mu + Lambda), or mu / L^2, or half of the largest step if neither has a bound."""
    low, high = weights.symmetric_range
    if low <= 0:
        return largest_step(weights) / 2
    candidates = (2 / (low + high), low / weights.singular_range[1] ** 2)
    return min(candidates, key=lambda step: contraction(weights, step))


def damped_plan(weights: LateralWeights, step: float, tolerance: float, most: int) -> DampedPlan:
    """Contraction and number of iterations of the damped iteration.

    Args:
        weights: M, of a circuit that settles.
        step: alpha, below `largest_step`.
        tolerance: Distance from the fixed point at the end, relative to that at the start.
        most: Largest number of iterations allowed.

    Raises:
        InvalidValue: The tolerance needs more iterations.
    """
    bound = contraction(weights, step)
    if bound < 1:
        needed = max(1, math.ceil(math.log(tolerance) / math.log(bound))) if bound > 0 else 1
        if needed > most:
            raise _too_many(needed, tolerance, most)
        return DampedPlan(step, bound, needed)
    iteration = (1 - step) * torch.eye(len(weights.core)).to(weights.core) - step * weights.core
    needed = _first_small_power(iteration, 0.0 if weights.basis is None else abs(1 - step), tolerance, most)
    return DampedPlan(step, tolerance ** (1 / needed), needed)


def naive_iterations(weights: LateralWeights, tolerance: float, most: int) -> int:
    """Number of naive iterations after which a power of M is below the tolerance, for a spectral radius below 1.

    Raises:
        InvalidValue: The tolerance needs more than `most` iterations.
    """
    return _first_small_power(weights.core, 0.0, tolerance, most)


def _first_small_power(matrix: Tensor, outside: float, tolerance: float, most: int) -> int:
    """First power whose norm is at most the tolerance, found by repeated squaring and bisection."""

    def small(power: Tensor, exponent: int) -> bool:
        return max(float(torch.linalg.matrix_norm(power, 2)), float(outside**exponent)) <= tolerance

    squares = [matrix]
    while not small(squares[-1], 1 << (len(squares) - 1)):
        if (1 << (len(squares) - 1)) >= most:
            raise _too_many(1 << len(squares), tolerance, most)
        squares.append(squares[-1] @ squares[-1])
    if len(squares) == 1:
        return 1
    # Half the exponent is known to be too small: find the binary digits from the second largest down.
    power, exponent = squares[-2], 1 << (len(squares) - 2)
    for digit in range(len(squares) - 3, -1, -1):
        candidate = power @ squares[digit]
        if not small(candidate, exponent + (1 << digit)):
            power, exponent = candidate, exponent + (1 << digit)
    if exponent + 1 > most:
        raise _too_many(exponent + 1, tolerance, most)
    return exponent + 1


def _too_many(needed: int, tolerance: float, most: int) -> InvalidValue:
    return InvalidValue(
        f"settling to a tolerance of {tolerance:g} needs about {needed} iterations, more than most_iterations="
        f"{most}, since the condition number of these weights is large: use method='solve', a larger tolerance or a "
        "larger most_iterations."
    )


def delay_limits(eigenvalues: Tensor) -> Tensor:
    r"""Delay below which each mode of the circuit settles, in time constants.

    A mode m of M grows or decays as exp(s t) with s = -1 - m exp(-s delta). Its rightmost root is on the imaginary
    axis, s = i omega, first where

    $$
    \omega = \sqrt{|m|^2 - 1}, \qquad
    \delta^* = \frac{\pi - |\arg m| - \arctan \omega}{\omega}
    $$

    As |m| grows from 0 along its ray, roots cross that axis outwards only, since Re ds/d|m| has the sign of
    1 + delta (1 + omega^2). So a delay is stable if and only if it is below this limit. For strong real inhibition the
    limit is about pi / (2 m). Modes with |m| <= 1 settle at every delay; a real m <= -1 never settles.

    Source: derived here; for real m it is Hayes (1950), Roots of the transcendental equation associated with a certain
    difference-differential equation, doi:10.1112/jlms/s1-25.3.226.

    Args:
        eigenvalues: m, real or complex, any shape.

    Returns:
        The limits, float64, the same shape: infinity for modes that settle at every delay, 0 for those that never do.
    """
    values = eigenvalues.to(torch.complex128)
    modulus = values.abs()
    omega = (modulus.square() - 1).clamp_min(0).sqrt()
    angle = math.pi - values.angle().abs()
    limits = ((angle - torch.atan(omega)) / omega.clamp_min(1e-300)).clamp_min(0)
    limits = torch.where(modulus <= 1, math.inf, limits)
    return torch.where((values.imag == 0) & (values.real <= -1), 0.0, limits)


def largest_delay(weights: LateralWeights) -> float:
    """Delay of the lateral inhibition below which the circuit settles, in time constants; see `delay_limits`."""
    return float(delay_limits(weights.eigenvalues).min())


def delayed_steps_settle(weights: LateralWeights, step: float, steps: int) -> bool:
    r"""True if Euler's method settles with inhibition that arrives `steps` steps late; exact for steps <= 1 tau.

    With a = 1 - alpha and b = alpha m a mode grows as zeta^n, zeta^k (zeta - a) = -b. As |b| grows, roots cross the
    unit circle outwards only, first where

    $$|e^{i \phi} - a| = |b|, \qquad \arg(e^{i \phi} - a) + k \phi = \pi - |\arg m|$$

    Source: derived here; for real m it is Kuruklis (1994), The asymptotic stability of x(n+1) - ax(n) + bx(n-k) = 0,
    Journal of Mathematical Analysis and Applications 188.

    Args:
        weights: M.
        step: alpha, in (0, 1] time constants.
        steps: k, a whole number.
    """
    values = weights.eigenvalues
    kept, gain = 1 - step, step * values.abs()
    if kept == 0:  # zeta^(k + 1) = -b
        return bool((gain < 1).all())
    cosine = (1 + kept**2 - gain.square()) / (2 * kept)
    phi = torch.acos(cosine.clamp(-1, 1))
    phase = torch.atan2(torch.sin(phi), torch.cos(phi) - kept) + steps * phi
    settles = (cosine > 1) | ((cosine > -1) & (phase < math.pi - values.angle().abs()))
    return bool(settles.all())
