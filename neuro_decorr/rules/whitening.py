"""Whitening by the relative gradient with a normalised step, damped on request."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules._factor import DenseFactor, LowRankFactor, spectral_bound
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State, check_fraction, check_positive

# How much of the isotropic term may be owed before it is paid. The damped fixed point moves up and down by about the
# debt between two payments; the floor of full whitening matters to silent directions only.
_DAMPED_DEBT = 0.05
_FLOOR_DEBT = 0.25


@register
@dataclass(frozen=True, kw_only=True)
class Whitening(Rule):
    r"""Relative-gradient whitening whose step needs no tuning to the scale of the inputs.

    .. math::
        D \leftarrow D + \eta_n \Bigl( I - \frac{C}{\tau} - \kappa\, D D^T \Bigr) D, \qquad
        \eta_n = \frac{\eta}{1 + \eta\, \lambda_{max}(C) / \tau}

    With c the mean power of the centred inputs and S their covariance:

    - `damping` > 0: tau = damping c, kappa = 1. Fixed point D = (I + S / (damping c))^{-1/2}: an eigenvalue lambda of
      S becomes lambda / (1 + lambda / (damping c)), a soft cap; small eigenvalues stay as they are.
    - `damping` = 0: full whitening, tau = 1, kappa = floor c. Fixed point C = S (S + floor c I)^{-1}, the identity but
      for directions with less power than floor c. Those stay bounded: a silent unit has |D| <= 1 / sqrt(floor c).

    The term in D D^T costs d^3, so it is owed and paid at every (d / 2k)-th update, or sooner once the owed step
    reaches 0.05 (damped, growth included) or 0.25 (full: the floor alone). With exact statistics every allowed rate
    is stable. From batches, a constant rate leaves a noise floor that falls with its square root: anneal it with any
    scheduler of torch.

    The default damping is the weaker of the two that the protocol `credit_assignment` chose on handwritten digits (0.3
    where strong common modes were added, 3 without). Wide layers on natural images want less: prototypes on CIFAR-10
    did best at 30 to 100. Tune it.

    Source: Cardoso, Laheld (1996), Equivariant adaptive source separation, doi:10.1109/78.553476 (relative gradient,
    normalised step); damping as in Benzing (2022), Gradient descent on neurons and its link to approximate
    second-order optimization, arXiv:2201.12250.

    Attributes:
        rate: eta, dimensionless, in (0, 1].
        damping: Strength relative to the mean power of the inputs; 0 whitens fully, infinity would be centring.
        floor: Power, relative to the mean, below which full whitening does not amplify. Used with damping 0 only.
        power_rate: Rate at which the mean power c is tracked.
    """

    name = "whitening"
    title = "whitens, fully or as a soft cap on the top of the spectrum, with a step that needs no tuning"
    equation = "D <- D + rate_n (I - C / tau - kappa D D^T) D"
    fixed_point_text = "C = S (I + S / (damping c))^-1; damping 0: C = I"
    locality = "row of D and a scalar a layer"
    cost = "2 k d^2, and d^3 about every d / 2k updates"
    reference = "Cardoso, Laheld 1996, doi:10.1109/78.553476"
    structure = "dense"

    rate: float = 1e-2
    damping: float = 3.0
    floor: float = 1e-6
    power_rate: float = 0.1

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A rate or floor that is not positive, a negative damping.
        """
        super().__post_init__()
        check_positive(self, "floor")
        if not 0 <= self.damping < math.inf:
            raise InvalidValue(
                f"{self.name}: damping must be a finite number >= 0 (0 whitens fully), got {self.damping!r}; "
                "for no whitening at all use the rule 'center'."
            )
        check_fraction(self, "rate", "power_rate")

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """D = I; the mean power, the owed isotropic step and the number of updates are zero."""
        state = super().initial_state(features, dtype=dtype, device=device)
        for statistic in ("power", "owed", "updates"):
            state[statistic] = torch.zeros((), dtype=dtype, device=device)
        return state

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """The rank-k part at once, the isotropic part when it is due."""
        matrix, outputs = state["matrix"], sample.outputs
        rows, features = outputs.shape
        updates = int(state["updates"].add_(1))
        power = state["power"]
        # The first updates average all power seen so far, so that nothing starts from zero.
        power.lerp_(sample.inputs.square().mean().to(power.dtype), max(self.power_rate, 1 / updates))
        mean_power = float(power)
        target = self.damping * mean_power if self.damping else 1.0
        if target == 0:
            return None  # no input has ever been active: nothing to learn from
        step = rate / (1 + rate * spectral_bound(outputs) / target)
        weight = step / (target * rows)
        owed = float(state["owed"].add_(step))
        # Full whitening grows at every update, and only its tiny floor waits; damped, growth and leak wait together.
        scale = 1.0 if self.damping else 1 + step
        if updates % math.ceil(features / (2 * rows)) and owed < (_DAMPED_DEBT if self.damping else _FLOOR_DEBT):
            return LowRankFactor(scale, weight, outputs, outputs).apply_(matrix)
        state["owed"].zero_()
        factor = matrix @ matrix.T
        if self.damping:
            factor.mul_(-self._affordable(factor, owed, 1.0)).diagonal().add_(scale + owed)
        else:
            leak = self.floor * mean_power
            factor.mul_(-leak * self._affordable(factor, owed, leak)).diagonal().add_(scale)
        factor.addmm_(outputs.T, outputs, alpha=-weight)
        return DenseFactor(factor).apply_(matrix)

    @staticmethod
    def _affordable(gram: Tensor, owed: float, leak: float) -> float:
        """The owed step, shortened where D is so large that it would overshoot: far from the fixed point only."""
        largest = leak * float(torch.linalg.vector_norm(gram, dim=1).max())  # at most lambda_max(gram)
        if owed * largest <= 0.5:
            return owed
        return min(owed, 1 / (leak * float(torch.linalg.matrix_norm(gram, 2))))

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """S (I + S / (damping c))^-1, or S (S + floor c I)^-1 for full whitening."""
        identity = torch.eye(len(covariance), dtype=covariance.dtype)
        power = covariance.trace() / len(covariance)
        if self.damping:
            damped: Tensor = torch.linalg.solve(identity + covariance / (self.damping * power), covariance)
            return damped
        whitened: Tensor = torch.linalg.solve(covariance + self.floor * power * identity, covariance)
        return whitened
