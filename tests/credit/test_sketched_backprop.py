"""Sketched backpropagation against loops with its own probes, exact gradients, closed forms, and counted memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.credit._noise import Noise
from neuro_decorr.errors import InvalidValue, Unsupported
from tests.credit.loops import gradients, make_case

NAME = "sketched_backprop"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(model: nn.Module, inputs: Tensor, loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss(model(inputs), targets).backward()
    found = gradients(model)
    model.zero_grad()
    return found


@pytest.fixture
def probes(monkeypatch) -> list[np.ndarray]:
    """All probes as they are drawn."""
    drawn: list[np.ndarray] = []
    draw = Noise.draw

    def recorded(self: Noise, like: Tensor) -> Tensor:
        noise = draw(self, like)
        drawn.append(noise.numpy().copy())
        return noise

    monkeypatch.setattr(Noise, "draw", recorded)
    return drawn


def test_dense_layers_are_the_loop_over_samples_and_probes(probes) -> None:
    case = make_case((5, 7, 3), transform=True)
    errors = exact(case.model, case.inputs, F.mse_loss, case.targets)
    taken: list[Tensor] = []
    for layer in case.layers:
        layer.register_forward_hook(lambda _, given, __: taken.append(given[0].detach()))
    credit.get(NAME, case.model, probes=4).backward(F.mse_loss, case.inputs, case.targets)
    first, second = probes[:2]
    assert np.array_equal(first, probes[3])  # the backward pass draws them again, the last layer first
    assert np.array_equal(second, probes[2])
    hidden = torch.tanh(case.layers[0](case.inputs))
    last = 2 * (case.model(case.inputs) - case.targets).detach() / case.targets.numel()
    back = (last @ case.layers[1].weight) @ torch.from_numpy(case.transforms[1])
    deltas = [(back * (1 - hidden**2)).detach().numpy(), last.numpy()]
    for layer, delta, x, z in zip(case.layers, deltas, taken[:2], (first, second), strict=True):
        expected = np.zeros(tuple(layer.weight.shape))
        for error, row in zip(delta, x.numpy(), strict=True):
            for probe in z:
                expected += np.outer(error, probe) * (row @ probe) / len(z)
        np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(gradients(case.model)[1::2], errors[1::2], strict=True):
        torch.testing.assert_close(ours, theirs)  # biases


def test_a_convolution_is_the_loop_over_images_taps_and_probes(probes) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2).double()
    inputs = normal(3, 4, 6, 5)
    outputs = layer(inputs)
    delta = normal(*outputs.shape, seed=1)
    credit.get(NAME, layer, probes=2).backward(lambda outputs, _: (outputs * delta).sum(), inputs, None)
    z = probes[0]
    assert np.array_equal(z, probes[1])
    expected = np.zeros(tuple(layer.weight.shape))
    mixed = np.einsum("bcyx,pcyx,boij->poij", inputs.numpy(), z, delta.numpy())
    for p, o, i, a, b in itertools.product(range(2), range(6), range(2), range(3), range(2)):
        for y, x in np.ndindex(*outputs.shape[2:]):
            row, column = 2 * y + a - 1, x + 2 * b - 2
            if 0 <= row < 6 and 0 <= column < 5:
                expected[o, i, a, b] += mixed[p, o, y, x] * z[p, i + 2 * (o // 3), row, column] / 2
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(layer.bias.grad, delta.sum((0, 2, 3)))


def folded(layer: nn.Module, *shape: int) -> nn.Module:
    model = nd.decorrelate(layer)
    for _, found, _ in nd.rate.decorrelated_layers(model):
        found.mean.copy_(normal(*found.mean.shape, seed=3))
        found.matrix.copy_(normal(*found.matrix.shape, seed=4))
    return model


LAYERS = {
    "linear": (lambda: nn.Linear(5, 3), (4, 5)),
    "in time": (lambda: nn.Linear(5, 3), (2, 3, 5)),
    "decorrelated": (lambda: folded(nn.Linear(5, 3)), (4, 5)),
    "stride and padding": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), (3, 2, 5, 5)),
    "dilation": (lambda: nn.Conv2d(2, 3, 2, dilation=2, padding=2, bias=False), (3, 2, 4, 4)),
    "groups": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2), (3, 4, 3, 3)),
    "depthwise": (lambda: nn.Conv1d(4, 4, 3, groups=4), (3, 4, 6)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (3, 2, 4, 4)),
    "reflected": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="reflect"), (3, 2, 6)),
    "same": (lambda: nn.Conv1d(2, 3, 4, padding="same"), (3, 2, 6)),
    "valid": (lambda: nn.Conv3d(2, 3, 2, padding="valid"), (3, 2, 3, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 4, 3, 2, 1, output_padding=1, groups=2), (3, 2, 3, 3)),
    "one image": (lambda: nn.Conv2d(2, 3, 3), (2, 5, 5)),
    "decorrelated patches": (lambda: folded(nn.Conv2d(2, 3, 2, padding=1)), (3, 2, 3, 3)),
    "decorrelated transposed": (lambda: folded(nn.ConvTranspose2d(2, 4, 2)), (3, 2, 3, 3)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
@pytest.mark.parametrize("kind", LAYERS)
def test_weights_are_unbiased(kind, noise) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer, inputs, draws = make().double(), normal(*shape), 60
    targets = layer(inputs).detach() + normal(*layer(inputs).shape, seed=2)
    expected = exact(layer, inputs, F.mse_loss, targets)
    assignment, found = credit.get(NAME, layer, probes=200, noise=noise), []
    for _ in range(draws):
        layer.zero_grad()
        assignment.backward(F.mse_loss, inputs, targets)
        found.append(gradients(layer)[0])
    estimates = torch.stack(found)
    error = (estimates.mean(0) - expected[0]) / estimates.std(0) * draws**0.5
    assert error.abs().max() < 5  # standard errors, of 59 degrees of freedom
    assert (estimates.mean(0) - expected[0]).norm() < 0.1 * expected[0].norm()
    for ours, theirs in zip(gradients(layer)[1:], expected[1:], strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("mode", "noise", "less"),
    [
        (0.0, "gaussian", 0),
        (3.0, "rademacher", 2),
        pytest.param(3.0, "gaussian", 0, marks=pytest.mark.slow),
        pytest.param(0.0, "rademacher", 2, marks=pytest.mark.slow),
    ],
)
def test_the_variance_is_the_same_in_all_input_directions(mode, noise, less) -> None:
    features, count, draws = 12, 4, 4000
    torch.manual_seed(0)
    layer = nn.Linear(features, 3, bias=False).double()
    inputs, targets = normal(20, features) + mode * normal(20, 1, seed=1), normal(20, 3, seed=2)
    (gradient,) = exact(layer, inputs, F.mse_loss, targets)
    assignment = credit.get(NAME, layer, probes=count, noise=noise)
    found = []
    for _ in range(draws):
        layer.zero_grad()
        assignment.backward(F.mse_loss, inputs, targets)
        found.append(layer.weight.grad.clone())
    squares = (torch.stack(found) - gradient).square().sum(1)  # (draws, features)
    whole = float(gradient.square().sum())
    assert float(squares.sum(1).mean()) == pytest.approx((features + 1 - less) / count * whole, rel=0.05)
    expected = (whole + (1 - less) * gradient.square().sum(0)) / count
    torch.testing.assert_close(squares.mean(0), expected, rtol=0.15, atol=0)


def kept(model: nn.Module, run: Callable[[], object]) -> int:
    """Bytes that a pass keeps for the backward pass, beside the parameters; a storage counts once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storages.values())


def test_what_is_kept_is_a_sketch_a_layer_and_a_byte_a_rectified_unit() -> None:
    torch.manual_seed(0)
    samples, units, count = 16, 256, 8
    model = nn.Sequential(
        nn.Linear(units, units), nn.ReLU(), nn.Linear(units, units), nn.LeakyReLU(0.1), nn.Linear(units, units)
    )
    inputs = torch.randn(samples, units)

    def loss(outputs: Tensor, _targets: Tensor) -> Tensor:
        return outputs.sum()

    ours = kept(model, lambda: credit.get(NAME, model, probes=count).backward(loss, inputs, inputs))
    theirs = kept(model, lambda: credit.get("backprop", model).backward(loss, inputs, inputs))
    assert theirs == 4 * 4 * samples * units  # leaky units keep their inputs, plain ones what the next layer has too
    assert ours == 3 * 4 * samples * count + 2 * samples * units


@pytest.mark.parametrize("inplace", [False, True])
def test_rectifiers_are_exact(inplace) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.LeakyReLU(0.3, inplace), nn.Linear(6, 6), nn.ReLU(inplace))
    model = model.append(nn.Linear(6, 3)).double()
    inputs, targets = normal(4, 5), normal(4, 3, seed=1)
    expected = exact(model, inputs, F.mse_loss, targets)
    loss = credit.get(NAME, model).backward(F.mse_loss, inputs, targets)
    torch.testing.assert_close(loss, F.mse_loss(model(inputs), targets).detach())
    for ours, theirs in zip(gradients(model)[1::2], expected[1::2], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_frozen_weights_are_not_sketched() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.ConvTranspose1d(3, 2, 2), nn.Flatten(), nn.Linear(10, 4)).double()
    model.requires_grad_(False)
    with pytest.raises(Unsupported, match="trainable parameters"):
        credit.get(NAME, model).backward(F.mse_loss, normal(3, 2, 5), normal(3, 4))
    model[0].bias.requires_grad_(True)
    model[3].weight.requires_grad_(True)
    expected = exact(model, normal(3, 2, 5), F.mse_loss, normal(3, 4))
    credit.get(NAME, model).backward(F.mse_loss, normal(3, 2, 5), normal(3, 4))
    torch.testing.assert_close(model[0].bias.grad, expected[0])
    assert model[0].weight.grad is None


def test_more_probes_come_nearer_to_backprop() -> None:
    case = make_case((5, 7, 3))
    gradient = torch.cat([each.flatten() for each in exact(case.model, case.inputs, F.mse_loss, case.targets)])
    error = []
    for count in (10, 1000, 100_000):
        case.model.zero_grad()
        credit.get(NAME, case.model, probes=count).backward(F.mse_loss, case.inputs, case.targets)
        error.append(float((torch.cat([each.flatten() for each in gradients(case.model)]) - gradient).norm()))
    assert error[2] < error[1] / 3 < error[0] / 9
    assert error[2] < 4 * math.sqrt(8 / 100_000) * float(gradient.norm())


def test_parameters_are_checked() -> None:
    with pytest.raises(InvalidValue, match=r"probes must be a whole number >= 1, got 0; noise must be one of"):
        credit.get(NAME, nn.Linear(2, 2), probes=0, noise="cauchy")
