"""Gaussian sources of known covariance, in float64: inputs of protocols and references of tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro_decorr.data.seeds import stream
from neuro_decorr.errors import InvalidValue


def gaussian(covariance: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    r"""Draw independent samples of $N(0, C)$: $x = C^{1/2} z$ with $z \sim N(0, I)$ and the symmetric square root.

    Cost: $N^3 + P N^2$ for N features and P samples.

    Args:
        covariance: C, shape `(features, features)`, symmetric, positive semidefinite; may be singular.
        samples: Number of samples P, at least 1.
        generator: Random generator of the samples, on the CPU.

    Returns:
        Samples, shape `(samples, features)`, float64, on the device of the covariance.

    Raises:
        InvalidValue: The covariance is not square, not symmetric, not positive semidefinite or not finite, or the
            number of samples is below 1.
    """
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or covariance.shape[0] == 0:
        raise InvalidValue(f"covariance: got shape {tuple(covariance.shape)}; allowed is (features, features).")
    if samples < 1:
        raise InvalidValue(f"samples: got {samples}; allowed are 1 and more.")
    c = covariance.detach().double()
    size = float(c.abs().max())
    if not math.isfinite(size):
        raise InvalidValue("covariance: holds NaN or infinity; allowed are finite numbers.")
    rounding = 1e-6 * size  # a covariance that went through float32 is still symmetric
    if float((c - c.T).abs().max()) > rounding:
        raise InvalidValue("covariance: is not symmetric; give (C + C.T) / 2 if that is meant.")
    values, vectors = torch.linalg.eigh((c + c.T) / 2)
    if float(values[0]) < -rounding * len(c):
        raise InvalidValue(f"covariance: has the eigenvalue {float(values[0]):g}; allowed are eigenvalues from 0 on.")
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    noise = torch.randn(samples, len(c), generator=generator, dtype=torch.float64)
    drawn: Tensor = noise.to(c.device) @ root
    return drawn


def covariance_with_condition(features: int, condition: float, scale: float = 1.0, seed: int = 0) -> Tensor:
    r"""Make a covariance of a given condition number in a random orthogonal basis.

    $$
    C = Q \operatorname{diag}(\lambda) Q^T, \qquad
    \lambda_i \propto \kappa^{-(i-1)/(N-1)}, \quad \frac1N \sum_i \lambda_i = \text{scale}
    $$

    The eigenvalues are evenly spaced in their logarithm; Q is uniform over the orthogonal matrices. It is the Q of the
    QR decomposition of a Gaussian matrix, times the signs of R's diagonal.

    Cost: $N^3$.

    Source: Mezzadri (2007), How to generate random matrices from the classical compact groups, Notices AMS 54,
    arXiv:math-ph/0609050.

    Args:
        features: N, at least 1.
        condition: Condition number, largest over smallest eigenvalue, at least 1.
        scale: Mean variance, squared units of the samples.
        seed: Seed of the basis.

    Returns:
        Covariance, shape `(features, features)`, float64, exactly symmetric.

    Raises:
        InvalidValue: A parameter is out of range, or the condition number of one feature is not 1.
    """
    if features < 1:
        raise InvalidValue(f"features: got {features}; allowed are 1 and more.")
    if not (math.isfinite(condition) and condition >= 1) or (features == 1 and condition != 1):
        raise InvalidValue(
            f"condition: got {condition} for {features} features; allowed are numbers from 1 on, and 1 alone for one "
            "feature."
        )
    if not (math.isfinite(scale) and scale > 0):
        raise InvalidValue(f"scale: got {scale}; allowed are positive numbers.")
    spectrum = torch.logspace(0, -math.log10(condition), features, dtype=torch.float64)
    spectrum *= scale / spectrum.mean()
    noise = torch.randn(features, features, generator=stream(seed, "orthogonal basis"), dtype=torch.float64)
    q, r = torch.linalg.qr(noise)
    q = q * r.diagonal().sign()
    c: Tensor = (q * spectrum) @ q.T
    return (c + c.T) / 2
