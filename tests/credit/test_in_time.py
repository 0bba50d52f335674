"""The credits of rate networks in spiking ones, against loops over samples and time."""

from __future__ import annotations

import norse.torch
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, Unsupported
from tests.credit.loops import assert_gradients, gradients
from tests.credit.spiking_loops import (
    SpikingCase,
    activity_loop,
    feedback_loop,
    forward,
    make_spiking_case,
    perturbation_loop,
    samples_of,
)

STEPWISE = pytest.mark.parametrize("stepwise", [False, True])


def norse_neurons(_: int) -> nn.Module:
    inverse_synapse, inverse_membrane, leak, threshold, reset = (
        torch.tensor(value, dtype=torch.float64) for value in (200, 100, 0, 0.5, 0)
    )
    return norse.torch.LIFCell(
        norse.torch.LIFParameters(inverse_synapse, inverse_membrane, leak, threshold, reset, alpha=torch.tensor(10.0))
    )


def run(name: str, case: SpikingCase, **parameters: object) -> credit.Credit:
    assignment = credit.get(name, case.model, **parameters)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    return assignment


def test_every_layer_of_the_case_spikes() -> None:
    case = make_spiking_case()
    rates = [[course.spikes.mean() for course in forward(case, sequence)[0]] for sequence in samples_of(case)]
    assert (np.mean(rates, 0) > 0.05).all() and (np.mean(rates, 0) < 0.7).all(), np.mean(rates, 0)


@STEPWISE
def test_backprop_is_the_loop_through_time(stepwise) -> None:
    case = make_spiking_case(stepwise=stepwise)
    run("backprop", case)
    weights = [layer.weight.detach().numpy() for layer in case.layers]
    assert_gradients(case, feedback_loop(case, lambda number, deltas, _: deltas @ weights[number]))


@STEPWISE
def test_feedback_alignment_sends_through_the_same_weights_at_all_steps(stepwise) -> None:
    case = make_spiking_case(stepwise=stepwise)
    feedback = [matrix.numpy() for matrix in run("feedback_alignment", case).feedback_weights().values()]
    assert_gradients(case, feedback_loop(case, lambda number, deltas, _: deltas @ feedback[number]))


@STEPWISE
def test_direct_feedback_reaches_every_step(stepwise) -> None:
    case = make_spiking_case(stepwise=stepwise)
    assignment = run("direct_feedback_alignment", case, time_first=not stepwise)
    feedback = [matrix.numpy() for matrix in assignment.feedback_weights().values()]
    steps = case.model.steps
    assert_gradients(case, feedback_loop(case, lambda number, _, error: np.tile(error @ feedback[number], (steps, 1))))


def test_direct_feedback_with_as_many_steps_as_samples() -> None:
    case = make_spiking_case(steps=8, batch=8)
    feedback = [
        matrix.numpy() for matrix in run("direct_feedback_alignment", case, time_first=True).feedback_weights().values()
    ]
    assert_gradients(case, feedback_loop(case, lambda number, _, error: np.tile(error @ feedback[number], (8, 1))))


def test_cells_of_norse_learn_by_the_same_credits() -> None:
    ours, theirs = make_spiking_case(stepwise=True), make_spiking_case(stepwise=True, neuron=norse_neurons)
    for case in (ours, theirs):  # no derivative in it, and the same spikes
        run("node_perturbation", case, sigma=SIGMA, hold="pass")
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        torch.testing.assert_close(one.weight.grad, other.weight.grad, rtol=1e-9, atol=1e-15)
    theirs.model.zero_grad()
    run("backprop", theirs)
    exact = gradients(theirs.model)
    theirs.model.zero_grad()
    aligned = credit.get("feedback_alignment", theirs.model)
    for feedback, layer in zip(aligned.feedback_weights().values(), theirs.layers, strict=True):
        feedback.copy_(layer.weight.detach())
    aligned.backward(F.mse_loss, theirs.inputs, theirs.targets)
    for one, other in zip(gradients(theirs.model), exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-15)


class Recorder:
    """Reads the noise from outside: what a layer returns minus what its input should give, call by call."""

    def __init__(self, case: SpikingCase, sigma: float) -> None:
        self.sigma, self.steps, self.calls = sigma, case.model.steps, [[] for _ in case.layers]
        for layer, calls in zip(case.layers, self.calls, strict=True):
            layer.register_forward_hook(
                lambda layer, given, output, calls=calls: self.read(layer, given, output, calls)
            )

    def read(self, layer: nn.Linear, given: tuple[Tensor], output: Tensor, calls: list[Tensor]) -> None:
        noise = (output - F.linear(given[0], layer.weight, layer.bias)).detach() / self.sigma
        calls.extend(noise if noise.dim() > 2 else noise[None])

    def noise(self) -> list[np.ndarray]:
        """Of the perturbed pass, which is the first: (steps, samples, units) a layer."""
        return [torch.stack(calls[: self.steps]).numpy() for calls in self.calls]


SIGMA = 0.5  # large enough to move spikes and to be read back with many digits


@STEPWISE
@pytest.mark.parametrize("hold", ["step", "pass"])
@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
def test_node_perturbation_is_the_loop(stepwise, hold, noise) -> None:
    case = make_spiking_case(stepwise=stepwise)
    recorder = Recorder(case, SIGMA)
    run("node_perturbation", case, sigma=SIGMA, hold=hold, noise=noise, time_first=not stepwise)
    applied = recorder.noise()
    assert all(xi.shape == (15, 4, layer.out_features) for xi, layer in zip(applied, case.layers, strict=True))
    for xi in applied:
        constant = np.allclose(xi, xi[:1], atol=1e-9)
        assert constant == (hold == "pass")
        assert not np.allclose(xi[:, 0], xi[:, 1])
    expected = perturbation_loop(case, applied, SIGMA)
    assert min(np.abs(weight).max() for weight in expected[0]) > 0
    assert_gradients(case, expected, rtol=1e-8)


@STEPWISE
@pytest.mark.parametrize("hold", ["step", "pass"])
def test_activity_perturbation_compares_traces_of_the_currents(stepwise, hold) -> None:
    case = make_spiking_case(stepwise=stepwise)
    recorder = Recorder(case, SIGMA)
    run("activity_perturbation", case, sigma=SIGMA, hold=hold, trace=4.0, time_first=not stepwise)
    expected = activity_loop(case, recorder.noise(), SIGMA, 4.0, held=hold == "pass")
    assert min(np.abs(weight).max() for weight in expected[0]) > 0
    assert_gradients(case, expected, rtol=1e-8)


def test_held_noise_makes_activity_perturbation_of_one_layer_unbiased_on_any_trace() -> None:
    """For an input that is constant in time, and a loss that is linear in the currents."""
    torch.manual_seed(5)
    steps, samples, copies = 7, 2, 40_000
    layer, readout = nn.Linear(3, 4, dtype=torch.float64), torch.randn(steps, 1, 4, dtype=torch.float64)
    inputs = torch.randn(samples, 3, dtype=torch.float64)

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs: Tensor) -> Tensor:
            return (self.layer(inputs.expand(steps, *inputs.shape)) * readout).sum((0, 2))[:, None]

    def loss(outputs: Tensor, _: Tensor) -> Tensor:
        return outputs.mean()

    gradient = readout[:, 0].sum(0)
    expected = torch.outer(gradient, inputs.mean(0))
    credit.get("activity_perturbation", Read(), sigma=1.0, hold="pass", trace=3.0, time_first=True).backward(
        loss, inputs.repeat(copies, 1), torch.zeros(samples * copies, 1)
    )
    # With Gaussian xi, N (g . xi) xi / |xi|^2 has the second moment N |g|^2.
    error = gradient.norm() * inputs.norm(dim=1).square().sum().sqrt() * (4 / copies) ** 0.5 / samples
    assert 3 * error < expected.norm() / 10
    assert (layer.weight.grad - expected).norm() < 3 * error


class Linear(nn.Module):
    """A linear network in time: filtered currents, read out by weights that change over time; samples, not spikes."""

    def __init__(self, steps: int, sizes: tuple[int, int, int], seed: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        wide, hidden, narrow = sizes
        self.first = nn.Linear(wide, hidden, dtype=torch.float64)
        self.last = nn.Linear(hidden, narrow, dtype=torch.float64)
        self.readout = torch.randn(steps, 1, narrow, generator=generator, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        filtered, level = [], torch.zeros(())
        for current in self.first(inputs).unbind():
            level = 0.8 * level + current
            filtered.append(level)
        return (self.last(torch.stack(filtered)) * self.readout).sum(0)


def test_held_noise_estimates_the_gradient_of_a_constant_current() -> None:
    """On a linear network and loss the difference is exact: the mean over directions is a matter of statistics."""
    torch.manual_seed(0)
    steps, samples, directions = 6, 2, 60_000
    network, inputs = Linear(steps, (3, 4, 2)), torch.randn(steps, samples, 3, dtype=torch.float64)
    effect = torch.randn(samples, 2, dtype=torch.float64)
    repeated = inputs.repeat(1, directions, 1)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * targets).sum(-1).mean()

    assignment = credit.get("node_perturbation", network, sigma=1.0, hold="pass", time_first=True, seed=1)
    assignment.backward(loss, repeated, effect.repeat(directions, 1))
    # g of a current that is constant in time: by hand, through the filter and the weights above it.
    weight = network.last.weight.detach()
    to_last = network.readout[:, 0].sum(0) * effect / samples
    kernel = torch.tensor([sum(0.8**k for k in range(t + 1)) for t in range(steps)], dtype=torch.float64)
    to_first = torch.einsum("t,to,no,oh->nh", kernel, network.readout[:, 0], effect / samples, weight)
    for layer, gradient, seen in (
        (network.first, to_first, inputs),
        (network.last, to_last, filtered(network, inputs)),
    ):
        expected = torch.einsum("no,tni->oi", gradient, seen)
        # With delta = (g . xi) xi and Gaussian xi: E|delta_l|^2 = N_l |g|^2 + 2 |g_l|^2, of a sample.
        squares = (to_first.square().sum(1) + to_last.square().sum(1)) * gradient.shape[1] + 2 * gradient.square().sum(
            1
        )
        error = (squares * seen.sum(0).square().sum(1)).sum().div(directions).sqrt()
        assert 3 * error < expected.norm() / 5
        assert (layer.weight.grad - expected).norm() < 3 * error
        error = (steps**2 * squares).sum().div(directions).sqrt()
        assert (layer.bias.grad - steps * gradient.sum(0)).norm() < 3 * error


def filtered(network: Linear, inputs: Tensor) -> Tensor:
    """The inputs of the last layer."""
    levels, level = [], torch.zeros(())
    with torch.no_grad():
        for current in network.first(inputs).unbind():
            level = 0.8 * level + current
            levels.append(level)
    return torch.stack(levels)


def test_noise_that_cannot_be_held_is_refused() -> None:
    class Halving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs[:, :2]).sum(1) + self.layer(inputs).sum(1)

    model, inputs = Halving(), torch.randn(4, 6, 3)
    with pytest.raises(
        Unsupported, match=r"'layer' \(Linear\) change from shape \(4, 2, 3\) to \(4, 6, 3\).*hold='step'"
    ):
        credit.get("node_perturbation", model, hold="pass").backward(F.mse_loss, inputs, torch.zeros(4, 3))
    credit.get("node_perturbation", model, hold="step").backward(F.mse_loss, inputs, torch.zeros(4, 3))
    assert model.layer.weight.grad is not None


@pytest.mark.parametrize("name", ["node_perturbation", "direct_feedback_alignment", "forward_gradient"])
def test_neurons_say_whether_time_comes_first(name) -> None:
    options = {"tangents": "activities"} if name == "forward_gradient" else {}
    said, told, case = (make_spiking_case(steps=4, batch=4) for _ in range(3))  # as many steps as samples
    run(name, said, **options)
    run(name, told, time_first=True, **options)
    assert all(torch.equal(one, other) for one, other in zip(gradients(said.model), gradients(told.model), strict=True))
    with pytest.raises(InvalidValue, match=r"left out, since 'network.1' \(LIF\) runs over sequences"):
        run(name, case, time_first=False, **options)


def test_sequences_that_nobody_tells_of_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"has shape \(6, 2, 4\), but there are 2 losses.*time_first=True for layers"):
        credit.get("node_perturbation", Linear(6, (3, 4, 2))).backward(
            F.mse_loss, torch.randn(6, 2, 3).double(), torch.randn(2, 2).double()
        )
