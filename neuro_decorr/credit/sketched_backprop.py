"""Sketched backpropagation: the gradient of the weights from random projections of a layer's input."""

from __future__ import annotations

from typing import Any, final, get_args

import numpy as np
import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._noise import Distribution, Noise
from neuro_decorr.credit._run import run
from neuro_decorr.credit._sketches import Draw, Sketching
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import Unsupported


@final
@register
class SketchedBackprop(Credit):
    r"""Backpropagation that keeps a few random projections of every layer's input in place of the input.

    $$\Delta W = \delta^T X \approx \frac{1}{r} \, (\delta^T X Z) \, Z^T, \qquad \mathbb{E} \, Z Z^T / r = I$$

    with X the inputs of a layer (samples, d) and Z the r probes (d, r). A layer keeps only X Z (samples, r); the
    backward pass draws Z again from its seed. For a convolution X holds whole images, d = channels times positions, and

    $$\Delta W_{oi}(k) = \frac{1}{r} \sum_{p=1}^{r} \sum_n
    \Big(\sum_b (XZ)_{bp} \, \delta_{bo}(n)\Big) \, Z_{ip}(s n + h k)$$

    at output positions n, with stride s and dilation h. The probes are padded as the images are, so that the estimate
    is unbiased at the border too, where periodic probes would see the other side. Errors for earlier layers and biases
    are exact. Every linear map and every convolution (also transposed) with weights that learn takes part, within any
    layer; if a Decorrelation precedes the weights, D z is sketched. A product that a module computes by itself
    (`x @ weight`) is exact.

    For a Linear layer, whatever the statistics of its inputs, with G the gradient and v a unit vector of inputs,

    $$\mathbb{E}\,|\hat G - G|^2 = \frac{d + 1}{r} \, |G|^2, \qquad
    \mathbb{E}\,|(\hat G - G) v|^2 = \frac{|G|^2 + |G v|^2}{r}$$

    (minus $2 |G|^2 / r$ and $2 \sum_i v_i^2 |G e_i|^2 / r$ for "rademacher"). The noise is the same in all input
    directions, so that strong modes are learned and weak modes are lost in noise; decorrelated inputs have no such
    difference.

    Memory: a layer keeps r numbers per sample (a Linear layer: per row) in place of d, and ReLU and LeakyReLU keep one
    byte per unit. All other activation functions, pooling and normalisation keep what they need, which may be as much
    as the inputs. A network of ReLU with d units per layer in float32 keeps 4 r + d bytes per sample and layer in place
    of 4 d. With more than d probes it keeps more than backprop. Cost: as backprop, with products of width r for the
    gradients of the weights, and twice the drawing of r d numbers per layer.

    Source: Louboutin, Siahkoohi, Wang & Herrmann 2021, Low-memory stochastic backpropagation with multi-channel
    randomized trace estimation, arXiv:2106.06998.

    Args:
        model: Network whose gradients are to be filled.
        probes: r, the number of probes; divides the variance.
        noise: Distribution of the probes: "gaussian" or "rademacher" (+1 or -1).
        seed: Seed of the probes.

    Raises:
        InvalidValue: A parameter is out of range.
    """

    name = "sketched_backprop"
    signal = "the error, fed back through the transposed forward weights, times random projections of the inputs"
    bias = "none"
    variance = "(d + 1) / r |G|^2 for a linear layer of d inputs and r probes (Gaussian; d - 1 for Rademacher)"
    locality = "not local: weight transport, as in backprop"
    cost = "1 forward, 1 backward"
    memory = (
        "r numbers per sample and layer in place of its inputs, a byte per rectified unit; other functions keep what "
        "they need"
    )
    source = (
        "Louboutin, Siahkoohi, Wang & Herrmann 2021, Low-memory stochastic backpropagation with multi-channel "
        "randomized trace estimation, arXiv:2106.06998"
    )

    def __init__(self, model: nn.Module, *, probes: int = 32, noise: Distribution = "gaussian", seed: int = 0) -> None:
        super().__init__(model)
        checks.refuse(
            self.name,
            checks.whole_number("probes", probes, least=1),
            checks.word("noise", noise, get_args(Distribution)),
            checks.whole_number("seed", seed, least=0),
        )
        self.probes = probes
        self.noise = noise
        self._seed = seed
        self._drawn = 0

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the sketched gradient of the loss to `.grad`; see `Credit.backward`.

        Raises:
            Unsupported: The model has no linear map and no convolution with weights that learn.
        """
        model = self._checked_model(inputs)
        with Sketching(self._next) as sketching:
            outputs = run(model, inputs)
        if not sketching.sketched:
            raise Unsupported(f"{self.name} needs a model with linear or convolutional weights that learn.")
        loss = scalar_loss(loss_function, outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def get_extra_state(self) -> Tensor:
        """State of the probes, so that a resumed run continues with the same probes."""
        return torch.tensor([self._seed, self._drawn])

    def set_extra_state(self, state: Tensor) -> None:
        """Continue with the probes of a saved state."""
        self._seed, self._drawn = state.tolist()

    def _next(self) -> Draw:
        """Probes of the next map, drawn from their own seed."""
        (seed,) = np.random.SeedSequence((self._seed, self._drawn)).generate_state(1, np.uint64) >> np.uint64(1)
        self._drawn += 1

        def draw(values: Tensor) -> Tensor:
            return Noise(self.noise, int(seed)).draw(values.new_empty(self.probes, *values.shape[1:]))

        return draw
