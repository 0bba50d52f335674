"""What feedback should do to convolutional networks: loops over samples, positions and units, numpy, no autograd.

A layer with weights is read as patches: which units of its input each position of its output sees. A module without
weights has its derivative written out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit

PADDING = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}
Array = np.ndarray
SendBack = Callable[[str, Array, Array], Array]
"""From the name of a layer, the errors at its output and those of the network to the signal at the layer's input."""


class Patches:
    """Linear or convolutional layer: y[o, p] = W[o] x[p] + b[o], x[p] = D (z[units of p] - mean)."""

    def __init__(self, layer: nn.Module, shape: tuple[int, ...]) -> None:
        weight = layer.weight.detach().numpy()
        self.weight = weight.reshape(len(weight), -1)
        self.bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().numpy()
        self.shape, self.groups = shape, getattr(layer, "groups", 1)
        if isinstance(layer, nn.Linear):
            self.units, positions = np.arange(shape[0])[None, None], ()
        else:
            self.units, positions = self._read(layer, shape)
        self.outputs = (len(weight), *positions)
        features = self.weight.shape[1]
        self.matrices = np.tile(np.eye(features), (self.groups, 1, 1))
        self.means = np.zeros((self.groups, features))
        if hasattr(layer, "decorrelation"):
            matrices = layer.decorrelation.matrix.numpy().reshape(self.groups, -1, layer.decorrelation.features)
            repeated = features // layer.decorrelation.features  # a D on channels acts at every position of the kernel
            self.matrices = np.stack([np.kron(matrix, np.eye(repeated)) for matrix in matrices])
            self.means = np.repeat(layer.decorrelation.mean.numpy().reshape(self.groups, -1), repeated, axis=1)

    def _read(self, layer: nn.Module, shape: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
        kernel, dilation = layer.kernel_size, layer.dilation
        padding = layer.padding
        if padding == "same":
            totals = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
            pads = [(total // 2, total - total // 2) for total in totals]
        else:
            pads = [(0, 0) if padding == "valid" else (p, p) for p in ((0,) * len(kernel), padding)[padding != "valid"]]
        mode = PADDING[layer.padding_mode]
        places = np.pad(
            np.arange(np.prod(shape)).reshape(shape),
            [(0, 0), *pads],
            mode=mode,
            **({"constant_values": -1} if mode == "constant" else {}),
        )
        sizes = tuple(
            (size - (k - 1) * d - 1) // s + 1
            for size, k, d, s in zip(places.shape[1:], kernel, dilation, layer.stride, strict=True)
        )
        channels = shape[0] // self.groups
        units = np.zeros((self.groups, int(np.prod(sizes)), channels * int(np.prod(kernel))), dtype=int)
        for group in range(self.groups):
            for p, position in enumerate(np.ndindex(*sizes)):
                for f, (channel, *offset) in enumerate(np.ndindex(channels, *kernel)):
                    at = [i * s + o * d for i, s, o, d in zip(position, layer.stride, offset, dilation, strict=True)]
                    units[group, p, f] = places[(group * channels + channel, *at)]
        return units, sizes

    def _seen(self, sample: Array, group: int, position: int) -> Array:
        values = np.append(sample.ravel(), 0.0)  # the last one is the zero padding
        return self.matrices[group] @ (values[self.units[group, position]] - self.means[group])

    def _visits(self) -> itertools.product:
        return itertools.product(range(len(self.weight)), range(self.units.shape[1]))

    def _group(self, output: int) -> int:
        return output * self.groups // len(self.weight)

    def forward(self, sample: Array) -> Array:
        outputs = np.zeros((len(self.weight), self.units.shape[1]))
        for o, p in self._visits():
            outputs[o, p] = self.weight[o] @ self._seen(sample, self._group(o), p) + self.bias[o]
        return outputs.reshape(self.outputs)

    def gradients(self, sample: Array, delta: Array) -> tuple[Array, Array]:
        weight, delta = np.zeros_like(self.weight), delta.reshape(len(self.weight), -1)
        for o, p in self._visits():
            weight[o] += delta[o, p] * self._seen(sample, self._group(o), p)
        return weight, delta.sum(1)

    def back(self, delta: Array, feedback: Array, through_matrix: bool) -> Array:
        """The signal at the input, of any weights in the place of the forward ones."""
        signal, delta = np.zeros(int(np.prod(self.shape)) + 1), delta.reshape(len(self.weight), -1)
        rows = feedback.reshape(self.weight.shape)
        for o, p in self._visits():
            arriving = delta[o, p] * rows[o]
            if through_matrix:
                arriving = self.matrices[self._group(o)].T @ arriving
            np.add.at(signal, self.units[self._group(o), p], arriving)
        return signal[:-1].reshape(self.shape)


def transposed_weights(layer: nn.Module, shape: tuple[int, ...], weight: Array) -> tuple[Array, tuple[int, ...]]:
    """A transposed convolution as one dense matrix (outputs, inputs), by going through all its connections."""
    sizes = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + added + 1
        for n, s, p, d, k, added in zip(
            shape[1:], layer.stride, layer.padding, layer.dilation, layer.kernel_size, layer.output_padding, strict=True
        )
    )
    outputs = (layer.out_channels, *sizes)
    places, units = np.arange(np.prod(outputs)).reshape(outputs), np.arange(np.prod(shape)).reshape(shape)
    matrix = np.zeros((places.size, units.size))
    inside, outside = shape[0] // layer.groups, layer.out_channels // layer.groups
    for channel, output, *offset in np.ndindex(shape[0], outside, *layer.kernel_size):
        for position in np.ndindex(*shape[1:]):
            at = [
                i * s - p + o * d
                for i, s, p, o, d in zip(position, layer.stride, layer.padding, offset, layer.dilation, strict=True)
            ]
            if all(0 <= i < size for i, size in zip(at, sizes, strict=True)):
                place = places[(channel // inside * outside + output, *at)]
                matrix[place, units[(channel, *position)]] += weight[(channel, output, *offset)]
    return matrix, outputs


def between(module: nn.Module, samples: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Outputs of a module without weights of its own for a batch, and its backward pass."""
    if isinstance(module, nn.Flatten):
        return samples.reshape(len(samples), -1), lambda delta: delta.reshape(samples.shape)
    if isinstance(module, nn.Tanh):
        return np.tanh(samples), lambda delta: delta * (1 - np.tanh(samples) ** 2)
    if isinstance(module, nn.LeakyReLU):
        slopes = np.where(samples > 0, 1.0, module.negative_slope)
        return samples * slopes, lambda delta: delta * slopes
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return pooled(samples, module.kernel_size, isinstance(module, nn.MaxPool2d))
    assert isinstance(module, nn.BatchNorm2d) and module.training
    axes, size = (0, 2, 3), samples[:, 0].size
    scale = module.weight.detach().numpy()[:, None, None]
    shift = module.bias.detach().numpy()[:, None, None]
    spread = np.sqrt(samples.var(axes, keepdims=True) + module.eps)
    normal = (samples - samples.mean(axes, keepdims=True)) / spread

    def backward(delta: Array) -> Array:
        along = (delta * normal).sum(axes, keepdims=True) * normal
        return scale / spread * (delta - (delta.sum(axes, keepdims=True) + along) / size)

    return scale * normal + shift, backward


def pooled(samples: Array, size: int, largest: bool) -> tuple[Array, Callable[[Array], Array]]:
    """Maximum or mean over squares."""
    batch, channels, height, width = samples.shape
    shares = np.zeros((batch, channels, height // size, width // size, height, width))
    for n, c, i, j in np.ndindex(shares.shape[:4]):
        square = samples[n, c, i * size : (i + 1) * size, j * size : (j + 1) * size]
        share = np.full(square.shape, 1 / square.size)
        if largest:
            share = np.zeros(square.shape)
            share[np.unravel_index(square.argmax(), square.shape)] = 1.0
        shares[n, c, i, j, i * size : (i + 1) * size, j * size : (j + 1) * size] = share
    return np.einsum("ncijhw,nchw->ncij", shares, samples), lambda delta: np.einsum("ncijhw,ncij->nchw", shares, delta)


def loop(model: nn.Sequential, inputs: Tensor, targets: Tensor, signal: Callable[..., Array]) -> dict[str, Array]:
    """Gradients of the mean squared error, by the names of the parameters with weights.

    Args:
        model: A chain of modules that `Patches` and `between` know.
        inputs: A batch.
        targets: Of the shape of the outputs.
        signal: From (name, `Patches`, errors of one sample at the output, errors at the network's output) to the
            signal at the layer's input.
    """
    samples, visited = inputs.numpy(), []
    for name, module in model.named_children():
        if hasattr(module, "weight") and not isinstance(module, nn.BatchNorm2d):
            layer = Patches(module, samples.shape[1:])
            visited.append((name, layer, samples))
            samples = np.stack([layer.forward(sample) for sample in samples])
        else:
            samples, backward = between(module, samples)
            visited.append((name, None, backward))
    errors = 2 * (samples - targets.numpy()) / targets.numel()
    deltas, gradients = errors, {}
    for name, layer, held in reversed(visited):
        if layer is None:
            deltas = held(deltas)
            continue
        parts = [layer.gradients(sample, delta) for sample, delta in zip(held, deltas, strict=True)]
        gradients[f"{name}.weight"] = sum(weight for weight, _ in parts)
        gradients[f"{name}.bias"] = sum(bias for _, bias in parts)
        deltas = np.stack([signal(name, layer, d, e) for d, e in zip(deltas, errors, strict=True)])
    return gradients


def assert_named_gradients(model: nn.Module, expected: dict[str, Array], rtol: float = 1e-9) -> None:
    """The `.grad` of all weights is what a loop returned: two sums of the same numbers in another order."""
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for name, parameter in model.named_parameters():
        if name in expected:
            wanted = torch.from_numpy(expected[name]).reshape(parameter.shape)
            torch.testing.assert_close(parameter.grad, wanted, rtol=rtol, atol=rtol * largest)


def mixed(model: nn.Module, seed: int) -> nn.Module:
    """A decorrelated copy with some D and mean in every layer."""
    model = nd.decorrelate(model)
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nd.Decorrelation):
            module.matrix.add_(0.3 * torch.randn_like(module.matrix))
            module.mean.normal_()
    return model


def check(name: str, model: nn.Sequential, inputs, site: str = "pre_decorrelation", **parameters) -> credit.Credit:
    """Run a credit on a network, and compare all gradients with the loop."""
    targets = torch.randn_like(model(inputs))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    assignment = credit.get(name, model, feedback_site=site, **parameters)
    assignment.backward(F.mse_loss, inputs, targets)
    feedback = {layer: weight.numpy() for layer, weight in assignment.feedback_weights().items()}

    def signal(layer, patches, delta, error) -> np.ndarray:
        if layer not in feedback:  # the first one, which has nobody to send to
            return np.zeros(patches.shape)
        if name != "direct_feedback_alignment":
            return patches.back(delta, feedback[layer], site == "post_decorrelation")
        sent = np.tensordot(error, feedback[layer], 1)
        return patches.matrices[0].T @ sent if site == "post_decorrelation" else sent

    assert_named_gradients(model, loop(model, inputs, targets, signal))
    return assignment


def pooling_network(inplace: bool = False) -> nn.Sequential:
    """The authors' network in small: convolutions, normalisation, both poolings, dense layers."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.1, inplace=inplace),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.LeakyReLU(0.1, inplace=inplace),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        nn.BatchNorm2d(6),
        nn.LeakyReLU(0.1, inplace=inplace),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 7),
        nn.Tanh(),
        nn.Linear(7, 3),
    ).double()
