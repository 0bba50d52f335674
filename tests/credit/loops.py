"""Networks for the tests, and what the credits should do to them: loops over samples, numpy, no autograd."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU, "identity": nn.Identity}

FUNCTIONS = {
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "sigmoid": (lambda a: 1 / (1 + np.exp(-a)), lambda a: np.exp(-a) / (1 + np.exp(-a)) ** 2),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0).astype(float)),
    "identity": (lambda a: a, np.ones_like),
}


@dataclass
class Case:
    """A network with a batch, and the arrays that define it."""

    model: nn.Sequential
    layers: list[nn.Linear]
    activation: str
    inputs: Tensor
    targets: Tensor
    transforms: list[np.ndarray]


def make_case(
    sizes: Sequence[int] = (5, 7, 6, 3),
    activation: str = "tanh",
    bias: bool = True,
    batch: int = 4,
    seed: int = 0,
    transform: bool = False,
    inplace: bool = False,
) -> Case:
    """A float64 network with one activation function, and, where asked for, a fixed matrix before every layer."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    layers, modules, transforms = [], [], []
    for number, (wide, narrow) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(wide, narrow, bias=bias, dtype=torch.float64)
        layer.weight.data = normal(narrow, wide) / wide**0.5
        if bias:
            layer.bias.data = normal(narrow) / 3
        matrix = torch.eye(wide, dtype=torch.float64)
        if transform:
            matrix = matrix + 0.4 * normal(wide, wide)
            layer.register_buffer("matrix", matrix)
            layer.register_forward_pre_hook(lambda layer, arguments: (arguments[0] @ layer.matrix.T,))
        transforms.append(matrix.numpy())
        layers.append(layer)
        modules.append(layer)
        if number < len(sizes) - 2:
            modules.append(nn.ReLU(inplace=True) if inplace else ACTIVATIONS[activation]())
    return Case(
        nn.Sequential(*modules), layers, activation, normal(batch, sizes[0]), normal(batch, sizes[-1]), transforms
    )


def forward(case: Case, sample: np.ndarray, noise: list[np.ndarray] | None = None) -> tuple[list, list]:
    """Inputs x_l = D_l z_l and outputs a_l of every layer for one sample, with noise added to the outputs."""
    function = FUNCTIONS[case.activation][0]
    inputs, outputs, z = [], [], sample
    for number, (layer, matrix) in enumerate(zip(case.layers, case.transforms, strict=True)):
        x = matrix @ z
        a = layer.weight.detach().numpy() @ x
        if layer.bias is not None:
            a = a + layer.bias.detach().numpy()
        if noise is not None:
            a = a + noise[number]
        inputs.append(x)
        outputs.append(a)
        z = function(a)
    return inputs, outputs


def squared_error(output: np.ndarray, target: np.ndarray) -> float:
    """What `torch.nn.functional.mse_loss` is for one sample."""
    return float(((output - target) ** 2).mean())


def feedback_loop(
    case: Case, send_back: Callable[[int, np.ndarray, np.ndarray], np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradients of weights and biases of the mean squared error, with any rule for what a layer sends back.

    Args:
        case: The network and its batch.
        send_back: From the number of a layer, its delta and the error at the outputs to the signal at its input z.
    """
    derivative = FUNCTIONS[case.activation][1]
    weights = [np.zeros(tuple(layer.weight.shape)) for layer in case.layers]
    biases = [np.zeros(layer.out_features) for layer in case.layers]
    samples, targets = case.inputs.numpy(), case.targets.numpy()
    for sample, target in zip(samples, targets, strict=True):
        inputs, outputs = forward(case, sample)
        error = 2 * (outputs[-1] - target) / targets.size
        delta = error
        for number in reversed(range(len(case.layers))):
            weights[number] += np.outer(delta, inputs[number])
            biases[number] += delta
            if number:
                delta = derivative(outputs[number - 1]) * send_back(number, delta, error)
    return weights, biases


def perturbation_loop(
    case: Case, noise: list[np.ndarray], sigma: float, activity: bool = False, factor: float = 1.0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Node perturbation or activity perturbation of the mean squared error for given noise (samples, features)."""
    weights = [np.zeros(tuple(layer.weight.shape)) for layer in case.layers]
    biases = [np.zeros(layer.out_features) for layer in case.layers]
    samples, targets = case.inputs.numpy(), case.targets.numpy()
    for number, (sample, target) in enumerate(zip(samples, targets, strict=True)):
        own = [xi[number] for xi in noise]
        inputs, clean = forward(case, sample)
        _, noisy = forward(case, sample, [sigma * xi for xi in own])
        change = squared_error(noisy[-1], target) - squared_error(clean[-1], target)
        moved = [b - a for a, b in zip(clean, noisy, strict=True)]
        square = sum(float(m @ m) for m in moved)
        for index, x in enumerate(inputs):
            delta = factor * change * moved[index] / square if activity else change / sigma * own[index]
            weights[index] += np.outer(delta, x) / len(samples)
            biases[index] += delta / len(samples)
    return weights, biases


class NoiseRecorder:
    """Reads the noise of the first pass from outside: what a layer returns minus what its input should give."""

    def __init__(self, case: Case, sigma: float) -> None:
        self.noise: list[list[np.ndarray]] = [[] for _ in case.layers]
        self.hooks = [
            layer.register_forward_hook(self._hook(number, sigma)) for number, layer in enumerate(case.layers)
        ]

    def _hook(self, number: int, sigma: float) -> Callable[..., None]:
        def record(layer: nn.Linear, arguments: tuple[Tensor], output: Tensor) -> None:
            expected = nn.functional.linear(arguments[0], layer.weight, layer.bias)
            self.noise[number].append(((output - expected) / sigma).detach().numpy().copy())

        return record

    def perturbed(self, direction: int = 0) -> list[np.ndarray]:
        """The noise of all layers in a perturbed pass."""
        return [passes[direction] for passes in self.noise]

    def clean(self) -> list[np.ndarray]:
        """The same in the last pass: zeros, if it was clean."""
        return [passes[-1] for passes in self.noise]


def assert_gradients(case: Case, expected: tuple[list, list], rtol: float = 1e-9) -> None:
    """The `.grad` of all layers is what a loop returned."""
    for layer, weight, bias in zip(case.layers, *expected, strict=True):
        scale = np.abs(weight).max()
        np.testing.assert_allclose(layer.weight.grad.numpy(), weight, rtol=rtol, atol=rtol * scale)
        if layer.bias is not None:
            np.testing.assert_allclose(layer.bias.grad.numpy(), bias, rtol=rtol, atol=rtol * scale)


def gradients(model: nn.Module) -> list[Tensor]:
    """Copies of all gradients."""
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
