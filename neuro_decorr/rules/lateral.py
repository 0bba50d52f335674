"""The local form of norm-preserving decorrelation: plasticity of lateral inhibition itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr.rules._factor import InverseFactor
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State
from neuro_decorr.rules.norm_preserving import norm_gain


@register
@dataclass(frozen=True, kw_only=True)
class Lateral(Rule):
    r"""Hebbian growth of lateral inhibition between a unit's drive and its neighbours' activity.

    .. math:: x = (I + M)^{-1} z, \quad \Delta M_{ij} = \eta\, \langle z_i x_j \rangle, \quad
              I + M \leftarrow (I + M) / g, \quad g = \langle \lVert z \rVert / \lVert x \rVert \rangle

    Everything the synapse from j to i needs is at i: its own feed-forward drive and the activity that arrives; the
    gain is one scalar a layer, a multiplicative scaling of all synapses, autapses included.

    With D = (I + M)^{-1} and z = D^{-1} x the step is exactly :math:`D \leftarrow g (I + \eta C)^{-1} D`: the implicit
    form of the step of `norm_preserving`, equal to it up to eta^2. By the identity of Woodbury it costs two products
    with the k rows and one k x k system, and needs D only: M is D^{-1} - I by definition, so no second matrix is held
    that could drift away from it.

    Being implicit, it keeps the shape of the spectrum stable at every rate, lambda <- g^2 lambda / (1 + eta lambda)^2.
    The scale alternates from eta c = 4 on, with c the power of the inputs. Silent units are not bounded: they have the
    fault of the rule that this is the local form of.

    Source: local form of Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780, derived here.

    Attributes:
        rate: eta, per update and per unit of input power.
    """

    name = "lateral"
    title = "the local form of norm_preserving: lateral inhibition learns from drive times activity"
    equation = "M_ij <- M_ij + rate z_i x_j, I + M <- (I + M) / g, D = (I + M)^-1"
    fixed_point_text = "C = c I, <|x|> about <|z|>"
    locality = "drive of i, activity of j, and a scalar a layer"
    cost = "2 k d^2 + k^3"
    reference = "local form of Ahmad 2024, arXiv:2407.10780"
    structure = "dense"
    fixed_point_up_to = "scale"
    silent_units_bounded = False
    detects_divergence = True

    rate: float = 3e-3

    def update_(self, state: State, sample: Sample, rate: float) -> Change:
        """D <- g (I + rate X^T X / k)^{-1} D."""
        gain = norm_gain(sample.inputs, sample.outputs)
        return InverseFactor(gain, rate / len(sample.outputs), sample.outputs).apply_(
            state["matrix"], state.get("matrix_residual")
        )

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """A multiple of the identity, here of the inputs' mean power."""
        return torch.eye(len(covariance), dtype=covariance.dtype) * covariance.trace() / len(covariance)

    def stability_limit(self, covariance: Tensor) -> float:
        """4 / c, with c the mean power of the inputs: there the scale begins to alternate.

        Norm preservation moves the outputs' power p by p <- c / (1 + rate p)^2, stable while q = rate p < 1 at its
        fixed point q (1 + q)^2 = rate c.
        """
        return 4.0 * len(covariance) / float(covariance.trace())
