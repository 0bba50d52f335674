"""What every rule has to pass: checks that know it by its declaration only, in float64.

`check(rule)` runs all that apply; `CHECKS` are the single ones, to parametrise tests with. Each raises `CheckFailed`.
"""

from __future__ import annotations

import dataclasses
import io
import math

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged, NeuroDecorrError
from neuro_decorr.rules._registry import get, table
from neuro_decorr.rules._rule import Rule, Sample, State, dense_matrix, transform

FEATURES = 20
WAKING_UNITS = 4

UPDATES = 30_000
"""So many may lead to the fixed point."""
_LEAST_RATE = 5e-3
"""At a smaller rate that many updates do not get there from inputs of condition 1e4: 150 time constants of the rule."""


class CheckFailed(NeuroDecorrError, AssertionError):
    """A rule does not do what it declares."""


def _expect(holds: bool, rule: Rule, message: str) -> None:
    if not holds:
        raise CheckFailed(f"rule '{rule.name}' {message}")


def covariance(condition: float = 1e4, features: int = FEATURES, seed: int = 0) -> Tensor:
    """A covariance with log-uniform spectrum, random basis and unit mean power."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(features, features, generator=generator, dtype=torch.float64)).Q
    spectrum = torch.logspace(0, -float(torch.tensor(condition).log10()), features, dtype=torch.float64)
    spectrum *= features / spectrum.sum()
    made: Tensor = (basis * spectrum) @ basis.T
    return made


def rows_with(covariance: Tensor) -> Tensor:
    """As many rows as features whose second moment is the covariance exactly."""
    values, vectors = torch.linalg.eigh(covariance)
    generator = torch.Generator().manual_seed(5)
    # Mixed by a rotation, so that every row has power in every direction, as samples have.
    mixed = torch.linalg.qr(torch.randn(*covariance.shape, generator=generator, dtype=torch.float64)).Q
    rows: Tensor = mixed @ (vectors * (values.clamp_min(0) * len(values)).sqrt()).T
    return rows


def sample(rule: Rule, state: State, inputs: Tensor) -> Sample:  # noqa: ARG001  # one signature for all of these
    """Rows of centred inputs with the outputs of the present transform."""
    return Sample(inputs, transform(state, inputs), torch.zeros(inputs.shape[1], dtype=inputs.dtype))


def run(rule: Rule, inputs: Tensor, updates: int, state: State | None = None) -> State:
    """So many updates at the rule's own rate, from `state` (in place) or from the start."""
    state = rule.initial_state(inputs.shape[1], dtype=torch.float64) if state is None else state
    for _ in range(updates):
        rule.update_(state, sample(rule, state, inputs), rule.rate)
    return state


def second_moment(state: State, inputs: Tensor) -> Tensor:
    """Of the outputs, shape (features, features)."""
    outputs = transform(state, inputs)
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
    """The covariance with its diagonal scaled to one."""
    scale = covariance.diagonal().rsqrt()
    return covariance * scale.unsqueeze(1) * scale


def converge(rule: Rule, inputs: Tensor, tolerance: float, updates: int = UPDATES, state: State | None = None) -> float:
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


def condition(rule: Rule) -> float:
    """Of the inputs from which a rule is to reach its fixed point: 1e4, or 1e2 where its limit leaves a tiny rate."""
    return 1e4 if comfortable(rule, rows_with(covariance(1e4))).rate >= _LEAST_RATE else 1e2


def check_fixed_point(rule: Rule) -> None:
    """With exact statistics it reaches the fixed point that it declares, to 1e-6."""
    inputs = rows_with(covariance(condition(rule)))
    left = converge(comfortable(rule, inputs), inputs, 1e-6)
    _expect(left < 1e-6, rule, f"stays {left:.1e} (relative) away from its declared fixed point.")


def check_equivariance(rule: Rule) -> None:
    """Started from D A^{-1}, inputs A z give the same outputs (low-rank or covariant: the outputs rotate with them)."""
    if rule.equivariance == "none":
        return
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
        moved = {n: change @ t if t.shape[:1] == (FEATURES,) and t.dim() == 2 else t for n, t in moved.items()}
    for _ in range(50):
        run(rule, inputs, 1, plain)
        run(rule, inputs @ change.T, 1, moved)
        expected = transform(plain, inputs)
        if not absorbed:
            expected = expected @ change.T
        torch.testing.assert_close(transform(moved, inputs @ change.T), expected, rtol=1e-6, atol=1e-8)


def check_stability_limit(rule: Rule) -> None:
    """Just below the limit a small deviation dies out, just above it does not; without a limit the top rate holds.

    Above the limit either the deviation grows (some rules then settle elsewhere, with less variance) or the outputs'
    covariance never comes to rest.
    """
    inputs = rows_with(covariance())
    if rule.stability_limit(inputs.T @ inputs / len(inputs)) == float("inf"):
        left = converge(dataclasses.replace(rule, rate=1.0), inputs, 1e-6)
        _expect(left < 1e-6, rule, f"declares no limit, yet at rate 1 stays {left:.1e} away from its fixed point.")
        return
    generator = torch.Generator().manual_seed(2)
    deviation = torch.randn(FEATURES, FEATURES, generator=generator, dtype=torch.float64) * 1e-4
    spread = 0.5 if rule.fixed_point_up_to == "unit_scales" else 0.0
    near = torch.diag(torch.linspace(1 - spread, 1 + spread, FEATURES, dtype=torch.float64)) + deviation + deviation.T
    inputs = rows_with(near)
    limit = rule.stability_limit(near)

    below = dataclasses.replace(rule, rate=0.97 * limit)
    state = run(below, inputs, 5_000)
    at_rest = residual(below, state, inputs) < 1e-6 and movement(below, state, inputs) < 1e-6
    _expect(at_rest, rule, f"is not stable at 0.97 of its declared limit {limit:.3g}.")

    above = dataclasses.replace(rule, rate=1.03 * limit)
    state = above.initial_state(FEATURES, dtype=torch.float64)
    start = residual(above, state, inputs)
    grown = max(residual(above, run(above, inputs, 10, state), inputs) for _ in range(30)) > 5 * start
    unstable = grown or movement(above, run(above, inputs, 2_000, state), inputs) > 1e-2
    _expect(unstable, rule, f"is still stable at 1.03 of its declared limit {limit:.3g}.")


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
    same = straight.keys() == resumed.keys() and all(torch.equal(straight[name], resumed[name]) for name in straight)
    _expect(same, rule, "goes on differently after its state was saved and loaded.")


def check_pure_update(rule: Rule) -> None:
    """The pure update leaves its argument alone and agrees with the one in place."""
    inputs = rows_with(covariance(100.0))
    state = run(rule, inputs, 4)
    before = {name: tensor.clone() for name, tensor in state.items()}
    after = rule.update(state, sample(rule, state, inputs))
    _expect(all(torch.equal(state[name], before[name]) for name in before), rule, "changes the argument of update().")
    pointers = {name: tensor.data_ptr() for name, tensor in state.items()}
    run(rule, inputs, 1, state)
    _expect(all(torch.equal(state[name], after[name]) for name in after), rule, "differs between update and update_.")
    kept = {name: tensor.data_ptr() for name, tensor in state.items()} == pointers
    _expect(kept, rule, "re-binds a tensor of its state; change it in place.")


def check_divergence(rule: Rule) -> None:
    """A rule that declares to detect it raises Diverged for one number that is not finite, and moves nothing."""
    if not rule.detects_divergence:
        return
    state = rule.initial_state(FEATURES, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in state.items()}
    for bad in (math.nan, math.inf, -math.inf):
        inputs = rows_with(covariance(10.0))
        inputs[3, 5] = bad
        try:
            rule.update_(state, sample(rule, state, inputs), rule.rate)
        except Diverged:
            pass
        else:
            raise CheckFailed(f"rule '{rule.name}' declares that it detects divergence, and took {bad} for a number.")
        unmoved = all(torch.equal(state[name], before[name]) for name in before)
        _expect(unmoved, rule, f"moved its state before it raised Diverged for {bad}.")


def check_compensation(rule: Rule) -> None:
    """W D stays what it was, for fewer rows than features and over many updates."""
    generator = torch.Generator().manual_seed(3)
    inputs = rows_with(covariance(100.0))
    rule = comfortable(rule, inputs)
    state = rule.initial_state(FEATURES, dtype=torch.float64)
    weight = torch.randn(7, FEATURES, generator=generator, dtype=torch.float64)
    expected = weight @ dense_matrix(state, FEATURES, weight)
    for _ in range(200):
        kept = inputs[torch.randint(FEATURES, (6,), generator=generator)]
        change = rule.update_(state, sample(rule, state, kept), 0.1 * rule.rate)
        if change is not None:
            change.compensate_(weight)
    matrix = dense_matrix(state, FEATURES, weight)
    torch.testing.assert_close(weight @ matrix, expected, rtol=1e-9, atol=1e-9)
    if rule.structure != "centering":
        moved = float((matrix - torch.eye(FEATURES, dtype=torch.float64)).norm())
        _expect(moved > 0.02, rule, "did not move D in 200 updates: compensation was not tested.")


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
        norms.append(float(dense_matrix(state, FEATURES, inputs).norm()))
    if rule.silent_units_bounded:
        # The largest gain that any declared fixed point allows to a direction without power is 1e3 (a floor of 1e-6).
        _expect(norms[-1] < 1.1e3 * FEATURES**0.5, rule, f"amplifies silent units: the norms of D were {norms}.")
    else:
        grows = norms[-1] > 1e6 and norms[-1] > 100 * norms[-2] > 1e4 * norms[-3] / 100
        _expect(grows, rule, f"declares silent units unbounded, but the norms of D were {norms}.")


def check_waking(rule: Rule) -> None:
    """A unit wakes after 10,000 silent updates: no harm, and the fixed point is found again.

    The gain of the silent unit is at most 1.5 times what the rule's own fixed point gives to a direction without power;
    the woken unit's first batches leave the outputs of the others below 10; and 4,000 updates later the second moment
    is within a tenth of the fixed point.
    """
    if not rule.silent_units_bounded or rule.structure == "centering":
        return
    units, rows = WAKING_UNITS, 32
    if "interneurons" in rule.parameters() and rule.structure == "low_rank":
        rule = dataclasses.replace(rule, interneurons=2)  # type: ignore[call-arg]  # a parameter of this rule
    generator = torch.Generator().manual_seed(6)
    state = rule.initial_state(units, dtype=torch.float64)

    def batch(awake: bool) -> Tensor:
        inputs = torch.randn(rows, units, generator=generator, dtype=torch.float64)
        inputs[:, 0] *= awake
        return inputs

    for _ in range(10_000):
        rule.update_(state, sample(rule, state, batch(False)), rule.rate)
    nearly_silent = torch.ones(units, dtype=torch.float64)
    nearly_silent[0] = 1e-9
    resting = float((rule.fixed_point(torch.diag(nearly_silent))[0, 0] / 1e-9).sqrt())
    gain = float(dense_matrix(state, units, nearly_silent)[:, 0].norm())
    _expect(
        gain < 1.5 * max(1.0, resting), rule, f"amplifies a silent unit by {gain:.3g}, not {resting:.3g} as declared."
    )
    for _ in range(4_000):
        now = sample(rule, state, batch(True))
        loudest = float(now.outputs[:, 1:].square().mean().sqrt())
        _expect(loudest < 10, rule, f"lets a unit that wakes drive the others to outputs of {loudest:.3g}.")
        rule.update_(state, now, rule.rate)
    inputs = rows_with(torch.eye(units, dtype=torch.float64))
    left = residual(rule, state, inputs)
    _expect(
        left < 0.1 + 2 * rule.rate**0.5,
        rule,
        f"is {left:.2g} away from its fixed point 4,000 updates after a unit woke.",
    )


def check_declaration(rule: Rule) -> None:
    """It has a row in the table, and rebuilds from its own parameters."""
    row = next((row for row in table() if row["name"] == rule.name), {})
    _expect(bool(row) and all(row.values()), rule, f"has no complete row in the table of rules: {row}; register it.")
    _expect(get(rule.name, **rule.parameters()) == rule, rule, "cannot be made again from its own parameters.")


CHECKS = (
    check_fixed_point,
    check_equivariance,
    check_stability_limit,
    check_state_round_trip,
    check_pure_update,
    check_divergence,
    check_compensation,
    check_silent_units,
    check_waking,
    check_declaration,
)


def check(rule: Rule) -> None:
    """Run every check on a rule; it takes some seconds.

    Args:
        rule: A registered rule, with the parameters to be checked.

    Raises:
        CheckFailed: The rule does not do what it declares; the message says which declaration and by how much.
    """
    for single in CHECKS:
        single(rule)
