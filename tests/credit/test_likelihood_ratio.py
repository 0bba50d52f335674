"""The likelihood ratio against a loop over samples and copies, its variances, and its limits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, Unsupported
from tests.credit.loops import (
    ACTIVATIONS,
    Case,
    NoiseRecorder,
    assert_gradients,
    forward,
    gradients,
    make_case,
    squared_error,
)
from tests.credit.spiking_loops import forward as spiking_forward
from tests.credit.spiking_loops import make_spiking_case, samples_of, zeros
from tests.credit.test_in_time import Recorder
from tests.credit.test_perturbation import Probe

SIGMA = 1e-2


def run(case: Case, **parameters: object) -> NoiseRecorder:
    recorder = NoiseRecorder(case, SIGMA)
    credit.get("likelihood_ratio", case.model, sigma=SIGMA, **parameters).backward(
        F.mse_loss, case.inputs, case.targets
    )
    return recorder


def ratio_loop(
    case: Case, copies: list[list[np.ndarray]], others: list[list[int]] | None, clean: bool, inputs: str, signs: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The estimate for the noise of every copy, less the mean loss of some other copies, or the clean one."""
    weights = [np.zeros(tuple(layer.weight.shape)) for layer in case.layers]
    biases = [np.zeros(layer.out_features) for layer in case.layers]
    samples, targets = case.inputs.numpy(), case.targets.numpy()
    for number, (sample, target) in enumerate(zip(samples, targets, strict=True)):
        own = [[xi[number] for xi in copy] for copy in copies]
        noisy = [forward(case, sample, [SIGMA * xi for xi in xis]) for xis in own]
        losses = [squared_error(outputs[-1], target) for _, outputs in noisy]
        x_clean, a_clean = forward(case, sample)
        for k, ((x_noisy, _), xis) in enumerate(zip(noisy, own, strict=True)):
            baseline = squared_error(a_clean[-1], target) if clean else 0.0
            if others is not None:
                baseline = float(np.mean([losses[j] for j in others[k]]))
            for index, x in enumerate(x_noisy if inputs == "noisy" else x_clean):
                score = math.sqrt(math.pi / 2) * np.sign(xis[index]) if signs else xis[index]
                delta = (losses[k] - baseline) / SIGMA * score / len(copies) / len(samples)
                weights[index] += np.outer(delta, x)
                biases[index] += delta
    return weights, biases


@pytest.mark.parametrize("baseline", ["none", "clean", "others"])
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("stored", ["float", "sign"])
@pytest.mark.parametrize("presynaptic", ["noisy", "clean"])
def test_the_loop(baseline, antithetic, stored, presynaptic) -> None:
    case = make_case(activation="sigmoid", transform=True)
    recorder = run(case, baseline=baseline, antithetic=antithetic, stored=stored, presynaptic=presynaptic, directions=3)
    passes = 6 if antithetic else 3
    copies = [recorder.perturbed(k) for k in range(passes)]
    others = [[j for j in range(passes) if j * 3 // passes != k * 3 // passes] for k in range(passes)]
    if antithetic:
        np.testing.assert_allclose(copies[0][1], -copies[1][1], rtol=1e-9)
        np.testing.assert_allclose(copies[4][2], -copies[5][2], rtol=1e-9)
    assert not np.allclose(copies[0][0], copies[-1][0])
    loop = ratio_loop(
        case,
        copies,
        others if baseline == "others" else None,
        baseline == "clean",
        presynaptic,
        stored == "sign",
    )
    assert_gradients(case, loop, rtol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_loop_for_every_activation(activation, bias) -> None:
    case = make_case(activation=activation, bias=bias, inplace=activation == "relu")
    recorder = run(case)
    assert_gradients(case, ratio_loop(case, [recorder.perturbed()], None, True, "noisy", False), rtol=1e-8)


@pytest.mark.parametrize("directions", [1, 3])
def test_with_clean_baseline_and_clean_inputs_it_is_node_perturbation(directions) -> None:
    found = []
    for name, options in (("node_perturbation", {}), ("likelihood_ratio", {"presynaptic": "clean"})):
        case = make_case()
        credit.get(name, case.model, directions=directions, seed=3, **options).backward(
            F.mse_loss, case.inputs, case.targets
        )
        found.append(gradients(case.model))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("options", "excess"),
    [
        ({}, lambda nodes: nodes + 1),
        ({"presynaptic": "clean"}, lambda nodes: nodes + 1),
        ({"stored": "sign"}, lambda nodes: math.pi / 2 * nodes - 1),
        ({"directions": 2, "antithetic": True}, lambda nodes: (nodes + 1) / 2),
        ({"directions": 2, "baseline": "others"}, lambda nodes: nodes + 1),
    ],
    ids=["gaussian", "clean inputs", "sign", "two antithetic pairs", "another copy as the baseline"],
)
def test_it_is_unbiased_with_the_variance_law(options, excess) -> None:
    """For two copies that are each other's baseline, half of (xi' - xi)(xi' - xi)^T g, twice the variance of one."""
    samples = 40_000
    probe, exact = Probe(samples), Probe(1).deltas(None)[0]
    estimates = probe.deltas("likelihood_ratio", sigma=1e-4, seed=5, **options)
    error = (estimates.mean(0) - exact).abs() / (estimates.std(0) / samples**0.5)
    assert error.max() < 4.5  # standard errors, of 19 nodes
    squares = (estimates - exact).square().sum(1) / exact.square().sum()
    predicted = excess(len(exact))
    assert abs(squares.mean() - predicted) < 4.5 * squares.std() / samples**0.5
    assert 4.5 * squares.std() / samples**0.5 < 0.1 * predicted


def test_it_is_exact_for_noise_of_any_size() -> None:
    """Against the mean gradient of the noisy network, by backpropagation: another estimate of the same."""
    samples, sigma = 40_000, 0.7
    probe = Probe(samples)
    generator = torch.Generator().manual_seed(8)
    for shift in probe.shifts:
        shift.value.data.normal_(generator=generator).mul_(sigma)
    pathwise = probe.deltas(None)
    for shift in probe.shifts:
        shift.value.data.zero_()
    ratio = probe.deltas("likelihood_ratio", sigma=sigma, seed=9)
    error = ((pathwise.var(0) + ratio.var(0)) / samples).sqrt()
    assert ((pathwise.mean(0) - ratio.mean(0)).abs() / error).max() < 4.5
    small = Probe(1).deltas(None)[0]
    assert ((small - ratio.mean(0)).abs() / error).max() > 6  # which is not the gradient without noise


class Normalised(nn.Module):
    """Batch normalisation, whose statistics passes write, between layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Linear(6, 2), nn.LayerNorm(2)
        ).double()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(inputs)


def test_normalisation_learns_from_the_noisy_inputs() -> None:
    model, inputs, targets = Normalised(), torch.randn(8, 4).double(), torch.randn(8, 2).double()
    layers = [model.body[number] for number in (0, 1, 3, 4)]
    assignment = credit.get("likelihood_ratio", model, sigma=SIGMA, directions=2)
    for _ in range(2):  # in the second step only those buffers are protected that are known to be written
        seen: list[tuple[Tensor, Tensor]] = []

        def watch(_: nn.Module, given: tuple[Tensor], output: Tensor, seen: list = seen) -> None:
            seen.append((given[0].clone(), output.clone()))  # what follows works in place

        hooks = [layer.register_forward_hook(watch) for layer in layers]
        model.zero_grad()
        assignment.backward(F.mse_loss, inputs, targets)
        for hook in hooks:
            hook.remove()
        clean = seen[-1][1].detach()
        expected = torch.zeros(6).double()
        with torch.no_grad():
            for copy in (seen[:4], seen[4:8]):
                change = ((copy[3][1] - targets) ** 2).mean(1) - ((clean - targets) ** 2).mean(1)
                x, noisy = copy[1]
                normal = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
                xi = (noisy - normal * model.body[1].weight - model.body[1].bias) / SIGMA
                expected += (change[:, None] / SIGMA / 8 / 2 * xi * normal).sum(0)
        torch.testing.assert_close(model.body[1].weight.grad, expected, rtol=1e-8, atol=1e-12)
    assert model.body[1].num_batches_tracked == 2


@pytest.mark.parametrize("noisy", ["noisy", "clean"])
def test_the_state_gives_the_next_gradients_again(noisy) -> None:
    case = make_case()
    options = {"presynaptic": noisy, "antithetic": True, "stored": "sign"}
    assignment = credit.get("likelihood_ratio", case.model, seed=1, **options)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    state = {key: value.clone() for key, value in assignment.state_dict().items()}
    case.model.zero_grad()
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    expected = gradients(case.model)
    resumed = credit.get("likelihood_ratio", case.model, seed=7, **options)
    resumed.load_state_dict(state)
    case.model.zero_grad()
    resumed.backward(F.mse_loss, case.inputs, case.targets)
    assert all(torch.equal(one, other) for one, other in zip(gradients(case.model), expected, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "others"}, r"directions must be a whole number >= 2, got 1 .*mean of the other directions"),
        ({"baseline": "mean"}, "baseline must be one of 'none', 'clean', 'others'"),
        ({"stored": "bit", "presynaptic": 3}, "stored must be one of .*; presynaptic must be one of"),
        ({"antithetic": 1, "sigma": 0}, "sigma must be .*antithetic must be True or False"),
    ],
)
def test_options_are_checked(options, message) -> None:
    with pytest.raises(InvalidValue, match=f"likelihood_ratio: .*{message}"):
        credit.get("likelihood_ratio", make_case().model, **options)


@pytest.mark.parametrize("hold", ["step", "pass"])
@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize("presynaptic", ["noisy", "clean"])
def test_in_time_a_synapse_takes_the_spikes_of_its_own_copy(presynaptic, stepwise, hold) -> None:
    case = make_spiking_case(stepwise=stepwise)
    recorder = Recorder(case, 0.5)
    options = {"hold": hold, "time_first": True, "presynaptic": presynaptic, "sigma": 0.5}
    credit.get("likelihood_ratio", case.model, **options).backward(F.mse_loss, case.inputs, case.targets)
    noise, targets = recorder.noise(), case.targets.numpy()
    weights, biases = zeros(case)
    for index, (sequence, target) in enumerate(zip(samples_of(case), targets, strict=True)):
        own = [xi[:, index] for xi in noise]
        clean, rates = spiking_forward(case, sequence)
        noisy, noisy_rates = spiking_forward(case, sequence, [0.5 * xi for xi in own])
        change = (((noisy_rates - target) ** 2).mean() - ((rates - target) ** 2).mean()) / 0.5 / len(targets)
        for number, course in enumerate(noisy if presynaptic == "noisy" else clean):
            weights[number] += change * own[number].T @ course.inputs
            biases[number] += change * own[number].sum(0)
    assert max(np.abs(weight).max() for weight in weights) > 1e-4
    assert_gradients(case, (weights, biases), rtol=1e-8)


def test_a_model_that_works_in_place_on_its_inputs_is_told() -> None:
    model, inputs, targets = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)), torch.randn(5, 4), torch.randn(5, 3)
    with pytest.raises(Unsupported, match="works in place on its inputs"):
        credit.get("likelihood_ratio", model).backward(F.mse_loss, inputs.clone(), targets)
    credit.get("likelihood_ratio", model, presynaptic="clean").backward(F.mse_loss, inputs.clone(), targets)
    ours = gradients(model)
    model.zero_grad()
    credit.get("node_perturbation", model[1]).backward(F.mse_loss, inputs.relu(), targets)
    assert all(torch.equal(one, other) for one, other in zip(ours, gradients(model), strict=True))
