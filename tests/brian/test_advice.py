"""Advice of a report, followed in a model population that is integrated step by step, and the digits of a report."""

from __future__ import annotations

import re

import numpy as np
import pytest
from brian2 import second

import neuro_decorr as nd
from neuro_decorr.brian._advice import AIM, MOST, advice, longer_by, lower_by
from neuro_decorr.brian.report import ENOUGH, PairCovariances, Report

GROWTH, RELAXATION, AGITATION, FLOOR = 35.0, 35.0, 91.0, 0.024
"""Decay of the mean correlation and relaxation of one weight, per unit of rate and second; strength of the noise; and
correlation of independent neurons in 100 s. They give the remaining correlations of 40 adaptive exponential neurons
within 10 %, at the three schedules below that begin 3e-3 and 1e-3 with a learning of 40 s."""
BEFORE = 0.68


def rates(rate: float, learning: float, annealing: float, step: float = 0.01) -> np.ndarray:
    left = np.arange(learning + annealing, 0, -step)
    return np.asarray(rate * np.minimum(left / annealing, 1) * step)


def course(rate: float, learning: float, annealing: float) -> tuple[float, float]:
    """Mean correlation and scatter at the end, by Euler's method: decay, and relaxation against noise."""
    mean, variance = BEFORE, 0.0
    for moved in rates(rate, learning, annealing):
        mean -= GROWTH * moved * mean
        variance += -2 * RELAXATION * moved * variance + AGITATION * moved * moved / 0.01
    return mean, np.sqrt(variance)


def measured(mean: float, correlation: float, seconds: float = 100.0) -> PairCovariances:
    return PairCovariances(
        seconds=seconds,
        pairs=600,
        covariance=0.1,
        covariance_noise=0.1,
        correlation=correlation,
        correlation_noise=FLOOR * np.sqrt(100 / seconds),
        mean_correlation=mean,
    )


def report(now: PairCovariances, learned: float = 100.0, calibration: float | None = None) -> Report:
    return Report(
        rule="lateral_covariance",
        phase="held",
        elapsed=500,
        learned=learned,
        before=measured(BEFORE, BEFORE + 0.01),
        now=now,
        at_smallest=0,
        at_largest=0,
        gain=0.1,
        gain_failure=None,
        rate=1,
        within=1,
        bias_at_bound=0,
        verdict="not converged",
        advice=(),
        calibration=calibration,
    )


def advised(now: PairCovariances, rate: float, learning: float, annealing: float) -> str:
    schedule = nd.brian.Schedule(learning=learning * second, annealing=annealing * second)
    rule = nd.brian.get("lateral_covariance", rate=rate, schedule=schedule)
    return " ".join(advice(report(now), now, rule, str))


def after(rate: float, learning: float, annealing: float) -> PairCovariances:
    mean, scatter = course(rate, learning, annealing)
    return measured(mean, float(np.hypot(mean, scatter)))


def test_the_factor_of_the_rate_brings_scatter_to_the_aim() -> None:
    rate, learning, annealing = 3e-3, 80.0, 80.0
    now = after(rate, learning, annealing)
    assert abs(now.mean_correlation) < 0.001 and now.times_floor > ENOUGH
    factor = lower_by(now)
    assert 1.2 < factor < MOST
    assert after(rate / factor, factor * learning, factor * annealing).times_floor == pytest.approx(AIM, rel=0.01)


@pytest.mark.parametrize(("rate", "learning", "annealing"), [(1e-3, 40.0, 100.0), (5e-4, 80.0, 150.0)])
def test_the_factor_of_the_schedule_is_the_least_of_those_that_reach_the_aim(
    rate: float, learning: float, annealing: float
) -> None:
    now = after(rate, learning, annealing)
    schedule = nd.brian.Schedule(learning=learning * second, annealing=annealing * second)
    factor = longer_by(report(now), now, schedule)
    assert now.times_floor > ENOUGH and 1.1 < factor < MOST
    assert after(rate, factor * learning, factor * annealing).times_floor <= 1.02 * AIM
    assert after(rate, (factor - 0.2) * learning, (factor - 0.2) * annealing).times_floor > AIM


@pytest.mark.parametrize(
    ("rate", "learning", "annealing"),
    [(3e-3, 40, 40), (3e-3, 40, 130), (1e-3, 40, 130), (1e-4, 80, 100), (2e-2, 40, 20)],
)
def test_whoever_follows_the_advice_converges(rate: float, learning: float, annealing: float) -> None:
    """From the schedules of a user, whom advice without numbers led from a rate to a third of it and back."""
    told: list[str] = []
    while (now := after(rate, learning, annealing)).times_floor > ENOUGH:
        told.append(advised(now, rate, learning, annealing))
        assert len(told) <= 5, told
        phases = re.search(r"Schedule\(learning=([\d.]+)\*second, annealing=([\d.]+)\*second\)", told[-1])
        assert phases is not None and float(phases[1]) > learning and float(phases[2]) > annealing
        learning, annealing = float(phases[1]), float(phases[2])
        if lower := re.search(r"lower rate to ([\d.e-]+)", told[-1]):
            assert float(lower[1]) < rate
            rate = float(lower[1])
    assert told


def test_a_larger_rate_is_advised_only_where_all_pairs_lack_inhibition() -> None:
    few = advised(measured(0.3, 0.31), 1e-3, 40, 40)
    assert "learn longer at this rate, Schedule(learning=120*second, annealing=120*second), or raise rate to" in few
    both = advised(measured(0.03, 0.05), 1e-3, 40, 40)
    assert "learn longer at this rate" in both and "raise rate" not in both
    without = nd.brian.get("lateral_covariance", schedule=None)
    for now, words in ((measured(0.3, 0.31), "let it learn 3 times as long"), (measured(0.0, 0.1), "schedule=")):
        assert words in advice(report(now), now, without, str)[0]
    unmoved = measured(BEFORE + 0.01, 0.7)
    assert longer_by(report(unmoved), unmoved, None) == MOST


def ratio(random: np.random.Generator, seconds: float, strength: float) -> float:
    """Of 30 traces with a slow shared source, by the definition of `times_floor`."""
    steps, neurons = int(seconds / 0.05), 30
    source, kept = np.zeros(steps), np.exp(-50 / 60)
    for step, kick in enumerate(np.sqrt(1 - kept**2) * random.normal(size=steps)):
        source[step] = kept * source[step - 1] + kick
    traces = strength * source[:, None] + random.normal(size=(steps, neurons))
    odd = np.arange(steps) // 40 % 2 == 1
    chosen = np.triu_indices(neurons, 1)
    even, late = (np.corrcoef(traces[half].T)[chosen] for half in (~odd, odd))
    noise = np.sqrt(np.mean((even - late) ** 2)) / 2 * np.sqrt(seconds / 100)
    return float(np.hypot(1, np.sqrt(max(np.mean(even * late), 0)) / noise))


def test_ratios_have_the_digits_that_a_recording_gives() -> None:
    """Large ones vary by their own size, however long the recording; small ones by some percent."""
    for seconds in (20, 45, 100):
        large = [ratio(np.random.default_rng(seed), seconds, 1.5) for seed in range(30)]
        assert np.subtract(*np.percentile(large, [75, 25])) > 0.2 * np.median(large) > 2
    small = [ratio(np.random.default_rng(seed), 100, 0.15) for seed in range(30)]
    assert np.std(small) < 0.1
    for times, text in ((1.586, "1.59"), (2.99, "2.99"), (9.86, "about 10"), (25.83, "about 30"), (42.49, "about 40")):
        now = measured(0.0, FLOOR * np.sqrt(times**2 - 1))
        assert f"in 100 s of recording {text} times that of independent neurons" in str(report(now))


def test_the_line_of_rates_says_what_they_are_relative_to() -> None:
    now = measured(0.0, 0.01)
    assert "within 10 % of their targets (counted in 15 s of calibration);" in str(report(now, calibration=15.0))
    assert "within 10 % of their targets;" in str(report(now))
