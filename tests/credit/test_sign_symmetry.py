"""Sign symmetry: which signs and which magnitudes; what is sent through them is compared with loops beside."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neuro_decorr import credit
from tests.credit.convolution_loops import pooling_network
from tests.credit.loops import gradients

MAGNITUDES = ["uniform", "frozen", "batchwise"]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(3, 3, 4, 4, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)


@pytest.mark.parametrize("magnitudes", MAGNITUDES)
def test_the_signs_follow_the_weights_and_the_magnitudes_do_not(magnitudes) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Conv1d(1, 50, 400, padding=100), nn.Flatten()).double()
    model.insert(2, nn.Unflatten(1, (1, 200)))
    assignment = credit.get("sign_symmetry", model, magnitudes=magnitudes, scale=2.0)
    sizes = {name: 2 * model.get_submodule(name).weight.detach().square().mean().sqrt() for name in ("0", "3")}
    inputs, targets = torch.randn(2, 300).double(), torch.randn(2, 50).double()
    found = []
    for _ in range(2):
        assignment.backward(F.mse_loss, inputs, targets)
        for name, feedback in assignment.feedback_weights().items():
            weight = model.get_submodule(name).weight.detach()
            assert torch.equal(feedback.sign(), weight.sign())
            # 4 standard errors of a root mean square over 60,000 and 20,000 Gaussian numbers
            rel = 1e-12 if magnitudes == "uniform" else 0.012 if name == "0" else 0.02
            assert feedback.square().mean().sqrt() == pytest.approx(sizes[name].item(), rel=rel)
        found.append({name: feedback.abs() for name, feedback in assignment.feedback_weights().items()})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.neg_().mul_(3)
    same = [torch.equal(found[0][name], found[1][name]) for name in ("0", "3")]
    assert same == [magnitudes != "batchwise"] * 2
    spread = found[0]["0"].std() / found[0]["0"].mean()
    # Of |x| for Gaussian x: sqrt(pi / 2 - 1).
    assert spread == pytest.approx(0.0 if magnitudes == "uniform" else 0.7555, abs=0.02)


def test_a_weight_of_zero_sends_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    nn.init.zeros_(model[1].weight)
    assert credit.get("sign_symmetry", model).feedback_weights()["1"].abs().max() == 0


@pytest.mark.parametrize("magnitudes", MAGNITUDES)
def test_save_and_resume_give_the_same_next_step(magnitudes) -> None:
    model, (inputs, targets) = pooling_network(), batch()
    assignment = credit.get("sign_symmetry", model, magnitudes=magnitudes, seed=5)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    assignment.backward(F.mse_loss, inputs, targets)
    optimiser.step()
    state = copy.deepcopy(assignment.state_dict())
    other = credit.get("sign_symmetry", copy.deepcopy(model), magnitudes=magnitudes)  # of weights that have moved
    other.load_state_dict(state)
    for one in (assignment, other):
        one.model.zero_grad()
        one.backward(F.mse_loss, inputs, targets)
    for ours, theirs in zip(gradients(model), gradients(other.model), strict=True):
        assert torch.equal(ours, theirs)


def test_it_is_nearer_to_the_gradient_than_random_feedback() -> None:
    torch.manual_seed(2)
    sizes = [20, 100, 100, 100, 5]
    layers = [m for i in range(4) for m in (nn.Linear(*sizes[i : i + 2]), nn.Tanh())]
    model = nn.Sequential(*layers[:-1])
    inputs, targets = torch.randn(64, 20), torch.randn(64, 5)
    found = {}
    for name in ("backprop", "sign_symmetry", "feedback_alignment"):
        model.zero_grad()
        credit.get(name, model).backward(F.mse_loss, inputs, targets)
        found[name] = model[0].weight.grad.flatten().clone()
    cosines = {name: torch.cosine_similarity(one, found["backprop"], dim=0).item() for name, one in found.items()}
    # Uniform weights on (-b, b) and their signs correlate by sqrt(3) / 2; three layers in a row leave about .65.
    assert cosines["sign_symmetry"] > 0.5
    assert abs(cosines["feedback_alignment"]) < 0.3
