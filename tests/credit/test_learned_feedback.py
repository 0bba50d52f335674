"""Kolen-Pollack and the weight mirror: closed forms of how feedback weights become the forward ones."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import StateMismatch, Unsupported
from tests.credit.convolution_loops import mixed, pooling_network
from tests.credit.loops import gradients

LR, DECAY = 0.05, 0.8
OPTIMISERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=LR, weight_decay=DECAY),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=LR, weight_decay=DECAY),
    "RAdam": lambda parameters: torch.optim.RAdam(parameters, lr=LR, weight_decay=DECAY, decoupled_weight_decay=True),
}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(3, 3, 4, 4, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)


def differences(assignment: credit.Credit) -> dict[str, torch.Tensor]:
    """W - B of every layer."""
    model = assignment.model
    return {n: model.get_submodule(n).weight.detach() - b for n, b in assignment.feedback_weights().items()}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("decorrelated", [False, True])
def test_the_difference_decays_geometrically_whatever_the_data(optimiser, decorrelated) -> None:
    model = mixed(pooling_network(), 0) if decorrelated else pooling_network()
    assignment = credit.get("kolen_pollack", model)
    both = OPTIMISERS[optimiser]([*model.parameters(), *assignment.parameters()])
    before = differences(assignment)
    for _ in range(20):
        both.zero_grad()
        assignment.backward(F.mse_loss, *batch())
        both.step()
    for name, difference in differences(assignment).items():
        assert difference.norm() < before[name].norm() / 2
        # Both move by equal steps: what is left is their rounding.
        torch.testing.assert_close(difference, (1 - LR * DECAY) ** 20 * before[name], rtol=1e-9, atol=1e-12)


def test_momentum_makes_it_a_linear_recursion_of_its_own() -> None:
    model = pooling_network()
    assignment = credit.get("kolen_pollack", model)
    both = torch.optim.SGD([*model.parameters(), *assignment.parameters()], lr=LR, momentum=0.9, weight_decay=DECAY)
    expected, velocity = differences(assignment), dict.fromkeys(differences(assignment), 0.0)
    for _ in range(20):
        both.zero_grad()
        assignment.backward(F.mse_loss, *batch())
        both.step()
        velocity = {name: 0.9 * velocity[name] + DECAY * left for name, left in expected.items()}
        expected = {name: left - LR * velocity[name] for name, left in expected.items()}
    for name, difference in differences(assignment).items():
        torch.testing.assert_close(difference, expected[name], rtol=1e-9, atol=1e-10)


def test_layers_of_one_weight_have_feedback_weights_that_become_equal() -> None:
    model = nn.Sequential(*(nn.Linear(6, 6, dtype=torch.float64) for _ in range(3)))
    model[1].weight = model[0].weight
    assignment = credit.get("kolen_pollack", model)
    both = OPTIMISERS["SGD"]([*model.parameters(), *assignment.parameters()])
    before = differences(assignment)
    for _ in range(20):
        both.zero_grad()
        assignment.backward(F.mse_loss, torch.randn(5, 6).double(), torch.randn(5, 6).double())
        both.step()
    for name, difference in differences(assignment).items():
        torch.testing.assert_close(difference, (1 - LR * DECAY) ** 20 * before[name], rtol=1e-9, atol=1e-12)


def test_feedback_weights_get_the_gradient_of_the_weights_and_it_accumulates() -> None:
    model = pooling_network()
    assignment = credit.get("kolen_pollack", model)
    model[3].weight.requires_grad_(False)
    for _ in range(2):
        assignment.backward(F.mse_loss, *batch())
    for name in assignment.feedback_weights():
        feedback = assignment.get_parameter(f"feedback/{name}")
        weight = model.get_submodule(name).weight
        assert (feedback.grad is None) is (name == "3")
        assert feedback.grad is None or torch.equal(feedback.grad, weight.grad)
        assert feedback.grad is not weight.grad or name == "3"


def test_an_optimiser_without_the_feedback_weights_is_noticed() -> None:
    model = pooling_network()
    assignment = credit.get("kolen_pollack", model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    assignment.backward(F.mse_loss, *batch())
    optimiser.step()
    optimiser.zero_grad()
    with pytest.raises(StateMismatch, match=r"layer '0' hold a gradient.*\*credit.parameters\(\)\], and call its zero"):
        assignment.backward(F.mse_loss, *batch())


def test_a_parametrised_weight_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    nn.utils.parametrizations.weight_norm(model[2])
    with pytest.raises(Unsupported, match="weight of layer '2' is computed from other parameters"):
        credit.get("kolen_pollack", model)


def test_both_become_backprop() -> None:
    """With weights that rest the mirror's estimate is exact but for its noise; Kolen-Pollack's decays to rounding."""
    inputs, targets = batch()
    for name in ("kolen_pollack", "weight_mirror"):
        model = pooling_network()
        assignment = credit.get(name, model, **({"rows": 100_000, "rate": 1.0} if name == "weight_mirror" else {}))
        if name == "kolen_pollack":
            both = torch.optim.AdamW([*model.parameters(), *assignment.parameters()], lr=0.01, weight_decay=15.0)
            for _ in range(150):
                both.zero_grad()
                assignment.backward(F.mse_loss, inputs, targets)
                both.step()
            both.zero_grad()
        assignment.backward(F.mse_loss, inputs, targets)
        ours = gradients(model)
        model.zero_grad()
        F.mse_loss(model(inputs), targets).backward()
        # Mirror: relative errors of B of sqrt((d + 1) / 1e5), d up to 36: 2 %.
        cosine = 0.995 if name == "weight_mirror" else 1 - 1e-9
        for one, exact in zip(ours, gradients(model), strict=True):
            if exact.norm() > 1e-9:  # a bias in front of a normalisation has no effect
                assert torch.cosine_similarity(one.flatten(), exact.flatten(), dim=0) > cosine


LAYERS = {
    "linear": nn.Linear(12, 500),
    "convolution": nn.Conv2d(4, 500, (3, 1), stride=2, padding=1, dilation=2, padding_mode="circular"),
    "groups": nn.Conv2d(8, 400, (3, 1), groups=2, bias=False),
    "transposed": nn.ConvTranspose1d(12, 25, 20, stride=3),
    "transposed groups": nn.ConvTranspose1d(24, 50, 20, groups=2),
}  # twelve inputs a unit each


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("decorrelated", [False, True])
@pytest.mark.parametrize("site", ["pre_decorrelation", "post_decorrelation"])
def test_the_mirror_converges_as_its_closed_form(kind, decorrelated, site) -> None:
    layer = copy.deepcopy(LAYERS[kind]).double()
    layer = mixed(layer, 1) if decorrelated else layer
    rate, rows, passes = 0.2, 10, 200
    assignment = credit.get("weight_mirror", layer, rate=rate, rows=rows, feedback_site=site)
    target = layer.weight.detach()
    if decorrelated and site == "pre_decorrelation":  # the kernel of the plain layer that computes the same
        folded = nd.fold(layer)
        target = folded.weight.detach()
    for _ in range(40):
        assignment.mirror()
    errors = []
    for _ in range(passes):
        assignment.mirror()
        errors.append((assignment.feedback_weights()[""] - target).square().sum())
    expected = rate / (2 - rate) * 13 / rows * target.square().sum()
    # Patterns are shared by all units, so that errors agree between them: some 13 * 14 / 2 products of a pattern and
    # 2 / rate passes count as one, 1,800 independent numbers at least, each of a relative variance below 4.
    assert torch.stack(errors).mean() == pytest.approx(float(expected), rel=4 * (4 / 1800) ** 0.5)


def test_the_mirror_forgets_where_it_began() -> None:
    layer = nn.Linear(8, 6, dtype=torch.float64)
    assignment = credit.get("weight_mirror", layer, rate=0.1, rows=100_000)
    before = assignment.feedback_weights()[""] - layer.weight.detach()
    for _ in range(10):
        assignment.mirror()
    after = assignment.feedback_weights()[""] - layer.weight.detach()
    # Noise: sqrt(.1 / 1.9 * 9 / 1e5) of |W|, which is as large as the difference at the start.
    torch.testing.assert_close(after, 0.9**10 * before, rtol=0, atol=6 * 0.0022 * float(layer.weight.detach().std()))


def test_the_mirror_leaves_the_model_and_its_plasticity_alone() -> None:
    model = nd.decorrelate(pooling_network())
    before = copy.deepcopy(model.state_dict())
    credit.get("weight_mirror", model).mirror()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(found.take_record() is None for _, found, _ in nd.rate.decorrelated_layers(model))


@pytest.mark.parametrize("name", ["kolen_pollack", "weight_mirror"])
def test_save_and_resume_give_the_same_next_step(name) -> None:
    model, (inputs, targets) = pooling_network(), batch()
    assignment = credit.get(name, model, seed=5)

    def step(one: credit.Credit, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        one.backward(F.mse_loss, inputs, targets)
        optimiser.step()

    both = OPTIMISERS["AdamW"]([*model.parameters(), *assignment.parameters()])
    for _ in range(3):
        step(assignment, both)
    states = copy.deepcopy((model.state_dict(), assignment.state_dict(), both.state_dict()))
    step(assignment, both)
    fresh = pooling_network()
    other = credit.get(name, fresh)
    optimiser = OPTIMISERS["AdamW"]([*fresh.parameters(), *other.parameters()])
    for held, state in zip((fresh, other, optimiser), states, strict=True):
        held.load_state_dict(state)
    step(other, optimiser)
    for ours, theirs in ((model, fresh), (assignment, other)):
        for one, two in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.equal(one, two)


def test_autocast_does_not_reach_the_mirror() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    inputs, targets = torch.randn(4, 6), torch.randn(4, 3)
    full, narrow = (credit.get("weight_mirror", model, rate=0.5, seed=1) for _ in range(2))
    full.backward(F.mse_loss, inputs, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow.backward(F.mse_loss, inputs, targets)
    for name, feedback in full.feedback_weights().items():
        assert torch.equal(narrow.feedback_weights()[name], feedback)
