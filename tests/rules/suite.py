"""What every registered rule has to pass: checks that know a rule by its declaration only, in float64."""

from __future__ import annotations

import dataclasses
import io
import math

import torch
from torch import Tensor

from neuro_decorr import rules
from neuro_decorr.rules import Rule, Sample, State

FEATURES = 20

CONDITION = {"gain_modulation": 1e2}
"""Condition of the inputs at the fixed point; 1e4 but where the declared limit leaves too small a rate to get there."""


def covariance(condition: float = 1e4, features: int = FEATURES, seed: int = 0) -> Tensor:
    """A covariance with log-uniform spectrum, random basis and unit mean power."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(features, features, generator=generator, dtype=torch.float64)).Q
    spectrum = torch.logspace(0, -float(torch.tensor(condition).log10()), features, dtype=torch.float64)
    spectrum *= features / spectrum.sum()
    return (basis * spectrum) @ basis.T


def rows_with(covariance: Tensor) -> Tensor:
    """As many rows as features whose second moment is the covariance exactly."""
    values, vectors = torch.linalg.eigh(covariance)
    generator = torch.Generator().manual_seed(5)
    # Mixed by a rotation, so that every row has power in every direction, as samples have.
    mixed = torch.linalg.qr(torch.randn(*covariance.shape, generator=generator, dtype=torch.float64)).Q
    return mixed @ (vectors * (values.clamp_min(0) * len(values)).sqrt()).T


def sample(rule: Rule, state: State, inputs: Tensor) -> Sample:
    return Sample(inputs, rules.transform(state, inputs), torch.zeros(inputs.shape[1], dtype=inputs.dtype))


def run(rule: Rule, inputs: Tensor, updates: int, state: State | None = None) -> State:
    state = rule.initial_state(inputs.shape[1], dtype=torch.float64) if state is None else state
    for _ in range(updates):
        rule.update_(state, sample(rule, state, inputs), rule.rate)
    return state


def second_moment(state: State, inputs: Tensor) -> Tensor:
    outputs = rules.transform(state, inputs)
    return outputs.T @ outputs / len(outputs)


def residual(rule: Rule, state: State, inputs: Tensor) -> float:
    """Relative distance of the outputs' covariance from the declared fixed point."""
    found = second_moment(state, inputs)
    expected = rule.fixed_point(inputs.T @ inputs / len(inputs))
    if rule.fixed_point_up_to == "scale":
        found, expected = found / found.trace(), expected / expected.trace()
    if rule.fixed_point_up_to == "unit_scales":
        found, expected = correlation(found), correlation(expected)
    distance = float((found - expected).norm() / expected.norm())
    return float("inf") if math.isnan(distance) else distance


def correlation(covariance: Tensor) -> Tensor:
    scale = covariance.diagonal().rsqrt()
    return covariance * scale.unsqueeze(1) * scale


def converge(rule: Rule, inputs: Tensor, tolerance: float, updates: int = 30_000, state: State | None = None) -> float:
    """The residual at the end, or as soon as it falls below the tolerance."""
    state = rule.initial_state(inputs.shape[1], dtype=torch.float64) if state is None else state
    for _ in range(updates // 100):
        run(rule, inputs, 100, state)
        left = residual(rule, state, inputs)
        if left < tolerance or left == float("inf"):
            break
    return left


def comfortable(rule: Rule, inputs: Tensor) -> Rule:
    """The rule at half its stability limit, and where no step of it can overshoot the largest eigenvalue."""
    moment = inputs.T @ inputs / len(inputs)
    limits = (rule.stability_limit(moment), 1 / float(torch.linalg.matrix_norm(moment, 2)))
    return dataclasses.replace(rule, rate=0.5 * min(limits))


def check_fixed_point(rule: Rule) -> None:
    inputs = rows_with(covariance(CONDITION.get(rule.name, 1e4)))
    assert converge(comfortable(rule, inputs), inputs, 1e-6) < 1e-6


def check_equivariance(rule: Rule) -> None:
    """Started from D A^{-1}, inputs A z give the same outputs (low-rank or covariant: the outputs rotate with them)."""
    generator = torch.Generator().manual_seed(1)
    inputs = rows_with(covariance(100.0))
    change = torch.randn(FEATURES, FEATURES, generator=generator, dtype=torch.float64)
    change = change / FEATURES**0.5 if rule.equivariance == "general" else torch.linalg.qr(change).Q
    rule = comfortable(rule, inputs)
    plain = rule.initial_state(FEATURES, dtype=torch.float64)
    moved = {name: tensor.clone() for name, tensor in plain.items()}
    absorbed = rule.structure == "dense" and rule.equivariance != "covariant"
    if absorbed:
        moved["matrix"] = torch.linalg.inv(change)
    if rule.structure == "low_rank":
        moved["directions"] = change @ moved["directions"]
    for _ in range(50):
        run(rule, inputs, 1, plain)
        run(rule, inputs @ change.T, 1, moved)
        expected = rules.transform(plain, inputs)
        if not absorbed:
            expected = expected @ change.T
        torch.testing.assert_close(rules.transform(moved, inputs @ change.T), expected, rtol=1e-6, atol=1e-8)


def check_stability_limit(rule: Rule) -> None:
    """Just below the limit a small deviation dies out, just above it does not; without a limit the top rate holds.

    Above the limit either the deviation grows (some rules then settle elsewhere, with less variance) or the outputs'
    covariance never comes to rest.
    """
    inputs = rows_with(covariance())
    if rule.stability_limit(inputs.T @ inputs / len(inputs)) == float("inf"):
        assert converge(dataclasses.replace(rule, rate=1.0), inputs, 1e-6) < 1e-6
        return
    generator = torch.Generator().manual_seed(2)
    deviation = torch.randn(FEATURES, FEATURES, generator=generator, dtype=torch.float64) * 1e-4
    spread = 0.5 if rule.fixed_point_up_to == "unit_scales" else 0.0
    near = torch.diag(torch.linspace(1 - spread, 1 + spread, FEATURES, dtype=torch.float64)) + deviation + deviation.T
    inputs = rows_with(near)
    limit = rule.stability_limit(near)

    below = dataclasses.replace(rule, rate=0.97 * limit)
    state = run(below, inputs, 5_000)
    assert residual(below, state, inputs) < 1e-6
    assert movement(below, state, inputs) < 1e-6

    above = dataclasses.replace(rule, rate=1.03 * limit)
    state = above.initial_state(FEATURES, dtype=torch.float64)
    start = residual(above, state, inputs)
    grown = max(residual(above, run(above, inputs, 10, state), inputs) for _ in range(30)) > 5 * start
    assert grown or movement(above, run(above, inputs, 2_000, state), inputs) > 1e-2


def movement(rule: Rule, state: State, inputs: Tensor) -> float:
    """Relative change of the outputs' covariance, scale included, in one more update."""
    before = second_moment(state, inputs)
    after = second_moment(rule.update(state, sample(rule, state, inputs)), inputs)
    return float((after - before).norm() / before.norm())


def check_state_round_trip(rule: Rule) -> None:
    """Saved, loaded and continued is the same as never stopped."""
    inputs = rows_with(covariance(100.0))
    straight = run(rule, inputs, 10)
    halfway = run(rule, inputs, 5)
    file = io.BytesIO()
    torch.save(halfway, file)
    file.seek(0)
    resumed = run(rule, inputs, 5, torch.load(file, weights_only=True))
    assert straight.keys() == resumed.keys()
    for name, tensor in straight.items():
        assert torch.equal(tensor, resumed[name]), name


def check_pure_update(rule: Rule) -> None:
    """The pure update leaves its argument alone and agrees with the one in place."""
    inputs = rows_with(covariance(100.0))
    state = run(rule, inputs, 4)
    before = {name: tensor.clone() for name, tensor in state.items()}
    after = rule.update(state, sample(rule, state, inputs))
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    pointers = {name: tensor.data_ptr() for name, tensor in state.items()}
    run(rule, inputs, 1, state)
    assert all(torch.equal(state[name], tensor) for name, tensor in after.items())
    assert {name: tensor.data_ptr() for name, tensor in state.items()} == pointers, "a buffer was re-bound"


def check_compensation(rule: Rule) -> None:
    """W D stays what it was, for fewer rows than features and over many updates."""
    generator = torch.Generator().manual_seed(3)
    inputs = rows_with(covariance(100.0))
    rule = comfortable(rule, inputs)
    state = rule.initial_state(FEATURES, dtype=torch.float64)
    weight = torch.randn(7, FEATURES, generator=generator, dtype=torch.float64)
    expected = weight @ rules.dense_matrix(state, FEATURES, weight)
    for _ in range(200):
        kept = inputs[torch.randint(FEATURES, (6,), generator=generator)]
        change = rule.update_(state, sample(rule, state, kept), 0.1 * rule.rate)
        if change is not None:
            change.compensate_(weight)
    matrix = rules.dense_matrix(state, FEATURES, weight)
    torch.testing.assert_close(weight @ matrix, expected, rtol=1e-9, atol=1e-9)
    if rule.structure != "centering":
        assert (matrix - torch.eye(FEATURES, dtype=torch.float64)).norm() > 0.02, "D did not move: nothing was tested"


def check_silent_units(rule: Rule) -> None:
    """Three silent units: bounded for ever, unless the rule is declared as published with that fault."""
    generator = torch.Generator().manual_seed(4)
    rule = dataclasses.replace(rule, rate=0.05)
    state = rule.initial_state(FEATURES, dtype=torch.float64)
    norms = []
    for _part in range(3):
        for _ in range(500):
            inputs = torch.randn(64, FEATURES, generator=generator, dtype=torch.float64)
            inputs[:, :3] = 0
            rule.update_(state, sample(rule, state, inputs), rule.rate)
        norms.append(float(rules.dense_matrix(state, FEATURES, inputs).norm()))
    if rule.silent_units_bounded:
        # The largest gain that any declared fixed point allows to a direction without power is 1e3 (a floor of 1e-6).
        assert norms[-1] < 1.1e3 * FEATURES**0.5, norms
    else:
        assert norms[-1] > 1e6 and norms[-1] > 100 * norms[-2] > 1e4 * norms[-3] / 100, norms


def check_declaration(rule: Rule) -> None:
    """It has a row in the table, and rebuilds from its own parameters."""
    row = next(row for row in rules.table() if row["name"] == rule.name)
    assert all(isinstance(text, str) and text for text in row.values()), row
    assert rules.get(rule.name, **rule.parameters()) == rule


CHECKS = (
    check_fixed_point,
    check_equivariance,
    check_stability_limit,
    check_state_round_trip,
    check_pure_update,
    check_compensation,
    check_silent_units,
    check_declaration,
)
