"""Exact natural gradient of a small network, from the Jacobian of its outputs (Gauss-Newton matrix)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from neuro_decorr import checks
from neuro_decorr.errors import Diverged, InvalidValue, Unsupported

VANISHING = 1e-100
"""Mean power below which F counts as zero: the outputs are so certain that no step would change them."""
LARGEST = 2**26
"""Largest number of entries of a Jacobian: 512 MiB, and as much again while it is computed."""


@final
@dataclass(frozen=True, eq=False)
class GaussNewton:
    r"""Gauss-Newton matrix F of a classifier, in factored form: $F = A^T A$.

    Dampings are relative to the mean power of F, as everywhere in this library:
    $\lambda = \text{damping} \cdot \operatorname{tr} F / P$ for P parameters. F has at most samples times
    (outputs - 1) directions with power, so that its largest eigenvalue is often a thousand times the mean. If F
    vanishes, since the outputs are saturated, the natural gradient is the gradient.

    Attributes:
        factor: A, shape (samples * outputs, P), float64; parameters in the order of the model.
        shapes: Shape of each parameter.
    """

    factor: Tensor
    shapes: tuple[torch.Size, ...]

    @property
    def mean_power(self) -> float:
        """Trace of F divided by the number of parameters."""
        return float(self.factor.square().sum()) / self.factor.shape[1]

    def natural_gradient(self, gradient: Sequence[Tensor], damping: float) -> list[Tensor]:
        r"""Damped natural gradient $(F + \lambda I)^{-1} g$.

        Cost: one eigendecomposition for all dampings, see `gauss_newton`; then four products with A.

        Source: Amari (1998), Natural gradient works efficiently in learning, doi:10.1162/089976698300017746.

        Args:
            gradient: g, one tensor per parameter.
            damping: Damping relative to the mean power, above zero.

        Returns:
            One tensor per parameter, float64.

        Raises:
            InvalidValue: The damping is not positive and finite, or tensors do not fit the parameters.
        """
        strength, flat = self._strength(damping), self._flat(gradient)
        solved = self._solved(flat, strength)
        parts = torch.split(solved, [shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def relative_decrease(self, update: Sequence[Tensor], gradient: Sequence[Tensor], damping: float) -> float:
        r"""Largest decrease of the loss by a step along an update, relative to that of the natural gradient.

        $$
        e(u) = \frac{(g^T u)^2}{\bigl(u^T (F + \lambda I) u\bigr) \bigl(g^T (F + \lambda I)^{-1} g\bigr)} \in [0, 1]
        $$

        Along u the damped quadratic model of the loss falls by $(g^T u)^2 / (2 u^T (F + \lambda I) u)$ for the best
        length of the step; the natural gradient has e = 1. The share e is the squared cosine of update and natural
        gradient in the metric of F, so that with small damping it does not depend on the coordinates of the parameters.
        For the gradient it is at least $4 \kappa / (1 + \kappa)^2$, with $\kappa$ the condition number of
        $F + \lambda I$ (Kantorovich's inequality). The update points downhill if $g^T u > 0$; e does not tell the sign.

        Cost: as `natural_gradient`, and one more product with A.

        Args:
            update: u, one tensor per parameter, of any length.
            gradient: g, gradient of the loss.
            damping: Damping relative to the mean power, above zero.

        Returns:
            The share e; NaN if the update or the gradient is zero.

        Raises:
            InvalidValue: As for `natural_gradient`.
        """
        strength, u, g = self._strength(damping), self._flat(update), self._flat(gradient)
        curvature = (self.factor @ u).square().sum() + strength * u.square().sum()
        return float((g @ u).square() / (curvature * (g @ self._solved(g, strength))))

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors of the smaller of A A^T and A^T A, which have the same spectrum."""
        rows, parameters = self.factor.shape
        values, vectors = torch.linalg.eigh(
            self.factor @ self.factor.T if rows < parameters else self.factor.T @ self.factor
        )
        return values.clamp_min(0), vectors  # rounding can make a zero negative

    def _strength(self, damping: float) -> float:
        checks.refuse("natural gradient", checks.number("damping", damping, above=0))
        return damping * self.mean_power if self.mean_power > VANISHING else 1.0

    def _flat(self, tensors: Sequence[Tensor]) -> Tensor:
        found = [tensor.shape for tensor in tensors]
        if found != list(self.shapes):
            raise InvalidValue(
                f"natural gradient: the parameters have the shapes {[tuple(s) for s in self.shapes]}, got tensors of "
                f"{[tuple(s) for s in found]}; give one of each, in the order of the parameters."
            )
        return torch.cat([tensor.detach().double().flatten() for tensor in tensors])

    def _solved(self, flat: Tensor, strength: float) -> Tensor:
        """(F + strength I)^-1 times a vector."""
        values, vectors = self._spectrum
        if len(values) == len(flat):
            found: Tensor = vectors @ ((vectors.T @ flat) / (values + strength))
            return found
        passed = vectors @ ((vectors.T @ (self.factor @ flat)) / (values + strength))  # Woodbury's identity
        return (flat - self.factor.T @ passed) / strength


def gauss_newton(model: nn.Module, inputs: Tensor) -> GaussNewton:
    r"""Compute the Gauss-Newton matrix of a classifier under cross-entropy, which is its Fisher matrix.

    $$
    F = \frac1k \sum_{n=1}^k J_n^T \bigl(\operatorname{diag} p_n - p_n p_n^T\bigr) J_n, \qquad
    J_n = \frac{\partial y_n}{\partial \theta}, \quad p_n = \operatorname{softmax}(y_n)
    $$

    The matrix is exact, in float64, over all trained parameters together, with the expectation over labels of the
    model; this is possible for small networks only. A copy of the model runs in eval mode.

    Cost: k o backward passes for o outputs, memory of k o P numbers, and for the first solution an eigendecomposition
    of the smaller side: (k o)^2 P or k o P^2, and about 9 times the cube of that side.

    Sources: Schraudolph (2002), Fast curvature matrix-vector products for second-order gradient descent,
    doi:10.1162/08997660260028683; Martens (2020), New insights and perspectives on the natural gradient method,
    arXiv:1412.1193.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> model = torch.nn.Linear(3, 2)
        >>> curvature = nd.metrics.gauss_newton(model, torch.randn(8, 3))
        >>> step = curvature.natural_gradient([torch.ones(2, 3), torch.ones(2)], damping=1.0)
        >>> [tuple(part.shape) for part in step]
        [(2, 3), (2,)]

    Args:
        model: Model that maps a batch (k, ...) to logits (k, o), every sample by itself.
        inputs: A batch.

    Returns:
        The matrix, in factored form.

    Raises:
        InvalidValue: The model has no trained parameters or outputs of another shape, or the Jacobian is too large.
        Unsupported: torch.func cannot differentiate the model.
        Diverged: Outputs or derivatives are not finite.
    """
    double = copy.deepcopy(model).double().eval()
    rows = inputs.double() if inputs.is_floating_point() else inputs
    trained = {name: p.detach() for name, p in double.named_parameters() if p.requires_grad}
    with torch.no_grad():
        outputs = double(rows)
    if not trained or not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != len(rows):
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InvalidValue(
            f"gauss_newton takes a model with trained parameters (here {len(trained)}) that maps a batch of "
            f"{len(rows)} to logits ({len(rows)}, classes); it gave {got}."
        )
    parameters = sum(p.numel() for p in trained.values())
    if outputs.numel() * parameters > LARGEST:
        raise InvalidValue(
            f"gauss_newton is exact, for small networks: {len(rows)} samples x {outputs.shape[1]} outputs x "
            f"{parameters} parameters are more than {LARGEST} derivatives; take at most "
            f"{LARGEST // (outputs.shape[1] * parameters)} samples, or a smaller network."
        )
    jacobian = _jacobian(double, trained, rows)
    shares = outputs.softmax(dim=1)
    # R R^T = diag p - p p^T, since the shares add to one.
    root = torch.diag_embed(shares.sqrt()) - shares.unsqueeze(2) * shares.sqrt().unsqueeze(1)
    factor = torch.empty(outputs.numel(), parameters, dtype=torch.float64, device=outputs.device)
    place = 0
    for name in trained:
        part = (root.mT @ jacobian.pop(name).flatten(2)).flatten(0, 1)
        factor[:, place : place + part.shape[1]] = part
        place += part.shape[1]
    factor /= len(rows) ** 0.5
    if not bool(factor.isfinite().all()):
        raise Diverged("gauss_newton: the derivatives of the outputs are not finite; the run has diverged.")
    return GaussNewton(factor, tuple(p.shape for p in trained.values()))


def _jacobian(model: nn.Module, trained: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Derivatives of the outputs of every sample, by parameter: (samples, outputs, *shape)."""

    def outputs(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        found: Tensor = functional_call(model, parameters, (row.unsqueeze(0),)).squeeze(0)
        return found

    try:
        found: dict[str, Tensor] = vmap(jacrev(outputs), in_dims=(None, 0))(trained, rows)
    except RuntimeError as error:
        raise Unsupported(
            f"gauss_newton differentiates sample by sample with torch.func, which this {type(model).__name__} does not "
            f"allow: {error}"
        ) from error
    return found
