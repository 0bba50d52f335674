"""Interneurons: plasticity synapse by synapse, the settled circuit, signs, recruitment, silence and memory."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neuro_decorr as nd
from benchmarks._measure import Allocations
from neuro_decorr import rules
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules import suite

NAMES = ("interneuron", "interneuron_local")
LOCAL = ({"signs": "free"}, {"signs": "fixed"})


def spaced(features: int = 12, seed: int = 0) -> torch.Tensor:
    """Rows of a covariance whose eigenvalues halve from one to the next."""
    return suite.rows_with(suite.covariance(2.0 ** (features - 1), features, seed))


def settled(name: str, inputs: torch.Tensor, **parameters: object) -> tuple[rules.Rule, rules.State]:
    rule = rules.get(name, **{"rate": 0.3, "every": 1, **parameters})
    return rule, suite.run(rule, inputs, 600)


def net(state: rules.State, signs: str) -> torch.Tensor:
    if signs == "free":
        return state["synapses"]
    excited, partner = state["synapses"].chunk(2, dim=1)
    return excited - partner


@given(
    rows=st.integers(1, 6), features=st.integers(2, 6), seed=st.integers(0, 500),
    signs=st.sampled_from(["free", "fixed"]),
)  # fmt: skip
def test_synapse_by_synapse(rows: int, features: int, seed: int, signs: str) -> None:
    """Every synapse moves by the activity of its unit, as inhibited so far, and of its interneuron alone."""
    k, rate = min(features, 3), 0.2
    rule = rules.get("interneuron_local", interneurons=k, every=1, rate=rate, signs=signs, seed=seed)
    state = rule.initial_state(features, dtype=torch.float64)
    inputs = np.random.default_rng(seed).normal(size=(rows, features))
    after = rule.update(state, suite.sample(rule, state, torch.from_numpy(inputs)))

    synapses, power = net(state, signs).numpy(), float(np.mean(inputs**2))
    newest = max(rate, 4 / 5)  # of the first update
    weight = newest / (1 + newest * features / (rows * (1 + rule.damping)))
    grown = state["synapses"].numpy().copy()
    activity, left = np.zeros((rows, k)), np.zeros((rows, k + 1, features))
    for row in range(rows):
        left[row, 0] = inputs[row]
        for i in range(k):
            activity[row, i] = synapses[:, i] @ left[row, i]
            left[row, i + 1] = left[row, i] - synapses[:, i] * activity[row, i]
    for i in range(k):
        variance = weight * np.mean(activity[:, i] ** 2)  # from zero
        step = weight / (variance + 1e-3 * power)
        for j in range(features):
            if signs == "free":
                grown[j, i] += step * np.mean(activity[:, i] * left[:, i + 1, j])
            else:
                for column, u in ((i, activity[:, i]), (k + i, -activity[:, i])):
                    moved = grown[j, column] + step * np.mean(u * (left[:, i, j] - grown[j, column] * u))
                    grown[j, column] = max(moved, 0.0)
        norm = np.linalg.norm(grown[:, i] - (grown[:, k + i] if signs == "fixed" else 0))
        grown[:, i::k] /= max(norm, 1.0)
    np.testing.assert_allclose(after["synapses"].numpy(), grown, rtol=1e-9, atol=1e-12)


def test_separate_synapses_become_mirrors() -> None:
    """Synapses back from the interneurons that start elsewhere lose the difference, at 1 - rate <u^2> / v an update."""
    features, k, rate, generator = 12, 3, 0.1, np.random.default_rng(0)
    vectors = np.linalg.qr(generator.normal(size=(features, features)))[0]
    covariance = (vectors * np.r_[8.0, 4.0, 2.0, np.full(features - k, 0.3)]) @ vectors.T
    onto = 0.8 * np.linalg.qr(generator.normal(size=(features, k)))[0]
    back = 0.3 * generator.normal(size=(features, k))
    expected, variance = onto - back, np.zeros(k)
    for update in range(300):
        left = np.eye(features)  # what the interneurons so far leave of the inputs
        for i in range(k):
            hears = left.T @ onto[:, i]
            own, together = hears @ covariance @ hears, left @ covariance @ hears
            variance[i] += max(rate, 1 / (1 + update)) * (own - variance[i])
            left = left - np.outer(back[:, i], hears)
            for synapses in (onto, back):
                synapses[:, i] += rate / variance[i] * (together - own * synapses[:, i])
            expected[:, i] *= 1 - rate * own / variance[i]
        np.testing.assert_allclose(onto - back, expected, atol=1e-12)
    np.testing.assert_allclose(back, onto, atol=1e-9)
    np.testing.assert_allclose(np.abs(vectors[:, :k].T @ back), np.eye(k), atol=1e-3)
    rule = rules.get("interneuron_local", interneurons=k, every=1, rate=rate, seed=1)
    state = suite.run(rule, suite.rows_with(torch.from_numpy(covariance)), 300)
    np.testing.assert_allclose(np.abs(vectors[:, :k].T @ state["synapses"].numpy()), np.eye(k), atol=1e-3)


@pytest.mark.parametrize("signs", ["free", "fixed"])
@pytest.mark.parametrize("updates", [1, 7, 300])
def test_the_transform_is_the_settled_circuit(signs: str, updates: int) -> None:
    """Units and interneurons in continuous time, from rest, end at D z: early, when synapses overlap, and late."""
    inputs = spaced()
    rule = rules.get("interneuron_local", interneurons=4, every=1, signs=signs, damping=0.3)
    state = suite.run(rule, inputs, updates)
    synapses, power = net(state, signs), float(state["power"])
    gains = (1 + state["variance"] / (rule.damping * power)).sqrt() - 1
    taken = (state["variance"] * (1 - (1 + gains) ** -2)).sum() / inputs.shape[1]
    units, others = torch.zeros_like(inputs), inputs.new_zeros(len(inputs), 4)
    for _ in range(6_000):  # Euler's steps of 0.01 time constants; interneurons five times as fast as units
        others, units = (
            others + 0.05 * (units @ synapses - others),
            units + 0.01 * (inputs - units - (others * gains) @ synapses.T),
        )
    given_back = (power / (power - taken)).sqrt()
    torch.testing.assert_close(rules.transform(state, inputs), given_back * units, rtol=1e-8, atol=1e-8)


def test_feed_forward_and_recurrent_form_agree() -> None:
    """`interneuron`: x = z - U diag(s) U^T z is the state with n = U^T x and gain s / (1 - s); D z is g x."""
    inputs = spaced()
    _, state = settled("interneuron", inputs, interneurons=4, damping=0.3)
    directions, strength = state["directions"], state["suppression"]
    outputs = rules.transform(state, inputs) / state["gain"]
    recurrent = inputs - ((outputs @ directions) * (strength / (1 - strength))) @ directions.T
    torch.testing.assert_close(outputs, recurrent, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", LOCAL)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("interneurons", [1, 5, 12])
def test_rests_at_the_damped_eigenvalues(options: dict[str, object], scale: float, interneurons: int) -> None:
    """At any scale, without tuning; synapses are the eigenvectors, variances the eigenvalues."""
    inputs = scale * spaced()
    rule, state = settled("interneuron_local", inputs, interneurons=interneurons, **options)
    assert suite.residual(rule, state, inputs) < 1e-9
    values, vectors = torch.linalg.eigh(inputs.T @ inputs / len(inputs))
    leading = torch.arange(len(values) - 1, len(values) - 1 - min(interneurons, 5), -1)
    torch.testing.assert_close(state["variance"][:5], values[leading], rtol=1e-6, atol=0)
    aligned = (net(state, str(options["signs"]))[:, : len(leading)] * vectors[:, leading]).sum(dim=0).abs()
    torch.testing.assert_close(aligned, torch.ones_like(aligned), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preserve_power", [False, True])
def test_same_fixed_point_as_whitening(name: str, preserve_power: bool) -> None:
    """With as many interneurons as units, or more, the whole of it; with fewer, on the leading directions."""
    covariance = suite.covariance(100.0)
    options: dict[str, object] = {"damping": 0.7, "preserve_power": preserve_power}
    whitened = rules.get("whitening", **options).fixed_point(covariance)
    for count in (suite.FEATURES, 3 * suite.FEATURES):
        everything = rules.get(name, interneurons=count, **options).fixed_point(covariance)
        torch.testing.assert_close(everything, whitened, rtol=1e-10, atol=1e-12)
    leading = torch.linalg.eigh(covariance).eigenvectors[:, -6:]
    some = rules.get(name, interneurons=6, **options).fixed_point(covariance)
    if preserve_power:
        torch.testing.assert_close(some.trace(), covariance.trace(), rtol=1e-10, atol=0)
        return
    torch.testing.assert_close(leading.T @ some @ leading, leading.T @ whitened @ leading, rtol=1e-10, atol=1e-12)


def test_signs_never_change_and_a_common_mode_needs_no_partner() -> None:
    """By the theorem of Perron, the leading eigenvector of a positive covariance has one sign."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(400, 8, generator=generator, dtype=torch.float64)
    inputs += 2 * torch.randn(400, 1, generator=generator, dtype=torch.float64)
    assert (inputs.T @ inputs > 0).all()
    rule = rules.get("interneuron_local", interneurons=3, every=1, signs="fixed")
    state = rule.initial_state(8, dtype=torch.float64)
    for _ in range(1_000):
        suite.run(rule, inputs, 1, state)
        assert (state["synapses"] >= 0).all()
    excited, partner = state["synapses"].chunk(2, dim=1)
    assert not (excited * partner).any(), "a unit excites one interneuron of a pair"
    assert excited[:, 0].any() != partner[:, 0].any(), "the common mode occupies one interneuron of its pair"
    assert excited[:, 1].any() and partner[:, 1].any(), "a direction orthogonal to it occupies both"


@pytest.mark.parametrize("name", NAMES)
def test_as_many_inhibit_as_the_inputs_recruit(name: str) -> None:
    """Weaker inputs in all directions but two: interneurons retire, and come back with the inputs."""
    inputs = spaced()
    values = torch.linalg.eigvalsh(inputs.T @ inputs / len(inputs)).flip(0)
    recruit = float((values[4] * values[5]).sqrt() / (3.0 * values.mean()))  # between the fifth and the sixth
    rule, state = settled(name, inputs, interneurons=9, recruit=recruit)
    assert int((state["suppression"] > 0).sum()) == 5
    assert suite.residual(rule, state, inputs) < 1e-6
    vectors = torch.linalg.eigh(inputs.T @ inputs).eigenvectors[:, -2:]
    few = inputs @ vectors @ vectors.T
    assert int((suite.run(rule, few, 600, state)["suppression"] > 0).sum()) == 2
    assert int((suite.run(rule, inputs, 600, state)["suppression"] > 0).sum()) == 5
    assert suite.residual(rule, state, inputs) < 1e-6
    forced, state = settled(name, inputs, interneurons=9, recruit=recruit, fewest=7)
    assert int((state["suppression"] > 0).sum()) == 7
    assert suite.residual(forced, state, inputs) < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("features", [20, 64])
def test_noise_floor(name: str, features: int) -> None:
    """Batches of 26, condition 1e4, rate 0.03: within 0.12 of the fixed point, the local form as near as the other."""
    exact = suite.rows_with(suite.covariance(1e4, features))
    factor = torch.linalg.cholesky(exact.T @ exact / len(exact))
    generator = torch.Generator().manual_seed(0)
    rule = rules.get(name, rate=0.03, every=1, interneurons=8)
    state, residuals = rule.initial_state(features, dtype=torch.float64), []
    for update in range(3_000):
        drive = torch.randn(26, features, generator=generator, dtype=torch.float64) @ factor.T
        suite.run(rule, drive, 1, state)
        if update >= 2_500 and update % 50 == 0:
            residuals.append(suite.residual(rule, state, exact))
    assert sum(residuals) / len(residuals) < 0.12, residuals


@pytest.mark.parametrize(("name", "options"), [("interneuron", {}), *(("interneuron_local", o) for o in LOCAL)])
@pytest.mark.parametrize("rows", [1, 16])
def test_waking_after_long_silence(name: str, options: dict[str, object], rows: int) -> None:
    """All silent for 10,000 updates in float32, then back: 0 < D <= I throughout, and it has forgotten nothing."""
    generator = torch.Generator().manual_seed(3)
    rule = rules.get(name, interneurons=4, every=1, rate=0.05, preserve_power=False, **options)
    state = rule.initial_state(8)
    spread = torch.logspace(1, -1, 8)
    for _ in range(200):
        suite.run(rule, torch.randn(rows, 8, generator=generator) * spread, 1, state)
    before = {name: tensor.clone() for name, tensor in state.items()}
    suite.run(rule, torch.zeros(rows, 8), 10_000, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.items()), "it remembers"
    for _ in range(300):
        suite.run(rule, torch.randn(rows, 8, generator=generator) * spread, 1, state)
        values = torch.linalg.eigvalsh(rules.dense_matrix(state, 8, spread))
        assert values[0] > 0 and values[-1] < 1 + 1e-5, values
    moment = rules.dense_matrix(state, 8, spread) * spread
    assert float(moment[0].norm()) < 0.6 * float(spread[0]), "the strong direction is inhibited again"


@pytest.mark.parametrize("name", NAMES)
def test_memory_grows_with_the_interneurons(name: str) -> None:
    """Never features x features: neither held nor in passing."""
    features = 1_500
    rule = rules.get(name, interneurons=8, every=1)
    state = rule.initial_state(features)
    assert sum(tensor.numel() for tensor in state.values()) < 25 * features
    inputs = torch.randn(16, features, generator=torch.Generator().manual_seed(0))
    with Allocations(inputs, *state.values()) as seen:
        suite.run(rule, inputs, 2, state)
    assert 0 < seen.peak < 4 * 150 * features


@pytest.mark.parametrize("options", LOCAL)
def test_in_a_model(options: dict[str, object]) -> None:
    """Saved and resumed, copied, compensated: the same course, the same function."""
    torch.manual_seed(0)
    model = nd.decorrelate(torch.nn.Sequential(torch.nn.Linear(10, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)))
    rule = rules.get("interneuron_local", interneurons=3, every=1, recruit=0.05, **options)
    plasticity = nd.Plasticity(model, rule, compensate=True, row_fraction=1.0)
    batches = torch.randn(40, 32, 10) @ torch.randn(10, 10)
    model.eval()
    before = model(batches[0])
    for inputs in batches[:20]:
        model.train()(inputs)
        plasticity.step()
    torch.testing.assert_close(model.eval()(batches[0]), before, rtol=1e-3, atol=1e-4)
    file = io.BytesIO()
    torch.save((model.state_dict(), plasticity.state_dict()), file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    twin = copy.deepcopy(model)
    resumed = nd.Plasticity(twin, rule, compensate=True, row_fraction=1.0)
    twin.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    for inputs in batches[20:]:
        for network, step in ((model, plasticity), (twin, resumed)):
            network.train()(inputs)
            step.step()
    assert torch.equal(model.eval()(batches[0]), twin.eval()(batches[0]))


@pytest.mark.parametrize("name", NAMES)
def test_a_rate_of_zero_moves_nothing(name: str) -> None:
    inputs = spaced()
    rule, state = settled(name, inputs, interneurons=4)
    before = rules.dense_matrix(state, 12, inputs).clone()
    rule.update_(state, suite.sample(rule, state, 3 * inputs.flip(1)), 0.0)
    torch.testing.assert_close(rules.dense_matrix(state, 12, inputs), before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"signs": "both"}, "signs must be one of 'free', 'fixed', got 'both'"),
        ({"recruit": -1.0}, r"recruit must be a finite number >= 0, got -1\.0 \(0 lets all"),
        ({"fewest": 17}, "fewest must not be more than interneurons, here 16, got 17"),
        ({"fewest": 1.5}, "fewest must be a whole number"),
        ({"interneurons": True}, "interneurons must be a"),
        ({"damping": 0}, "damping must be a finite number > 0"),
        ({"preserve_power": 1}, "preserve_power must be True or False, got 1"),
        ({"rate": 1.5}, "rate must be a finite number > 0 and <= 1, got 1.5"),
    ],
)
def test_bad_parameters(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        rules.get("interneuron_local", **parameters)
