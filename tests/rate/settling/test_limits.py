"""Limits of delays: against the characteristic equation and against simulations on both sides."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import neuro_decorr as nd
from neuro_decorr.errors import Diverged
from neuro_decorr.rate import settling
from neuro_decorr.rate.settling import limits


def rightmost_root(mode: complex, delay: float) -> float:
    """The largest real part of s = -1 - m exp(-s delay), by the branches of Lambert's function."""
    branches = np.arange(-6, 7)
    roots = scipy.special.lambertw(-mode * delay * np.exp(delay), branches) / delay - 1
    return float(roots.real.max())


@given(
    modulus=st.floats(0.05, 50),
    angle=st.floats(-math.pi, math.pi),
    delay=st.floats(0.01, 3.0),
)
def test_delay_limit_is_where_the_rightmost_root_crosses(modulus: float, angle: float, delay: float) -> None:
    mode = modulus * complex(math.cos(angle), math.sin(angle))
    growth = rightmost_root(mode, delay)
    assume(abs(growth) > 1e-6)
    limit = float(limits.delay_limits(torch.tensor(mode, dtype=torch.complex128)))
    assert (delay < limit) == (growth < 0)


@pytest.mark.parametrize("mode", [1.2, 3.0, 20.0])
def test_real_modes_have_the_closed_form(mode: float) -> None:
    limit = float(limits.delay_limits(torch.tensor(mode, dtype=torch.float64)))
    assert limit == pytest.approx(math.acos(-1 / mode) / math.sqrt(mode**2 - 1), rel=1e-12)
    assert rightmost_root(mode, limit) == pytest.approx(0, abs=1e-9)


def test_strong_inhibition_tolerates_a_quarter_of_a_period() -> None:
    assert float(limits.delay_limits(torch.tensor(1e4))) * 1e4 == pytest.approx(math.pi / 2, rel=1e-3)


def test_weak_inhibition_settles_at_every_delay_and_strong_excitation_never() -> None:
    found = limits.delay_limits(torch.tensor([0.99, -0.99, 1.0, -1.0, -3.0]))
    assert found.tolist() == [math.inf, math.inf, math.inf, 0.0, 0.0]


@given(
    seed=st.integers(0, 1_000),
    step=st.sampled_from([0.05, 0.3, 0.7, 1.0]),
    late=st.integers(0, 12),
    strength=st.floats(0.1, 30),
)
def test_delayed_euler_settles_as_the_roots_of_its_polynomial_say(
    seed: int, step: float, late: int, strength: float
) -> None:
    generator = np.random.default_rng(seed)
    lateral = strength * generator.normal(size=(3, 3)) / 3
    growths = []
    for mode in np.linalg.eigvals(lateral):
        polynomial = np.zeros(late + 2, dtype=complex)
        polynomial[0], polynomial[1] = 1, polynomial[1] - (1 - step)
        polynomial[-1] += step * mode
        growths.append(np.abs(np.roots(polynomial)).max())
    assume(abs(max(growths) - 1) > 1e-6)
    weights = nd.LateralWeights(torch.from_numpy(lateral))
    assert limits.delayed_steps_settle(weights, step, late) == (max(growths) < 1)


@pytest.mark.parametrize(("factor", "settles"), [(0.9, True), (1.1, False)])
def test_a_simulated_circuit_settles_below_its_delay_limit_and_oscillates_above(factor: float, settles: bool) -> None:
    """Three modes, the strongest sets the limit; a fine simulation decays on one side and grows on the other."""
    generator = np.random.default_rng(1)
    basis = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    lateral = torch.from_numpy((basis * [6.0, 2.0, -0.5]) @ basis.T)
    longest = settling.largest_delay(nd.LateralWeights(lateral))
    assert longest == pytest.approx(math.acos(-1 / 6) / math.sqrt(35), rel=1e-9)
    step = factor * longest / 200
    drive = torch.from_numpy(generator.normal(size=3))
    resting = torch.linalg.solve(torch.eye(3) + lateral, drive)
    _, course = nd.settling_course(drive, lateral, duration=8_000 * step, step=step, delay=200 * step)
    strongest = (course - resting) @ torch.from_numpy(basis[:, 0])
    early, late = strongest[:2_000].abs().max(), strongest[-2_000:].abs().max()
    assert (late < early / 5) if settles else (late > 5 * early)
    call = {"hold": 100 * step, "step": step, "delay": 200 * step}
    if settles:
        nd.settle(drive, lateral, "continuous", **call)
    else:
        with pytest.raises(Diverged, match="oscillates ever more"):
            nd.settle(drive, lateral, "continuous", **call)


def test_a_coarse_step_is_told_apart_from_a_long_delay() -> None:
    lateral = torch.tensor([[3.0]])
    with pytest.raises(Diverged, match="use a smaller step"):
        nd.settle(torch.ones(1), lateral, "continuous", hold=10.0, step=0.5, delay=0.5)
    with pytest.raises(Diverged, match=r"although the circuit settles: steps must be below 0\.5"):
        nd.settle(torch.ones(1), lateral, "continuous", hold=10.0, step=0.5)
