"""Lateral, anti-Hebbian, gain-modulating and batch rules: single updates against their equations, and theorems."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr import rules
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules import Sample, suite
from tests.rules.test_equations import batch, remembered, sizes, updated


@given(**sizes, rate=st.floats(1e-6, 0.1), kappa=st.floats(1e-3, 0.999))
def test_variance_weighted(rows: int, features: int, seed: int, rate: float, kappa: float) -> None:
    """The variances scale the rows of R: diag(v) R, not R diag(v)."""
    matrix, inputs = batch(rows, features, seed)
    outputs = np.stack([matrix @ z for z in inputs])
    moment = sum(np.outer(x, x) for x in outputs) / rows
    error = (1 - kappa) * (moment - np.diag(np.diag(moment))) + kappa * np.diag(np.diag(moment) - 1)
    found = updated("variance_weighted", matrix, inputs, rate=rate, variance_weight=kappa, form="published")
    np.testing.assert_allclose(found, matrix - rate * error @ matrix, rtol=1e-9, atol=1e-9)


@given(**sizes, rate=st.floats(1e-4, 0.5))
def test_lateral(rows: int, features: int, seed: int, rate: float) -> None:
    """Synapse by synapse: rate z_i x_j, all scaled by the gain; D is the inverse."""
    matrix, inputs = batch(rows, features, seed)
    outputs = np.stack([matrix @ z for z in inputs])
    synapses = np.linalg.inv(matrix)
    grown = synapses.copy()
    for i in range(features):
        for j in range(features):
            grown[i, j] += rate * np.mean(inputs[:, i] * outputs[:, j])
    gain = np.mean([np.linalg.norm(z) / np.linalg.norm(x) for z, x in zip(inputs, outputs, strict=True)])
    found = updated("lateral", matrix, inputs, rate=rate, form="published")
    tolerance = 1e-12 * np.linalg.cond(matrix) ** 2  # of the reference, which inverts twice
    np.testing.assert_allclose(found, gain * np.linalg.inv(grown), rtol=1e-7 + tolerance, atol=1e-9 + tolerance)


@given(**sizes, rate=st.floats(1e-4, 0.1), target=st.floats(0.1, 3))
def test_anti_hebbian(rows: int, features: int, seed: int, rate: float, target: float) -> None:
    inputs = batch(rows, features, seed)[1]
    lower = np.tril(np.random.default_rng(seed + 1).normal(size=(features, features)), -1)
    matrix = np.linalg.inv(np.eye(features) + 0.1 * (lower - lower.T))  # not symmetric, and far above the floor
    outputs = np.clip(inputs @ matrix.T, -10 * target**0.5, 10 * target**0.5)
    synapses = np.linalg.inv(matrix) + rate * (outputs.T @ outputs / rows - target * np.eye(features))
    found = updated("anti_hebbian", matrix, inputs, rate=rate, target=target)
    np.testing.assert_allclose(found, np.linalg.inv(synapses), rtol=1e-9, atol=1e-9)


@given(rows=st.integers(1, 12), features=st.integers(1, 6), seed=st.integers(0, 1_000), rate=st.floats(1e-4, 0.1))
def test_gain_modulation(rows: int, features: int, seed: int, rate: float) -> None:
    inputs = batch(rows, features, seed)[1]
    rule = rules.get("gain_modulation", rate=rate)
    state = rule.initial_state(features, dtype=torch.float64)
    frame, gains, matrix = state["frame"].numpy(), np.zeros(features * (features + 1) // 2), np.eye(features)
    np.testing.assert_allclose(np.linalg.norm(frame, axis=0), 1)
    assert np.linalg.matrix_rank(np.stack([np.outer(w, w).ravel() for w in frame.T])) == len(gains)
    for _ in range(3):
        for index, direction in enumerate(frame.T):
            gains[index] += rate * (min(rule.saturation, np.mean([(direction @ matrix @ z) ** 2 for z in inputs])) - 1)
        matrix = np.linalg.inv(np.eye(features) + sum(g * np.outer(w, w) for g, w in zip(gains, frame.T, strict=True)))
        suite.run(rule, torch.from_numpy(inputs), 1, state)
    np.testing.assert_allclose(state["gains"].numpy(), gains, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(state["matrix"].numpy(), matrix, rtol=1e-9, atol=1e-9)


@given(rows=st.integers(1, 12), features=st.integers(1, 6), seed=st.integers(0, 1_000), rate=st.floats(1e-3, 0.1))
def test_slow_synapses(rows: int, features: int, seed: int, rate: float) -> None:
    inputs = batch(rows, features, seed)[1]
    rule = rules.get("gain_modulation", rate=rate, synapse_rate=rate / 2, interneurons=features)
    state = rule.initial_state(features, dtype=torch.float64)
    frame, gains, matrix = rule.frame(features).numpy().copy(), np.zeros(features), np.eye(features)
    for _ in range(3):
        outputs = inputs @ matrix.T
        for k in range(features):
            seen = outputs @ frame[:, k]
            variance = np.mean(seen**2)
            gains[k] += rate * (min(rule.saturation, variance) - 1)
            hebbian = np.mean(seen[:, None] * outputs, axis=0) * (
                min(rule.saturation, variance) / max(variance, 1e-300)
            )
            moved = frame[:, k] + rate / 2 * gains[k] * (hebbian - frame[:, k])
            frame[:, k] = moved / np.sqrt(np.sum(moved**2))
        matrix = np.linalg.inv(np.eye(features) + frame @ np.diag(gains) @ frame.T)
        suite.run(rule, torch.from_numpy(inputs), 1, state)
    np.testing.assert_allclose(state["frame"].numpy(), frame, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(state["matrix"].numpy(), matrix, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("interneurons", [2, 6])
def test_slow_synapses_end_on_the_strongest_and_the_weakest_axes(interneurons: int) -> None:
    """As many of the strongest as there are positive gains; the declared C is the best of these fixed points."""
    inputs = suite.rows_with(suite.covariance(30.0, 6))
    rule = rules.get("gain_modulation", interneurons=interneurons, rate=0.1, synapse_rate=0.05)
    state = suite.run(rule, inputs, 4_000)
    moment = inputs.T @ inputs / len(inputs)
    values = torch.linalg.eigvalsh(moment)
    strongest = int((state["gains"] > 0).sum())
    left = values[interneurons - strongest : 6 - strongest]
    ones = torch.ones(interneurons, dtype=torch.float64)
    found = torch.linalg.eigvalsh(suite.second_moment(state, inputs))
    torch.testing.assert_close(found, torch.cat([left, ones]).sort().values, rtol=1e-4, atol=1e-4)
    axes = [list(range(interneurons - p)) + list(range(6 - p, 6)) for p in range(interneurons + 1)]
    gained = [float((values[chosen].sqrt() - 1).square().sum()) for chosen in axes]
    chosen = axes[int(np.argmax(gained))]
    best = values.clone()
    best[chosen] = 1.0
    torch.testing.assert_close(torch.linalg.eigvalsh(rule.fixed_point(moment)), best.sort().values)


def test_slow_synapses_learn_the_axes_that_contexts_share() -> None:
    """Covariances (I + V diag(l) V^T)^2 of one V that is not orthogonal: synapses become V, up to signs and order."""
    generator = np.random.default_rng(0)
    known = np.array([[1.0, 0.5], [0.0, 0.75**0.5]])
    rule = rules.get("gain_modulation", interneurons=2, rate=0.05, synapse_rate=0.005)
    state = rule.initial_state(2, dtype=torch.float64)
    for _ in range(150):
        root = np.eye(2) + known @ np.diag(generator.uniform(0, 3, 2)) @ known.T
        suite.run(rule, suite.rows_with(torch.from_numpy(root @ root)), 60, state)
    alignment = np.abs(known.T @ state["frame"].numpy())
    order = alignment.argmax(axis=1)
    assert sorted(order.tolist()) == [0, 1]
    assert alignment[np.arange(2), order].min() > 0.999


@pytest.mark.parametrize("name", ["zca", "iterative_norm"])
def test_batch_comparators(name: str) -> None:
    """Averages at first, then at the rate; the transform is that of the running covariance."""
    generator = np.random.default_rng(0)
    features, rate = 5, 0.4
    rule = rules.get(name, rate=rate, **({"damping": 0.0} if name == "zca" else {}))
    state = rule.initial_state(features, dtype=torch.float64)
    covariance, memory = np.zeros((features, features)), 0.0
    for count in range(1, 6):
        inputs = generator.normal(size=(7, features)) @ generator.normal(size=(features, features))
        weight = max(rate, 4 / (count + 4))
        step = weight / (1 + weight * features / len(inputs))
        if count == 1:  # the first batch sets the scale of where it began
            covariance = np.eye(features) * np.mean(inputs**2)
        covariance = (1 - step) * covariance + step * inputs.T @ inputs / len(inputs)
        memory = remembered(memory, np.trace(covariance) / features, rate)
        suite.run(rule, torch.from_numpy(inputs), 1, state)
    covariance = covariance + rule.epsilon * memory * np.eye(features)
    if name == "zca":
        left, values, _ = np.linalg.svd(covariance)
        expected = left @ np.diag(values**-0.5) @ left.T
    else:
        expected = np.eye(features)
        for _ in range(rule.iterations):
            cube = np.linalg.matrix_power(expected, 3)
            expected = (3 * expected - cube @ covariance / np.trace(covariance)) / 2
        expected = expected / np.sqrt(np.trace(covariance))
    np.testing.assert_allclose(state["matrix"].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_many_newton_steps_reach_zca() -> None:
    inputs = suite.rows_with(suite.covariance(100.0))
    exact = suite.run(rules.get("zca", damping=0.0, epsilon=1e-12), inputs, 1)["matrix"]
    steps = suite.run(rules.get("iterative_norm", iterations=40, epsilon=1e-12), inputs, 1)["matrix"]
    torch.testing.assert_close(steps, exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rate", [1e-2, 1e-3, 3e-4])
def test_lateral_takes_the_course_of_norm_preserving(rate: float) -> None:
    """The two trajectories of D differ by O(rate): at 1e-3 by less than 1e-3 over 6,000 updates."""
    inputs = suite.rows_with(suite.covariance(100.0))
    local, matrix = (rules.get(name, rate=rate, form="published") for name in ("lateral", "norm_preserving"))
    ours, theirs = suite.run(local, inputs, 0), suite.run(matrix, inputs, 0)
    worst = 0.0
    for _ in range(60):
        suite.run(local, inputs, 100, ours)
        suite.run(matrix, inputs, 100, theirs)
        worst = max(worst, float((ours["matrix"] - theirs["matrix"]).norm() / theirs["matrix"].norm()))
    assert 0.1 * rate < worst < rate, worst
    assert (ours["matrix"] - torch.eye(suite.FEATURES)).norm() > 1, "D did not move: nothing was compared"


def test_anti_hebbian_slows_with_the_root_of_the_condition() -> None:
    """From condition 1e2 to 1e4, at comfortable rates: about ten times slower; lateral slows with the logarithm."""
    slowed = {}
    for name in ("lateral", "anti_hebbian"):
        counts = []
        for condition in (1e2, 1e4):
            inputs = suite.rows_with(suite.covariance(condition))
            rule = suite.comfortable(rules.get(name), inputs)
            state, updates = rule.initial_state(suite.FEATURES, dtype=torch.float64), 0
            while suite.residual(rule, state, inputs) > 1e-3 and updates < 20_000:
                suite.run(rule, inputs, 10, state)
                updates += 10
            counts.append(updates)
        slowed[name] = counts[1] / counts[0]
    assert slowed["lateral"] < 3 and 6 < slowed["anti_hebbian"] < 15, slowed


@pytest.mark.parametrize("features", [2, 4, 6])
def test_all_gains_whiten_exactly_and_some_are_negative(features: int) -> None:
    """K = N (N + 1) / 2 interneurons reach C = I; weak directions are amplified, which takes negative gains."""
    inputs = suite.rows_with(suite.covariance(10.0, features))
    state = suite.run(rules.get("gain_modulation", rate=0.05), inputs, 5_000)
    moment = suite.second_moment(state, inputs)
    torch.testing.assert_close(moment, torch.eye(features, dtype=torch.float64), rtol=0, atol=1e-12)
    assert state["gains"].min() < -0.3


def test_few_gains_fix_the_variance_along_their_own_directions() -> None:
    inputs = suite.rows_with(suite.covariance(10.0))
    rule = rules.get("gain_modulation", interneurons=5, rate=0.05)
    state = suite.run(rule, inputs, 5_000)
    assert suite.residual(rule, state, inputs) < 1e-9
    seen = state["frame"].T @ suite.second_moment(state, inputs) @ state["frame"]
    torch.testing.assert_close(seen.diagonal(), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("interneurons", [3, 9, 15])
def test_any_number_of_gains_rests_where_each_sees_unit_variance(interneurons: int) -> None:
    """The declared fixed point has w^T C w = 1 for each of them, and the rule goes there; no more can be said of C."""
    inputs = suite.rows_with(suite.covariance(10.0, 6))
    rule = rules.get("gain_modulation", interneurons=interneurons, rate=0.05)
    frame = rule.frame(6)
    declared = (frame.T @ rule.fixed_point(inputs.T @ inputs / len(inputs)) @ frame).diagonal()
    torch.testing.assert_close(declared, torch.ones(interneurons, dtype=torch.float64), rtol=0, atol=1e-9)
    assert suite.residual(rule, suite.run(rule, inputs, 5_000), inputs) < 1e-9


def test_copi_compensation_keeps_the_function() -> None:
    """COPI's Hebbian term, W <- W + rate W offdiag(C) beside D <- D - rate offdiag(C) D: 3,000 updates without error.

    To first order it keeps W D; `compensate_` keeps it exactly. Without either the function drifts away.
    """
    inputs = suite.rows_with(suite.covariance(100.0))
    rule = rules.get("decorrelating", rate=1e-3, form="published")
    state = rule.initial_state(suite.FEATURES, dtype=torch.float64)
    start = torch.randn(5, suite.FEATURES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first_order, exact = start.clone(), start.clone()
    for _ in range(3_000):
        moment = suite.second_moment(state, inputs)
        first_order += rule.rate * first_order @ (moment - torch.diag(moment.diagonal()))
        change = rule.update_(state, suite.sample(rule, state, inputs), rule.rate)
        assert change is not None
        change.compensate_(exact)
    drift = [float((weight @ state["matrix"] - start).norm() / start.norm()) for weight in (start, first_order, exact)]
    assert drift[0] > 0.1 and drift[1] < 2e-3 and drift[2] < 1e-10, drift


NEW = ["variance_weighted", "lateral", "anti_hebbian", "gain_modulation", "zca", "iterative_norm"]


@pytest.mark.parametrize("name", NEW)
def test_compensation_keeps_the_function_while_plasticity_alone_moves_it(name: str) -> None:
    """3,000 updates without an error signal: W D drifts by less than 1e-9 compensated, by more than 0.1 without."""
    generator = torch.Generator().manual_seed(0)
    features, factor = 8, torch.linalg.cholesky(suite.covariance(10.0, 8))
    rule = rules.get(name)
    state = rule.initial_state(features, dtype=torch.float64)
    start = torch.randn(3, features, generator=generator, dtype=torch.float64)
    weight = start.clone()
    for _ in range(3_000):
        drive = torch.randn(16, features, generator=generator, dtype=torch.float64) @ factor.T
        change = rule.update_(state, suite.sample(rule, state, drive), rule.rate)
        assert change is not None
        change.compensate_(weight)
    assert (weight @ state["matrix"] - start).norm() < 1e-9 * start.norm()
    assert (start @ state["matrix"] - start).norm() > 0.1 * start.norm()


@pytest.mark.parametrize("name", NEW)
def test_a_batch_of_silence_is_harmless(name: str) -> None:
    """No input at all: finite, also in the rules' first update."""
    rule = rules.get(name)
    state = rule.initial_state(4)
    zeros = torch.zeros(3, 4)
    for _ in range(3):
        rule.update_(state, Sample(zeros, zeros, zeros[0]), rule.rate)
    assert all(tensor.isfinite().all() for tensor in state.values())


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("variance_weighted", {"variance_weight": 1.0}, "variance_weight must be a finite number > 0 and < 1"),
        ("variance_weighted", {"variance_weight": 0}, "variance_weight must be a finite number > 0"),
        ("anti_hebbian", {"target": -1.0}, "target must be a finite number > 0"),
        ("anti_hebbian", {"saturation": 1}, "saturation must be a number > 1"),
        ("anti_hebbian", {"floor": 0}, "floor must be a finite number > 0"),
        ("gain_modulation", {"interneurons": 0}, "interneurons must be a whole number >= 1"),
        ("gain_modulation", {"seed": 0.5}, "seed must be a whole number"),
        ("gain_modulation", {"saturation": 1.0}, "saturation must be a number > 1"),
        ("gain_modulation", {"synapse_rate": -1.0}, "synapse_rate must be a finite number >= 0"),
        ("zca", {"damping": -1.0}, "damping must be a finite number >= 0"),
        ("zca", {"rate": 2.0}, "rate must be a finite number > 0 and <= 1"),
        ("zca", {"epsilon": 0}, "epsilon must be a finite number > 0"),
        ("iterative_norm", {"rate": 1.5}, "rate must be a finite number > 0 and <= 1"),
        ("iterative_norm", {"iterations": 2.0}, "iterations must be a whole number >= 1"),
    ],
)
def test_values_out_of_range(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        rules.get(name, **parameters)


def test_frames_that_are_too_large() -> None:
    with pytest.raises(InvalidValue, match="129 units would need 8385 interneurons"):
        rules.get("gain_modulation").initial_state(129)
    assert rules.get("gain_modulation", interneurons=3).initial_state(129)["gains"].shape == (3,)
    with pytest.raises(InvalidValue, match="set interneurons <= 10"):
        rules.get("gain_modulation", interneurons=11).initial_state(4)
