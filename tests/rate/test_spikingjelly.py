"""Models of SpikingJelly, in both step modes: decorrelated, taught and folded as the plain loop over time says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported

pytest.importorskip("spikingjelly")
from spikingjelly.activation_based import functional, layer, neuron

STEPS, BATCH, FEATURES, HIDDEN, OUTPUTS = 7, 3, 12, 10, 5
MODES = ("s", "m")


def inputs(seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.rand(STEPS, BATCH, FEATURES, generator=generator)


def network(mode: str) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        layer.Linear(FEATURES, HIDDEN), neuron.LIFNode(tau=2.0), layer.Linear(HIDDEN, OUTPUTS), neuron.IFNode()
    )
    functional.set_step_mode(made, mode)
    return made


class Over(nn.Module):
    """A model that is given whole sequences, whatever its step mode is, as a user writes it."""

    def __init__(self, model: nn.Module, mode: str) -> None:
        super().__init__()
        self.model, self.mode = model, mode

    def forward(self, sequence: Tensor) -> Tensor:
        if self.mode == "m":
            return self.model(sequence)
        return torch.stack([self.model(step) for step in sequence])


def by_hand(layers: list[tuple[Tensor, Tensor, Tensor, Tensor]], sequence: Tensor) -> Tensor:
    """The loop over time in double precision: W D (z - mean) + b, leaky units, then units without a leak."""
    potentials = [torch.zeros(()), torch.zeros(())]
    spikes = []
    for step in sequence.double():
        rates = step
        for index, (weight, bias, matrix, mean) in enumerate(layers):
            current = (rates - mean) @ (weight @ matrix).T + bias
            before = potentials[index]
            potential = before + (current - before) / 2.0 if index == 0 else before + current
            rates = (potential >= 1.0).double()
            potentials[index] = torch.where(rates > 0, 0.0, potential)  # a reset to zero
        spikes.append(rates)
    return torch.stack(spikes)


def learnt(mode: str, steps: int = 3) -> Any:
    model = nd.decorrelate(network(mode), row_fraction=1.0)
    plasticity = nd.Plasticity(model, nd.rules.get("whitening", rate=0.1))
    for seed in range(steps):
        Over(model, mode)(inputs(seed)).sum().backward()
        plasticity.step()
        functional.reset_net(model)
    return model


@pytest.mark.parametrize("mode", MODES)
def test_a_learnt_model_is_the_loop_over_time(mode: str) -> None:
    model = learnt(mode)
    pairs = [(one.weight, one.bias, one.decorrelation.matrix, one.decorrelation.mean) for one in (model[0], model[2])]
    expected = by_hand([tuple(part.detach().double() for part in pair) for pair in pairs], inputs(9))  # type: ignore[misc]
    with torch.no_grad():
        found = Over(model, mode)(inputs(9))
    assert 0.05 < expected.mean() < 0.95
    # A potential within rounding of the threshold may fall on either side of it.
    assert (found.double() != expected).double().mean() < 0.02
    plain = nd.fold(model)
    functional.reset_net(plain)
    assert type(plain[0]) is layer.Linear
    assert (Over(plain, mode)(inputs(9)) != found).double().mean() < 0.02


def test_both_step_modes_learn_from_the_same_rows() -> None:
    """Every row counts once, in whatever calls it comes; of the first layer they are those of all steps together."""
    alone = nd.Decorrelation(FEATURES, row_fraction=1.0).train()
    plasticity = nd.Plasticity(alone, nd.rules.get("whitening", rate=0.1))
    alone(inputs(0).flatten(0, 1))
    plasticity.step()
    for mode in MODES:
        first = learnt(mode, steps=1)[0].decorrelation
        torch.testing.assert_close(first.matrix, alone.matrix, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(first.mean, alone.mean, rtol=1e-5, atol=1e-6)


def test_the_step_mode_may_change_afterwards() -> None:
    model = learnt("s")
    stepped = Over(model, "s")(inputs(9))
    functional.reset_net(model)
    functional.set_step_mode(model, "m")
    assert (model(inputs(9)) != stepped).double().mean() < 0.02


def test_a_model_that_holds_a_state_says_how_to_forget_it() -> None:
    model = network("s")
    model(inputs()[0])
    with pytest.raises(Unsupported, match=r"Forget the state first: .*functional\.reset_net\(model\)"):
        nd.decorrelate(model)
    functional.reset_net(model)
    assert nd.decorrelate(model)[0].decorrelation.is_identity()


def test_convolutions_are_torchs_inside_the_container() -> None:
    """`layer.Conv2d` folds time into the batch in a forward of its own; the container does so around torch's."""
    torch.manual_seed(0)
    frames = torch.rand(4, 2, 3, 6, 6)
    with pytest.raises(Unsupported, match="has a forward of its own"):
        nd.decorrelate(nn.Sequential(layer.Conv2d(3, 4, 3)))
    model = nd.decorrelate(nn.Sequential(layer.SeqToANNContainer(nn.Conv2d(3, 4, 3)), neuron.IFNode(step_mode="m")))
    plasticity = nd.Plasticity(model, nd.rules.get("interneuron", interneurons=4))
    model(frames)
    plasticity.step()
    functional.reset_net(model)
    convolution = model[0][0]
    expected = torch.stack([nd.fold(convolution)(frame) for frame in frames])
    torch.testing.assert_close(model[0](frames), expected, rtol=1e-4, atol=1e-5)


# Credit


@pytest.mark.parametrize("mode", MODES)
def test_every_pass_of_a_perturbation_begins_with_the_same_state(mode: str) -> None:
    model = nd.decorrelate(network(mode))
    begins: list[Any] = []
    model[1].register_forward_pre_hook(lambda module, _: begins.append(module.v))
    credit = nd.credit.get("node_perturbation", Over(model, mode), seed=0, time_first=True)
    targets = torch.zeros(BATCH, OUTPUTS)
    credit.backward(lambda spikes, targets: ((spikes.mean(0) - targets) ** 2).mean(), inputs(), targets)
    firsts = begins[:: STEPS if mode == "s" else 1]
    assert len(firsts) >= 2 and all(first == 0.0 for first in firsts)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    functional.reset_net(model)


def test_a_state_that_was_not_reset_is_refused() -> None:
    model = nd.decorrelate(network("m"))
    credit = nd.credit.get("backprop", model, seed=0)
    targets = torch.zeros(STEPS, BATCH, OUTPUTS)
    credit.backward(nn.functional.mse_loss, inputs(), targets)
    with pytest.raises(StateMismatch, match="graph"):
        credit.backward(nn.functional.mse_loss, inputs(), targets)


def test_step_mode_tells_where_time_is() -> None:
    with pytest.raises(InvalidValue, match="runs over sequences"):
        nd.credit.get("node_perturbation", network("m"), seed=0, time_first=False).backward(
            nn.functional.mse_loss, inputs(), torch.zeros(STEPS, BATCH, OUTPUTS)
        )
    with pytest.raises(Unsupported, match="comes from spikingjelly"):
        nd.credit.get("eprop", network("m"), seed=0)
