"""Perturbation of convolutional networks: what every layer learns, by a loop over the patches that it sees."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neuro_decorr import credit
from tests.credit.convolution_loops import Patches, assert_named_gradients, mixed

SIGMA = 1e-2
CASES = [
    ("node_perturbation", {}),
    ("activity_perturbation", {}),
    ("likelihood_ratio", {}),
    ("likelihood_ratio", {"antithetic": True, "presynaptic": "clean", "stored": "sign", "baseline": "none"}),
]


def check(name: str, options: dict, model: nn.Module, inputs: torch.Tensor) -> None:
    """Read the noise of every layer off its inputs and outputs, and compare all gradients with the loop."""
    layers = {key: layer for key, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    seen = {key: [] for key in layers}
    for key, layer in layers.items():
        layer.register_forward_hook(
            lambda _, arguments, output, key=key: seen[key].append((arguments[0].clone(), output.detach().clone()))
        )
    losses = []
    model.register_forward_hook(lambda _, __, outputs: losses.append(outputs.detach().square().flatten(1).mean(1)))
    assignment = credit.get(name, model, sigma=SIGMA, **options)
    assignment.backward(lambda outputs, _: outputs.square().mean(), inputs, ())

    def noise_of(key: str, call: int) -> np.ndarray:
        patches = Patches(layers[key], seen[key][call][0].shape[1:])
        clean = [patches.forward(sample) for sample in seen[key][call][0].numpy()]
        return (seen[key][call][1].numpy() - np.stack(clean)) / SIGMA

    passes = 2 if options.get("antithetic") else 1
    baseline = 0 if options.get("baseline") == "none" else losses[-1]
    expected = {f"{key}.{part}": 0.0 for key in layers for part in ("weight", "bias")}
    samples = len(inputs)
    for call in range(passes):
        change = (losses[call] - baseline).numpy() / SIGMA / samples / passes
        deltas = {key: noise_of(key, call) for key in layers}
        if options.get("stored") == "sign":
            deltas = {key: math.sqrt(math.pi / 2) * np.sign(delta) for key, delta in deltas.items()}
        if name == "activity_perturbation":
            deltas = {key: (pair[0][1] - pair[-1][1]).numpy() for key, pair in seen.items()}
            squares = sum((delta**2).reshape(samples, -1).sum(1) for delta in deltas.values())
            change = change * SIGMA * sum(delta[0].size for delta in deltas.values()) / squares
        for key, layer in layers.items():
            arrived = seen[key][call if name == "likelihood_ratio" and not options else -1][0].numpy()
            patches = Patches(layer, arrived.shape[1:])
            for n in range(samples):
                weight, bias = patches.gradients(arrived[n], change[n] * deltas[key][n])
                expected[f"{key}.weight"] = expected[f"{key}.weight"] + weight
                expected[f"{key}.bias"] = expected[f"{key}.bias"] + bias
    assert_named_gradients(model, expected, rtol=1e-7)


@settings(max_examples=25)
@given(
    case=st.sampled_from(CASES),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    bias=st.booleans(),
    decorrelated=st.booleans(),
)
def test_any_convolution(case, kernel, stride, padding, dilation, groups, mode, bias, decorrelated) -> None:
    torch.manual_seed(0)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "padding_mode": mode}
    model = nn.Sequential(
        nn.Conv2d(4, 8, kernel, bias=bias, **options), nn.Tanh(), nn.Conv2d(8, 2, 1, groups=2), nn.Flatten()
    ).double()
    check(*case, mixed(model, 1) if decorrelated else model, torch.randn(3, 4, 5, 6).double())


@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "activity_perturbation"], ids=str)
@pytest.mark.parametrize("decorrelated", [False, True])
def test_normalisation_between(case, decorrelated) -> None:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, stride=2, groups=2),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4, 3),
    ).double()
    check(*case, mixed(model, 3) if decorrelated else model, torch.randn(4, 2, 7, 7).double())
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters() if parameter.grad is not None)
