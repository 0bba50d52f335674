r"""The marginal likelihood of a network by Laplace's approximation, and cheap lower bounds of it.

$$
\log p(y) \approx \log p(y \mid \theta) - \frac{\delta}{2} |\theta|^2
- \frac12 \log\det\Bigl(I + \frac{A A^T}{\delta}\Bigr), \qquad A = L^{1/2} J
$$

J are the derivatives of the outputs, L the second derivatives of the loss by the outputs, delta the prior precision,
and theta the maximum of the posterior. A times A^T is the neural tangent kernel in the metric of the loss, A^T times A
the Gauss-Newton matrix. By Sylvester's theorem
$\log\det(I + A A^T / \delta) = \log\det(A^T A + \delta I) - P \log \delta$.

By Fischer's inequality the determinant of a positive definite matrix is at most the product of those of its diagonal
blocks, so that every block structure of either matrix gives an upper bound of the log determinant: of the kernel
batches of samples or single outputs, of the Gauss-Newton matrix tensors of parameters or single ones.

Sources: Immer, van der Ouderaa, van der Wilk et al. (2023), Stochastic marginal likelihood gradients using neural
tangent kernels, arXiv:2306.03968; MacKay (1992), A practical Bayesian framework for backpropagation networks,
doi:10.1162/neco.1992.4.3.448.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def log_determinant(factor: Tensor, delta: Tensor | float) -> Tensor:
    r"""$\log\det(I + A A^T / \delta)$, on the smaller side.

    Cost: rows * columns * the smaller of both, and a third of its cube.

    Args:
        factor: A, shape (rows, columns), float64.
        delta: Above zero; the result is differentiable in it.

    Returns:
        A scalar.
    """
    wide = factor if factor.shape[0] <= factor.shape[1] else factor.T
    matrix = wide @ wide.T / delta + torch.eye(len(wide), dtype=factor.dtype)
    made: Tensor = 2 * torch.linalg.cholesky(matrix).diagonal().log().sum()
    return made


def of_batches(factor: Tensor, outputs: int, delta: Tensor | float, batches: Sequence[Tensor]) -> Tensor:
    """Upper bound of the log determinant from the kernels of batches.

    N / M times that of one batch of M samples, drawn at random, is this bound in expectation: the estimator of Immer et
    al. (2023).

    Args:
        factor: A, shape (samples * outputs, P), samples first.
        outputs: Outputs a sample.
        delta: See `log_determinant`.
        batches: Indices of samples, every sample in one of them.

    Returns:
        A scalar.
    """
    by_sample = factor.reshape(-1, outputs, factor.shape[1])
    return torch.stack([log_determinant(by_sample[batch].flatten(0, 1), delta) for batch in batches]).sum()


def of_outputs(factor: Tensor, outputs: int, delta: Tensor | float) -> Tensor:
    """Upper bound of the log determinant from the kernels of single outputs; arguments as of `of_batches`."""
    by_output = factor.reshape(-1, outputs, factor.shape[1]).unbind(1)
    return torch.stack([log_determinant(rows, delta) for rows in by_output]).sum()


def of_tensors(factor: Tensor, sizes: Sequence[int], delta: Tensor | float) -> Tensor:
    """Upper bound of the log determinant from the blocks of the Gauss-Newton matrix.

    Args:
        factor: A.
        sizes: Parameters of every block, in the order of the columns.
        delta: See `log_determinant`.

    Returns:
        A scalar.
    """
    return torch.stack([log_determinant(columns, delta) for columns in torch.split(factor, list(sizes), dim=1)]).sum()


def of_diagonal(factor: Tensor, delta: Tensor | float) -> Tensor:
    """Upper bound of the log determinant from the diagonal of the Gauss-Newton matrix; arguments as of the others."""
    return (factor.square().sum(dim=0) / delta).log1p().sum()


def log_evidence(log_likelihood: float, squared_norm: float, log_determinant: float, delta: float) -> float:
    r"""Laplace's approximation, $\log p(y \mid \theta) - \delta |\theta|^2 / 2 - \text{log determinant} / 2$.

    Its derivative by delta is $d_\text{eff} / (2 \delta) - |\theta|^2 / 2$, with the effective dimension
    $d_\text{eff} = \operatorname{tr} A^T A\, (A^T A + \delta I)^{-1}$.

    Args:
        log_likelihood: Log likelihood of the training labels, summed.
        squared_norm: Squared norm of all parameters.
        log_determinant: The exact one, or a bound.
        delta: Prior precision.
    """
    return log_likelihood - delta * squared_norm / 2 - log_determinant / 2
