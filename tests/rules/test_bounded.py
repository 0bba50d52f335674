"""The bounded forms of the explicit rules: updates by brute force, fixed points in closed form, hostile inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr import rules
from neuro_decorr.errors import Diverged, InvalidValue
from neuro_decorr.rules import Rule, Sample, State, _bounded, suite
from tests.rules.test_equations import remembered

FLOORED = ["norm_preserving", "lateral", "variance_weighted"]
EXPLICIT = [*FLOORED, "decorrelating"]


@pytest.fixture(autouse=True, scope="module")
def axes_come_in_turn_in_small_layers_too() -> Iterator[None]:
    """The form for many units, in which few axes come at every update, at sizes that a loop can follow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bounded, "_FEW_UNITS", 0)
        yield


def learn(rule: Rule, state: State, inputs: torch.Tensor) -> rules.Change | None:
    mean = torch.zeros(inputs.shape[1], dtype=inputs.dtype)
    return rule.update_(state, Sample(inputs, rules.transform(state, inputs), mean), rule.rate)


def by_hand(rule: Rule, matrix: np.ndarray, moment: np.ndarray, gain: float) -> np.ndarray:
    """D after an update, from M in full."""
    identity, size, rate = np.eye(len(matrix)), np.linalg.norm(moment), rule.rate
    off_diagonal = moment - np.diag(np.diag(moment))
    if rule.name == "norm_preserving":
        return gain * (identity - rate / (1 + 3 * rate * size) * moment) @ matrix
    step = rate / (1 + rate * size)
    if rule.name == "lateral":
        return gain * np.linalg.inv(identity + step * moment) @ matrix
    if rule.name == "decorrelating":
        return (identity - step * off_diagonal) @ matrix
    kappa = rule.parameters()["variance_weight"]
    error = (1 - kappa) * off_diagonal + kappa * np.diag(np.diag(moment) - 1)
    return (identity - step * error) @ matrix


@pytest.mark.parametrize("name", EXPLICIT)
@given(
    rows=st.integers(1, 12),
    features=st.integers(1, 40),
    seed=st.integers(0, 1000),
    rate=st.floats(1e-4, 0.1),
    loudness=st.sampled_from([1.0, 1e-3, 1e4]),
)
def test_updates(name: str, rows: int, features: int, seed: int, rate: float, loudness: float) -> None:
    """Three updates, the last one louder or quieter: M is formed, and the visited axes enter as the state tells."""
    generator = np.random.default_rng(seed)
    floor = 1e-2
    rule = rules.get(name, rate=rate, **({"floor": floor} if name in FLOORED else {}))
    state = rule.initial_state(features, dtype=torch.float64)
    matrix = generator.normal(size=(features, features)) / features**0.5 + np.eye(features)
    state["matrix"].copy_(torch.from_numpy(matrix))
    power = memory = growth = 0.0
    for count in (1, 2, 3):
        inputs = generator.normal(size=(rows, features)) * (loudness if count == 3 else 1)
        present = np.mean(inputs**2)
        counted = min(present, 1e4 * power) if count > 1 else present
        power += max(0.1, 1 / count) * (counted - power)
        if name == "variance_weighted" and count == 1:
            matrix = matrix * power**-0.5
        outputs = inputs @ matrix.T
        gain = np.mean([np.linalg.norm(z) / np.linalg.norm(x) for z, x in zip(inputs, outputs, strict=True)])
        before = int(state["axis"]) if name in FLOORED else 0
        learn(rule, state, torch.from_numpy(inputs))
        covariance = outputs.T @ outputs / rows * (counted / present)
        if name in FLOORED:
            axes = (int(state["axis"]) - before) % features or features
            assert axes == features or 2 * rows < features
            visits = np.zeros(features)
            visits[[(before + number) % features for number in range(axes)]] = features / axes
            memory = remembered(memory, power, 0.1)
            held = memory if name == "variance_weighted" else power
            covariance += floor * held * matrix @ np.diag(visits) @ matrix.T
            if axes < features and name != "variance_weighted":
                taken = min(math.log(gain), 1 - growth)
                growth = max(0.0, growth + taken - axes / features)
                gain = math.exp(taken)
        moment = covariance if name == "variance_weighted" else covariance / power
        matrix = by_hand(rule, matrix, moment, gain)
        scale = np.abs(matrix).max()
        np.testing.assert_allclose(state["matrix"].numpy(), matrix, rtol=1e-8, atol=1e-9 * scale)


def deficient(features: int, rank: int) -> torch.Tensor:
    """A covariance of unit mean power and condition 30 on the directions that have variance."""
    covariance = torch.zeros(features, features, dtype=torch.float64)
    covariance[:rank, :rank] = suite.covariance(30.0, rank)
    turn = torch.linalg.qr(torch.randn(features, features, generator=torch.Generator().manual_seed(9)).double()).Q
    return turn @ covariance @ turn.T * features / rank


@pytest.mark.parametrize("name", FLOORED)
def test_fixed_point_of_a_rank_deficient_covariance(name: str) -> None:
    """Rank 12 of 20, exact statistics: C and, where there is no variance, D are those of the closed form."""
    covariance = deficient(20, 12)
    inputs = suite.rows_with(covariance)
    rule = rules.get(name, rate=0.1)
    state = rule.initial_state(20, dtype=torch.float64)
    assert suite.converge(rule, inputs, 1e-9, state=state) < 1e-6
    suite.run(rule, inputs, 2_000, state)
    values, vectors = torch.linalg.eigh(covariance)
    null = (state["matrix"] @ vectors[:, :8]).norm(dim=0)
    outputs = torch.diagonal(vectors.T @ state["matrix"].T @ state["matrix"] @ vectors) * (values + 1e-4)
    torch.testing.assert_close(outputs, outputs.mean().expand(20), rtol=1e-3, atol=0)
    power = 1.0 if name == "variance_weighted" else 20 / 12
    torch.testing.assert_close(null, torch.full((8,), math.sqrt(power / 1e-4)).double(), rtol=0.15, atol=0)


@pytest.mark.parametrize("name", FLOORED)
def test_few_axes_at_a_time_hold_directions_without_variance_as_all_do(name: str) -> None:
    """Batches of 4 in 20 dimensions, rank 12: the gain where there is no variance is that of the closed form."""
    covariance = deficient(20, 12)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()
    generator = torch.Generator().manual_seed(0)
    rule = rules.get(name, rate=0.02)
    state, gains = rule.initial_state(20, dtype=torch.float64), []
    for update in range(4_000):
        learn(rule, state, torch.randn(4, 20, generator=generator, dtype=torch.float64) @ root.T)
        if update >= 3_000 and update % 10 == 0:
            gains.append(float((state["matrix"] @ vectors[:, :8]).square().sum() / 8) ** 0.5)
    expected = math.sqrt((1.0 if name == "variance_weighted" else 20 / 12) / 1e-4)
    assert 0.7 * expected < sum(gains) / len(gains) < 1.3 * expected
    assert max(gains) < 1.6 * expected


@pytest.mark.parametrize("name", FLOORED)
def test_behind_a_layer_norm(name: str) -> None:
    """Inputs that sum to zero, 8,000 updates in float32: D stays small, and rounding noise of z stays out of x."""
    features, generator = 32, torch.Generator().manual_seed(1)
    mix = torch.randn(features, features, generator=generator)
    rule = rules.get(name)
    state = rule.initial_state(features)

    def batch() -> torch.Tensor:
        return torch.nn.functional.layer_norm(torch.randn(64, features, generator=generator) @ mix, (features,))

    for _ in range(8_000):
        learn(rule, state, batch())
    matrix, drive = state["matrix"].double(), batch()
    assert float(torch.linalg.matrix_norm(matrix, 2)) < 1.3e2  # (c' / floor)^{1/2} with c' near 1: 1e2
    exact = (drive.double() - drive.double().mean(dim=1, keepdim=True)) @ matrix.T
    assert float((rules.transform(state, drive).double() - exact).norm() / exact.norm()) < 1e-5


@pytest.mark.parametrize("name", EXPLICIT)
@pytest.mark.parametrize(("rows", "at_most"), [(64, 2.0), (1, 8.0)])
def test_default_rate_in_784_dimensions(name: str, rows: int, at_most: float) -> None:
    """A common mode as strong as all else, 785 times the rest: 300 updates at the default rate flatten it."""
    features, generator = 784, torch.Generator().manual_seed(0)
    rule = rules.get(name)
    state = rule.initial_state(features)
    for _ in range(300):
        learn(rule, state, torch.randn(rows, features, generator=generator) + torch.randn(rows, 1, generator=generator))
    matrix = state["matrix"].double()
    values = torch.linalg.eigvalsh(matrix @ matrix.T + torch.outer(matrix.sum(dim=1), matrix.sum(dim=1)))
    assert float(values[-1] / values.mean()) < at_most
    assert float(torch.linalg.matrix_norm(matrix, 2)) < 5


@pytest.mark.parametrize("name", EXPLICIT)
@pytest.mark.parametrize("factor", [30.0, pytest.param(1e6, marks=pytest.mark.slow), 1e18])
def test_one_loud_batch(name: str, factor: float) -> None:
    """D works on at once: outputs of ordinary size, and after 300 more updates no less white than a twin's."""
    generator, rule = torch.Generator().manual_seed(0), rules.get(name)
    state, twin = rule.initial_state(256), rule.initial_state(256)
    for update in range(400):
        drive = torch.randn(32, 256, generator=generator) + torch.randn(32, 1, generator=generator)
        outputs = rules.transform(state, drive)
        assert update < 102 or 0.02 < float(outputs.norm() / drive.norm()) < 4, update
        learn(rule, state, drive * (factor if update == 100 else 1))
        learn(rule, twin, drive)
    spread = []
    for each in (state["matrix"].double(), twin["matrix"].double()):
        values = torch.linalg.eigvalsh(each @ each.T + torch.outer(each.sum(dim=1), each.sum(dim=1)))
        spread.append(float(values[-1] / values.mean()))
    assert spread[0] < 1.5 * spread[1]


@pytest.mark.parametrize("name", [*EXPLICIT, "anti_hebbian", "gain_modulation"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
def test_what_is_not_finite_moves_nothing(name: str, bad: float) -> None:
    rule = rules.get(name)
    state = rule.initial_state(6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        learn(rule, state, torch.randn(4, 6, generator=generator))
    before = {key: tensor.clone() for key, tensor in state.items()}
    inputs = torch.randn(4, 6, generator=generator)
    outputs = rules.transform(state, inputs)
    if bad < math.inf:
        outputs[2, 3] = math.inf  # the largest float32 numbers are finite, D times them is not
    inputs[2, 3] = bad
    sample = Sample(inputs, outputs if bad < math.inf else rules.transform(state, inputs), inputs[0] * 0)
    with pytest.raises(Diverged):
        rule.update_(state, sample, rule.rate)
    assert all(torch.equal(state[key], before[key]) for key in state)


@pytest.mark.parametrize("name", EXPLICIT)
def test_silence_and_a_rate_of_zero_move_nothing(name: str) -> None:
    rule, generator = rules.get(name), torch.Generator().manual_seed(0)
    state = rule.initial_state(6)
    for _ in range(5):
        learn(rule, state, torch.randn(4, 6, generator=generator))
    before = {key: tensor.clone() for key, tensor in state.items()}
    assert learn(rule, state, torch.zeros(4, 6)) is None
    assert learn(rule, state, torch.randn(4, 6, generator=generator) * 1e-25) is None
    drive = torch.randn(4, 6, generator=generator)
    assert rule.update_(state, Sample(drive, rules.transform(state, drive), drive[0]), 0.0) is None
    assert all(torch.equal(state[key], before[key]) for key in state)


@pytest.mark.parametrize("name", ["norm_preserving", "lateral", "decorrelating"])
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_course_does_not_know_the_scale(name: str, scale: float) -> None:
    rule, generator = rules.get(name), torch.Generator().manual_seed(0)
    state, other = (rule.initial_state(10, dtype=torch.float64) for _ in range(2))
    for _ in range(100):
        drive = torch.randn(3, 10, generator=generator, dtype=torch.float64) * torch.linspace(0.1, 3, 10)
        learn(rule, state, drive)
        learn(rule, other, drive * scale)
    torch.testing.assert_close(state["matrix"], other["matrix"], rtol=1e-9, atol=1e-12)
    assert (state["matrix"] - torch.eye(10)).norm() > 0.1


@pytest.mark.parametrize("name", ["norm_preserving", "lateral"])
def test_one_stimulus_for_ever(name: str) -> None:
    """Rank one, a row at a time, so that 16 of 256 axes come at once: D outgrows its rest by no more than e^2."""
    rule = rules.get(name, rate=0.5, floor=1e-2)
    state, generator = rule.initial_state(256), torch.Generator().manual_seed(0)
    stimulus, largest = torch.randn(1, 256, generator=generator), 0.0
    for update in range(1_500):
        learn(rule, state, stimulus)
        if update % 10 == 0:
            largest = max(largest, float(torch.linalg.matrix_norm(state["matrix"], 2)))
    rest = math.sqrt(256 / 1e-2)
    assert 0.5 * rest < largest < math.exp(2) * rest


@pytest.mark.parametrize("name", EXPLICIT)
@pytest.mark.parametrize(("rows", "features"), [(16, 9), (5, 9), (2, 9)])
def test_groups_at_once_are_groups_one_by_one(name: str, rows: int, features: int) -> None:
    """Seven groups of different power, one of which is silent at times; the changes compensate each."""
    generator = torch.Generator().manual_seed(0)
    rule = rules.get(name, rate=0.02)
    each = [rule.initial_state(features, dtype=torch.float64) for _ in range(7)]
    states = {key: torch.stack([state[key] for state in each]) for key in each[0]}
    weight = torch.randn(3, features, generator=generator, dtype=torch.float64)
    weights = [weight.clone() for _ in each]
    power = torch.logspace(-3, 3, 7, dtype=torch.float64).view(-1, 1, 1)
    for update in range(20):
        inputs = torch.randn(7, rows, features, generator=generator, dtype=torch.float64) * power
        inputs[2] *= update % 3 > 0
        mean = torch.zeros(7, features, dtype=torch.float64)
        changes = rule.update_groups_(states, Sample(inputs, rules.transform(states, inputs), mean), rule.rate)
        for group, (change, state) in enumerate(zip(changes, each, strict=True)):
            learn(rule, state, inputs[group])
            if change is None:
                assert group == 2 and update % 3 == 0
            else:
                change.compensate_(weights[group])
    for group, state in enumerate(each):
        for key, tensor in state.items():
            torch.testing.assert_close(states[key][group], tensor, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(weights[group] @ state["matrix"], weight, rtol=1e-9, atol=1e-9)
    assert (states["matrix"] - torch.eye(features)).norm() > 0.2


def test_published_options_are_named() -> None:
    assert rules.get("norm_preserving").silent_units_bounded
    assert not rules.get("norm_preserving", form="published").silent_units_bounded
    with pytest.raises(InvalidValue, match="form must be one of 'bounded', 'published', got 'exact'"):
        rules.get("lateral", form="exact")
    with pytest.raises(InvalidValue, match="needs form='published', got 'bounded'"):
        rules.get("norm_preserving", norm_reference="raw")
    with pytest.raises(InvalidValue, match="floor must be a finite number > 0"):
        rules.get("variance_weighted", floor=0.0)


PUBLISHED = [("norm_preserving", {}), ("norm_preserving", {"norm_reference": "raw"}), ("lateral", {})]
PUBLISHED += [("variance_weighted", {}), ("decorrelating", {})]


@pytest.mark.parametrize(("name", "options"), PUBLISHED)
@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
def test_published_forms_pass_the_suite(name: str, options: dict[str, object], check: Callable[[Rule], None]) -> None:
    check(rules.get(name, form="published", **options))
