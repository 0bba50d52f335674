"""Node and activity perturbation against a loop over samples with the noise they really applied."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from neuro_decorr import credit
from neuro_decorr.errors import Unsupported
from tests.credit.loops import ACTIVATIONS, NoiseRecorder, assert_gradients, gradients, make_case, perturbation_loop

NAMES = ["node_perturbation", "activity_perturbation"]
SIGMA = 1e-2  # large enough for the noise to be read back from the activities with many digits


def run(name, case, **parameters) -> tuple[NoiseRecorder, Tensor]:
    recorder = NoiseRecorder(case, SIGMA)
    loss = credit.get(name, case.model, sigma=SIGMA, **parameters).backward(F.mse_loss, case.inputs, case.targets)
    return recorder, loss


@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_node_perturbation_is_the_loop(activation, bias, noise) -> None:
    case = make_case(activation=activation, bias=bias)
    recorder, _ = run("node_perturbation", case, noise=noise)
    assert_gradients(case, perturbation_loop(case, recorder.perturbed(), SIGMA), rtol=1e-8)
    assert max(np.abs(xi).max() for xi in recorder.clean()) < 1e-12
    if noise == "rademacher":
        np.testing.assert_allclose(np.abs(np.concatenate(recorder.perturbed(), 1)), 1, rtol=1e-9)


@pytest.mark.parametrize(("normalisation", "power"), [("N", 1.0), ("sqrtN", 0.5), ("none", 0.0)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activity_perturbation_is_the_loop(activation, bias, normalisation, power) -> None:
    case = make_case((5, 7, 6, 3), activation=activation, bias=bias)
    recorder, _ = run("activity_perturbation", case, normalisation=normalisation)
    loop = perturbation_loop(case, recorder.perturbed(), SIGMA, activity=True, factor=(7 + 6 + 3) ** power)
    assert_gradients(case, loop, rtol=1e-8)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    bias=st.booleans(),
    batch=st.integers(1, 5),
    transform=st.booleans(),
    name=st.sampled_from(NAMES),
    seed=st.integers(0, 1000),
)
def test_the_loop_for_any_network(sizes, activation, bias, batch, transform, name, seed) -> None:
    case = make_case(sizes, activation, bias, batch, seed, transform)
    recorder, _ = run(name, case, seed=seed)
    activity = name == "activity_perturbation"
    loop = perturbation_loop(case, recorder.perturbed(), SIGMA, activity, sum(sizes[1:]) if activity else 1)
    assert_gradients(case, loop, rtol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_activations_that_work_in_place_change_nothing(name) -> None:
    results = []
    for inplace in (False, True):
        case = make_case(activation="relu", inplace=inplace)
        run(name, case)
        results.append(gradients(case.model))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_directions_are_averaged() -> None:
    case = make_case()
    recorder, _ = run("node_perturbation", case, directions=3)
    loops = [perturbation_loop(case, recorder.perturbed(direction), SIGMA) for direction in range(3)]
    mean = tuple([sum(arrays) / 3 for arrays in zip(*(loop[kind] for loop in loops), strict=True)] for kind in (0, 1))
    assert_gradients(case, mean, rtol=1e-8)
    assert not np.allclose(recorder.perturbed(0)[0], recorder.perturbed(1)[0])


class Shift(nn.Module):
    """Adds a learned number to every unit of every sample: its gradient is the delta of every sample."""

    def __init__(self, samples: int, units: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(samples, units, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.value


class Probe(nn.Module):
    """A frozen network on copies of one sample, with its nodes exposed to read the delta of every copy."""

    def __init__(self, samples: int, sizes: tuple[int, ...] = (6, 8, 7, 4), linear: bool = False) -> None:
        super().__init__()
        case = make_case(sizes, activation="identity" if linear else "tanh", seed=11)
        for layer in case.layers:
            layer.requires_grad_(False)
        self.sample, self.target = case.inputs[0], case.targets[0]
        self.weights = [layer.weight.detach() for layer in case.layers]
        self.body = case.model
        self.shifts = nn.ModuleList(Shift(samples, units) for units in sizes[1:])

    def forward(self, inputs: Tensor) -> Tensor:
        shifts = iter(self.shifts)
        for module in self.body:
            inputs = module(inputs)
            if isinstance(module, nn.Linear):
                inputs = next(shifts)(inputs)
        return inputs

    def deltas(self, name: str | None, **parameters: object) -> Tensor:
        """Estimates of dL/da for every copy, shape (samples, nodes); the exact ones without a name."""
        samples = len(self.shifts[0].value)
        inputs, targets = self.sample.expand(samples, -1), self.target.expand(samples, -1)
        self.zero_grad()
        credit.get(name or "backprop", self, **parameters).backward(F.mse_loss, inputs, targets)
        return torch.cat([shift.value.grad for shift in self.shifts], 1) * samples


@pytest.mark.parametrize(("noise", "excess"), [("gaussian", 1), ("rademacher", -1)])
def test_node_perturbation_is_unbiased_with_the_variance_law(noise, excess) -> None:
    samples = 40_000
    probe = Probe(samples)
    exact = Probe(1).deltas(None)[0]
    estimates = probe.deltas("node_perturbation", sigma=1e-4, noise=noise, seed=5)
    error = (estimates.mean(0) - exact).abs() / (estimates.std(0) / samples**0.5)
    assert error.max() < 4.5  # standard errors, of 19 nodes
    nodes = len(exact)
    squares = (estimates - exact).square().sum(1) / exact.square().sum()
    assert abs(squares.mean() - (nodes + excess)) < 4.5 * squares.std() / samples**0.5
    assert 4.5 * squares.std() / samples**0.5 < 0.9  # precise enough to tell N + 1 from N - 1


def test_the_change_of_the_loss_becomes_the_directional_derivative() -> None:
    probe = Probe(1)
    shapes = [shift.value for shift in probe.shifts]

    def loss_of_shifts(*shifts: Tensor) -> Tensor:
        named = {f"shifts.{number}.value": shift for number, shift in enumerate(shifts)}
        outputs = torch.func.functional_call(probe, named, (probe.sample[None],))
        return F.mse_loss(outputs, probe.target[None])

    error = {}
    for sigma in (1e-2, 1e-4):
        delta = probe.deltas("node_perturbation", sigma=sigma, seed=4)[0]
        generator = torch.Generator().manual_seed(4)
        xi = tuple(torch.empty_like(shape).normal_(generator=generator) for shape in shapes)
        flat = torch.cat([x[0] for x in xi])
        slope = torch.func.jvp(loss_of_shifts, tuple(shapes), xi)[1]
        coefficient = delta @ flat / (flat @ flat)
        torch.testing.assert_close(delta, coefficient * flat)  # along the noise, and nothing else
        error[sigma] = abs(coefficient - slope).item() / abs(slope).item()
    assert error[1e-4] < 0.01
    assert error[1e-2] / 150 < error[1e-4] < error[1e-2] / 60  # the error of a one-sided difference falls as sigma


def test_activity_perturbation_points_along_a_times_the_gradient() -> None:
    samples, sizes = 40_000, (10, 15, 15, 10, 5)
    probe = Probe(samples, sizes, linear=True)
    exact = Probe(1, sizes, linear=True).deltas(None)[0]
    mean = probe.deltas("activity_perturbation", sigma=1e-4, seed=6).mean(0)
    # A = da/dxi of a linear network: block (l, k) is the product of the weights between the layers.
    rows = []
    for upper in range(1, len(sizes)):
        row = []
        for lower in range(1, len(sizes)):
            block = torch.zeros(sizes[upper], sizes[lower], dtype=torch.float64)
            if lower <= upper:
                block = torch.eye(sizes[lower], dtype=torch.float64)
                for between in range(lower, upper):
                    block = probe.weights[between] @ block
            row.append(block)
        rows.append(torch.cat(row, 1))
    predicted = torch.cat(rows) @ exact

    def cosine(a: Tensor, b: Tensor) -> float:
        return torch.cosine_similarity(a, b, dim=0).item()

    assert cosine(mean, predicted) > 0.99
    assert cosine(mean, exact) < 0.97


def test_a_single_layer_makes_activity_perturbation_unbiased() -> None:
    samples = 40_000
    probe, exact = Probe(samples, (6, 5)), Probe(1, (6, 5)).deltas(None)[0]
    estimates = probe.deltas("activity_perturbation", sigma=1e-4, seed=7)
    error = (estimates.mean(0) - exact).abs() / (estimates.std(0) / samples**0.5)
    assert error.max() < 4.5


def test_a_shared_layer_is_perturbed_at_every_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, dtype=torch.float64)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(torch.tanh(self.layer(inputs)))

    torch.manual_seed(4)
    model, inputs, targets = Twice(), torch.randn(2, 3).double(), torch.randn(2, 3).double()
    seen: list[tuple[Tensor, Tensor]] = []
    model.layer.register_forward_hook(lambda _, arguments, output: seen.append((arguments[0], output)))
    credit.get("node_perturbation", model, sigma=SIGMA).backward(F.mse_loss, inputs, targets)
    (x1, noisy1), (x2, noisy2), *_, (clean1, _), (clean2, clean_output) = seen
    weight, bias = model.layer.weight.detach(), model.layer.bias.detach()
    xi = [(noisy1 - F.linear(x1, weight, bias)) / SIGMA, (noisy2 - F.linear(x2, weight, bias)) / SIGMA]
    change = ((noisy2 - targets) ** 2).mean(1) - ((clean_output - targets) ** 2).mean(1)
    expected = torch.zeros_like(weight)
    for n in range(2):
        for noise, clean in ((xi[0], clean1), (xi[1], clean2)):
            expected += change[n] / SIGMA * torch.outer(noise[n], clean[n]) / 2
    torch.testing.assert_close(model.layer.weight.grad, expected, rtol=1e-8, atol=1e-12)


def test_every_kind_of_layer_learns_from_its_own_jacobian() -> None:
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv1d(2, 3, 2), nn.LayerNorm(4), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5, bias=False), nn.PReLU()
    ).double()
    inputs, targets = torch.randn(3, 2, 5).double(), torch.randn(3, 5).double()
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    learning = [model[number] for number in (0, 1, 4, 5)]
    for layer in learning:
        layer.register_forward_hook(lambda layer, arguments, output: seen.append((layer, arguments[0], output)))
    credit.get("node_perturbation", model, sigma=SIGMA).backward(F.mse_loss, inputs, targets)
    noisy, clean = list(seen[:4]), list(seen[4:])
    change = ((noisy[-1][2] - targets) ** 2).mean(1) - ((clean[-1][2] - targets) ** 2).mean(1)
    with torch.no_grad():
        deltas = []
        for layer, x, output in noisy:
            xi = (output - nn.Module.__call__(layer, x)) / SIGMA
            deltas.append(xi * (change / SIGMA / 3).reshape(-1, *[1] * (xi.dim() - 1)))
        x = clean[0][1]
        patches = torch.stack([x[:, :, i : i + 2] for i in range(4)], 2)  # (samples, channels, positions, width)
        torch.testing.assert_close(model[0].weight.grad, torch.einsum("nop,ncpw->ocw", deltas[0], patches))
        torch.testing.assert_close(model[0].bias.grad, deltas[0].sum((0, 2)))
        x = clean[1][1]
        centred = x - x.mean(-1, keepdim=True)
        normal = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(model[1].weight.grad, (deltas[1] * normal).sum((0, 1)))
        torch.testing.assert_close(model[4].weight.grad, deltas[2].T @ clean[2][1])
        torch.testing.assert_close(model[5].weight.grad, (deltas[3] * clean[3][1].clamp(max=0)).sum().reshape(1))


def test_a_parametrised_layer_learns_its_original_weights() -> None:
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    nn.utils.parametrizations.weight_norm(model[0])
    credit.get("node_perturbation", model).backward(F.mse_loss, torch.randn(5, 4), torch.randn(5, 2))
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_frozen_layers_are_not_perturbed() -> None:
    case = make_case()
    case.layers[1].requires_grad_(False)
    recorder, _ = run("node_perturbation", case)
    assert np.abs(recorder.perturbed()[1]).max() < 1e-12
    assert np.abs(recorder.perturbed()[0]).max() > 0.1
    for layer in case.layers:
        layer.requires_grad_(False)
    with pytest.raises(Unsupported, match="this one has none"):
        run("node_perturbation", case)


def test_float32_keeps_the_digits_of_the_difference() -> None:
    case = make_case((20, 30, 30, 5), batch=16)
    results = []
    for dtype in (torch.float32, torch.float64):
        case.model.to(dtype).zero_grad()
        # Signs do not depend on the precision, Gaussian numbers do.
        assignment = credit.get("node_perturbation", case.model, noise="rademacher")
        assignment.backward(F.mse_loss, case.inputs.to(dtype), case.targets.to(dtype))
        results.append(torch.cat([gradient.flatten().double() for gradient in gradients(case.model)]))
    assert torch.cosine_similarity(*results, dim=0) > 0.9999
