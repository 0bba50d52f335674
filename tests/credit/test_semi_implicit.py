"""Semi-implicit back propagation against dense linear systems, closed forms, and the minimum that it is to find."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, Unsupported
from tests.credit.loops import gradients

NAME = "semi_implicit"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_linear_layer_has_the_ridge_solution_of_the_paper() -> None:
    layer, inputs, targets = nn.Linear(7, 3, bias=False).double(), normal(20, 7), normal(20, 3, seed=1)
    credit.get(NAME, layer, eta=0.3, damping=0.05).backward(F.cross_entropy, inputs, targets.argmax(1))
    x, weight = inputs.numpy(), layer.weight.detach().numpy()
    logits = x @ weight.T
    gd = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(3)[targets.argmax(1).numpy()]
    total = 0.05 * len(x)  # the paper's lambda, of sums over the batch
    change = -0.3 * gd.T @ x @ np.linalg.inv(x.T @ x + total * np.eye(7))
    np.testing.assert_allclose(-layer.weight.grad.numpy(), change, rtol=0, atol=1e-10)


@pytest.mark.parametrize("samples", [4, 30])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_linear_layer_takes_the_weights_nearest_to_its_target(samples, frozen) -> None:
    layer, inputs, targets = nn.Linear(7, 3).double(), normal(samples, 7), normal(samples, 3, seed=1)
    layer.bias.requires_grad_(not frozen)
    eta, damping = 0.3, 0.05
    credit.get(NAME, layer, eta=eta, damping=damping).backward(F.mse_loss, inputs, targets)
    outputs = layer(inputs)
    aim = (outputs - eta * samples * 2 * (outputs - targets) / targets.numel()).detach().numpy()
    # Least squares of the rows and of the damping, stacked, for the change.
    rows = inputs.numpy() if frozen else np.hstack([inputs.numpy(), np.ones((samples, 1))])
    stacked = np.vstack([rows / samples**0.5, damping**0.5 * np.eye(rows.shape[1])])
    misses = np.vstack([(aim - outputs.detach().numpy()) / samples**0.5, np.zeros((rows.shape[1], 3))])
    change = np.linalg.lstsq(stacked, misses, rcond=None)[0].T
    np.testing.assert_allclose(-layer.weight.grad.numpy(), change[:, :7], rtol=0, atol=1e-10)
    if frozen:
        assert layer.bias.grad is None
    else:
        np.testing.assert_allclose(-layer.bias.grad.numpy(), change[:, 7], rtol=0, atol=1e-10)


def test_on_whitened_inputs_it_is_a_gradient_step() -> None:
    basis, _ = torch.linalg.qr(normal(20, 7))
    inputs, targets = basis * 20**0.5, normal(20, 3, seed=1)
    layer = nn.Linear(7, 3, bias=False).double()
    F.mse_loss(layer(inputs), targets).backward()
    expected = layer.weight.grad * 0.3 / (1 + 0.05)
    layer.zero_grad()
    credit.get(NAME, layer, eta=0.3, damping=0.05).backward(F.mse_loss, inputs, targets)
    torch.testing.assert_close(layer.weight.grad, expected, rtol=0, atol=1e-12)


class Residual(nn.Module):
    """A way round the second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(a, b) for a, b in ((7, 5), (5, 5), (5, 3)))

    def forward(self, inputs: Tensor) -> Tensor:
        below = torch.tanh(self.parts[0](inputs))
        return self.parts[2](torch.tanh(self.parts[1](below)) + below)


MODELS = {
    "dense": lambda: nn.Sequential(nn.Linear(7, 5), nn.ReLU(inplace=True), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)),
    "normalised": lambda: nn.Sequential(
        nn.Linear(7, 5), nn.BatchNorm1d(5), nn.LeakyReLU(), nn.LayerNorm(5), nn.PReLU(), nn.Linear(5, 3)
    ),
    "followed": lambda: nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3), nn.Sigmoid()),
    "convolutional": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=2, dilation=2, padding_mode="circular"),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 2, groups=2, bias=False),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 2, 2),
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(3),
    ),
    "parametrised": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(7, 5)), nn.Tanh(), nn.Linear(5, 3)
    ),
}


def owners(model: nn.Module) -> list[nn.Module]:
    inner = {part for module in model.modules() for part in getattr(module, "parametrizations", nn.Module()).modules()}
    return [
        layer
        for layer in model.modules()
        if layer not in inner and (list(layer.parameters(recurse=False)) or hasattr(layer, "parametrizations"))
    ]


def by_dense_systems(model: nn.Sequential, inputs: Tensor, targets: Tensor, eta: float, damping: float) -> list[Tensor]:
    """W - W* of a chain, layer by layer from the output, with the Jacobian of each written out."""
    model = copy.deepcopy(model)
    samples, changes = len(inputs), []
    stages: list[list[nn.Module]] = []
    for module in model:
        if module in owners(model):
            stages.append([module])
        else:
            stages[-1].append(type(module)(False) if isinstance(module, nn.ReLU) else module)
    given = [inputs]
    for layer, *rest in stages:
        given.append(nn.Sequential(layer, *rest)(given[-1]).detach())
    last = given[-1].clone().requires_grad_()
    (error,) = torch.autograd.grad(F.mse_loss(last, targets), last)
    for number in reversed(range(len(stages))):
        layer, *rest = stages[number]
        z = given[number].clone().requires_grad_()
        old = {name: parameter.detach() for name, parameter in layer.named_parameters()}
        flat = torch.cat([each.flatten() for each in old.values()])

        def named(flat: Tensor, old: dict[str, Tensor] = old) -> dict[str, Tensor]:
            parts = flat.split([each.numel() for each in old.values()])
            return {name: part.view(each.shape) for (name, each), part in zip(old.items(), parts, strict=True)}

        def stage(flat: Tensor, layer: nn.Module = layer, rest: list = rest, z: Tensor = z) -> Tensor:
            return nn.Sequential(*rest)(functional_call(layer, named(flat), (z,))).flatten()

        jacobian = torch.autograd.functional.jacobian(stage, flat)
        system = jacobian.T @ jacobian / samples + damping * torch.eye(len(flat), dtype=flat.dtype)
        change = torch.linalg.solve(system, eta * jacobian.T @ error.flatten())
        changes = [*named(change).values(), *changes]
        a = layer(z).detach().requires_grad_()
        (delta,) = torch.autograd.grad(nn.Sequential(*rest)(a), a, error)
        (error,) = torch.autograd.grad(functional_call(layer, named(flat - change), (z,)), z, delta)
    return changes


@pytest.mark.parametrize("kind", MODELS)
def test_many_steps_solve_the_systems_of_all_layers(kind) -> None:
    torch.manual_seed(0)
    model = MODELS[kind]().double()
    inputs = normal(6, 1, 8, 8) if kind == "convolutional" else normal(6, 7)
    targets = normal(6, 3, seed=1)
    model(inputs)
    expected = by_dense_systems(model, inputs, targets, 0.5, 0.1)
    credit.get(NAME, model, eta=0.5, damping=0.1, steps=300).backward(F.mse_loss, inputs, targets)
    for one, other in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * float(other.abs().max()))


def test_one_step_is_the_steepest_descent_with_the_best_length() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 5, bias=False), nn.ReLU(), nn.Linear(5, 3)).double()
    model[2].requires_grad_(False)
    inputs, targets = normal(9, 7), normal(9, 3, seed=1)
    F.mse_loss(model(inputs), targets).backward()
    aim = 0.5 * model[0].weight.grad.numpy()
    model.zero_grad()
    credit.get(NAME, model, eta=0.5, damping=0.1, steps=1).backward(F.mse_loss, inputs, targets)
    x, active = inputs.numpy(), (inputs @ model[0].weight.T > 0).numpy()
    back = model[2].weight.numpy()
    # Behind the unit's own rectifier comes a frozen layer, as part of all that is between.
    moved = ((aim @ x.T) * active.T).T @ back.T
    bent = ((moved @ back) * active).T @ x / len(x) + 0.1 * aim
    expected = (aim**2).sum() / (aim * bent).sum() * aim
    np.testing.assert_allclose(model[0].weight.grad.numpy(), expected, rtol=1e-10)


def test_a_way_round_a_layer_brings_its_error() -> None:
    torch.manual_seed(0)
    model = Residual().double()
    inputs, targets = normal(9, 7), normal(9, 3, seed=1)
    F.mse_loss(model(inputs), targets).backward()
    exact = gradients(model)
    model.zero_grad()
    # With a target next to the activity and much damping the proposal is the gradient, scaled.
    credit.get(NAME, model, eta=1e-3, damping=1e9).backward(F.mse_loss, inputs, targets)
    for one, other in zip(gradients(model), exact, strict=True):
        torch.testing.assert_close(one * 1e12, other, rtol=1e-5, atol=1e-8)


def test_the_learning_rate_one_of_sgd_takes_the_proposal() -> None:
    torch.manual_seed(0)
    model = nd.decorrelate(nn.Sequential(nn.Linear(7, 40), nn.ReLU(), nn.Linear(40, 3))).double()
    inputs, targets = normal(30, 7), normal(30, 3, seed=1)
    assignment, optimiser = credit.get(NAME, model, eta=1.0), torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        losses.append(float(assignment.backward(F.mse_loss, inputs, targets)))
        optimiser.step()
    assert losses[-1] < 0.05 * losses[0]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(self.layer(inputs))


class Outside(Twice):
    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) @ self.layer.weight


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Twice(), "'layer' .* is called twice"),
        (Outside(), "uses the parameter 'layer.weight' outside of the forward"),
        (nn.ReLU(), "needs a model with trainable parameters"),
        (nn.LSTM(3, 3), "must return one tensor, got tuple"),
    ],
)
def test_what_has_no_target_is_refused(model, message) -> None:
    with pytest.raises(Unsupported, match=message):
        credit.get(NAME, model).backward(F.mse_loss, torch.randn(4, 3), torch.randn(4, 3))


def test_half_precision_is_refused() -> None:
    model, inputs = nn.Linear(4, 3), torch.randn(5, 4)
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(Unsupported, match="float32 or float64: leave out"),
    ):
        credit.get("semi_implicit", model).backward(F.mse_loss, inputs, torch.randn(5, 3))
    with pytest.raises(Unsupported, match="float32 or float64: leave out"):
        credit.get("semi_implicit", model.half()).backward(F.mse_loss, inputs.half(), torch.randn(5, 3).half())


def test_parameters_are_checked() -> None:
    with pytest.raises(InvalidValue, match=r"eta must be .*> 0, got 0; damping must .*got -1; steps must .*, got 0"):
        credit.get(NAME, nn.Linear(2, 2), eta=0, damping=-1, steps=0)
