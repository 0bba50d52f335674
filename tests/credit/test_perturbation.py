"""Node and activity perturbation against a loop over samples with the noise they really applied."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from neuro_decorr import credit
from neuro_decorr.errors import StateMismatch, Unsupported
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


@pytest.mark.parametrize("name", NAMES)
def test_the_clean_pass_alone_drives_the_statistics(name) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double()
    reference = nn.BatchNorm1d(6).double()
    inputs, targets = torch.randn(8, 4).double(), torch.randn(8, 2).double()
    assignment = credit.get(name, model, sigma=0.5)
    for step in range(1, 4):
        assignment.backward(F.mse_loss, inputs + step, targets)
        reference(model[0](inputs + step))
        assert model[1].num_batches_tracked == step
        torch.testing.assert_close(model[1].running_mean, reference.running_mean)
        torch.testing.assert_close(model[1].running_var, reference.running_var)
    assert all(parameter.grad is not None for parameter in model.parameters())


class Habit(nn.Module):
    """Remembers its last input and counts its calls, one of them in a buffer that it replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("means", torch.zeros(()))
        self.count_from = 0
        self.last = torch.zeros(())

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and self.count_from <= 0:
            self.calls += 1
            self.means = self.means + inputs.detach().mean()
        self.count_from -= 1
        self.last = inputs.detach()
        return inputs


@pytest.mark.parametrize("name", NAMES)
def test_modules_with_a_memory_see_one_clean_pass(name) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), Habit(), nn.Linear(6, 2))
    inputs, targets = torch.randn(3, 4), torch.randn(3, 2)
    buffer = model[1].calls
    assignment = credit.get(name, model, sigma=0.5)
    for step in range(1, 4):
        assignment.backward(F.mse_loss, inputs, targets)
        assert model[1].calls is buffer
        assert buffer == step
        assert torch.equal(model[1].last, model[0](inputs))
        torch.testing.assert_close(model[1].means, step * model[0](inputs).detach().mean())
    model.eval()
    assignment.backward(F.mse_loss, inputs, targets)
    model.train()
    assignment.backward(F.mse_loss, inputs, targets)
    assert buffer == 4


def test_a_buffer_that_is_written_late_is_reported_and_protected_from_then_on() -> None:
    model = nn.Sequential(nn.Linear(4, 6), Habit(), nn.Linear(6, 2))
    model[1].count_from = 2  # the passes of the first step leave the buffers alone
    inputs, targets = torch.randn(3, 4), torch.randn(3, 2)
    assignment = credit.get("node_perturbation", model)
    assignment.backward(F.mse_loss, inputs, targets)
    with pytest.raises(StateMismatch, match=r"buffer 'calls' of '1' \(Habit\).*protected from now on"):
        assignment.backward(F.mse_loss, inputs, targets)
    before = model[1].calls.item()
    assignment.backward(F.mse_loss, inputs, targets)
    assert model[1].calls == before + 1


@pytest.mark.parametrize("directions", [1, 3])
def test_all_passes_see_the_same_dropout(directions) -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 2)).double()
    inputs, targets = torch.randn(3, 4).double(), torch.randn(3, 2).double()
    results = []
    for sigma in (1e-3, 1e-5):  # with another mask in every pass, the estimate would grow as 1 / sigma
        torch.manual_seed(3)
        model.zero_grad()
        credit.get("node_perturbation", model, sigma=sigma, directions=directions).backward(F.mse_loss, inputs, targets)
        results.append(torch.cat([gradient.flatten() for gradient in gradients(model)]))
        after = torch.get_rng_state()
        torch.manual_seed(3)
        model(inputs)
        assert torch.equal(after, torch.get_rng_state())  # as if there had been the clean pass only
    assert torch.cosine_similarity(*results, dim=0) > 0.999
    assert (results[0] - results[1]).norm() < 0.05 * results[0].norm()


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
    (x1, noisy1), (x2, noisy2), (clean1, _), (clean2, clean_output) = seen
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


def test_the_noise_resumes_where_it_was_saved() -> None:
    case = make_case()
    assignment = credit.get("node_perturbation", case.model, seed=1)
    for saved_after in (0, 2):
        for _ in range(saved_after):
            assignment.backward(F.mse_loss, case.inputs, case.targets)
        state = {key: value.clone() for key, value in assignment.state_dict().items()}
        case.model.zero_grad()
        assignment.backward(F.mse_loss, case.inputs, case.targets)
        expected = gradients(case.model)
        resumed = credit.get("node_perturbation", case.model, seed=99)
        resumed.load_state_dict(state)
        case.model.zero_grad()
        resumed.backward(F.mse_loss, case.inputs, case.targets)
        for one, other in zip(gradients(case.model), expected, strict=True):
            assert torch.equal(one, other)


def test_a_state_of_another_kind_of_device_is_refused() -> None:
    case = make_case()
    assignment = credit.get("node_perturbation", case.model)
    assignment.load_state_dict({"_extra_state": torch.zeros(16, dtype=torch.uint8)})
    with pytest.raises(StateMismatch, match="does not fit a generator on cpu"):
        assignment.backward(F.mse_loss, case.inputs, case.targets)


class Refused(nn.Module):
    """One layer, and one thing that perturbation cannot treat."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        self.calls += 1
        hidden = self.first(inputs)
        if self.kind == "tied output":
            return F.linear(self.last(hidden), self.first.weight)
        if self.kind == "tied inside":
            return self.last(F.linear(hidden, self.first.weight))
        if self.kind == "pair":
            return self.last(hidden), hidden
        if self.kind == "path":
            return self.last(hidden) if self.calls % 2 else hidden
        if self.kind == "fold":
            return self.last(hidden.reshape(-1, 2, 4)).sum(1)
        return self.last(hidden)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("tied output", Unsupported, "outside the forward of the layer that owns them"),
        ("tied inside", Unsupported, r"input of layer 'last' \(Linear\) depends on trainable parameters"),
        ("pair", Unsupported, "returns one tensor, got tuple"),
        ("path", StateMismatch, "did not visit the same nodes"),
        ("fold", Unsupported, r"layer 'first' \(Linear\) has shape \(6, 4\), but there are 3 losses"),
    ],
)
def test_what_would_go_wrong_silently_is_refused(name, kind, error, message) -> None:
    targets = torch.randn(3 if kind == "fold" else 6, 4)
    with pytest.raises(error, match=message):
        credit.get(name, Refused(kind)).backward(F.mse_loss, torch.randn(6, 4), targets)


@pytest.mark.parametrize("name", NAMES)
def test_layers_without_a_single_output_are_refused(name) -> None:
    model = nn.Sequential(nn.LSTM(4, 4))
    with pytest.raises(Unsupported, match=r"layer '0' \(LSTM\) returns tuple"):
        credit.get(name, model).backward(F.mse_loss, torch.randn(6, 4), torch.randn(6, 4))
    with pytest.raises(Unsupported, match=r"bfloat16; perturbation needs"):
        credit.get(name, nn.Linear(4, 4).bfloat16()).backward(
            F.mse_loss, torch.randn(6, 4).bfloat16(), torch.randn(6, 4)
        )
    with pytest.raises(Unsupported, match=r"\(MultiheadAttention\) owns parameters and contains .*out_proj"):
        credit.get(name, nn.Sequential(nn.MultiheadAttention(4, 2)))


def test_inputs_that_carry_a_gradient_get_none() -> None:
    model, inputs = nn.Linear(4, 2), torch.randn(3, 4, requires_grad=True)
    credit.get("node_perturbation", model).backward(F.mse_loss, inputs, torch.randn(3, 2))
    assert inputs.grad is None
    assert model.weight.grad is not None


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
