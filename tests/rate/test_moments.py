"""The optimiser's first moments follow compensated weights, so that learning knows one function only."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rate import Decorrelation
from neuro_decorr.rules import Rule, Sample
from neuro_decorr.rules._rule import dense_matrix

PARAMETERS: dict[str, dict[str, object]] = {
    "interneuron": {"interneurons": 3, "every": 1},
    "interneuron_local": {"interneurons": 3, "every": 1},
}
KINDS = ("linear", "patches", "channels", "groups")


def rule_of(name: str) -> Rule:
    return nd.rules.get(name, **PARAMETERS.get(name, {}))


@pytest.mark.parametrize("name", [name for name in nd.rules.names() if name != "center"])
def test_moments_follow_the_change_of_every_rule(name: str) -> None:
    """m A^T with A = D_new D_old^-1 by dense algebra; the rules in the state that ten updates bring."""
    generator = torch.Generator().manual_seed(0)
    rule = rule_of(name)
    state = rule.initial_state(6, dtype=torch.float64)
    mixing = torch.eye(6, dtype=torch.float64) + 0.5 * torch.randn(6, 6, generator=generator, dtype=torch.float64)
    zero = torch.zeros(6, dtype=torch.float64)
    moved = 0
    for _ in range(10):
        inputs = torch.randn(20, 6, generator=generator, dtype=torch.float64) @ mixing
        before = dense_matrix(state, 6, zero).clone()
        moment = torch.randn(4, 6, generator=generator, dtype=torch.float64)
        change = rule.update_(state, Sample(inputs, inputs @ before.T, zero), rule.rate)
        after = dense_matrix(state, 6, zero)
        if change is None:
            assert torch.equal(before, after)
            continue
        moved += not torch.allclose(before, after, rtol=1e-6, atol=1e-6)
        expected = moment @ (after @ before.inverse()).T
        gained = change.moment_increment(moment)(slice(None))
        torch.testing.assert_close(moment + gained, expected, rtol=1e-9, atol=1e-9)
    assert moved, "D stayed: nothing was tested"


def layer_of(kind: str) -> nn.Linear | nn.Conv2d:
    torch.manual_seed(0)
    if kind == "linear":
        return nn.Linear(6, 3).double()
    return nn.Conv2d(4, 6, 2, groups=2 if kind == "groups" else 1).double()


def effective_step(kind: str, layer: nn.Module, weight: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """(G - g_b mu^T) D^T D and its product with the mean: what a step of W does to W D, position by position."""
    held = layer.decorrelation
    parts = list(held) if isinstance(held, nn.ModuleList) else [held]
    steps, shifts = [], []
    for part, gradient, error in zip(parts, weight.chunk(len(parts)), errors.chunk(len(parts)), strict=True):
        assert isinstance(part, Decorrelation)
        metric = part.matrix.T @ part.matrix
        if kind == "channels":
            centred = gradient - torch.einsum("o,c->oc", error, part.mean)[:, :, None, None]
            steps.append(torch.einsum("ocij,cd->odij", centred, metric))
            shifts.append(torch.einsum("ocij,c->o", steps[-1], part.mean))
        else:
            centred = gradient.flatten(1) - torch.outer(error, part.mean)
            steps.append((centred @ metric).view_as(gradient))
            shifts.append(steps[-1].flatten(1) @ part.mean)
    return torch.cat(steps), torch.cat(shifts)


@pytest.mark.parametrize("kind", KINDS)
def test_momentum_acts_in_the_coordinates_of_the_function(kind: str) -> None:
    """Twenty steps of momentum SGD behind a moving D and mean, against momentum on (W D, b - W D mu) itself.

    There the moments are plain means of gradients, whatever D did meanwhile; D only shapes the step,
    Delta(W D) = -lr (m - m_b mu^T) D^T D. Without moments that follow, the courses part.
    """
    generator = torch.Generator().manual_seed(1)
    plain = layer_of(kind)
    shape = (16, 6) if kind == "linear" else (8, 4, 3, 3)
    data = [1.5 + torch.randn(*shape, generator=generator, dtype=torch.float64).cumsum(1) for _ in range(20)]
    targets = [torch.randn_like(plain(inputs)) for inputs in data]
    differences = []
    for follows in (True, False):
        layer = nd.decorrelate(layer_of(kind), convolution="channels" if kind == "channels" else "patches")
        optimiser = torch.optim.SGD(layer.parameters(), lr=1e-2, momentum=0.9)
        plasticity = nd.Plasticity(
            layer,
            rule_of("norm_preserving"),
            lr=0.02,
            sample=0.5,
            compensate="exact",
            moments=optimiser if follows else None,
        )
        folded = nd.fold(layer)
        weight, bias = (part.detach().clone().requires_grad_() for part in (folded.weight, folded.bias))
        moments = [torch.zeros_like(weight), torch.zeros_like(bias)]
        for inputs, target in zip(data, targets, strict=True):
            optimiser.zero_grad()
            F.mse_loss(layer(inputs), target).backward()
            optimiser.step()

            groups = 2 if kind == "groups" else 1
            outputs = (
                F.linear(inputs, weight, bias) if kind == "linear" else F.conv2d(inputs, weight, bias, groups=groups)
            )
            gradients = torch.autograd.grad(F.mse_loss(outputs, target), [weight, bias])
            moments = [0.9 * moment + gradient for moment, gradient in zip(moments, gradients, strict=True)]
            step, shift = effective_step(kind, layer, *moments)
            with torch.no_grad():
                weight -= 1e-2 * step
                bias -= 1e-2 * (moments[1] - shift)
            plasticity.step()
        differences.append(float((nd.fold(layer).weight - weight).detach().abs().max()))
    assert differences[0] < 1e-10
    assert differences[1] > 1e-4


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD"])
def test_only_first_moments_change(kind: str) -> None:
    generator = torch.Generator().manual_seed(2)
    layer = nd.decorrelate(nn.Linear(6, 3))
    arguments = {"momentum": 0.9} if kind == "SGD" else {}
    optimiser = getattr(torch.optim, kind)(layer.parameters(), lr=1e-3, **arguments)
    plasticity = nd.Plasticity(layer, rule_of("whitening"), sample=0.5, compensate="exact", moments=optimiser)
    name = "momentum_buffer" if kind == "SGD" else "exp_avg"
    for _ in range(3):
        layer(1 + torch.randn(8, 6, generator=generator)).square().mean().backward()
        optimiser.step()
        before = {key: value.clone() for key, value in optimiser.state[layer.weight].items() if value is not None}
        plasticity.step()
        for key, value in before.items():
            assert torch.equal(value, optimiser.state[layer.weight][key]) == (key != name), key


def test_before_the_first_step_there_is_nothing_to_move() -> None:
    layer = nd.decorrelate(nn.Linear(6, 3))
    optimiser = torch.optim.SGD(layer.parameters(), lr=1e-3)
    plasticity = nd.Plasticity(layer, rule_of("whitening"), compensate="exact", moments=optimiser)
    for _ in range(2):
        layer(torch.randn(30, 6, generator=torch.Generator().manual_seed(3)))
        plasticity.step()
    assert not optimiser.state


@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_that_is_left_leaves_the_weights_to_follow_d(bias: bool) -> None:
    """W D stays, b stays, and a layer without bias can be compensated."""
    generator = torch.Generator().manual_seed(4)
    layer = nd.decorrelate(nn.Linear(6, 3, bias=bias).double())
    optimiser = torch.optim.Adam(layer.parameters())
    plasticity = nd.Plasticity(
        layer, rule_of("norm_preserving"), lr=0.02, sample=0.5, compensate="exact", bias="leave", moments=optimiser
    )
    function = (layer.weight @ layer.decorrelation.matrix).detach()
    kept = layer.bias.detach().clone() if bias else None
    for _ in range(20):
        layer(2 + torch.randn(8, 6, generator=generator, dtype=torch.float64))
        plasticity.step()
    torch.testing.assert_close(layer.weight @ layer.decorrelation.matrix, function)
    assert float(layer.decorrelation.mean.mean()) > 1
    assert kept is None or torch.equal(layer.bias, kept)


def test_bad_options() -> None:
    layer, other = nd.decorrelate(nn.Linear(6, 3)), nn.Linear(6, 3)
    rule = rule_of("whitening")
    with pytest.raises(InvalidValue, match="bias must be 'follow' or 'leave', got 'maybe'"):
        nd.Plasticity(layer, rule, compensate=True, bias="maybe")
    with pytest.raises(InvalidValue, match="moments must be the optimiser of the weights, or None, got 'adam'"):
        nd.Plasticity(layer, rule, compensate=True, moments="adam")
    with pytest.raises(InvalidValue, match="pass compensate='exact' too"):
        nd.Plasticity(layer, rule, moments=torch.optim.SGD(layer.parameters(), lr=1e-3))
    with pytest.raises(InvalidValue, match="does not move the weight of layer"):
        nd.Plasticity(layer, rule, compensate=True, moments=torch.optim.SGD(other.parameters(), lr=1e-3))
    with pytest.raises(Unsupported, match=r"moments of RMSprop .* is not known"):
        nd.Plasticity(layer, rule, compensate=True, moments=torch.optim.RMSprop(layer.parameters()))
