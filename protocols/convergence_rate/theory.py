"""The tangent kernel of a shallow ReLU network with biases, and the rate that it predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def tangent_kernel(inputs: Tensor, *, bias: bool = True, metric: Tensor | None = None) -> Tensor:
    r"""Kernel of gradient descent on the hidden weights of a shallow ReLU network, in the limit of infinite width.

    $$
    f(x) = H^{-1/2} \sum_k a_k\, \mathrm{relu}(\langle w_k, x \rangle + b_k), \qquad
    K_{ij} = (x_i^T P x_j + 1)\, \frac{\pi - \angle(\tilde x_i, \tilde x_j)}{2 \pi}, \quad \tilde x = (x, 1)
    $$

    with fixed signs a and w, b standard normal. A metric P is that of gradients of w which are multiplied by P from the
    right: it acts on the products of the inputs, and leaves the angles between them as they are. A decorrelation of the
    inputs changes both. K is singular if, and only if, two of the x~ are parallel: without biases two parallel inputs,
    with them two equal ones.

    Source: Cho, Saul (2009), Kernel methods for deep learning, NIPS 22 (arc-cosine kernel of degree 0); Du, Zhai,
    Poczos, Singh (2019), Gradient descent provably optimizes over-parameterized neural networks, arXiv:1810.02054; with
    biases: Jentzen, Kroeger (2021), arXiv:2102.11840.

    Args:
        inputs: Inputs of the hidden weights, shape (samples, features).
        bias: True if the hidden units have biases, which learn as well.
        metric: P, shape (features, features), symmetric; the identity if not given.

    Returns:
        K, shape (samples, samples).
    """
    constant = float(bias)
    products = inputs @ inputs.T + constant
    length = products.diagonal().sqrt()
    angles = torch.acos((products / length / length.unsqueeze(1)).clamp(-1, 1).fill_diagonal_(1))
    if metric is not None:
        products = inputs @ metric @ inputs.T + constant
    return products * (math.pi - angles) / (2 * math.pi)


def rate(kernel: Tensor) -> float:
    r"""By how much the logarithm of the loss falls at every step in the end, at the largest rate that is safe.

    $$r_{t+1} = (I - \eta K)\, r_t, \quad \eta = 1 / \lambda_{max}: \qquad
    -\ln \frac{L_{t+1}}{L_t} \to -2 \ln (1 - \lambda_{min} / \lambda_{max}), \quad L = |r|^2$$

    Args:
        kernel: K, symmetric and positive semidefinite.

    Returns:
        The rate; infinite where all eigenvalues are equal, zero for a singular kernel.
    """
    values = torch.linalg.eigvalsh(kernel)
    ratio = max(0.0, float(values[0] / values[-1]))  # rounding makes the zero of a singular kernel negative
    return math.inf if ratio >= 1 else -2 * math.log1p(-ratio)


def course(kernel: Tensor, residual: Tensor, steps: int) -> Tensor:
    r"""The squared losses before each step, and after the last, that the kernel predicts at the largest safe rate.

    $$L_t = \sum_i (1 - \lambda_i / \lambda_{max})^{2 t} \langle v_i, r_0 \rangle^2$$

    Args:
        kernel: K, with eigenvalues lambda_i and eigenvectors v_i.
        residual: r_0, answers less targets at the start, shape (samples,).
        steps: Number of steps.

    Returns:
        L, shape (steps + 1,).
    """
    values, vectors = torch.linalg.eigh(kernel)
    shrink = 1 - values.clamp_min(0) / values[-1]
    powers = shrink.square() ** torch.arange(steps + 1, dtype=kernel.dtype).unsqueeze(1)
    predicted: Tensor = powers @ (residual @ vectors).square()
    return predicted


def tail(losses: Sequence[float]) -> float:
    """By how much the logarithm of the loss falls at every step, over the last third of the steps.

    Args:
        losses: Before each step, and after the last.
    """
    steps = max(1, (len(losses) - 1) // 3)
    return math.log(losses[-1 - steps] / losses[-1]) / steps
