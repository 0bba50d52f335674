"""Gradients divided by the second moments of the inputs of a layer, and of the errors at its outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import Diverged, InvalidValue, shown


def foof(
    gradient: Tensor,
    inputs: Tensor | None = None,
    *,
    damping: float,
    moment: Tensor | None = None,
    preserve_power: bool = True,
) -> Tensor:
    r"""Divide the gradient by the second moment of the layer's inputs: gradient descent on neurons (FOOF).

    $$
    \tilde G = g^2\, \lambda\, G\, (S + \lambda I)^{-1}, \qquad S = \frac{X^T X}{k}, \quad
    \lambda = \text{damping}\; c, \quad c = \frac{\operatorname{tr} S}{d}
    $$

    A direction of power s is scaled by 1 / (1 + s / lambda): weak directions keep their gradient, strong directions
    lose, and with infinite damping the gradient stays as it is. Plain gradient descent behind a decorrelation D of the
    same damping takes the same step, since `D^T D = (I + S / lambda)^-1` (see the rule `whitening`). So this function
    is the control for every claim about D. It is also, up to a scalar each, the semi-implicit step of a linear layer,
    implicit gradient descent on squared errors, and a ridge regression in its dual form.

    One scalar gives back the power that damping takes from the inputs, as `whitening` does,
    `g^2 = tr S / tr(S (I + S / lambda)^-1)`, so that the same learning rates suit; the published method has g = 1.

    The inputs are not centred, and their mean is usually the strongest direction. To compare with rules that centre,
    condition a model that centres as well: `nd.decorrelate(model)` with the rule `center`.

    Cost: `k^2 d + 2 o k d + k^3 / 3` multiplications for k < d rows and o outputs (Woodbury; no matrix of d x d), else
    `k d^2 + 2 o d^2 + d^3 / 3`; a given `moment` saves the first term of the latter.

    Source: Benzing (2022), Gradient descent on neurons and its link to approximate second-order optimization,
    arXiv:2201.12250.

    Args:
        gradient: G, shape (outputs, features), or (groups, outputs, features).
        inputs: X, the rows that the weights saw, shape (rows, features), or (groups, rows, features).
        damping: Damping relative to the mean power c of the inputs (of each group); a smaller value acts more strongly.
        moment: S in place of the inputs, such as a running average: (features, features), or one per group.
        preserve_power: True gives back the power that damping takes.

    Returns:
        The conditioned gradient, of the shape and type of the gradient; unchanged for silent inputs.

    Raises:
        InvalidValue: The damping is not positive and finite; both inputs and moment are given, or neither; shapes do
            not fit.
        Diverged: Inputs are not finite, or a moment is not positive semidefinite.
    """
    checks.refuse("foof", checks.number("damping", damping, above=0), checks.flag("preserve_power", preserve_power))
    _check_shapes("foof", gradient, "inputs", inputs, moment)
    return _divided(gradient, inputs, moment, damping, preserve_power)


def kfac(
    gradient: Tensor,
    inputs: Tensor | None = None,
    errors: Tensor | None = None,
    *,
    damping: float,
    input_moment: Tensor | None = None,
    error_moment: Tensor | None = None,
    preserve_power: bool = True,
) -> Tensor:
    r"""Divide the gradient by the second moments of inputs and of errors: Kronecker-factored curvature (K-FAC).

    $$
    \tilde G = g_E^2\, g_X^2\, \lambda_E \lambda_X\, (E + \lambda_E I)^{-1}\, G\, (S + \lambda_X I)^{-1}, \qquad
    E = \frac{\Delta^T \Delta}{k}, \quad \lambda_E = \text{damping}\; \frac{\operatorname{tr} E}{o}
    $$

    with S, lambda_X and g as in `foof`, which computes the right half of this product. Only the direction of the errors
    counts, not their size. One damping relative to both mean powers is the factored Tikhonov damping of the source, of
    size `damping^2 c_E c_X`. The errors are those that the credit assignment sent, so that this is the empirical Fisher
    matrix; the source draws labels from the model instead.

    Cost: that of `foof`, and the same again with o in place of d.

    Source: Martens and Grosse (2015), Optimizing neural networks with Kronecker-factored approximate curvature,
    arXiv:1503.05671; convolutions: Grosse and Martens (2016), arXiv:1602.01407, one row a patch.

    Args:
        gradient: G, shape (outputs, features), or (groups, outputs, features).
        inputs: X, the rows that the weights saw, shape (rows, features), or (groups, rows, features).
        errors: Derivatives of the loss with respect to the outputs, shape (rows, outputs), or (groups, rows, outputs).
        damping: Damping relative to the mean power of the inputs, and to that of the errors.
        input_moment: S in place of the inputs.
        error_moment: E in place of the errors.
        preserve_power: True gives back the power that damping takes, on both sides.

    Returns:
        The conditioned gradient, of the shape and type of the gradient.

    Raises:
        InvalidValue: The damping is not positive and finite; rows and moment of a side are both given, or neither;
            shapes do not fit.
        Diverged: Inputs or errors are not finite, or a moment is not positive semidefinite.
    """
    checks.refuse("kfac", checks.number("damping", damping, above=0), checks.flag("preserve_power", preserve_power))
    _check_shapes("kfac", gradient, "inputs", inputs, input_moment)
    _check_shapes("kfac", gradient.mT, "errors", errors, error_moment)
    right = _divided(gradient, inputs, input_moment, damping, preserve_power)
    return _divided(right.mT, errors, error_moment, damping, preserve_power).mT


def _divided(
    gradient: Tensor, rows: Tensor | None, moment: Tensor | None, damping: float, preserve_power: bool
) -> Tensor:
    """Conditioned gradient g^2 lambda G (S + lambda I)^-1."""
    narrow = gradient.dtype
    wide = torch.promote_types(narrow, torch.float32)
    values = gradient.to(wide)
    factor = None
    if moment is None:
        assert rows is not None  # it was checked
        rows = rows.to(wide)
        number, features = rows.shape[-2:]
        power = rows.square().mean(dim=(-2, -1))
        if number < features:
            factor, moment = rows * number**-0.5, rows @ rows.mT / number  # the Gram matrix has the same spectrum
        else:
            moment = rows.mT @ rows / number
    else:
        moment = moment.to(wide)
        features = moment.shape[-1]
        power = moment.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    silent = power == 0
    strength = (damping * power.where(~silent, 1))[..., None, None]
    triangle, failed = torch.linalg.cholesky_ex(
        moment / strength + torch.eye(moment.shape[-1], dtype=wide, device=moment.device)
    )
    if bool((failed != 0).any()) or not bool(power.isfinite().all()):
        raise Diverged(
            "the second moment of the signals of a layer is not finite, or not positive semidefinite, since training "
            "diverged or a given moment is not a second moment: lower the learning rate, or check the moment."
        )
    if factor is None:
        divided = torch.cholesky_solve(values.mT, triangle).mT
    else:
        divided = values - torch.cholesky_solve(factor / strength @ values.mT, triangle).mT @ factor
    if preserve_power:
        kept = (moment * torch.cholesky_inverse(triangle)).sum(dim=(-2, -1))  # tr(S (I + S / lambda)^-1)
        divided = divided * torch.where(silent, 1, features * power / kept.where(~silent, 1))[..., None, None]
    return divided.to(narrow)


def _check_shapes(owner: str, gradient: Tensor, name: str, rows: Tensor | None, moment: Tensor | None) -> None:
    if (rows is None) == (moment is None):
        raise InvalidValue(f"{owner} takes either the {name} or their second moment: give exactly one of them.")
    found = rows if rows is not None else moment
    assert found is not None
    features = gradient.shape[-1]
    fits = gradient.dim() in (2, 3) and found.dim() == gradient.dim() and found.shape[:-2] == gradient.shape[:-2]
    if not fits or found.shape[-1] != features or (rows is None and found.shape[-2] != features) or not found.numel():
        raise InvalidValue(
            f"{owner}: {name} must have the shape (rows, {features}), or their second moment ({features}, {features}), "
            f"each after the groups if there are several, to fit the gradient, {shown(gradient)}, got {shown(found)}."
        )
