"""Quantisation of weights for a chip: whole numbers times a scale."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.norse._calibration import compensated, fitted_scale, moments_of
from neuro_decorr.norse._synapses import synapses_of

_MOST = 24
"""Number of bits of the significand of a float32, which cannot represent whole numbers of more bits."""


def integer_weights(weight: Tensor, bits: int = 8, per_channel: bool = False) -> tuple[Tensor, Tensor]:
    r"""Round weights to whole numbers times a scale, symmetric about zero.

    $$W \approx s\, n, \qquad s = \frac{\max |W|}{2^{b-1} - 1}, \qquad n = \operatorname{round}(W / s)
    \in \{-(2^{b-1} - 1), \dots, 2^{b-1} - 1\}$$

    Zero stays zero, so that no new synapse arises. No weight changes by more than s / 2. Cost: a few flop per weight.

    Args:
        weight: W, outputs first, any shape.
        bits: b, from 2 to 24, the sign included.
        per_channel: True gives every output unit or channel a separate scale.

    Returns:
        n, int32, of the shape of W, and s, float64, of shape () or (outputs, 1, ...).

    Raises:
        InvalidValue: An option is not allowed.
    """
    _check("integer_weights", bits, per_channel)
    values = weight.detach().double()
    size = values.abs()
    largest = size.flatten(1).amax(1).view(-1, *[1] * (values.dim() - 1)) if per_channel else size.amax()
    scale = torch.where(largest > 0, largest, 1.0) / (2 ** (bits - 1) - 1)
    return torch.round(values / scale).to(torch.int32), scale


def rounded(weight: Tensor, bits: int, per_channel: bool) -> Tensor:
    """Weights after rounding to a number of bits, float64."""
    numbers, scale = integer_weights(weight, bits, per_channel)
    return numbers * scale


def bits_needed(weight: Tensor, precision: float, per_channel: bool = False) -> int | None:
    r"""Smallest number of bits with which weights keep a precision, $\|W - s n\| \le p \|W\|$.

    Args:
        weight: W, outputs first, any shape.
        precision: Relative precision p.
        per_channel: True gives every output unit or channel a separate scale.

    Returns:
        The number of bits, from 2 to 24; None if 24 are too few.
    """
    values = weight.detach().double()
    allowed = precision * values.norm()
    fits = (bits for bits in range(2, _MOST + 1) if (rounded(values, bits, per_channel) - values).norm() <= allowed)
    return next(fits, None)


def quantised(
    network: nn.Module,
    bits: int = 8,
    per_channel: bool = False,
    *,
    calibration: Tensor | None = None,
    run: Callable[[nn.Module, Tensor], Any] | None = None,
) -> nn.Module:
    r"""Copy a network with weights that are whole numbers times a scale, to run it as a chip would.

    The function quantises the weights of Linear layers, convolutions, Norse's recurrent cells and lateral inhibition,
    without a calibration each by itself, see `integer_weights`. Biases, thresholds and time constants are not
    quantised: chips keep these in more bits than a synapse. Train at full precision, fold, then quantise.

    With inputs for a calibration, the weights of Linear layers and of 2-d convolutions without groups are rounded for a
    small error on these inputs: smaller scales are tried, which clip large weights; weights are rounded one input after
    the other, and the remaining weights compensate the error; the bias compensates the mean error,
    $b + (W - s n) \bar x$. Zeros stay zero. Below 8 bits folded weights need a calibration: D amplifies inputs that are
    rarely active, and a scale for the largest weights would round all others to zero.

    Cost: one pass; with a calibration two, and for each layer some 40 outputs inputs^2 + inputs^3 flop.

    Source: Frantar, Ashkboos, Hoefler, Alistarh (2022), GPTQ: accurate post-training quantization for generative
    pre-trained transformers, arXiv:2210.17323; for the scale Banner, Nahshan, Soudry (2019), Post training 4-bit
    quantization of convolutional networks for rapid-deployment, arXiv:1810.05723; for the bias Nagel, van Baalen,
    Blankevoort, Welling (2019), Data-free quantization through weight equalization and bias correction,
    arXiv:1906.04721.

    Args:
        network: Plain network, from `nd.fold` if it was decorrelated; it is not changed.
        bits: Number of bits of a weight, from 2 to 24, the sign included.
        per_channel: True gives every output unit or channel a separate scale.
        calibration: Typical inputs of the network, of some thousand time steps in all. None: each weight is rounded by
            itself.
        run: Function that runs the network, as `run(network, inputs)`; None: `network(inputs)`.

    Returns:
        The quantised copy.

    Raises:
        InvalidValue: An option is not allowed.
        Unsupported: A decorrelation was not folded, or the synapses of some weights are not known.

    Example:
        >>> import torch, neuro_decorr as nd
        >>> layer = torch.nn.Linear(3, 2)
        >>> four = nd.norse.quantised(torch.nn.Sequential(layer, nd.norse.LIF(2)), bits=4)
        >>> numbers, scale = nd.norse.integer_weights(layer.weight, bits=4)
        >>> torch.equal(four[0].weight, (numbers * scale).float()), int(numbers.abs().max())
        (True, 7)
    """
    _check("quantised", bits, per_channel)
    found = synapses_of(network)  # refuses unknown weights before the copy
    moments = {} if calibration is None else moments_of(network, found, calibration, run)
    made = copy.deepcopy(network)
    with torch.no_grad():
        for synapses, before in zip(synapses_of(made), found, strict=True):
            weight = before.weight
            left = rounded(weight, bits, per_channel)
            seen = moments.get(before.module)
            if seen is not None:
                matrix, bias = weight.flatten(1), synapses.module.bias
                _, largest = integer_weights(matrix, bits, per_channel)
                top = 2 ** (bits - 1) - 1
                scale = fitted_scale(matrix, largest, top, seen)
                left = (compensated(matrix, scale, top, seen) * scale).view(weight.shape)
                if isinstance(bias, Tensor):
                    bias += ((weight.double() - left).flatten(1) @ seen.mean).to(bias.dtype)
            synapses.weight.copy_(left)
    return made


def _check(owner: str, bits: int, per_channel: bool) -> None:
    checks.refuse(
        owner,
        checks.whole_number("bits", bits, least=2, most=_MOST, hint="the sign included"),
        checks.flag("per_channel", per_channel),
    )
