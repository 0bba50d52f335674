"""Norm-preserving decorrelation (Ahmad 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import truediv
from typing import Literal

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged, InvalidValue
from neuro_decorr.rules._factor import LowRankFactor
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State


def norm_gain(reference: Tensor, outputs: Tensor) -> float:
    """The mean of |z| / |x| over rows that have an x; 1 where none has.

    Raises:
        Diverged: A norm is not finite, or the gain is zero, which would wipe out D.
    """
    # Numbers of Python: cheaper than three more operations on a few rows, and one look tells whether they are finite.
    before = torch.linalg.vector_norm(reference, dim=1).tolist()
    after = torch.linalg.vector_norm(outputs, dim=1).tolist()
    gain: float
    try:
        gain = sum(map(truediv, before, after)) / len(after)
    except ZeroDivisionError:  # a row of zeros carries no norm to preserve
        ratios = [z / x for z, x in zip(before, after, strict=True) if x]
        gain = sum(ratios) / len(ratios) if ratios else 1.0
    if not (0 < gain < math.inf and sum(after) < math.inf):
        raise Diverged(
            "the norms of the decorrelated activity are not finite, or too large to work with; lower the rate of the "
            "plasticity or of the weights."
        )
    return gain


@register
@dataclass(frozen=True, kw_only=True)
class NormPreserving(Rule):
    r"""The rule of the paper that this library starts from.

    .. math:: D \leftarrow g (D - \eta\, C D), \quad C = \langle x x^T \rangle, \quad
              g = \langle \lVert z \rVert / \lVert x \rVert \rangle

    C is the full second moment, diagonal included, so the rule whitens up to one scalar: C = c' I with
    g = 1 / (1 - eta c'). Large eigenvalues fall to 1 / (2 eta t) after t updates, small ones grow with g: at the
    published rates (1e-4 to 1e-6) only the top of the spectrum is flattened. With exact statistics the spectrum's
    shape is stable for eta c' < 1/2 and its scale for eta c' < 1/3, that is for eta c < 3/4 with c the power of the
    inputs. For single samples eta max |x|^2 < 1. As published, silent units are not bounded: a direction
    without variance grows by g at every update.

    The default rate is what the protocol `credit_assignment` chose for layers of 64 to 100 units. The limit falls with
    the dimension, since |x|^2 grows with it: the paper uses 1e-4 to 1e-6 for layers of thousands.

    Source: Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780.

    Attributes:
        rate: eta, per update and per unit of input power.
        norm_reference: Norms of z in g: `centered` compares z - mean with x; `raw` compares z itself, as the
            paper's code does, which adds the power of the mean to the outputs.
    """

    name = "norm_preserving"
    title = "whitens up to one scalar, keeping the norm of the activity"
    equation = "D <- g (D - rate C D), g = <|z| / |x|>"
    fixed_point_text = "C = c I, <|x|> about <|z|>"
    locality = "row of D and a scalar a layer (exactly local in its lateral form)"
    cost = "2 k d^2"
    reference = "Ahmad 2024, arXiv:2407.10780"
    structure = "dense"
    fixed_point_up_to = "scale"
    silent_units_bounded = False
    detects_divergence = True

    rate: float = 3e-3
    norm_reference: Literal["centered", "raw"] = "centered"

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A rate that is not positive, or an unknown reference of the norm.
        """
        super().__post_init__()
        if self.norm_reference not in ("centered", "raw"):
            raise InvalidValue(f"{self.name}: norm_reference must be 'centered' or 'raw', got {self.norm_reference!r}.")

    def update_(self, state: State, sample: Sample, rate: float) -> Change:
        """D <- g D - (g rate / k) X^T (X D)."""
        reference = sample.inputs if self.norm_reference == "centered" else sample.inputs + sample.mean
        gain = norm_gain(reference, sample.outputs)
        weight = gain * rate / sample.outputs.shape[0]
        return LowRankFactor(gain, weight, sample.outputs, sample.outputs).apply_(
            state["matrix"], state.get("matrix_residual")
        )

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """A multiple of the identity, here of the inputs' mean power."""
        return torch.eye(len(covariance), dtype=covariance.dtype) * covariance.trace() / len(covariance)

    def stability_limit(self, covariance: Tensor) -> float:
        """0.75 / c, with c the mean power of the inputs: there the scale begins to alternate.

        Norm preservation moves the outputs' power p by p <- c (1 - rate p)^2, stable while q = rate p < 1/3 at its
        fixed point q / (1 - q)^2 = rate c. The shape of the spectrum, lambda <- g^2 lambda (1 - rate lambda)^2, would
        hold until q = 1/2.
        """
        return 0.75 * len(covariance) / float(covariance.trace())
