"""The surrogate null: p <= .05 in one of twenty recordings of independent units, whatever each does alone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from benchmarks import null_sizes as simulated
from neuro_decorr import data, metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.null import SurrogateNull
from neuro_decorr.metrics.parallel import ParallelAnalysis
from neuro_decorr.recording import Rates, SpikeTrains

ALONE = sorted(simulated.ALONE)
GAIN = "one gain of all units, 20 %"


def independent(kind: str, seed: int, samples: int = 800, units: int = 8) -> np.ndarray:
    source = np.random.default_rng(seed)
    return simulated.counts(simulated.ALONE[kind](samples, units, source), source, mean=2.0)


@pytest.mark.parametrize("kind", ["constant rates", "states of 5 s", "linear trends", "random walks", "steps"])
def test_p_values_of_independent_units_are_below_five_per_cent_as_often(kind: str) -> None:
    # Of 19 surrogates none reaches the data in one of twenty cases; so many of 40 hardly ever do by chance.
    found = sum(metrics.surrogate_null(independent(kind, k), surrogates=19, seed=k).p_value <= 0.05 for k in range(40))
    assert found <= scipy.stats.binom.ppf(0.9999, 40, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALONE)
def test_sizes_at_full_length(kind: str) -> None:
    repetitions, reached, passed = 400, 0, 0
    for seed in range(repetitions):
        source = np.random.default_rng(10_000 + seed)
        chosen = metrics.surrogates(simulated.counts(simulated.ALONE[kind](4000, 15, source), source))
        drawn = list(chosen.moments(19, seed))
        reached += SurrogateNull.of(chosen, drawn).p_value <= 0.05
        passed += ParallelAnalysis.of(chosen, drawn).dimensions > 0
    assert 0.02 <= reached / repetitions <= 0.08
    assert 0.02 <= passed / repetitions <= 0.08


def interrupted(time: float, parts: int, length: float, gap: float, seed: int, units: int = 15) -> Rates:
    """Counts of units with slow states of their own, recorded in parts (s) with gaps (s) between them."""
    source, step = np.random.default_rng(seed), 0.05
    period, kept = round((length + gap) / step), round(length / step)
    rates = np.exp(0.5 * simulated.state(time / step, parts * period, units, source))
    inside = np.arange(parts * period) % period < kept
    gaps = [(k * (length + gap) + length, (k + 1) * (length + gap)) for k in range(parts - 1)]
    return Rates(source.poisson(0.4 * rates[inside]).astype(float), step, gaps=gaps)


@pytest.mark.parametrize("runs", [40, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("times", [(30, 20, 10, 60), (5, 20, 10, 20)])
def test_levels_that_jump_at_gaps_are_no_correlation(times: tuple[float, int, float, float], runs: int) -> None:
    """Shifts over the gaps find one in .17 and .13 of them: the levels of all units jump at the same time."""
    nulls = [metrics.surrogate_null(interrupted(*times, seed), surrogates=19, seed=seed) for seed in range(runs)]
    assert {null.kind for null in nulls} == {"local_shift"}
    found = sum(null.p_value <= 0.05 for null in nulls)
    assert found <= scipy.stats.binom.ppf(0.9999, runs, 0.05)


@pytest.mark.parametrize(("kind", "cutoff"), [("auto", "auto"), ("local_shift", None), ("auto", 2.0)])
def test_no_spike_is_carried_over_a_gap(kind: str, cutoff: float | str | None) -> None:
    """Every unit has a size of its own before and after the gap: all that a surrogate may hold there."""
    source = np.random.default_rng(0)
    sizes = np.array([[1.0, 10.0], [100.0, 1000.0]])  # part, unit
    signs = source.choice([-1.0, 1.0], (120, 2))
    values = signs * np.repeat(sizes, [50, 70], axis=0)
    recording = Rates(values, 0.1, gaps=[(5.0, 9.0)])
    made = metrics.surrogates(recording, kind=kind, cutoff=cutoff)
    assert made.reach == pytest.approx(0.7) and len(made.samples) == 120 - 2 * 5 - 2 * 7
    drawn = made.draw(np.random.default_rng(1))
    # Of independent signs the variance is the mean square of what is there; a part of the other size would show.
    power = np.square(made.samples).sum(axis=0)
    np.testing.assert_allclose(drawn.covariance.diagonal() * drawn.degrees, power, rtol=0.1)
    if cutoff is None:
        parts = np.split(made.samples, [40])
        for part, size, original in zip(parts, sizes, np.split(values, [50]), strict=True):
            by = 5 if len(part) == 40 else 7
            middle = original[by:-by]
            np.testing.assert_allclose(part, middle - middle.mean(axis=0), atol=1e-4 * size.max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "circular_shift"}, "'circular_shift' carries activity over the gaps"),
        ({"reach": 2.0}, "reach: got 20 samples, with only 50 between two gaps"),
        ({"bin": 1.0}, "at most 7 samples between two gaps; surrogates need at least 10"),
    ],
)
def test_what_gaps_do_not_allow(arguments: dict, message: str) -> None:
    values = np.random.default_rng(0).normal(size=(120, 3))
    with pytest.raises(InvalidValue, match=message):
        metrics.surrogates(Rates(values, 0.1, gaps=[(5.0, 9.0)]), **arguments)


@pytest.mark.parametrize(("kind", "least"), [("linear trends", 25), ("random walks", 8)])
def test_shifts_around_the_end_take_drifts_of_independent_units_for_correlation(kind: str, least: int) -> None:
    nulls = [
        metrics.surrogate_null(independent(kind, k), kind="circular_shift", cutoff=None, surrogates=19, seed=k)
        for k in range(40)
    ]
    assert sum(null.p_value <= 0.05 for null in nulls) >= least  # 2 would be right


@pytest.mark.parametrize("kind", ["constant rates", "linear trends", "random walks"])
def test_common_input_is_found_under_drifts(kind: str) -> None:
    for seed in range(5):
        source = np.random.default_rng(seed)
        x = simulated.counts(simulated.ALONE[kind](4000, 15, source), source, common=0.05)
        null = metrics.surrogate_null(x, surrogates=19, seed=seed)
        assert null.p_value == 0.05
        assert null.kind == ("circular_shift" if kind == "constant rates" else "local_shift")


def test_a_trend_of_all_units_is_no_fast_correlation() -> None:
    x = independent("one trend of all, -30 %", 0, 4000, 15)
    assert metrics.surrogate_null(x).p_value > 0.05
    assert "units drift" in metrics.surrogate_null(x).reason


@pytest.mark.parametrize(
    ("kind", "bin"), [*((kind, None) for kind in sorted(simulated.OVER_TRIALS)), ("constant", 0.05), (GAIN, 0.05)]
)
def test_a_shared_response_to_a_stimulus_is_no_noise_correlation(kind: str, bin: float | None) -> None:
    reached = []
    for seed in range(30):
        source = np.random.default_rng(seed)
        recording = simulated.stimulus(simulated.OVER_TRIALS[kind](60, 6, source), source)
        null = metrics.surrogate_null(recording, bin, surrogates=19, seed=seed)
        reached.append(null.p_value <= 0.05)
        assert null.kind in ("trial_shuffle", "trial_shift")
    if kind == GAIN:  # this is one, of .24 in whole trials and .03 in bins
        assert np.mean(reached) >= (0.95 if bin is None else 0.3)
    else:
        assert sum(reached) <= scipy.stats.binom.ppf(0.9999, 30, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(simulated.OVER_TRIALS) - {GAIN}))
def test_sizes_over_trials(kind: str) -> None:
    reached = []
    for seed in range(500):
        source = np.random.default_rng(20_000 + seed)
        recording = simulated.stimulus(simulated.OVER_TRIALS[kind](60, 15, source), source)
        nulls = [metrics.surrogate_null(recording, bin, surrogates=19, seed=seed) for bin in (None, 0.05)]
        reached.append([null.p_value <= 0.05 for null in nulls])
    assert np.all((np.mean(reached, axis=0) >= 0.02) & (np.mean(reached, axis=0) <= 0.08))


@pytest.mark.parametrize("kind", ["circular_shift", "local_shift", "dither", "jitter"])
def test_synchronous_spikes_are_found_by_every_kind_of_surrogate(kind) -> None:
    trains = data.compound_poisson_process(10, [0, 0.9, 0, 0.1], 60)
    null = metrics.surrogate_null(trains, 0.005, kind=kind, reach=0.1, surrogates=19)
    assert null.p_value == 0.05 and null.kind == kind
    assert null.surrogates.max() < 0.5 * null.observed


@pytest.mark.parametrize("kind", ["dither", "jitter"])
def test_moved_spikes_leave_what_is_shared_slowly(kind) -> None:
    source = np.random.default_rng(0)
    bursts = 20 * (np.arange(1000) % 100 < 50)  # 20 spikes a second in every other five seconds, all units together
    times = [
        np.unique(0.1 * (np.repeat(np.arange(1000), n) + source.random(n.sum())))
        for n in source.poisson(0.1 * bursts, (4, 1000))
    ]
    trains = SpikeTrains(times, 0, 100)
    moved = metrics.surrogate_null(trains, 0.05, kind=kind, cutoff=None, surrogates=19)
    shifted = metrics.surrogate_null(trains, 0.05, kind="circular_shift", cutoff=None, surrogates=19)
    assert moved.p_value > 0.05 and shifted.p_value == 0.05


def test_torch_tensors_and_seeds() -> None:
    x = independent("states of 1 s, each its own", 0)
    first, again, other = (metrics.surrogate_null(torch.from_numpy(x), surrogates=19, seed=k) for k in (0, 0, 1))
    np.testing.assert_array_equal(first.surrogates, again.surrogates)
    assert not np.array_equal(first.surrogates, other.surrogates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "shift"}, "kind must be one of 'auto', 'circular_shift'"),
        ({"kind": "dither"}, "moves spikes; give SpikeTrains"),
        ({"kind": "trial_shuffle"}, "an array has none"),
        ({"surrogates": 5}, "surrogates must be a whole number >= 19, got 5"),
        ({"cutoff": -1.0}, "cutoff must be a finite number > 0"),
        ({"kind": "local_shift", "reach": 300}, "1 sample to a quarter of the samples"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.surrogate_null(independent("constant rates", 0), **arguments)


def test_units_that_do_not_vary_make_no_number() -> None:
    with pytest.raises(InvalidValue, match="fewer than two units vary"):
        metrics.surrogate_null(np.ones((50, 3)))
