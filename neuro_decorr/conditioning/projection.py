"""Projection of gradients away from the earlier inputs of a layer."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import Diverged, InvalidValue, shown


def orthogonal_projector(
    inputs: Tensor, projector: Tensor | None = None, *, strength: float, forgetting: float = 1.0
) -> Tensor:
    r"""Update the projector of recursive least squares, which removes the directions of earlier inputs from a gradient.

    $$
    P_t = a \Big(\beta^t a I + \sum_{s \le t} \beta^{t-s} X_s^T X_s\Big)^{-1}, \qquad P_0 = I, \qquad
    \tilde G_t = G_t P_t
    $$

    The update needs no matrix of the sum. It takes one step from P_{t-1} with the k rows X of a pass,

    $$P_t = \frac{1}{\beta} \Big(P - P X^T (\beta a I + X P X^T)^{-1} X P\Big)$$

    Along a direction in which the inputs have had the total power s, the fraction a / (a + s) of the gradient is left
    (for beta = 1): the step shrinks in directions with much input and stays in directions without. For a -> 0 P is the
    projector onto the space orthogonal to all inputs so far. `foof` divides by the second moment of one pass, or of a
    running average, in place of the sum: for the first pass both are the same, up to the power that `foof` gives back.

    Give the rows X to use all directions within a batch, or their mean, `inputs.mean(0, keepdim=True)`, to use one
    direction per batch, as published for continual learning.

    Cost: `2 k d^2 + 2 k^2 d + k^3 / 3` multiplications and a matrix of d x d per layer; `o d^2` for `gradient @ P`.

    Sources: Zeng, Chen, Cui and Yu (2019), Continual learning of context-dependent processing in neural networks,
    doi:10.1038/s42256-019-0080-x; as a conditioning of node perturbation in deep spiking networks: Ma and Yu (2026),
    Orthogonal weight modification enhances learning scalability and convergence efficiency without gradient
    backpropagation, arXiv:2602.22259.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> x = torch.tensor([[2.0, 0.0, 0.0]])
        >>> p = nd.conditioning.orthogonal_projector(x, strength=1.0)
        >>> nd.conditioning.orthogonal_projector(x, p, strength=1.0).diagonal()
        tensor([0.1111, 1.0000, 1.0000])

    Args:
        inputs: X, the rows that the weights saw, shape (rows, features), or (groups, rows, features).
        projector: P of the earlier passes, shape (features, features), or one per group; None at the start.
        strength: a, in units of the sum of squares of inputs.
        forgetting: beta, in (0, 1]; 1 weights all passes equally.

    Returns:
        P including this pass, in float32 or wider.

    Raises:
        InvalidValue: The strength is not positive and finite, beta is out of range, or shapes do not fit.
        Diverged: Inputs are not finite, or P is not positive semidefinite.
    """
    checks.refuse(
        "orthogonal_projector",
        checks.number("strength", strength, above=0),
        checks.number("forgetting", forgetting, above=0, most=1),
    )
    _check(inputs, projector)
    rows = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
    features = rows.shape[-1]
    if projector is None:
        projector = torch.eye(features, dtype=rows.dtype, device=rows.device).expand(*rows.shape[:-2], -1, -1)
    seen = rows @ projector
    inner = seen @ rows.mT
    inner.diagonal(dim1=-2, dim2=-1).add_(forgetting * strength)
    triangle, failed = torch.linalg.cholesky_ex(inner)
    if bool((failed != 0).any()):
        raise Diverged(
            "orthogonal_projector: the inputs are not finite, or the projector is not positive semidefinite, since "
            "training diverged or the precision does not suffice for so small a strength: lower the learning rate, or "
            "raise strength."
        )
    half = torch.linalg.solve_triangular(triangle, seen, upper=False)
    updated: Tensor = (projector - half.mT @ half) / forgetting
    return updated


def _check(inputs: Tensor, projector: Tensor | None) -> None:
    if inputs.dim() not in (2, 3) or not inputs.numel():
        raise InvalidValue(
            f"orthogonal_projector: inputs must be (rows, features), or (groups, rows, features), got {shown(inputs)}."
        )
    square = (*inputs.shape[:-2], inputs.shape[-1], inputs.shape[-1])
    if projector is not None and projector.shape != square:
        raise InvalidValue(
            f"orthogonal_projector: the projector must have the shape {square}, as from an earlier pass with such "
            f"inputs, or be None, got {shown(projector)}."
        )
