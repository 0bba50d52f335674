"""Convolutional spiking networks: neurons of channels, step by step and over sequences."""

from __future__ import annotations

import norse.torch
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import Unsupported
from tests.credit.loops import gradients

STEPS, BATCH, SIGMA = 7, 3, 0.5


def cell(features: int, spatial: int, sequences: bool, lateral: bool = False) -> nn.Module:
    kind = nd.norse.LateralLIF if lateral else nd.norse.LIF
    return kind(features, threshold=0.3, spatial=spatial, sequences=sequences, dtype=torch.float64)


class Network(nn.Module):
    """Two convolutions with neurons and a linear readout, which run over steps or sequences."""

    def __init__(self, sequences: bool, deep: bool = True, lateral: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        convolutions = [nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 2, stride=2)]
        readout = nn.Linear(3 * 4 if deep else 4 * 16, 3)
        for layer in (*convolutions, readout):
            layer.double().weight.data.mul_(3)
        neurons = [cell(4, 2, sequences, lateral), cell(3, 2, sequences, lateral)]
        layers = [each for pair in zip(convolutions, neurons, strict=True) for each in pair][: 4 if deep else 2]
        if sequences:
            layers = [norse.torch.Lift(each) if isinstance(each, nn.Conv2d) else each for each in layers]
        self.sequences = sequences
        self.network = norse.torch.SequentialState(*layers, nn.Flatten(2 if sequences else 1), readout)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.sequences:
            return self.network(inputs)[0].mean(0)
        total, state = 0.0, None
        for step in inputs:
            output, state = self.network(step, state)
            total = total + output
        return total / len(inputs)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = 2.0 * (torch.rand(STEPS, BATCH, 2, 4, 4, generator=generator) < 0.4).double()
    return inputs, torch.tensor([0, 2, 1])


def weights(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


CREDITS = [name for name in credit.names() if name not in ("local_forward_gradient", "semi_implicit")]


@pytest.mark.parametrize("name", CREDITS)
@pytest.mark.parametrize("lateral", [False, True])
def test_steps_and_sequences_get_the_same(name, lateral) -> None:
    """Held noise is drawn alike; sketches, of whole sequences or of steps, and fresh noise are other numbers."""
    options = {"hold": "pass"} if "hold" in credit.get(name, Network(True)).__init__.__code__.co_varnames else {}
    found = []
    for sequences in (True, False):
        model = Network(sequences, lateral=lateral)
        if lateral:
            for module in model.modules():
                if isinstance(module, nd.norse.LateralLIF):
                    module.weight.fill_(0.2).fill_diagonal_(0)
        credit.get(name, model, seed=2, **options).backward(F.cross_entropy, *batch())
        found.append(gradients(model))
    for one, other in zip(*found, strict=True):
        assert one.abs().max() > 0
        if name == "sketched_backprop":  # unbiased, and told apart by its own tests
            assert one.shape == other.shape
        else:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("sequences", [False, True])
def test_eprop_of_one_layer_is_backprop_through_time(sequences) -> None:
    ours, exact = Network(sequences, deep=False), Network(sequences, deep=False)
    credit.get("eprop", ours).backward(F.cross_entropy, *batch())
    F.cross_entropy(exact(batch()[0]), batch()[1]).backward()
    for one, other in zip(gradients(ours), gradients(exact), strict=True):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_eprop_sends_signals_down_through_the_kernels() -> None:
    """The lower convolution: its own neurons' derivative, for a signal that the upper kernels send, and no neuron."""
    model, (inputs, targets) = Network(True), batch()
    credit.get("eprop", model).backward(F.cross_entropy, inputs, targets)
    (lower, upper, readout), network = weights(model), model.network
    first = network[1](network[0](inputs))[0]
    second = network[3](torch.stack([upper(step) for step in first.detach()]))[0].detach().requires_grad_()
    loss = F.cross_entropy(readout(second.flatten(2)).mean(0), targets)
    (signal,) = torch.autograd.grad(loss, second)
    sent = torch.stack([F.conv_transpose2d(step, upper.weight, stride=2) for step in signal])
    wanted = torch.autograd.grad(first, (lower.weight, lower.bias), sent)
    for one, other in zip((lower.weight.grad, lower.bias.grad), wanted, strict=True):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("sequences", [False, True])
def test_feedback_through_the_forward_kernels_is_backprop_through_time(sequences) -> None:
    model, (inputs, targets) = Network(sequences), batch()
    aligned = credit.get("feedback_alignment", model)
    for feedback, layer in zip(aligned.feedback_weights().values(), weights(model), strict=True):
        feedback.copy_(layer.weight.detach())
    aligned.backward(F.cross_entropy, inputs, targets)
    ours = gradients(model)
    model.zero_grad()
    F.cross_entropy(model(inputs), targets).backward()
    for one, other in zip(ours, gradients(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("options", [{}, {"hold": "pass"}, {"hold": "pass", "directions": 1, "vectorised": True}])
def test_node_perturbation_is_noise_times_change_at_every_position(sequences, options) -> None:
    """The noise is read from outside, call by call; kernels get its correlation with what they received."""
    model, (inputs, targets) = Network(sequences), batch()
    if "vectorised" in options and not sequences:  # nobody tells that the inputs are sequences
        options = options | {"time_first": True}
    layers = weights(model)
    calls: list[list[tuple[Tensor, Tensor]]] = [[] for _ in layers]

    def read(number: int, layer: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        kernel = isinstance(layer, nn.Conv2d)
        plain = (
            layer._conv_forward(given[0], layer.weight, layer.bias)
            if kernel
            else F.linear(given[0], layer.weight, layer.bias)
        )
        noise = ((output - plain) / SIGMA).detach()
        steps = (
            [(given[0].detach(), noise)] if kernel or noise.dim() == 2 else zip(given[0].detach(), noise, strict=True)
        )
        calls[number].extend(steps)

    hooks = [
        layer.register_forward_hook(lambda layer, given, output, number=number: read(number, layer, given, output))
        for number, layer in enumerate(layers)
    ]
    credit.get("node_perturbation", model, sigma=SIGMA, **options).backward(F.cross_entropy, inputs, targets)
    for hook in hooks:
        hook.remove()
    clean = model(inputs)
    for number, layer in enumerate(layers):
        noise = [xi for _, xi in calls[number][:STEPS]]
        if options.get("hold") == "pass":
            assert all(torch.allclose(xi, noise[0], atol=1e-9) for xi in noise)
        left = iter(noise if sequences is False or isinstance(layer, nn.Conv2d) else [torch.stack(noise)])
        hooks[number] = layer.register_forward_hook(lambda _, __, output, left=left: output + SIGMA * next(left))
    moved = model(inputs)  # with the noise that was read
    change = F.cross_entropy(moved, targets, reduction="none") - F.cross_entropy(clean, targets, reduction="none")
    change = (change / SIGMA / BATCH).detach()
    assert change.abs().min() > 1e-4
    for number, layer in enumerate(layers):
        wanted = torch.zeros_like(layer.weight)
        for (_, xi), (received, _) in zip(calls[number][:STEPS], calls[number][-STEPS:], strict=True):
            delta = change.view(-1, *[1] * (xi.dim() - 1)) * xi
            if isinstance(layer, nn.Conv2d):
                wanted += torch.nn.grad.conv2d_weight(
                    received, layer.weight.shape, delta, stride=layer.stride, padding=layer.padding
                )
            else:
                wanted += delta.T @ received
        torch.testing.assert_close(layer.weight.grad, wanted, rtol=1e-7, atol=1e-10)


def test_steps_that_are_folded_into_the_batch_are_refused() -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.neurons = nn.Conv2d(2, 4, 3).double(), cell(4, 2, True)

        def forward(self, inputs: Tensor) -> Tensor:
            currents = self.layer(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
            return self.neurons(currents)[0].mean((0, 3, 4))

    with pytest.raises(
        Unsupported, match=r"'layer' \(Conv2d\) has shape \(21, 4, 2, 2\), but there are 3 losses.*once per"
    ):
        credit.get("node_perturbation", Folded()).backward(F.cross_entropy, *batch())
    credit.get("eprop", Folded()).backward(F.cross_entropy, *batch())
