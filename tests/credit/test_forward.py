"""Forward gradient against the exact gradient along the directions that its seed gives."""

from __future__ import annotations

import subprocess
import sys

import norse.torch
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import credit
from neuro_decorr.errors import Unsupported
from tests.credit.loops import assert_gradients, gradients, make_case
from tests.credit.spiking_loops import backward_in_time, forward, make_spiking_case, samples_of, zeros
from tests.credit.test_perturbation import Probe


def normal(*shapes: torch.Size | tuple[int, ...], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.empty(shape, dtype=torch.float64).normal_(generator=generator) for shape in shapes]


def exact(case: object) -> list[Tensor]:
    """By reverse mode."""
    case.model.zero_grad()
    F.mse_loss(case.model(case.inputs), case.targets).backward()
    found = gradients(case.model)
    case.model.zero_grad()
    return found


@pytest.mark.parametrize("kind", ["rates", "spikes", "spikes in steps"])
@pytest.mark.parametrize("directions", [1, 3])
def test_weights_get_the_slope_along_the_direction_times_the_direction(kind, directions) -> None:
    case = make_case() if kind == "rates" else make_spiking_case(stepwise=kind == "spikes in steps")
    gradient = exact(case)
    assert all(one.abs().sum() > 0 for one in gradient)
    shapes = [parameter.shape for parameter in case.model.parameters()]
    drawn = normal(*shapes * directions, seed=3)
    credit.get("forward_gradient", case.model, directions=directions, seed=3).backward(
        F.mse_loss, case.inputs, case.targets
    )
    expected = [torch.zeros_like(one) for one in gradient]
    for first in range(0, len(drawn), len(shapes)):
        direction = drawn[first : first + len(shapes)]
        slope = sum((g * v).sum() for g, v in zip(gradient, direction, strict=True))
        expected = [total + slope * v / directions for total, v in zip(expected, direction, strict=True)]
    for ours, theirs in zip(gradients(case.model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
def test_weights_are_unbiased(noise) -> None:
    case, directions = make_case((2, 2, 1)), 3000
    gradient = torch.cat([one.flatten() for one in exact(case)])
    assignment = credit.get("forward_gradient", case.model, directions=directions, noise=noise, seed=1)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    mean = torch.cat([one.flatten() for one in gradients(case.model)])
    standard = gradient.norm() * ((len(gradient) + 1) / directions) ** 0.5
    assert (mean - gradient).norm() < 3 * standard
    assert 3 * standard < gradient.norm() / 2


@pytest.mark.parametrize(("noise", "excess"), [("gaussian", 1), ("rademacher", -1)])
def test_activities_are_unbiased_with_the_variance_law(noise, excess) -> None:
    samples = 40_000
    expected = Probe(1).deltas(None)[0]
    estimates = Probe(samples).deltas("forward_gradient", tangents="activities", noise=noise, seed=5)
    error = (estimates.mean(0) - expected).abs() / (estimates.std(0) / samples**0.5)
    assert error.max() < 4.5  # standard errors, of 19 nodes
    squares = (estimates - expected).square().sum(1) / expected.square().sum()
    assert abs(squares.mean() - (len(expected) + excess)) < 4.5 * squares.std() / samples**0.5


def test_activities_get_exactly_the_slope_along_the_noise() -> None:
    probe, expected = Probe(5), Probe(1).deltas(None)[0]
    estimates = probe.deltas("forward_gradient", tangents="activities", seed=5)
    drawn = torch.cat(normal(*[(5, width) for width in (8, 7, 4)], seed=5), 1)
    torch.testing.assert_close(estimates, (drawn @ expected)[:, None] * drawn, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("hold", ["step", "pass"])
def test_activities_of_spiking_networks_are_the_loop_through_time(hold) -> None:
    case = make_spiking_case()
    steps, samples = case.inputs.shape[:2]
    widths = [layer.out_features for layer in case.layers]
    shapes = [(samples, width) if hold == "pass" else (steps, samples, width) for width in widths]
    drawn = [np.broadcast_to(xi.numpy(), (steps, samples, xi.shape[-1])) for xi in normal(*shapes, seed=2)]
    weights, biases = zeros(case)
    targets = case.targets.numpy()
    for index, (sequence, target) in enumerate(zip(samples_of(case), targets, strict=True)):
        courses, rates = forward(case, sequence)
        to_spikes = np.tile(2 * (rates - target) / targets.size / steps, (steps, 1))
        slope = 0.0
        for number in reversed(range(len(courses))):
            deltas = backward_in_time(courses[number], to_spikes)
            slope += (deltas * drawn[number][:, index]).sum()
            to_spikes = deltas @ case.layers[number].weight.detach().numpy()
        for number, course in enumerate(courses):
            weights[number] += slope * drawn[number][:, index].T @ course.inputs
            biases[number] += slope * drawn[number][:, index].sum(0)
    assignment = credit.get("forward_gradient", case.model, tangents="activities", hold=hold, time_first=True, seed=2)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    assert_gradients(case, (weights, biases))


@pytest.mark.parametrize("tangents", ["weights", "activities"])
def test_neurons_without_forward_derivatives_are_refused_with_those_that_have_them(tangents) -> None:
    case = make_spiking_case(neuron=lambda _: norse.torch.LIFCell(), stepwise=True)
    with pytest.raises(Unsupported, match=r"forward-mode derivatives.*nd\.norse\.LIF, .*use node_perturbation"):
        credit.get("forward_gradient", case.model, tangents=tangents).backward(F.mse_loss, case.inputs, case.targets)


@pytest.mark.parametrize("tangents", ["weights", "activities"])
def test_the_clean_pass_alone_leaves_something_behind(tangents) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2)).double()
    reference = nn.BatchNorm1d(6).double()
    inputs, targets = torch.randn(8, 4).double(), torch.randn(8, 2).double()
    assignment = credit.get("forward_gradient", model, tangents=tangents, directions=2)
    for _ in range(2):
        assignment.backward(F.mse_loss, inputs, targets)
        reference(model[0](inputs))
    torch.testing.assert_close(model[1].running_mean, reference.running_mean)
    assert model[1].num_batches_tracked == 2
    torch.manual_seed(1)
    assignment.backward(F.mse_loss, inputs, targets)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    model(inputs)
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize("tangents", ["weights", "activities"])
def test_activations_may_work_in_place(tangents) -> None:
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(0.3, inplace=inplace), nn.Linear(6, 2)).double()
        assignment = credit.get("forward_gradient", model, tangents=tangents)
        assignment.backward(F.mse_loss, torch.randn(5, 4).double(), torch.randn(5, 2).double())
        found.append(gradients(model))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("tangents", ["weights", "activities"])
def test_a_loss_without_reduction_and_a_parametrised_layer(tangents) -> None:
    case = make_case()
    nn.utils.parametrize.register_parametrization(case.layers[1], "weight", nn.Tanh())
    results = []
    for loss in (F.mse_loss, lambda outputs, targets: (outputs - targets).square().mean()):
        case.model.zero_grad()
        credit.get("forward_gradient", case.model, tangents=tangents).backward(loss, case.inputs, case.targets)
        results.append(gradients(case.model))
    assert len(results[0]) == 6
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_attention_whose_layers_are_never_called_and_a_parametrised_weight() -> None:
    """With directions of +1 and -1 every entry has the size of the slope, whose square is the product with backprop."""

    class Attending(nn.MultiheadAttention):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs, inputs, inputs)[0]

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), Attending(4, 2, batch_first=True), nn.Flatten()).double()
    nn.utils.parametrize.register_parametrization(model[0], "weight", nn.Tanh())
    inputs, targets = normal((5, 3, 4), (5, 12), seed=1)
    credit.get("forward_gradient", model, noise="rademacher").backward(F.mse_loss, inputs, targets)
    found = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    F.mse_loss(model(inputs), targets).backward()
    product = found @ torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert product > 1e-8
    torch.testing.assert_close(found.square(), product.expand_as(found))


def test_a_model_that_does_not_learn_is_refused() -> None:
    with pytest.raises(Unsupported, match="this one has none"):
        credit.get("forward_gradient", nn.ReLU()).backward(F.mse_loss, torch.zeros(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("tangents", ["weights", "activities"])
def test_a_penalty_on_the_weights_is_refused(tangents) -> None:
    case = make_case()
    weight = case.layers[0].weight
    with pytest.raises(Unsupported, match="other than through the model's output"):
        credit.get("forward_gradient", case.model, tangents=tangents).backward(
            lambda outputs, targets: F.mse_loss(outputs, targets) + weight.square().sum(), case.inputs, case.targets
        )


def test_the_first_derivative_of_a_process_warns_of_nothing() -> None:
    """Torch imports its derivatives then, and that import warns of torch's own use of torch.jit.script."""
    code = """
import sys, warnings
import torch, torch.nn.functional as F
import neuro_decorr as nd
model = torch.nn.Linear(3, 2)
step = nd.credit.get("forward_gradient", model).backward
assert "torch._decomp.decompositions_for_jvp" not in sys.modules
warnings.simplefilter("error")
step(F.cross_entropy, torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))
assert "torch._decomp.decompositions_for_jvp" in sys.modules
warnings.warn("`torch.jit.script` of the user", DeprecationWarning)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "DeprecationWarning: `torch.jit.script` of the user", done.stderr
