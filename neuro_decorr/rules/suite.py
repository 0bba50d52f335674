"""Test suite of every rule: checks in float64 that know a rule by its declaration only.

`check(rule)` runs all checks that apply; `CHECKS` lists them, to parametrise tests with. Each raises `CheckFailed`.
"""

from __future__ import annotations

import dataclasses
import io
import math

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged, NeuroDecorrError
from neuro_decorr.rules._registry import get, table
from neuro_decorr.rules._rule import Rule
from neuro_decorr.rules._state import Sample, State
from neuro_decorr.rules._transform import dense_matrix, passed_on, transform
from neuro_decorr.rules.connectivity import Band, Groups

FEATURES = 20
WAKING_UNITS = 4

UPDATES = 30_000
"""Largest number of updates on the way to the fixed point."""
_LEAST_RATE = 5e-3
"""Rate below which that many updates, 150 time constants, do not suffice for inputs of condition number 1e4."""


class CheckFailed(NeuroDecorrError, AssertionError):
    """A rule that does not do what it declares."""


def _expect(holds: bool, rule: Rule, message: str) -> None:
    if not holds:
        raise CheckFailed(f"rule '{rule.name}' {message}")


def covariance(condition: float = 1e4, features: int = FEATURES, seed: int = 0) -> Tensor:
    """Covariance with a log-uniform spectrum, a random basis of a seed, unit mean power and a condition number."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(features, features, generator=generator, dtype=torch.float64)).Q
    spectrum = torch.logspace(0, -float(torch.tensor(condition).log10()), features, dtype=torch.float64)
    spectrum *= features / spectrum.sum()
    made: Tensor = (basis * spectrum) @ basis.T
    return made


def rows_with(covariance: Tensor) -> Tensor:
    """Rows, as many as features, whose second moment is exactly the covariance (features, features)."""
    values, vectors = torch.linalg.eigh(covariance)
    generator = torch.Generator().manual_seed(5)
    # A rotation mixes the rows, so that every row has power in every direction, as samples have.
    mixed = torch.linalg.qr(torch.randn(*covariance.shape, generator=generator, dtype=torch.float64)).Q
    rows: Tensor = mixed @ (vectors * (values.clamp_min(0) * len(values)).sqrt()).T
    return rows


def sample(rule: Rule, state: State, inputs: Tensor) -> Sample:  # noqa: ARG001  # one signature for all of these
    """Sample of centred inputs with the outputs of the present transform."""
    return Sample(inputs, transform(state, inputs), torch.zeros(inputs.shape[1], dtype=inputs.dtype))


def run(rule: Rule, inputs: Tensor, updates: int, state: State | None = None) -> State:
    """Run updates at the rule's own rate on centred rows, from `state` (in place) or from the start."""
    state = rule.layer_state(inputs.shape[1], dtype=torch.float64) if state is None else state
    for _ in range(updates):
        rule.step_(state, sample(rule, state, inputs), rule.rate)
    return state


def second_moment(state: State, inputs: Tensor) -> Tensor:
    """Second moment of the outputs, shape (features, features)."""
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
    """Covariance with its diagonal scaled to one."""
    scale = covariance.diagonal().rsqrt()
    return covariance * scale.unsqueeze(1) * scale


def converge(rule: Rule, inputs: Tensor, tolerance: float, updates: int = UPDATES, state: State | None = None) -> float:
    """Residual after the last of the `updates`, or as soon as it falls below the tolerance; arguments as of `run`."""
    state = rule.initial_state(inputs.shape[1], dtype=torch.float64) if state is None else state
    for _ in range(updates // 100):
        run(rule, inputs, 100, state)
        left = residual(rule, state, inputs)
        if left < tolerance or left == float("inf"):
            break
    return left


def comfortable(rule: Rule, inputs: Tensor) -> Rule:
    """Rule at half its stability limit, or at a lower rate at which no step overshoots the largest eigenvalue."""
    moment = inputs.T @ inputs / len(inputs)
    limits = (rule.stability_limit(moment), 1 / float(torch.linalg.matrix_norm(moment, 2)))
    return dataclasses.replace(rule, rate=0.5 * min(limits))


def condition(rule: Rule) -> float:
    """Condition number of the inputs for the fixed point: 1e4, or 1e2 if the stability limit requires a tiny rate."""
    return 1e4 if comfortable(rule, rows_with(covariance(1e4))).rate >= _LEAST_RATE else 1e2


def check_fixed_point(rule: Rule) -> None:
    """Check that the rule reaches its declared fixed point to 1e-6, with exact statistics."""
    inputs = rows_with(covariance(condition(rule)))
    left = converge(comfortable(rule, inputs), inputs, 1e-6)
    _expect(left < 1e-6, rule, f"stays {left:.1e} (relative) away from its declared fixed point.")


def check_equivariance(rule: Rule) -> None:
    """Check that inputs A z give the same outputs from D A^{-1}, or rotated ones for a low-rank or covariant rule."""
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
    """Check that a small deviation dies out just below the limit and not just above it, or at rate 1 without a limit.

    Above the limit either the deviation grows (some rules then settle elsewhere, with less variance) or the covariance
    of the outputs never comes to rest.
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
    """Check that a rule continues from a saved and loaded state as if it had not stopped."""
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
    """Check that the pure update leaves its argument as it is and agrees with the update in place."""
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
    """Check that a rule with `detects_divergence` raises Diverged for a number that is not finite, changing nothing."""
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
            raise CheckFailed(f"rule '{rule.name}' declares that it detects divergence, but accepted {bad}.")
        unmoved = all(torch.equal(state[name], before[name]) for name in before)
        _expect(unmoved, rule, f"moved its state before it raised Diverged for {bad}.")


def check_compensation(rule: Rule) -> None:
    """Check that compensation keeps W D as it was, for fewer rows than features and over many updates."""
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
    """Check that D stays bounded with three silent units, or grows if the rule declares so."""
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
    """Check that a unit that wakes after 10,000 silent updates does no harm and lets the rule find its fixed point.

    The gain of the silent unit must be at most 1.5 times the gain that the fixed point of the rule gives to a direction
    without power. The first batches of the woken unit must leave the outputs of the others below 10. After 4,000
    further updates the second moment must be within a tenth of the fixed point.
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


def check_connectivity(rule: Rule) -> None:
    """Check that a rule acts in each of disjoint groups as in a layer, and confined to all pairs as usual.

    A rule that can be confined to any connections runs on a band: no other connection appears, its D as a state of its
    own is the D that it stands for, and the covariances of connected units come closer to rest.
    """
    if rule.confinement == "none":
        return
    inputs, state, width = rows_with(covariance(10.0)), {}, FEATURES // 4
    for connectivity in (Groups(FEATURES), Groups(width)):
        confined = dataclasses.replace(rule, connectivity=connectivity)
        state = run(confined, inputs, 20)
        expected = torch.zeros(FEATURES, FEATURES, dtype=torch.float64)
        for start in range(0, FEATURES, connectivity.size):
            of = slice(start, start + connectivity.size)
            expected[of, of] = dense_matrix(run(rule, inputs[:, of], 20), connectivity.size, inputs)
        torch.testing.assert_close(dense_matrix(state, FEATURES, inputs), expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(transform(state, inputs), inputs @ expected.T, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(passed_on(state, inputs), inputs @ expected, rtol=1e-7, atol=1e-9)
    band = dataclasses.replace(rule, connectivity=Band(2))
    if rule.confinement == "groups":
        return
    state = run(band, inputs, 200)
    matrix, connected = dense_matrix(state, FEATURES, inputs), Band(2).matrix(FEATURES)
    held = matrix if rule.confinement == "any" else torch.linalg.inv(matrix)
    outside = float(held[~connected].abs().max())
    _expect(outside < 1e-9, rule, f"has a connection of {outside:.1e} between units that are not connected.")
    torch.testing.assert_close(transform(state, inputs), inputs @ matrix.T, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(passed_on(state, inputs), inputs @ matrix, rtol=1e-7, atol=1e-9)
    before, after = (correlation(moment) for moment in (inputs.T @ inputs, second_moment(state, inputs)))
    pairs = connected & ~torch.eye(FEATURES, dtype=torch.bool)
    fell = float(after[pairs].square().mean() / before[pairs].square().mean())
    _expect(fell < 0.9, rule, f"leaves {fell:.2f} of the squared correlations of connected units after 200 updates.")


def check_declaration(rule: Rule) -> None:
    """Check that the rule has a row in the table and can be made again from its own parameters."""
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
    check_connectivity,
    check_declaration,
)


def check(rule: Rule) -> None:
    """Run every check on a rule, which takes some seconds.

    Args:
        rule: Registered rule, with the parameters to be checked.

    Raises:
        CheckFailed: The rule does not do what it declares; the message gives the declaration and the deviation.
    """
    for single in CHECKS:
        single(rule)
