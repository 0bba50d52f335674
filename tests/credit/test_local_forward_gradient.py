"""Local forward gradient against loops over samples and groups, exact local gradients, and its closed forms."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from tests.credit.loops import FUNCTIONS, assert_gradients, forward, gradients, make_case
from tests.credit.test_perturbation import Shift

NAME = "local_forward_gradient"


def made(model: nn.Module, **parameters: object) -> credit.LocalForwardGradient:
    """The credit, with readouts that predict something."""
    assignment = credit.get(NAME, model, **parameters)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in assignment.parameters():
            parameter.normal_(generator=generator)
    return assignment


@pytest.mark.parametrize("transform", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_it_is_the_loop_over_samples_groups_and_directions(groups, transform) -> None:
    case = make_case((5, 8, 6, 3), transform=transform)
    assignment = made(case.model, groups=groups, directions=2, seed=3)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    derivative, samples = FUNCTIONS["tanh"][1], len(case.inputs)
    generator = torch.Generator().manual_seed(3)
    drawn = [
        [torch.empty(samples, units, dtype=torch.float64).normal_(generator=generator).numpy() for units in (8, 6)]
        for _ in range(2)
    ]
    readout = assignment.readouts[0]
    read = [
        (readout.weight.detach().numpy(), readout.bias.detach().numpy()),
        (case.layers[2].weight.detach().numpy(), case.layers[2].bias.detach().numpy()),
    ]
    weights = [np.zeros(tuple(layer.weight.shape)) for layer in case.layers]
    biases = [np.zeros(layer.out_features) for layer in case.layers]
    to_readout = np.zeros((3, 8))
    for number in range(samples):
        inputs, outputs = forward(case, case.inputs[number].numpy())
        for block, (weight, bias) in enumerate(read):
            received = inputs[block + 1]  # behind the hook of the next layer, whose matrix mixes the groups
            matrix = case.transforms[block + 1]
            error = 2 * (weight @ received + bias - case.targets[number].numpy()) / case.targets.numel()
            for direction in drawn:
                xi = direction[block][number]
                moved = matrix @ (derivative(outputs[block]) * xi)
                products = (weight.T @ error) * moved
                sums = np.full(len(xi), products.sum())
                if not transform:
                    sums = products.reshape(groups, -1).sum(1).repeat(len(xi) // groups)
                weights[block] += np.outer(sums * xi, inputs[block]) / 2
                biases[block] += sums * xi / 2
            if block:
                weights[2] += np.outer(error, received)
                biases[2] += error
            else:
                to_readout += np.outer(error, received)
    assert_gradients(case, (weights, biases))
    np.testing.assert_allclose(readout.weight.grad.numpy(), to_readout, rtol=1e-9, atol=1e-12)


def flat(*sizes: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(sizes)))


class Residual(nn.Module):
    """A way round the second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third, self.last = flat(5, 6, 6, 6, 3)

    def forward(self, inputs: Tensor, cut: Callable[[Tensor, nn.Module], Tensor] = lambda z, _: z) -> Tensor:
        below = torch.tanh(self.first(inputs))
        above = torch.tanh(self.second(cut(below, self.second))) + below.detach()
        return self.last(cut(torch.tanh(self.third(cut(above, self.third))), self.last))


def decorrelated() -> nn.Module:
    model = nd.decorrelate(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)))
    generator = torch.Generator().manual_seed(2)
    for _, found, _ in nd.rate.decorrelated_layers(model):
        found.mean.copy_(torch.randn(found.mean.shape, generator=generator))
        found.matrix.copy_(torch.randn(found.matrix.shape, generator=generator))
    return model


def convolutional(**options: object) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, **options),
        nn.GroupNorm(2, 4),
        nn.LeakyReLU(),
        nn.Conv2d(4, 6, 2, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(6),
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


EXACT = {
    "dense": lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4, bias=False), nn.GELU(), nn.Linear(4, 3)),
    "normalised": lambda: nn.Sequential(
        nn.Linear(5, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(inplace=True),
        nn.Linear(6, 4),
        nn.LayerNorm(4),
        nn.PReLU(),
        nn.Linear(4, 3),
    ),
    "residual": Residual,
    "decorrelated": decorrelated,
    "time": lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)),
    "convolution": lambda: convolutional(stride=2, padding=2, dilation=2),
    "circular": lambda: convolutional(padding=1, padding_mode="circular"),
    "decorrelated convolution": lambda: nd.decorrelate(convolutional_with_sizes()),
}


def convolutional_with_sizes() -> nn.Module:
    model = convolutional(stride=2)
    model(torch.randn(3, 2, 7, 7))
    return model


def local_gradients(
    model: nn.Module,
    assignment: credit.LocalForwardGradient,
    inputs: Tensor,
    targets: Tensor,
    starts: tuple[int, ...] | None = None,
) -> list[Tensor]:
    """By autograd: a copy of the model whose graph is cut in front of every weight layer, with a loss at every cut.

    Args:
        model: A Sequential or a Residual.
        assignment: Has the readouts.
        inputs: Of the model.
        targets: Classes.
        starts: Numbers of the layers in front of which to cut; all but the first by default.
    """
    model, readouts = copy.deepcopy((model, assignment.readouts))
    model.zero_grad()
    losses: list[Tensor] = []
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    starting = [layers[number] for number in starts or range(1, len(layers))]

    def cut(z: Tensor, layer: nn.Module) -> Tensor:
        if layer is layers[-1]:
            return z
        seen = z.movedim(1, -1) if isinstance(layer, nn.Conv2d) else z
        if hasattr(layer, "decorrelated_input"):
            seen = layer.decorrelated_input(z)
        predicted = readouts[starting.index(layer)](seen)
        inner = predicted[..., 0].numel() // targets.numel()  # positions that the targets lack
        losses.append(F.cross_entropy(predicted.flatten(0, -2), targets.flatten().repeat_interleave(inner)))
        return z.detach()

    if isinstance(model, Residual):
        outputs = model(inputs, cut)
    else:
        outputs = inputs
        for module in model:
            outputs = cut(outputs, module) if module in starting else outputs
            outputs = module(outputs)
    losses.append(F.cross_entropy(outputs.movedim(-1, 1), targets))
    torch.autograd.backward(losses)
    return gradients(nn.ModuleList([model, readouts]))


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_one_unit_a_group_and_signs_are_the_exact_local_gradient(kind, dtype, tolerance) -> None:
    torch.manual_seed(0)
    model = EXACT[kind]().to(dtype)
    inputs = torch.randn(7, 2, 7, 7) if "conv" in kind or kind == "circular" else torch.randn(7, 5)
    targets = torch.randint(3, (7,))
    if kind == "time":
        inputs, targets = torch.randn(7, 4, 5), torch.randint(3, (7, 4))
    inputs = inputs.to(dtype)
    model(inputs)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.movedim(-1, 1), targets)

    assignment = made(model, groups="units", noise="rademacher", seed=5)
    expected = local_gradients(model, assignment, inputs, targets)
    assignment.backward(loss, inputs, targets)
    ours = gradients(nn.ModuleList([model, assignment]))
    assert len(ours) == len(expected) == len([*model.parameters(), *assignment.parameters()])
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(other.abs().max()))


MIXED = {
    "two layers in a block": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)),
        {"blocks": [["0", "2"]]},
    ),
    "normalised behind": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.Softplus(), nn.LayerNorm(6), nn.Linear(6, 3)),
        {},
    ),
    "pooled": (
        lambda: (
            nn.Sequential(
                nn.Conv2d(2, 4, 2),
                nn.Tanh(),
                nn.MaxPool2d(2),
                nn.Conv2d(4, 4, 2, padding=1),
                nn.Tanh(),
                nn.AvgPool2d(2),
            )
            .append(nn.Flatten())
            .append(nn.Linear(16, 3))
        ),
        {},
    ),
    "pools that overlap": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 2), nn.Tanh(), nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 2, 6), nn.Flatten(), nn.Linear(2, 3)
        ),
        {},
    ),
    "shuffled": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 2), nn.ChannelShuffle(2), nn.Conv2d(4, 2, 6), nn.Flatten(), nn.Linear(2, 3)
        ),
        {},
    ),
}


@pytest.mark.parametrize("kind", MIXED)
def test_parts_that_mix_and_parts_that_do_not_are_unbiased(kind) -> None:
    torch.manual_seed(0)
    make, parameters = MIXED[kind]
    model = make().double()
    sample = torch.randn(1, *((2, 7, 7) if isinstance(model[0], nn.Conv2d) else (5,))).double()
    copies, draws = 200, 50
    inputs, targets = sample.expand(copies, *sample.shape[1:]), torch.ones(copies, dtype=torch.int64)
    assignment = made(model, groups=2, **parameters)
    exact = local_gradients(model, assignment, sample, targets[:1], (2,) if "blocks" in parameters else None)
    estimates = []
    for _ in range(draws):
        model.zero_grad()
        assignment.backward(F.cross_entropy, inputs, targets)
        estimates.append(torch.cat([one.flatten() for one in gradients(model)]))
    found, count = torch.stack(estimates), sum(parameter.numel() for parameter in model.parameters())
    expected = torch.cat([one.flatten() for one in exact])[:count]
    noisy = found.std(0) > 1e-12
    deviation = (found.mean(0) - expected)[noisy] / found.std(0)[noisy] * draws**0.5
    assert noisy.sum() > count / 3
    assert deviation.abs().max() < 5.5  # standard errors, of 49 degrees of freedom
    torch.testing.assert_close(found.mean(0)[~noisy], expected[~noisy])
    assert (found.mean(0) - expected).norm() < 0.2 * expected.norm()


@pytest.mark.parametrize(("noise", "excess"), [("gaussian", 1), ("rademacher", -1)])
@pytest.mark.parametrize("groups", [1, 2, "units"])
def test_the_variance_is_that_of_the_nodes_of_a_group(groups, noise, excess) -> None:
    copies, torch_seed = 40_000, 1
    torch.manual_seed(torch_seed)
    model = nn.Sequential(nn.Linear(5, 8), Shift(copies, 8), nn.Tanh(), nn.Linear(8, 6), Shift(copies, 6), nn.Tanh())
    model = model.append(nn.Linear(6, 3)).double()
    for layer in (model[0], model[3]):
        layer.requires_grad_(False)
    inputs, targets = torch.randn(1, 5).double().expand(copies, 5), torch.zeros(copies, dtype=torch.int64)
    assignment = made(model, groups=groups, noise=noise)
    shifts = [model[1].value, model[4].value]
    expected = made(model, groups="units", noise="rademacher")
    expected.backward(F.cross_entropy, inputs, targets)  # exact, by a test above
    exact = [shift.grad[0].clone() for shift in shifts]
    model.zero_grad()
    assignment.backward(F.cross_entropy, inputs, targets)
    for shift, delta in zip(shifts, exact, strict=True):
        count = shift.shape[1] if groups == "units" else groups
        squares = (shift.grad - delta).square().sum(1) / delta.square().sum()
        nodes = shift.shape[1] // count + excess
        # Every group has its own |g|^2, so that the law holds for their sum.
        assert float(squares.mean()) == pytest.approx(nodes, rel=0.1, abs=1e-20)


def test_one_pass_serves_all_groups_and_steps() -> None:
    case, calls = make_case((5, 8, 6, 3)), []
    case.model.register_forward_hook(lambda *_: calls.append(1))
    assignment = made(case.model, groups=2)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    first = len(calls)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    assert len(calls) == first + 1
    assignment.backward(F.mse_loss, case.inputs[:2], case.targets[:2])
    assert len(calls) == first + 2


def test_a_layer_that_works_in_place_is_no_part_of_the_layer_before() -> None:
    torch.manual_seed(0)
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace=inplace), nn.BatchNorm1d(6), nn.Linear(6, 3))
        made(model).backward(F.cross_entropy, torch.randn(9, 5), torch.arange(9) % 3)
        found.append(gradients(model))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_resumed_run_takes_the_same_steps() -> None:
    def trained(steps: int, state: tuple | None) -> tuple:
        case = make_case((5, 8, 6, 3))
        assignment = credit.get(NAME, case.model, groups=2, seed=4)
        optimiser = torch.optim.Adam([*case.model.parameters(), *assignment.parameters()])
        if state:
            for part, saved in zip((case.model, assignment, optimiser), state, strict=True):
                part.load_state_dict(saved)
        for _ in range(steps):
            optimiser.zero_grad()
            assignment.backward(F.mse_loss, case.inputs, case.targets)
            optimiser.step()
        return tuple(copy.deepcopy(part.state_dict()) for part in (case.model, assignment, optimiser))

    whole, resumed = trained(6, None), trained(3, trained(3, None))
    for one, other in zip(whole[:2], resumed[:2], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_readouts_can_be_decorrelated_by_assignment() -> None:
    torch.manual_seed(0)
    model = nd.decorrelate(convolutional_with_sizes())
    assignment = credit.get(NAME, model, groups=2)
    assignment.readouts = nd.decorrelate(assignment.readouts)
    both = nd.Plasticity(nn.ModuleList([model, assignment.readouts]), nd.rules.get("whitening"))
    assignment.backward(F.cross_entropy, torch.randn(7, 2, 7, 7), torch.zeros(7, dtype=torch.int64))
    before = assignment.readouts[0].decorrelation.mean.clone()
    both.step()
    assert not torch.equal(before, assignment.readouts[0].decorrelation.mean)
