"""Single updates against the published equations with C formed, and the theorems of the norm-preserving rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr import rules
from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.rules import Sample, suite


def batch(rows: int, features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A non-symmetric D and centred inputs: a transposition anywhere shows."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(features, features)), generator.normal(size=(rows, features))


def updated(name: str, matrix: np.ndarray, inputs: np.ndarray, mean: float = 0.0, **parameters: object) -> np.ndarray:
    rule = rules.get(name, **parameters)
    state = rule.initial_state(len(matrix), dtype=torch.float64)
    state["matrix"].copy_(torch.from_numpy(matrix))
    rows = torch.from_numpy(inputs)
    means = torch.full((len(matrix),), mean, dtype=torch.float64)
    moved = rule.update(state, Sample(rows, rules.transform(state, rows), means))
    return moved["matrix"].numpy()


sizes = {"rows": st.integers(1, 12), "features": st.integers(1, 9), "seed": st.integers(0, 1_000)}


@given(**sizes, rate=st.floats(1e-6, 0.1), mean=st.floats(-3, 3), reference=st.sampled_from(["centered", "raw"]))
def test_norm_preserving(rows: int, features: int, seed: int, rate: float, mean: float, reference: str) -> None:
    matrix, inputs = batch(rows, features, seed)
    outputs = np.stack([matrix @ z for z in inputs])
    moment = sum(np.outer(x, x) for x in outputs) / rows
    drive = inputs + (mean if reference == "raw" else 0)
    gain = np.mean([np.linalg.norm(z) / np.linalg.norm(x) for z, x in zip(drive, outputs, strict=True)])
    expected = gain * (matrix - rate * moment @ matrix)
    found = updated("norm_preserving", matrix, inputs, mean, rate=rate, norm_reference=reference, form="published")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(**sizes, rate=st.floats(1e-6, 0.1))
def test_decorrelating(rows: int, features: int, seed: int, rate: float) -> None:
    matrix, inputs = batch(rows, features, seed)
    outputs = inputs @ matrix.T
    moment = outputs.T @ outputs / rows
    expected = matrix - rate * (moment - np.diag(np.diag(moment))) @ matrix
    found = updated("decorrelating", matrix, inputs, rate=rate, form="published")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def remembered(memory: float, power: float, rate: float) -> float:
    """The power that a layer is used to: a factor of e in 20 / rate updates at most; the first power at the start."""
    ratio = min(max(power / (memory or power), math.exp(-1)), math.e)
    return (memory or power) * ratio ** (rate / 20)


@given(**sizes, damping=st.sampled_from([0.0, 0.5, 30.0]), rate=st.floats(1e-3, 1.0))
def test_whitening(rows: int, features: int, seed: int, damping: float, rate: float) -> None:
    """Three updates: each a symmetric positive factor, and D^{-1} D^{-T} follows a running covariance."""
    matrix, inputs = batch(3 * rows, features, seed)
    matrix = np.linalg.qr(matrix)[0] * np.linspace(0.5, 2, features)  # not symmetric, safely inverted
    rule = rules.get("whitening", rate=rate, damping=damping, floor=1e-2, preserve_power=False)
    state = rule.initial_state(features, dtype=torch.float64)
    state["matrix"].copy_(torch.from_numpy(matrix))
    power, memory, axis, before = 0.0, 0.0, 0, matrix
    for count, drive in enumerate(np.split(inputs, 3), start=1):
        power += max(0.1, 1 / count) * (np.mean(drive**2) - power)
        memory = remembered(memory, power, 0.1)
        target, leak = (damping * power, 1.0) if damping else (1.0, 1e-2 * memory)
        weight = max(rate, 4 / (count + 4))
        step = weight / (1 + weight * features / (rows * (1 + damping)))
        if not damping and count == 1:  # the first batch sets the scale
            before = before * power**-0.5
        visits = np.ones(features)
        axes = math.ceil(4 * features * step)
        if 2 * rows < features and rows + axes < features:  # a few at a time, each with the weight of those that wait
            visits = np.zeros(features)
            visits[[(axis + number) % features for number in range(axes)]] = features / axes
            axis = (axis + axes) % features
        inverse = np.linalg.inv(before)
        covariance = drive.T @ drive / rows / target + leak * np.diag(visits)
        expected = (1 - step) * inverse @ inverse.T + step * covariance
        suite.run(rule, torch.from_numpy(drive), 1, state)
        after = state["matrix"].numpy().copy()
        np.testing.assert_allclose(np.linalg.inv(after.T @ after), expected, rtol=1e-7, atol=1e-7)
        factor = after @ inverse
        np.testing.assert_allclose(factor, factor.T, rtol=1e-7, atol=1e-7)
        assert np.linalg.eigvalsh(factor).min() > 0
        before = after


def test_cap_without_gain() -> None:
    """Without the gain an eigenvalue falls as lambda / (1 + 2 rate lambda t): the published rates soft-clip the top."""
    covariance = suite.covariance(100.0)
    inputs = suite.rows_with(covariance)
    matrix = torch.eye(suite.FEATURES, dtype=torch.float64)
    rate, updates = 1e-3, 2_000
    for _ in range(updates):
        outputs = inputs @ matrix.T
        rules.LowRankFactor(1.0, rate / len(outputs), outputs, outputs).apply_(matrix)
    start = torch.linalg.eigvalsh(covariance)
    found = torch.linalg.eigvalsh(suite.second_moment({"matrix": matrix}, inputs))
    torch.testing.assert_close(found, start / (1 + 2 * rate * start * updates), rtol=0.02, atol=0)


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6])
def test_updates_grow_with_the_logarithm_of_the_condition(condition: float) -> None:
    """Norm preserving: about ln(condition) / (2 rate c) updates to whiten."""
    inputs = suite.rows_with(suite.covariance(condition))
    rule = rules.get("norm_preserving", rate=1e-2, form="published")
    predicted = math.log(condition) / (2 * rule.rate)
    state = rule.initial_state(suite.FEATURES, dtype=torch.float64)
    updates = 0
    while suite.residual(rule, state, inputs) > 0.3 and updates < 10_000:
        suite.run(rule, inputs, 10, state)
        updates += 10
    assert 0.4 * predicted < updates < 1.2 * predicted, (updates, predicted)


def test_other_orientation_collapses() -> None:
    """R <- g (R - rate R C), which hides under the same code line, loses rank from a non-symmetric start."""
    generator = torch.Generator().manual_seed(0)
    inputs = suite.rows_with(suite.covariance(10.0))
    noise = torch.randn(suite.FEATURES, suite.FEATURES, generator=generator, dtype=torch.float64)
    start = torch.eye(suite.FEATURES, dtype=torch.float64) + 0.5 * noise
    rule = rules.get("norm_preserving", rate=0.05, form="published")
    ours = suite.run(rule, inputs, 4_000, {"matrix": start.clone()})
    other = start.clone()
    for _ in range(4_000):
        outputs = inputs @ other.T
        gain = (inputs.norm(dim=1) / outputs.norm(dim=1)).mean()
        other = gain * (other - rule.rate * other @ (outputs.T @ outputs) / len(outputs))
    assert suite.residual(rule, ours, inputs) < 1e-6
    assert not suite.residual(rule, {"matrix": other}, inputs) < 0.5


def test_decorrelated_gradient_is_the_natural_one() -> None:
    """At the fixed point D^T D is proportional to S^{-1}, so a step of W moves W D along G S^{-1} (FOOF)."""
    covariance = suite.covariance(1e3)
    inputs = suite.rows_with(covariance)
    rule = rules.get("norm_preserving", rate=0.02, form="published")
    matrix = suite.run(rule, inputs, 6_000)["matrix"]
    errors = torch.randn(len(inputs), 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    effective = errors.T @ (inputs @ matrix.T) @ matrix
    natural = errors.T @ inputs @ torch.linalg.inv(covariance)
    assert torch.cosine_similarity(effective.flatten(), natural.flatten(), dim=0) > 0.999


class TestByName:
    def test_unknown_rule_names_the_nearest(self) -> None:
        with pytest.raises(UnknownName, match="did you mean 'whitening'"):
            rules.get("whitning")

    def test_unknown_parameter(self) -> None:
        with pytest.raises(InvalidValue, match="no parameter 'dampning'; allowed: rate, connectivity, damping"):
            rules.get("whitening", dampning=3)

    @pytest.mark.parametrize(
        ("name", "parameters", "message"),
        [
            ("whitening", {"rate": 0}, "rate must be a finite number > 0"),
            ("whitening", {"rate": 2.0}, "rate must be a finite number > 0 and <= 1"),
            ("whitening", {"damping": -1}, "damping must be a finite number >= 0"),
            ("norm_preserving", {"norm_reference": "both"}, "must be one of 'centered', 'raw'"),
            ("interneuron", {"interneurons": 2.5}, "must be a whole number"),
            ("interneuron", {"damping": 0}, "damping must be a finite number > 0"),
            ("interneuron", {"rate": 1.5}, "rate must be a finite number > 0 and <= 1"),
            ("decorrelating", {"rate": float("nan")}, "rate must be a finite number > 0, got nan"),
        ],
    )
    def test_values_out_of_range(self, name: str, parameters: dict[str, object], message: str) -> None:
        with pytest.raises(InvalidValue, match=message):
            rules.get(name, **parameters)

    def test_name_taken(self) -> None:
        with pytest.raises(InvalidValue, match="exists already"):
            rules.register(type("Other", (rules.Center,), {}))
