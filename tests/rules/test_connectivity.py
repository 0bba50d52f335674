"""Which units are connected, and where confined rules rest; the suite of every rule has `check_connectivity`."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import rules
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules import Rule, State, dense_matrix, suite, transform
from neuro_decorr.rules._pattern import pattern_of
from neuro_decorr.rules._sparse import SparseFactor, SparseMoment, initial_sparse, seen_by_update
from neuro_decorr.rules.connectivity import Band, Connectivity, FanIn, Groups, Mask, Nearest, Neighbourhood, of_weight

UNITS = 12


def masks(draw: st.DataObject, units: int) -> torch.Tensor:
    bits = draw.draw(st.lists(st.booleans(), min_size=units**2, max_size=units**2))
    return torch.tensor(bits).view(units, units) | torch.eye(units, dtype=torch.bool)


class TestDescriptions:
    @settings(max_examples=20)
    @given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 12))
    def test_groups_and_bands(self, size: int, features: int, width: int) -> None:
        for i, j in itertools.product(range(features), repeat=2):
            assert bool(Groups(size).matrix(features)[i, j]) == (i // size == j // size)
            assert bool(Band(width).matrix(features)[i, j]) == (abs(i - j) <= width)

    @given(
        st.lists(st.integers(1, 4), min_size=1, max_size=3),
        st.sampled_from([0, 1, 1.5, 2, 9]),
        st.integers(1, 2),
        st.integers(0, 3),
    )
    def test_places_on_a_grid(self, shape: list[int], radius: float, channels: int, count: int) -> None:
        positions = list(itertools.product(*map(range, shape))) * channels
        found = Neighbourhood(tuple(shape), radius).matrix(len(positions))
        nearest = Nearest(tuple(shape), count).matrix(len(positions))
        for i, here in enumerate(positions):
            distances = [math.dist(here, there) for there in positions]
            assert [bool(one) for one in found[i]] == [distance <= radius for distance in distances]
            others = sorted((distance, j) for j, distance in enumerate(distances) if j != i)[:count]
            assert nearest[i].nonzero().flatten().tolist() == sorted([i, *(j for _, j in others)])

    @given(st.integers(1, 20), st.integers(0, 25), st.integers(0, 3))
    def test_fan_in(self, features: int, count: int, seed: int) -> None:
        made = FanIn(count, seed).matrix(features)
        assert bool(made.diagonal().all())
        assert made.sum(dim=1).tolist() == [min(count + 1, features)] * features
        assert torch.equal(made, FanIn(count, seed).matrix(features))

    def test_random_fan_in_favours_nobody(self) -> None:
        """The counts of how often each is heard are those of a hypergeometric draw: within five deviations."""
        heard = FanIn(30).matrix(1000).sum(dim=0) - 1
        assert float((heard - 30).abs().max()) < 5 * 30**0.5 + 1

    @given(st.data())
    def test_mask(self, draw: st.DataObject) -> None:
        wanted = masks(draw, 6)
        for given_as in (wanted, wanted.to_sparse(), wanted.double() * 0.3):
            assert torch.equal(Mask(given_as).matrix(6), wanted)
        assert Mask(wanted) == Mask(wanted.clone())
        assert hash(Mask(wanted)) == hash(Mask(wanted.clone()))
        assert Mask(wanted) != Mask(~wanted) or bool(wanted.all())

    @given(st.data())
    def test_disjoint_groups_are_told_from_anything_else(self, draw: st.DataObject) -> None:
        """An equivalence relation is its own square, as a boolean matrix, and symmetric."""
        wanted = masks(draw, 5)
        if draw.draw(st.booleans()):  # a partition, which a random mask hardly ever is
            labels = torch.tensor(draw.draw(st.lists(st.integers(0, 2), min_size=5, max_size=5)))
            wanted = labels == labels.unsqueeze(1)
        closed = torch.equal((wanted.double() @ wanted.double()) > 0, wanted) and torch.equal(wanted, wanted.T)
        groups = pattern_of(Mask(wanted), 5).groups
        assert (groups is not None) == closed
        if groups is not None:
            found = torch.zeros(5, 5, dtype=torch.bool)
            for members in (row for stacked in groups.values() for row in stacked):
                found[members.unsqueeze(1), members] = True
            assert torch.equal(found, wanted)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Groups(0), "size must be a whole number >= 1"),
            (lambda: Band(-1), "width must be a whole number >= 0"),
            (lambda: Neighbourhood((4, 0), 1), "shape must be a tuple of sizes such as"),
            (lambda: Neighbourhood((4, 4), -1), "radius must be a finite number >= 0"),
            (lambda: FanIn(1.5), "count must be a whole number >= 0"),
            (lambda: Mask(torch.ones(2, 3)), "a square tensor"),
            (lambda: Mask(torch.ones(2, 2)).matrix(3), "connects 2 units, and the layer has 3"),
            (
                lambda: Neighbourhood((4, 4), 1).matrix(20),
                "20 units of the layer are not a multiple of the 16 positions",
            ),
            (lambda: of_weight(torch.ones(3)), "shape \\(outputs, features\\)"),
            (lambda: of_weight(torch.ones(3, 3), "similar"), "one of 'inclusion', 'equality'"),
            (lambda: rules.get("whitening", connectivity=torch.ones(2, 2)), "one of neuro_decorr.rules.connectivity"),
            (lambda: rules.get("center", connectivity=Band(1)), "the D of this rule is centering"),
            (lambda: rules.get("interneuron", connectivity=Band(1)), "the D of this rule is low_rank"),
            (lambda: rules.get("zca", connectivity=Band(1)).layer_state(9), "zca is confined to disjoint groups"),
            (
                lambda: rules.get("norm_preserving", form="published", connectivity=Band(1)).layer_state(9),
                "norm_preserving as published is confined to disjoint groups",
            ),
            (lambda: rules.get("lateral", connectivity=Band(1)).layer_state(5000), "with more than 4096 units only"),
        ],
    )
    def test_refused(self, make: object, message: str) -> None:
        with pytest.raises(InvalidValue, match=message):
            make()  # type: ignore[operator]


class TestOfWeight:
    @settings(deadline=None)
    @given(st.data(), st.integers(1, 5), st.integers(1, 6))
    def test_the_largest_set_that_leaves_the_zeros(self, draw: st.DataObject, outputs: int, features: int) -> None:
        """Pair by pair, by its definition; and one pair more would fill in a zero."""
        bits = draw.draw(st.lists(st.booleans(), min_size=outputs * features, max_size=outputs * features))
        reads = torch.tensor(bits).view(outputs, features)
        found, alike = (of_weight(reads.double(), r).matrix(features) for r in ("inclusion", "equality"))
        for i, j in itertools.product(range(features), repeat=2):
            others = torch.zeros(features, features)
            others[i, j] = 1
            keeps = not bool(((reads.double() @ others.double() != 0) & ~reads).any())
            assert bool(found[i, j]) == (i == j or (keeps and bool(reads[:, i].any())))
            same = torch.equal(reads[:, i], reads[:, j]) and bool(reads[:, i].any())
            assert bool(alike[i, j]) == (i == j or same)
        matrix = found.double() * torch.rand(features, features, dtype=torch.float64) + features * torch.eye(features)
        inverse = torch.linalg.inv(matrix)  # products and inverses are of the same kind
        assert float(inverse[~found].abs().sum()) < 1e-12

    def test_an_unstructured_mask_leaves_next_to_nothing(self) -> None:
        """As many connected pairs as the docstring says: (1 - p (1 - p))^m of them, within five deviations."""
        outputs, features, share = 30, 300, 0.1
        reads = (torch.rand(outputs, features, generator=torch.Generator().manual_seed(0)) < share).double()
        reads[0] = 1  # every input is read; it tells nothing about inclusion
        expected = (1 - share * (1 - share)) ** (outputs - 1) * features * (features - 1)
        found = int(of_weight(reads).matrix(features).sum()) - features
        assert abs(found - expected) < 0.25 * expected  # pairs of one input hang together

    def test_groups_of_a_grouped_layer(self) -> None:
        weight = torch.ones(2, 3, 4)
        weight[0, :, 0] = 0
        weight[1, 0, 3] = 0
        expected = of_weight(weight.flatten(0, 1))
        assert of_weight(weight) == expected


CONNECTIONS = [Band(2), FanIn(3), Mask(torch.ones(UNITS, UNITS).tril())]


@given(st.data())
def test_a_sparse_step_is_the_projection_of_the_dense_products(draw: st.DataObject) -> None:
    """P(R^T R), and D <- D + P(G D), against dense matrices."""
    wanted = masks(draw, 6)
    pattern = pattern_of(Mask(wanted), 6)
    generator = torch.Generator().manual_seed(draw.draw(st.integers(0, 99)))
    rows, growth, matrix = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (4, 6, 6))
    moment = SparseMoment.of_rows(pattern, rows)
    torch.testing.assert_close(moment.values, (rows.T @ rows)[wanted])
    torch.testing.assert_close(moment.variances, (rows.T @ rows).diagonal())
    values = matrix[wanted].clone()
    SparseFactor(pattern, growth[wanted]).apply_(values)
    confined = matrix * wanted
    torch.testing.assert_close(values, (confined + (growth * wanted) @ confined)[wanted])


def at_rest(rule: Rule, inputs: torch.Tensor, updates: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The second moment of the outputs, and D."""
    state: State = suite.run(rule, inputs, updates)
    return suite.second_moment(state, inputs), dense_matrix(state, inputs.shape[1], inputs)


@pytest.mark.parametrize("connectivity", CONNECTIONS, ids=str)
@pytest.mark.parametrize(
    "rule",
    [
        rules.get("norm_preserving", rate=1.0, floor=1e-9),
        rules.get("variance_weighted", rate=1.0, floor=1e-9),
        rules.get("decorrelating", rate=1.0),
        rules.get("whitening", rate=1.0, damping=0.0, floor=1e-9),
        rules.get("lateral", rate=1.0, floor=1e-9),
        rules.get("anti_hebbian", rate=0.15, saturation=math.inf),
    ],
    ids=lambda rule: rule.name,
)
def test_no_correlation_is_left_between_connected_units(rule: Rule, connectivity: Connectivity) -> None:
    """tr(E^T E D) = 0 at rest, so E = P(C) - c' I is zero; what the others do is free."""
    rule = dataclasses.replace(rule, connectivity=connectivity)
    moment, matrix = at_rest(rule, suite.rows_with(suite.covariance(5.0, UNITS)), 300)
    connected = connectivity.matrix(UNITS)
    pairs = connected & ~torch.eye(UNITS, dtype=torch.bool)
    left = suite.correlation(moment)
    assert float(left[pairs].abs().max()) < 1e-5
    if not bool(connected.T.logical_or(connected).all()):
        assert float(left[~(connected | connected.T)].abs().max()) > 1e-2
    held = torch.linalg.inv(matrix) if rule.confinement == "inhibition" else matrix
    assert float(held[~connected].abs().max()) < 1e-9
    if rule.fixed_point_up_to != "unit_scales":
        power = moment.diagonal()
        assert float((power / power.mean() - 1).abs().max()) < 1e-5


def test_damped_whitening_rests_where_its_equation_says() -> None:
    """P(C / (damping c) + D D^T) = I, without the gain that gives the power back."""
    rule = rules.get("whitening", rate=0.1, damping=1.0, preserve_power=False, connectivity=Band(2))
    moment, matrix = at_rest(rule, suite.rows_with(suite.covariance(5.0, UNITS)), 1_000)
    found = moment + matrix @ matrix.T  # mean power 1
    connected = Band(2).matrix(UNITS)
    torch.testing.assert_close(found[connected], torch.eye(UNITS, dtype=torch.float64)[connected], rtol=0, atol=1e-6)


@pytest.mark.parametrize("connectivity", [Band(2), Neighbourhood((4, 3), 1)], ids=str)
def test_anti_hebbian_inhibition_minimises_a_convex_function(connectivity: Connectivity) -> None:
    """tr(A^-1 S) + p tr A over symmetric A on the connections: no direction within them lowers it, by differences."""
    covariance = suite.covariance(5.0, UNITS)
    rule = rules.get("anti_hebbian", rate=0.15, saturation=math.inf, connectivity=connectivity)
    _, matrix = at_rest(rule, suite.rows_with(covariance), 400)
    synapses, mask = np.linalg.inv(matrix.numpy()), connectivity.matrix(UNITS).numpy()

    def height(candidate: np.ndarray) -> float:
        return float(np.trace(np.linalg.solve(candidate, covariance.numpy())) + np.trace(candidate))

    generator = np.random.default_rng(0)
    for _ in range(50):
        step = generator.normal(size=mask.shape) * mask
        assert height(synapses + 1e-2 * (step + step.T)) > height(synapses)


def test_the_full_mask_takes_the_course_of_the_rule_in_the_sparse_form_too() -> None:
    """Where the axes of the floor come one after the other: many units, few rows."""
    units = 80
    full, batch = pattern_of(Band(units), units), torch.randn(20, units, dtype=torch.float64)
    for name in ("norm_preserving", "variance_weighted", "decorrelating"):
        rule = rules.get(name)
        dense = rule.initial_state(units, dtype=torch.float64)
        sparse = initial_sparse(full, torch.float64, None)
        sparse |= rule.statistics(sparse["values"])
        for _ in range(15):
            rule.update_(dense, suite.sample(rule, dense, batch), rule.rate)
            rule.update_(seen_by_update(sparse, full), suite.sample(rule, sparse, batch), rule.rate)
        torch.testing.assert_close(dense_matrix(sparse, units, batch), dense["matrix"], rtol=1e-9, atol=1e-11)


class TestDifferentiation:
    """Through the product with a sparse D: backward, forward and mapped, against the dense one."""

    def state(self) -> State:
        rule = rules.get("norm_preserving", rate=1.0, connectivity=FanIn(3))
        return suite.run(rule, suite.rows_with(suite.covariance(5.0, UNITS)), 20)

    def test_gradients_of_both_orders(self) -> None:
        state = self.state()
        inputs = torch.randn(3, UNITS, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda z: transform(state, z).sin(), inputs)
        assert torch.autograd.gradgradcheck(lambda z: transform(state, z).sin(), inputs)

    def test_forward_mode_and_vmap(self) -> None:
        state = self.state()
        matrix = dense_matrix(state, UNITS, torch.zeros(UNITS, dtype=torch.float64))
        inputs, tangents = torch.randn(2, 5, UNITS, dtype=torch.float64)
        _, moved = torch.func.jvp(lambda z: transform(state, z), (inputs,), (tangents,))
        torch.testing.assert_close(moved, tangents @ matrix.T)
        many = torch.randn(4, 5, UNITS, dtype=torch.float64)
        torch.testing.assert_close(torch.vmap(lambda z: transform(state, z))(many), many @ matrix.T)
