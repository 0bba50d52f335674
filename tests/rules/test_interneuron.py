"""The rule `interneuron` in float32 and float64: what it survives, what it gives back, and how soon it forgets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuro_decorr import rules
from neuro_decorr.errors import Diverged
from neuro_decorr.rules import suite

NAMES = ("interneuron", "interneuron_local")
LARGE = (128, 64)
"""Features and interneurons whose directions are made orthonormal by products, not by a QR decomposition."""


def off_orthonormal(state: rules.State) -> float:
    directions = state["directions"].double()
    return float((directions.T @ directions - torch.eye(directions.shape[1], dtype=torch.float64)).abs().max())


def hostile(number: int, rows: Tensor) -> Tensor:
    """Units that die and wake in turns of 100 batches, and single loud, faint and broken-scale batches."""
    features = rows.shape[1]
    part = number // 100 % 6
    if part == 1:
        rows[:, 5:] = 0  # fewer units live than there are interneurons
    if part == 2:
        rows[:, :5] = 0  # and then the others do
    if part == 3:
        rows = rows[:, torch.arange(features) // 2 * 2]
    if part == 4:
        rows = torch.relu(rows) * torch.where(torch.arange(features) < 5, 1.0, 1e-40)
    if part == 5:
        rows = torch.zeros_like(rows)
    factor = {50: 5e18, 60: 30.0, 70: 1e-25}.get(number % 700, 1.0)
    return rows * factor


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("features", "interneurons", "rows", "updates"),
    [(8, 4, 1, 1_500), (64, 16, 16, 1_500), (16, 16, 16, 1_500), (*LARGE, 32, 300)],
)
def test_orthonormal_and_bounded_whatever_dies_and_wakes(
    name: str, features: int, interneurons: int, rows: int, updates: int, flushed: bool
) -> None:
    """And no more variance than the inputs have: the bound from which that of the gain follows."""
    rule = rules.get(name, interneurons=interneurons, every=1)
    state = rule.initial_state(features)
    generator = torch.Generator().manual_seed(features)
    mix = torch.randn(features, features, generator=generator) / features**0.5
    torch.set_flush_denormal(flushed)
    try:
        for number in range(updates):
            suite.run(rule, hostile(number, torch.randn(rows, features, generator=generator) @ mix), 1, state)
            if number % 10 == 0 or number % 700 in (50, 51):
                assert all(bool(tensor.isfinite().all()) for tensor in state.values()), number
                assert off_orthonormal(state) < 1e-5
                assert float(state["suppression"].min()) >= 0 and float(state["suppression"].max()) < 1
                assert 1 - 1e-6 < float(state["gain"]) < math.sqrt(1 + features / rule.damping) * (1 + 1e-5)
                assert float(state["variance"].sum()) <= features * float(state["power"]) * (1 + 1e-5)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize(("features", "interneurons", "live"), [(16, 8, 2), (64, 16, 5), (*LARGE, 10)])
def test_idle_interneurons_have_no_variance_and_the_others_the_whole(
    features: int, interneurons: int, live: int
) -> None:
    """All units but a few die: the fixed point of those, and exact zeros."""
    rule = rules.get("interneuron", interneurons=interneurons, every=1)
    state = rule.initial_state(features)
    generator = torch.Generator().manual_seed(0)
    for number in range(400 if features == LARGE[0] else 1_500):
        rows = torch.randn(32, features, generator=generator)
        if number >= 50:
            rows[:, live:] = 0
        suite.run(rule, rows, 1, state)
    assert int((state["variance"] > 0).sum()) == live
    assert off_orthonormal(state) < 1e-5
    covariance = torch.zeros(features, dtype=torch.float64)
    covariance[:live] = 1
    matrix = rules.dense_matrix(state, features, rows).double()
    expected = float(rule.fixed_point(covariance.diag())[0, 0])
    found = float((matrix[:live] @ covariance.diag() @ matrix[:live].T).diagonal().mean())
    assert found == pytest.approx(expected, rel=0.1)


def test_units_that_no_interneuron_heard_are_found() -> None:
    """Interneurons on the units of one half, which fall silent for good, turn to those of the other half."""
    rule = rules.get("interneuron", interneurons=4, every=1)
    halves = torch.zeros(2, 400, 8, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for half, rows in enumerate(halves):
        rows[:, 4 * half : 4 * half + 4] = torch.randn(400, 4, generator=generator, dtype=torch.float64)
    state = suite.run(rule, halves[0], 600)
    assert float(state["directions"][4:].abs().max()) < 1e-9
    state["directions"][4:] = 0  # none of them hears the second half at all
    suite.run(rule, halves[1], 1_000, state)
    assert suite.residual(rule, state, halves[1]) < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recruit", [0.0, 0.4])
def test_the_power_taken_is_given_back(name: str, recruit: float) -> None:
    """Outputs have the mean power of the inputs at rest; without `preserve_power`, the same D but for a scalar."""
    inputs = suite.rows_with(suite.covariance(1e3, 12))
    given = rules.get(name, interneurons=5, damping=0.3, every=1, recruit=recruit)
    taken = rules.get(name, interneurons=5, damping=0.3, every=1, recruit=recruit, preserve_power=False)
    states = [suite.run(rule, inputs, 600) for rule in (given, taken)]
    outputs = [rules.transform(state, inputs) for state in states]
    assert float(outputs[0].square().mean()) == pytest.approx(float(inputs.square().mean()), rel=1e-6)
    assert float(outputs[1].square().mean()) < 0.5 * float(inputs.square().mean())
    torch.testing.assert_close(outputs[0], outputs[1] * states[0]["gain"], rtol=1e-9, atol=1e-12)
    assert float(states[1]["gain"]) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_the_course_is_the_same_at_any_scale(name: str, scale: float) -> None:
    """From the first update on."""
    generator = torch.Generator().manual_seed(0)
    rule = rules.get(name, interneurons=4, every=1)
    states = [rule.initial_state(12, dtype=torch.float64) for _ in range(2)]
    for _ in range(30):
        rows = torch.randn(16, 12, generator=generator, dtype=torch.float64) * torch.logspace(1, -1, 12)
        for state, factor in zip(states, (1.0, scale), strict=True):
            suite.run(rule, rows * factor, 1, state)
        matrices = [rules.dense_matrix(state, 12, rows) for state in states]
        torch.testing.assert_close(*matrices, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rows", [5, 256])
def test_the_tracked_variances_are_those_of_the_running_covariance(rows: int) -> None:
    """With as many interneurons as units nothing is left out: against the covariance itself, batch by batch."""
    features, rate, damping = 6, 0.05, 2.0
    rule = rules.get("interneuron", interneurons=features, every=1, rate=rate, damping=damping)
    state = rule.initial_state(features, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    covariance = torch.zeros(features, features, dtype=torch.float64)
    for number in range(1, 150):
        batch = torch.randn(rows, features, generator=generator, dtype=torch.float64) * torch.logspace(0, -2, features)
        newest = max(rate, 4 / (number + 4))
        weight = newest / (1 + newest * features / (rows * (1 + damping)))
        covariance = (1 - weight) * covariance + weight * batch.T @ batch / rows
        suite.run(rule, batch, 1, state)
        expected = torch.linalg.eigvalsh(covariance).flip(0)
        torch.testing.assert_close(state["variance"], expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_a_loud_batch_counts_within_bounds_and_one_that_is_not_finite_not_at_all(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    rule = rules.get(name, interneurons=4, every=1)
    state = rule.initial_state(8)
    for _ in range(100):
        suite.run(rule, torch.randn(32, 8, generator=generator), 1, state)
    power = float(state["power"])
    suite.run(rule, 5e18 * torch.randn(32, 8, generator=generator), 1, state)
    assert power < float(state["power"]) < 1e4 * power
    before = {key: tensor.clone() for key, tensor in state.items()}
    with pytest.raises(Diverged):
        suite.run(rule, torch.full((32, 8), math.inf), 1, state)
    assert all(torch.equal(tensor, before[key]) for key, tensor in state.items())


@pytest.mark.parametrize("name", NAMES)
def test_silent_batches_do_not_count_for_every(name: str) -> None:
    """Every fourth batch silent: the third, sixth, ... that is heard moves D, not the silent ones."""
    generator = torch.Generator().manual_seed(0)
    rule = rules.get(name, interneurons=4, every=3)
    states = [rule.initial_state(8, dtype=torch.float64) for _ in range(2)]
    for number in range(40):
        rows = torch.randn(32, 8, generator=generator, dtype=torch.float64)
        suite.run(rule, rows, 1, states[0])
        suite.run(rule, rows, 1, states[1])
        if number % 3 == 0:
            suite.run(rule, torch.zeros_like(rows), 1, states[1])
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


@pytest.mark.parametrize("name", NAMES)
def test_updates_are_counted_beyond_what_float32_can(name: str) -> None:
    rule = rules.get(name, interneurons=4, every=2)
    state = rule.initial_state(8)
    state["calls"].fill_(2**24 + 1)
    state["updates"].fill_(2**24)
    suite.run(rule, torch.ones(4, 8), 2, state)
    assert int(state["calls"]) == 2**24 + 3 and int(state["updates"]) == 2**24 + 1


@pytest.mark.parametrize("name", NAMES)
def test_a_narrow_layer_has_as_many_interneurons_as_units(name: str) -> None:
    rule = rules.get(name, interneurons=16, every=1)
    inputs = suite.rows_with(suite.covariance(10.0, 3))
    state = suite.run(rule, inputs, 1_000)
    assert state["directions"].shape == (3, 3) and rule.interneurons_of(3) == 3 and rule.interneurons_of(20) == 16
    assert suite.residual(rule, state, inputs) < 1e-6
    assert suite.residual(rules.get("whitening"), state, inputs) < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preserve_power", [False, True])
def test_few_rows_do_not_inhibit_what_is_not_there(name: str, preserve_power: bool) -> None:
    """Inputs without any common direction, 1 or 26 rows of 256: never a suppression of a half, in any update."""
    for rows in (1, 26):
        generator = torch.Generator().manual_seed(rows)
        rule = rules.get(name, every=1, preserve_power=preserve_power)
        state = rule.initial_state(256)
        for _ in range(40):
            suite.run(rule, torch.randn(rows, 256, generator=generator), 1, state)
            assert float(state["suppression"].max()) < 0.5
            assert float(state["gain"]) < 1.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compensation_is_exact_with_the_gain(name: str, dtype: torch.dtype) -> None:
    """W D against the product of the dense matrices in double precision, after every update."""
    generator = torch.Generator().manual_seed(0)
    rule = rules.get(name, interneurons=3, every=1, damping=0.3)
    state = rule.initial_state(10, dtype=dtype)
    for _ in range(20):
        rows = torch.randn(12, 10, generator=generator, dtype=dtype) * torch.logspace(1, -1, 10, dtype=dtype)
        weight = torch.randn(4, 10, generator=generator, dtype=dtype)
        old = rules.dense_matrix(state, 10, rows).double()
        change = rule.update_(state, suite.sample(rule, state, rows), rule.rate)
        new = rules.dense_matrix(state, 10, rows).double()
        expected = weight.double() @ old @ torch.linalg.inv(new)
        assert change is not None
        change.compensate_(weight)
        accuracy = 2e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(weight.double(), expected, rtol=accuracy, atol=accuracy)
