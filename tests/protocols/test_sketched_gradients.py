"""Sketched gradients: closed forms against simulations with other probes, effective weights, counted memory, figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import neuro_decorr as nd
from analysis import sketched_gradients as analysis
from neuro_decorr.errors import InvalidValue
from protocols import _controls as controls
from protocols.sketched_gradients import PROTOCOL, SELECTION, estimates
from tests.protocols.execution import whole

SIZES = [64, 20, 10]


def equipped(arm: controls.ArmName, batch_size: int = 32) -> tuple[controls.Equipped, controls.Batch]:
    """A small network of an arm whose lateral weights have learnt, and a batch."""
    made = controls.equip_dense(arm, SIZES, damping=1.0, interneurons=8, row_fraction=0.5, rows=batch_size, seed=0)
    return made, controls.settle(made, controls.images("modes", 0), batch_size, seed=0)


def correlated(samples: int, features: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal(size=(samples, features)) + 3 * generator.normal(size=(samples, 1))


def test_signal_to_noise_is_the_closed_form() -> None:
    """Against 20,000 sketches delta^T X Z Z^T / r of numpy's own probes: 5 % is five standard errors of the noise."""
    samples, features, outputs, probes, draws = 30, 9, 4, 5, 20_000
    generator = np.random.default_rng(1)
    inputs, errors = correlated(samples, features), generator.normal(size=(samples, outputs))
    exact = errors.T @ inputs
    z = generator.normal(size=(draws, features, probes))
    sketches = np.einsum("of,nfr,ngr->nog", exact, z, z) / probes
    along = generator.normal(size=(features, 3))
    found = estimates.signal_to_noise(*(torch.from_numpy(one) for one in (sketches, exact, along)))
    predicted = estimates.predicted_signal_to_noise(torch.from_numpy(exact), torch.from_numpy(along), probes)
    torch.testing.assert_close(found, predicted, rtol=0.05, atol=0)
    variance = estimates.relative_variance(torch.from_numpy(sketches), torch.from_numpy(exact))
    assert variance == pytest.approx((features + 1) / probes, rel=0.05)


def test_the_credit_has_these_gradients() -> None:
    made, batch = equipped("center")
    credit = nd.credit.get("sketched_backprop", made.model, probes=50, noise="rademacher")
    exact, drawn = estimates.gradients(made.model, credit, batch, 50)
    assert list(exact) == list(drawn) == ["hidden_1", "output"]
    for name, gradient in exact.items():
        assert drawn[name].shape == (50, *gradient.shape)
        assert float((drawn[name].mean(0) - gradient).norm()) < 0.3 * float(gradient.norm())
    assert all(parameter.grad is None for parameter in made.model.parameters())


@pytest.mark.parametrize("arm", ["center", "interneuron", "whitening"])
def test_a_gradient_moves_the_effective_weights_along_what_is_seen(arm: controls.ArmName) -> None:
    """The folded network, in which D is gone, before and after a step."""
    made, batch = equipped(arm)
    layer = made.model.get_submodule("hidden_1")
    before = nd.fold(made.model).get_submodule("hidden_1").weight.detach()
    gradient = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        layer.weight += gradient
    moved = nd.fold(made.model).get_submodule("hidden_1").weight.detach() - before
    directions, _ = estimates.principal_directions(batch.inputs)
    seen = estimates.as_seen(made, "hidden_1", batch, directions, damping=1.0)
    torch.testing.assert_close(moved @ directions, gradient @ seen, rtol=1e-3, atol=1e-4)


def test_conditioned_gradients_move_the_weights_along_what_is_seen() -> None:
    made, batch = equipped("foof")
    assert made.conditioned is not None
    made.model(batch.inputs)
    layer = made.model.get_submodule("hidden_1")
    for parameter in made.model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    gradient = layer.weight.grad.clone()
    made.conditioned()
    directions, _ = estimates.principal_directions(batch.inputs)
    seen = estimates.as_seen(made, "hidden_1", batch, directions, damping=1.0)
    torch.testing.assert_close(layer.weight.grad @ directions, gradient @ seen, rtol=1e-3, atol=1e-4)


def test_conditioning_leaves_signal_to_noise_and_decorrelation_evens_it_out() -> None:
    """Along the batch's own principal directions v, where M v is a multiple of v whatever the damping."""
    made, batch = equipped("foof")
    centred = controls.Batch(batch.inputs - batch.inputs.mean(0), batch.targets)
    (decorrelation,) = (module for name, module, _ in nd.rate.decorrelated_layers(made.model) if name == "hidden_1")
    decorrelation.mean.zero_()
    directions, powers = estimates.principal_directions(centred.inputs)
    kept = directions[:, powers > 1e-4 * powers[0]]
    exact, _ = estimates.gradients(made.model, nd.credit.get("backprop", made.model), centred, 1)
    gradient = exact["hidden_1"]
    plain = estimates.predicted_signal_to_noise(gradient, kept, 8)
    seen = estimates.as_seen(made, "hidden_1", centred, kept, damping=0.3)
    torch.testing.assert_close(estimates.predicted_signal_to_noise(gradient, seen, 8), plain, rtol=1e-2, atol=1e-6)
    whitened, own_batch = equipped("whitening")
    exact, _ = estimates.gradients(whitened.model, nd.credit.get("backprop", whitened.model), own_batch, 1)
    seen = estimates.as_seen(whitened, "hidden_1", own_batch, kept, damping=1.0)
    even = estimates.predicted_signal_to_noise(exact["hidden_1"], seen, 8)
    assert even[0] / even[15] < 0.2 * plain[0] / plain[15]


def test_memory_is_what_a_layer_keeps_for_its_gradient() -> None:
    """Exact: the hidden activity, for the output layer and its ReLU. Sketched: r numbers a layer, a byte a unit."""
    made, batch = equipped("none")
    samples, classes = len(batch.inputs), 10
    loss = 4 * samples * classes + 4  # log-probabilities; the sum of the weights of the classes
    exact = estimates.alive_bytes(made, nd.credit.get("backprop", made.model), batch)
    assert exact["graph"] == pytest.approx(4 * samples * 20 + loss, abs=16)
    sketched = estimates.alive_bytes(made, nd.credit.get("sketched_backprop", made.model, probes=3), batch)
    assert sketched["graph"] == pytest.approx(2 * 4 * samples * 3 + samples * 20 + loss, abs=16)
    assert exact["others"] == pytest.approx(4 * samples * classes, abs=64)  # the outputs


def test_what_conditioning_holds_is_counted() -> None:
    """The activity of the hidden layer; of the first layer it holds the batch, which does not count."""
    found = {}
    for arm in ("center", "foof"):
        made, batch = equipped(arm)
        credit = nd.credit.get("sketched_backprop", made.model, probes=3)
        found[arm] = estimates.alive_bytes(made, credit, batch)["others"]
    assert found["foof"] - found["center"] == 4 * 32 * 20


def test_conditions_have_equal_budgets_and_probes_are_checked() -> None:
    configuration = PROTOCOL.configure({})
    chosen = SELECTION.selection_runs(configuration, [0], {})
    keys = [(condition.factors["probes"], condition.factors["arm"]) for condition in chosen]
    assert len(set(keys)) == 4 * 5
    assert {keys.count(key) for key in keys} == {5}
    with pytest.raises(InvalidValue, match="--probes"):
        PROTOCOL.configure({"probes": (8, 0)})


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows_and_all_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"probes": (4,), "arms": ("center", "foof"), "hidden": (20,), "epochs": 1, "selection_runs": 2, "draws": 4}
    configuration, tables = whole(PROTOCOL, values)
    _, again = whole(PROTOCOL, values)
    for kind in ("tests", "variances", "directions"):
        assert tables[kind].equals(again[kind])
    PROTOCOL.report(configuration, tables, tmp_path)
    told = capsys.readouterr().out
    assert "signal to noise, 4 probes, foof" in told
    assert (tmp_path / "figures" / "sketched_gradients.png").stat().st_size > 10_000
    ratios = analysis.variances(tables.of("estimate"))
    assert len(ratios) == 2 * 2
    rows = tables.of("estimate")["variances"]
    first = rows[(rows["arm"] == "center") & (rows["layer"] == "hidden_1")]
    assert ratios.iloc[0]["ratio"] == pytest.approx((first["variance"] / (65 / 4)).mean())


def test_cross_entropy_is_that_of_the_training() -> None:
    """The exact gradients are those of the mean cross-entropy."""
    made, batch = equipped("none")
    exact, _ = estimates.gradients(made.model, nd.credit.get("backprop", made.model), batch, 1)
    hidden: Tensor = made.model.get_submodule("activation_1")(made.model.get_submodule("hidden_1")(batch.inputs))
    outputs = made.model(batch.inputs)
    errors = (outputs.softmax(1) - F.one_hot(batch.targets, 10)) / len(batch.targets)
    torch.testing.assert_close(exact["output"], errors.T @ hidden, rtol=1e-3, atol=1e-6)


def test_tensors_elsewhere_in_the_process_that_hold_nothing_are_left_out() -> None:
    """A layer without a size until its first input, and what a compiler traces with."""
    waiting = torch.nn.LazyLinear(3)
    with FakeTensorMode():
        traced = torch.ones(3)
    found = list(estimates._tensors())
    assert all(one is not waiting.weight and one is not traced for one in found)
    assert all(one.untyped_storage().data_ptr() >= 0 for one in found)
