"""A Decorrelation as a circuit: equal to its feed-forward form, through interneurons, and while it learns."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rate import settling

RULES = ["lateral", "anti_hebbian", "norm_preserving", "whitening", "interneuron", "center"]
METHODS = [("solve", {}), ("damped", {"tolerance": 3e-7}), ("continuous", {"hold": 200.0})]


def correlated(rows: int, features: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=generator) / features**0.5 + torch.eye(features)
    return torch.randn(rows, features, generator=generator) @ mixing.T + 0.5


def learnt(rule: str, features: int = 8, dtype: torch.dtype = torch.float32) -> nd.Decorrelation:
    parameters = {"interneurons": 3, "every": 1} if rule == "interneuron" else {}
    module = nd.Decorrelation(features, row_fraction=1.0, dtype=dtype)
    plasticity = nd.Plasticity(module, nd.rules.get(rule, **parameters))
    for seed in range(60):
        module(correlated(32, features, 0)[torch.randperm(32, generator=torch.Generator().manual_seed(seed))].to(dtype))
        plasticity.step()
    return module


@pytest.mark.parametrize(("method", "options"), METHODS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("rule", RULES)
def test_recurrent_and_feed_forward_give_equal_outputs(rule: str, method: str, options: dict[str, float]) -> None:
    module = learnt(rule).eval()
    assert rule == "center" or not module.is_identity()
    inputs = correlated(10, 8, 5)
    torch.testing.assert_close(nd.Recurrent(module, method, **options)(inputs), module(inputs), rtol=1e-5, atol=1e-5)


def test_any_invertible_matrix_has_a_circuit() -> None:
    """A non-symmetric D: a transposition anywhere shows."""
    module = nd.Decorrelation(6, dtype=torch.float64).eval()
    module.matrix.copy_(torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    inputs = correlated(4, 6, 1).double()
    torch.testing.assert_close(nd.Recurrent(module)(inputs), module(inputs), rtol=1e-9, atol=1e-9)
    dense = nd.LateralWeights.of(module).dense()
    torch.testing.assert_close(dense, torch.linalg.inv(module.matrix) - torch.eye(6))


def test_a_low_rank_transform_becomes_interneurons_of_the_same_rank() -> None:
    module = learnt("interneuron", dtype=torch.float64)
    weights = nd.LateralWeights.of(module)
    assert weights.core.shape == (3, 3) and weights.basis is not None
    assert weights.gain > 1  # what the interneurons take is given back to the drive
    expected = weights.gain * torch.linalg.inv(module.matrix) - torch.eye(8)
    torch.testing.assert_close(weights.dense(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shared", [True, False])
def test_interneurons_do_what_their_dense_weights_do(shared: bool) -> None:
    """Every method and every limit, with separate or shared synapses, against M = V W in full."""
    generator = np.random.default_rng(2)
    outward = 0.25 * generator.normal(size=(9, 2))
    inward = outward.T if shared else outward.T + 0.05 * generator.normal(size=(2, 9))
    few = nd.LateralWeights.through_interneurons(
        torch.from_numpy(outward), None if shared else torch.from_numpy(inward.copy())
    )
    full = nd.LateralWeights(torch.from_numpy(outward @ inward))
    assert few.basis is not None and full.basis is None
    drive = torch.from_numpy(generator.normal(size=(3, 9)))
    for method, options in [
        *METHODS,
        ("naive", {}),
        ("continuous", {"hold": 0.3}),
        ("continuous", {"hold": 1, "step": 0.1}),
    ]:
        found, expected = (nd.settle(drive, weights, method, **options) for weights in (few, full))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(few.dense(), full.dense())
    for limit in (settling.largest_step, settling.slowest_rate, settling.spectral_radius, settling.largest_delay):
        assert limit(few) == pytest.approx(limit(full), rel=1e-9)
    assert few.symmetric_range == pytest.approx(full.symmetric_range, rel=1e-9)
    assert few.singular_range == pytest.approx(full.singular_range, rel=1e-9)
    assert few.asymmetry == pytest.approx(full.asymmetry, rel=1e-9, abs=1e-12)


def test_lateral_weights_follow_d() -> None:
    module = nd.Decorrelation(4, row_fraction=1.0)
    circuit = nd.Recurrent(module)
    first = circuit.lateral_weights()
    assert circuit.lateral_weights() is first
    plasticity = nd.Plasticity(circuit, nd.rules.get("anti_hebbian"))
    for seed in range(3):
        circuit(correlated(16, 4, seed))
        plasticity.step()
    assert circuit.lateral_weights() is not first
    torch.testing.assert_close(
        circuit.lateral_weights().dense(), torch.linalg.inv(module.matrix.double()) - torch.eye(4).double()
    )


def test_unsettled_activity_drives_the_plasticity_as_it_would_in_the_circuit() -> None:
    """Anti-Hebbian synapses that see what is there after a short hold, against a float64 loop by numpy."""
    module = nd.Decorrelation(5, center=False, row_fraction=1.0, dtype=torch.float64)
    circuit = nd.Recurrent(module, "continuous", hold=1.0, step=0.25)
    plasticity = nd.Plasticity(circuit, nd.rules.get("anti_hebbian", rate=0.02))
    lateral = np.zeros((5, 5))
    for seed in range(20):
        inputs = correlated(8, 5, seed).double()
        circuit(inputs)
        plasticity.step()
        activity = np.zeros((8, 5))
        for _ in range(4):
            activity = activity + 0.25 * (inputs.numpy() - activity - activity @ lateral.T)
        lateral = lateral + 0.02 * (activity.T @ activity / 8 - np.eye(5))
        np.testing.assert_allclose(circuit.lateral_weights().dense(), lateral, rtol=1e-9, atol=1e-9)


def test_it_survives_copying_casting_and_saving() -> None:
    module = learnt("anti_hebbian")
    circuit = nd.Recurrent(module, "damped").eval()
    inputs = correlated(3, 8, 9)
    expected = circuit(inputs)
    twin = copy.deepcopy(circuit)
    twin.decorrelation.matrix.zero_().fill_diagonal_(1)
    assert torch.equal(circuit(inputs), expected)
    torch.testing.assert_close(twin(inputs), inputs - module.mean, rtol=1e-5, atol=1e-5)
    fresh = nd.Recurrent(nd.Decorrelation(8), "damped").eval()
    fresh(inputs)  # derives the weights of the identity first
    fresh.load_state_dict(circuit.state_dict())
    torch.testing.assert_close(fresh(inputs), expected)
    assert circuit(inputs.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(circuit.double()(inputs.double()), module(inputs.double()), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(nd.Recurrent(module)(inputs), module(inputs), rtol=1e-6, atol=1e-6)


def test_it_learns_within_a_network() -> None:
    circuit = nd.Recurrent(nd.Decorrelation(8), "damped", tolerance=1e-4)
    model = nn.Sequential(circuit, nn.Linear(8, 2))
    plasticity = nd.Plasticity(model, nd.rules.get("lateral", rate=0.2, floor=1e-6), row_fraction=1.0)
    for _ in range(150):
        model(correlated(64, 8, 0)).square().sum().backward()
        plasticity.step()
    covariance = torch.cov(circuit.eval()(correlated(64, 8, 0)).T)
    offdiagonal = covariance - torch.diag(covariance.diag())
    assert float(offdiagonal.abs().max()) < 0.05 * float(covariance.diag().mean())


def test_refusals() -> None:
    with pytest.raises(InvalidValue, match="give the submodule 'decorrelation' of a layer"):
        nd.Recurrent(nn.Linear(3, 3))
    module = nd.Decorrelation(3)
    module.matrix[0].zero_()
    with pytest.raises(Unsupported, match="Decorrelation is singular"):
        nd.Recurrent(module)(torch.ones(3))
    with pytest.raises(InvalidValue, match="its last dimension must be 3"):
        nd.Recurrent(nd.Decorrelation(3))(torch.ones(4))
