r"""Lateral weights M of a recurrent circuit $\tau x' = -x + z - M x$, with the spectra that decide on its settling."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.precision import exactly


class LateralWeights:
    r"""Lateral inhibition M of a layer, held as an orthonormal basis Q and a small core N.

    $$M = Q N Q^T, \qquad x^* = (I + M)^{-1} g z$$

    For inhibition between the units themselves Q = I and N = M. For inhibition through k interneurons the basis spans
    their input and output weights, so that no matrix of size features x features is formed. A function of I + M is that
    function of I + N within the basis, and its value at 1 outside. Weights and limits are float64.

    Cost: a product with M takes 2 features^2 flop per row, or 4 features rank + 2 rank^2 through interneurons; the
    limits take rank^3 flop once, at their first use.

    Attributes:
        core: N, float64, shape (rank, rank); M itself if there is no basis.
        basis: Q, float64, shape (features, rank), or None.
        features: Number of units.
        gain: g, the gain of the feedforward synapses, so that g z drives the circuit. It is 1 except for a
            Decorrelation whose rule gives back the power that its interneurons take.
    """

    def __init__(self, matrix: Tensor) -> None:
        """Take lateral weights given in full.

        Args:
            matrix: M, shape (features, features); M[i, j] is the inhibition of unit i by unit j, autapses included.

        Raises:
            InvalidValue: M is not a square matrix of finite numbers.
        """
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
            raise InvalidValue(
                f"lateral weights must be a square matrix (features, features), got shape {tuple(matrix.shape)}."
            )
        _check_finite("lateral weights", matrix)
        self.core = matrix.double()
        self.basis: Tensor | None = None
        self.features = matrix.shape[0]
        self.gain = 1.0

    @classmethod
    def through_interneurons(cls, inhibition: Tensor, excitation: Tensor | None = None) -> LateralWeights:
        r"""Make the weights of lateral inhibition through k interneurons: $n = W x, \; x = z - V n$, so $M = V W$.

        Args:
            inhibition: V, from the interneurons to the units, shape (features, k).
            excitation: W, from the units to the interneurons, shape (k, features). None: V^T.

        Returns:
            The weights, of rank k (2 k if the two sets differ).

        Raises:
            InvalidValue: The shapes do not fit each other, or numbers are not finite.
        """
        shape = tuple(inhibition.shape)
        if len(shape) != 2 or 0 in shape or (excitation is not None and tuple(excitation.shape) != shape[::-1]):
            other = "none" if excitation is None else f"{tuple(excitation.shape)}"
            raise InvalidValue(
                f"inhibition must have the shape (features, k) and excitation (k, features), got {shape} and {other}."
            )
        for name, tensor in (("inhibition", inhibition), ("excitation", excitation)):
            if tensor is not None:
                _check_finite(name, tensor)
        outward = inhibition.double()
        inward = outward.T if excitation is None else excitation.double()
        spanned = outward if excitation is None else torch.cat([outward, inward.T], dim=1)
        if spanned.shape[1] >= shape[0]:
            return cls(outward @ inward)
        basis = torch.linalg.qr(spanned).Q
        return cls._in_basis(basis, (basis.T @ outward) @ (inward @ basis))

    @classmethod
    def of(cls, module: Decorrelation) -> LateralWeights:
        r"""Make the recurrent circuit whose settled activity is the output of a Decorrelation.

        $$M = D^{-1} - I, \qquad \text{low rank: } M = U S (I - U^T U S)^{-1} U^T$$

        For a low-rank D this is without its gain g, which becomes the gain of the drive.

        Args:
            module: Decorrelation with the present D.

        Returns:
            The lateral weights, through interneurons if D has low rank.

        Raises:
            Unsupported: D is singular, so that some activity would need infinite inhibition; or the module has several
                groups.
        """
        if module.groups > 1:
            raise Unsupported(f"lateral weights need a Decorrelation of one group, got {module.groups} groups.")
        state = {name: tensor.double() for name, tensor in module.transform_state().items()}
        with exactly(module.mean):
            if "matrix" in state:
                inverse, failed = torch.linalg.inv_ex(state["matrix"])
                if int(failed) or not bool(torch.isfinite(inverse).all()):
                    raise _singular()
                inverse.diagonal().sub_(1)
                return cls(inverse)
            if "directions" in state:
                directions, suppression = state["directions"], torch.diag(state["suppression"])
                rest = torch.eye(len(suppression)).to(suppression) - directions.T @ directions @ suppression
                strength, failed = torch.linalg.solve_ex(rest, suppression, left=False)
                if int(failed) or not bool(torch.isfinite(strength).all()):
                    raise _singular()
                basis, turned = torch.linalg.qr(directions)
                weights = cls._in_basis(basis, turned @ strength @ turned.T)
                weights.gain = float(state["gain"])
                return weights
        none = module.mean.new_zeros(1, 1, dtype=torch.float64)
        return cls._in_basis(torch.eye(module.features, 1).to(none), none)

    @classmethod
    def _in_basis(cls, basis: Tensor, core: Tensor) -> LateralWeights:
        weights = cls(core)
        if basis.shape[1] == basis.shape[0]:
            weights.core = basis @ core @ basis.T
        else:
            weights.basis, weights.features = basis, basis.shape[0]
        return weights

    def dense(self) -> Tensor:
        """Matrix M in full, float64, shape (features, features)."""
        return self.core if self.basis is None else self.basis @ self.core @ self.basis.T

    def inhibition(self, activity: Tensor) -> Tensor:
        """Inhibition M x for rows of activity, in the dtype of the activity.

        Args:
            activity: x, shape (..., features).
        """
        core, basis = self._narrowed(activity.dtype)
        if basis is None:
            return torch.nn.functional.linear(activity, core)
        return torch.nn.functional.linear(activity @ basis, core) @ basis.T

    def settled(self, drive: Tensor) -> Tensor:
        """Fixed point (I + M)^{-1} z for rows of drive, solved in float64.

        Cost: 2/3 rank^3 flop once and 2 rank^2 per row, plus 4 features rank per row through interneurons.

        Args:
            drive: z, shape (..., features).

        Raises:
            Unsupported: I + M is singular, so that there is no fixed point.
        """
        wide = drive.double()
        inner = wide if self.basis is None else wide @ self.basis
        solution: Tensor = torch.linalg.lu_solve(*self._factors, inner.reshape(-1, len(self.core)), left=False)
        solution = solution.reshape(inner.shape)
        if self.basis is not None:
            solution = wide + (solution - inner) @ self.basis.T
        return solution.to(drive.dtype)

    def decay(self, duration: float, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Linear map exp(-duration (I + M)), by which a deviation from the fixed point decays.

        Args:
            duration: Duration in time constants.
            dtype: Floating type of the deviations.

        Returns:
            Function of deviations, shape (..., features). Cost: about 20 rank^3 flop once.
        """
        propagator = torch.linalg.matrix_exp(-duration * self._synapses).to(dtype)
        if self.basis is None:
            return lambda deviation: torch.nn.functional.linear(deviation, propagator)
        outside, basis = math.exp(-duration), self.basis.to(dtype)

        def decayed(deviation: Tensor) -> Tensor:
            inner = deviation @ basis
            within = torch.nn.functional.linear(inner, propagator)
            return outside * deviation + (within - outside * inner) @ basis.T

        return decayed

    def _narrowed(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Core and basis in the dtype of an iteration, converted once."""
        if dtype not in self._copies:
            self._copies[dtype] = (self.core.to(dtype), None if self.basis is None else self.basis.to(dtype))
        return self._copies[dtype]

    @cached_property
    def _copies(self) -> dict[torch.dtype, tuple[Tensor, Tensor | None]]:
        return {}

    @cached_property
    def _synapses(self) -> Tensor:
        return self.core + torch.eye(len(self.core)).to(self.core)

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor]:
        """LU factors of the transpose of I + N, for rows."""
        factors, pivots, failed = torch.linalg.lu_factor_ex(self._synapses.T)
        if int(failed):
            raise Unsupported(
                "I + M is singular, so the circuit has no fixed point: an eigenvalue of the lateral weights M is -1."
            )
        return factors, pivots

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Eigenvalues of M, complex128, shape (rank,), and one zero if interneurons do not reach all directions."""
        if torch.equal(self.core, self.core.T):
            # The solver for general matrices can fail if many eigenvalues are equal; this one does not.
            values = torch.linalg.eigvalsh(self.core).to(torch.complex128)
        else:
            values = torch.linalg.eigvals(self.core)
        return values if self.basis is None else torch.cat([values, values.new_zeros(1)])

    @cached_property
    def symmetric_range(self) -> tuple[float, float]:
        """Smallest and largest eigenvalue of the symmetric part of I + M."""
        values = torch.linalg.eigvalsh((self._synapses + self._synapses.T) / 2)
        low, high = float(values[0]), float(values[-1])
        return (low, high) if self.basis is None else (min(low, 1.0), max(high, 1.0))

    @cached_property
    def asymmetry(self) -> float:
        """Spectral norm of the skew part of M: 0 for symmetric weights."""
        return float(torch.linalg.matrix_norm((self.core - self.core.T) / 2, 2))

    @cached_property
    def singular_range(self) -> tuple[float, float]:
        """Smallest and largest singular value of I + M."""
        values = torch.linalg.svdvals(self._synapses)
        low, high = float(values[-1]), float(values[0])
        return (low, high) if self.basis is None else (min(low, 1.0), max(high, 1.0))


def _check_finite(name: str, tensor: Tensor) -> None:
    if not (tensor.is_floating_point() and bool(torch.isfinite(tensor).all())):
        raise InvalidValue(f"{name} must be finite floating-point numbers, got {tensor.dtype} with other values.")


def _singular() -> Unsupported:
    return Unsupported(
        "the D of this Decorrelation is singular, so that no finite lateral weights M = D^-1 - I exist: use the module "
        "itself, or a rule that bounds D."
    )
