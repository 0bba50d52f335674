"""E-prop as published: recurrent adaptive neurons, leaky readouts, targets at every step, and any wiring of layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from tests.credit.loops import gradients
from tests.credit.spiking_loops import MEMBRANE, SYNAPSE, THETA, exact_neurons

UNITS, STEPS, LEFT, PENALTY, BETA, ADAPTING = 6, 25, 0.8, 3.0, 0.15, 1 - 1e-3 / 20e-3


class Published(nn.Module):
    """The network of the paper: recurrent adaptive neurons, a leaky readout of every step, and a penalty on rates."""

    def __init__(self, adaptive: bool = True) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.readout = nn.Linear(UNITS, 2, dtype=torch.float64)  # defined before what it reads
        self.recurrent = nn.Linear(UNITS, UNITS, bias=False, dtype=torch.float64)
        self.arriving = nn.Linear(3, UNITS, dtype=torch.float64)
        self.arriving.weight.data.mul_(3)
        self.arriving.bias.data.add_(0.4)
        self.recurrent.weight.data.mul_(2)
        self.neurons = exact_neurons(UNITS)
        if adaptive:
            self.neurons = nd.norse.AdaptiveLIF(
                UNITS, threshold=THETA, adaptation_time=20e-3, adaptation_strength=BETA, dtype=torch.float64
            )
        self.neurons.sequences = False

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        spikes, state, read, reads = torch.zeros(inputs.shape[1], UNITS).double(), None, 0.0, []
        total = torch.zeros_like(spikes)
        for step in inputs:
            spikes, state = self.neurons(self.arriving(step) + self.recurrent(spikes), state)
            read = LEFT * read + self.readout(spikes)
            reads.append(read)
            total = total + spikes
        return torch.stack(reads), total / len(inputs)


def every_step(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    return F.mse_loss(outputs[0], targets) + PENALTY * outputs[1].square().mean()


def published_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return (
        torch.rand(STEPS, 4, 3, generator=generator, dtype=torch.float64),
        torch.rand(STEPS, 4, 2, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_the_published_rule_carries_its_traces_forward(feedback, adaptive) -> None:
    """As in the paper, on line: eligibilities filtered by the leak of the readout meet the error of each step."""
    model, (inputs, targets) = Published(adaptive), published_batch()
    assignment = credit.get("eprop", model, feedback=feedback)
    assignment.backward(every_step, inputs, targets)
    weights = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    sent = weights["readout.weight"]
    if feedback == "random":
        sent = assignment.feedback_weights()["readout"].numpy()
    strength = BETA if adaptive else 0.0
    found = np.zeros((UNITS, 3 + UNITS + 1))
    fired = 0.0
    for sample in range(4):
        v, i, a, z, y = (np.zeros(UNITS) for _ in range(5))
        y = np.zeros(2)
        filtered = np.zeros(3 + UNITS + 1)
        of_potential, of_adaptation, of_readout, total = (np.zeros_like(found) for _ in range(4))
        trains = []
        for step in range(STEPS):
            x = np.concatenate([inputs[step, sample].numpy(), z, [1.0]])
            drive = weights["arriving.weight"] @ x[:3] + weights["recurrent.weight"] @ z + weights["arriving.bias"]
            i = SYNAPSE * i + drive
            filtered = SYNAPSE * filtered + x
            before = z
            v = np.where(before > 0, 0.0, v)
            v = v + MEMBRANE * (i - v)
            distance = v - THETA - strength * a
            z = (distance > 0).astype(float)
            psi = 1 / (1 + 10 * np.abs(distance)) ** 2
            of_potential = (1 - MEMBRANE) * (1 - before)[:, None] * of_potential + MEMBRANE * filtered
            eligibility = psi[:, None] * (of_potential - strength * of_adaptation)
            of_adaptation = ADAPTING * of_adaptation + eligibility
            a = ADAPTING * a + z
            of_readout = LEFT * of_readout + eligibility
            total += eligibility
            y = LEFT * y + weights["readout.weight"] @ z + weights["readout.bias"]
            error = 2 * (y - targets[step, sample].numpy()) / targets.numel()
            found += (error @ sent)[:, None] * of_readout
            trains.append(z)
        rate = np.mean(trains, 0)
        fired += rate.sum()
        found += (2 * PENALTY * rate / (4 * UNITS) / STEPS)[:, None] * total
    assert fired > 1
    got = [model.arriving.weight.grad, model.recurrent.weight.grad, model.arriving.bias.grad[:, None]]
    np.testing.assert_allclose(torch.cat(got, 1).numpy(), found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("adaptive", [True, False])
def test_recurrent_spikes_count_as_if_they_came_from_outside(adaptive) -> None:
    """Backpropagation through time in a network that is given its own recurrent spikes as an input."""
    model, (inputs, targets) = Published(adaptive), published_batch()
    trains: list[Tensor] = []
    hook = model.neurons.register_forward_hook(lambda _, __, output: trains.append(output[0].detach().clone()))
    credit.get("eprop", model).backward(every_step, inputs, targets)
    hook.remove()
    ours = gradients(model)
    model.zero_grad()
    every_step(model(inputs), targets).backward()
    exact = gradients(model)
    model.zero_grad()
    given = [torch.zeros_like(trains[0]), *trains]
    model.recurrent.register_forward_pre_hook(lambda *_: (given.pop(0),))
    every_step(model(inputs), targets).backward()
    for one, other in zip(ours, gradients(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)
    assert not torch.allclose(ours[2], exact[2], rtol=0.1)  # of the recurrent weights


class Wired(nn.Module):
    """Two or three layers, wired in one of many ways, defined in any order."""

    def __init__(self, kind: str, order: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(6)
        self.kind = kind
        weights = {number: torch.randn(6, 6, generator=generator, dtype=torch.float64) for number in (1, 2, 3)}
        for number in order:
            layer = nn.Linear(6, 6, dtype=torch.float64)
            layer.weight.data = weights[number].clone()
            layer.bias.data = 0.2 + 0.1 * weights[3][number].clone()
            setattr(self, f"layer{number}", layer)
            setattr(self, f"neurons{number}", exact_neurons(6))
        self.readout = nn.Linear(6, 3, dtype=torch.float64)
        self.readout.weight.data = weights[3][:3].clone()
        self.readout.bias.data.zero_()

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        first, _ = self.neurons1(self.layer1(inputs))
        second, _ = self.neurons2(self.layer2(first))
        if self.kind == "skip":
            return self.readout((second + first).mean(0))
        if self.kind == "skip alone":
            return self.readout((0 * second + first).mean(0))
        if self.kind == "in place":
            return self.readout(second.mul_(2.0).mean(0))
        return self.readout(second.mean(0))


def wired_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return (
        2 * torch.rand(20, 3, 6, generator=generator, dtype=torch.float64),
        torch.rand(3, 3, generator=generator, dtype=torch.float64),
    )


def wired_gradients(kind: str, name: str = "eprop", order: tuple[int, ...] = (1, 2)) -> dict[str, Tensor]:
    model = Wired(kind, order)
    credit.get(name, model).backward(F.mse_loss, *wired_batch())
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_layers_are_taken_in_the_order_of_their_calls() -> None:
    one, other = wired_gradients("chain"), wired_gradients("chain", order=(2, 1))
    assert all(torch.equal(gradient, other[name]) for name, gradient in one.items())
    assert one["layer1.weight"].abs().max() > 1e-4


def test_a_skip_connection_carries_its_own_signal() -> None:
    """Exact where nothing else reaches the layer; else the sum of both ways, where these have the same error."""
    alone, exact = wired_gradients("skip alone"), wired_gradients("skip alone", "backprop")
    assert exact["layer1.weight"].abs().max() > 1e-4
    torch.testing.assert_close(alone["layer1.weight"], exact["layer1.weight"], rtol=1e-10, atol=1e-14)

    def linear(outputs: Tensor, _: Tensor) -> Tensor:
        return outputs.sum()  # the same error whatever the outputs are

    found = {}
    for kind in ("skip", "skip alone", "chain"):
        model = Wired(kind)
        credit.get("eprop", model).backward(linear, *wired_batch())
        found[kind] = model.layer1.weight.grad
    torch.testing.assert_close(found["skip"], found["skip alone"] + found["chain"], rtol=1e-10, atol=1e-14)
    assert found["chain"].abs().max() > 1e-3


def test_what_follows_may_work_in_place() -> None:
    twice = Wired("chain")
    twice.readout.weight.data.mul_(2)
    credit.get("eprop", twice).backward(F.mse_loss, *wired_batch())
    found = wired_gradients("in place")
    torch.testing.assert_close(found["layer1.weight"], twice.layer1.weight.grad, rtol=1e-10, atol=1e-14)
