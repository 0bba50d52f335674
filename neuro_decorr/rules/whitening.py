"""Whitening by the relative gradient with a normalised step, full or damped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._factor import DenseFactor, LowRankFactor
from neuro_decorr.rules._floor import axes_due, floor_rows, initial_axis
from neuro_decorr.rules._power import (
    hear_,
    hear_groups_,
    initial_memory,
    initial_power,
    newest_weight,
    remember_,
    remember_groups_,
)
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._residual import add_
from neuro_decorr.rules._rule import Confinement, Rule
from neuro_decorr.rules._sparse import SparseFactor, SparseMoment, pattern_in
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import moment, moment_needs, present_power, row_count

_FEWEST = 16
"""Number of axes of the floor whose cost is negligible, however few the rows are."""


@register
@dataclass(frozen=True, kw_only=True)
class Whitening(Rule):
    r"""Relative-gradient whitening, full or damped, with an exact step that is never too large.

    $$
    D \leftarrow \Bigl[ (1 - \eta_n) I + \eta_n \Bigl( \frac{C}{\tau} + \kappa\, D D^T \Bigr) \Bigr]^{-1/2} D,
    \qquad \eta_n = \frac{\eta}{1 + \eta\, d / (k\, (1 + \text{damping}))}
    $$

    To first order this is the relative gradient, D + (eta_n / 2) (I - C / tau - kappa D D^T) D. The exact step follows
    a running covariance: Q = D^{-1} D^{-T} moves by Q <- (1 - eta_n) Q + eta_n (kappa I + S_k / tau), with S_k the
    covariance of the k sampled rows. The rule cannot diverge, at any rate, scale or condition number of the inputs.
    With c the mean power of the centred inputs and S their covariance:

    - `damping` > 0: tau = damping c, kappa = 1. The fixed point is D^T D = (I + S / (damping c))^{-1}: an eigenvalue
      lambda of S becomes lambda / (1 + lambda / (damping c)). This is a soft cap; small eigenvalues stay as they are.
    - `damping` = 0: full whitening, tau = 1, kappa = floor c*. The fixed point is C = S (S + floor c I)^{-1}: the
      identity, except for directions with less power than floor c. These stay bounded: a silent unit has |D| of about
      1 / sqrt(floor c). c* is a memory of the usual power c of the layer; it moves by a factor of e in 20 / power_rate
      updates at most.

    The rule forgets its start: with t batches heard, eta in eta_n is 4 / (t + 4) until the rate exceeds it, and without
    damping the first batch sets the scale, D = c^{-1/2} I. A silent batch changes nothing. A batch that is louder than
    any before counts within bounds (`c <- c + max(power_rate, 1 / t) (min(p, 1e4 c) - c)`, with p its power, and its
    second moment likewise). So |D| <= max(1, 1 / sqrt(floor c)) with c the least power that was tracked, times the
    gain. A batch that is not finite raises Diverged and changes nothing.

    One scalar gives back the power that damping takes from the inputs, unless `preserve_power` is False: D <- g D, with
    g^2 the mean power of the inputs divided by the mean power of the outputs without g. The next layer then learns at
    the learning rates that suit it without decorrelation.

    eta_n remembers at least as many rows as the outputs have effective dimensions, d / (1 + damping), since fewer rows
    cannot tell a covariance from noise. At a constant rate, batches leave a mean squared correlation of about
    eta_n / 2k: anneal the rate with any scheduler of torch. The page docs/whitening.md maps the correlation that is
    reached, and when. For a D with a condition number of 1e3, float32 rounding over hundreds of thousands of updates
    leaves more correlation than that.

    The term in D D^T comes axis by axis: every update takes a few columns of D, each as often as eta_n demands. So an
    update is of low rank and needs no second matrix, while the isotropic part of the fixed point moves up and down by
    an eighth. If the rows are at least half as many as the units, every update takes all axes. An update costs
    4 r d^2 + 10 r^3 flop with r = k + 4 rate d.

    The default damping is the weaker of the two that the protocol `credit_assignment` chose on handwritten digits (0.3
    with strong common modes added, 3 without). Wide layers on natural images need weaker decorrelation: prototypes on
    CIFAR-10 did best at 30 to 100. Tune it.

    Source: Cardoso, Laheld (1996), Equivariant adaptive source separation, doi:10.1109/78.553476 (relative gradient,
    normalised step; the exact step is derived here); damping as in Benzing (2022), Gradient descent on neurons and its
    link to approximate second-order optimization, arXiv:2201.12250.

    Attributes:
        rate: eta, the weight of the newest sample in the running covariance, in (0, 1].
        damping: Soft cap relative to the mean power of the inputs; a smaller value decorrelates more. 0 whitens fully;
            infinity would be centring.
        floor: Power, relative to the mean power, below which full whitening does not amplify; for damping 0 only.
        power_rate: Rate at which the mean power c is tracked, in (0, 1].
        preserve_power: True gives back the power that damping takes. Full whitening sets the power of every unit to one
            instead.
    """

    name = "whitening"
    title = "whitens fully, or puts a soft cap on the top of the spectrum; its step needs no tuning"
    equation = "D <- ((1 - rate) I + rate (C / tau + kappa D D^T))^-1/2 D"
    fixed_point_text = "C = g^2 S (I + S / (damping c))^-1; damping 0: C = I"
    locality = "row of D and one scalar per layer"
    cost = "4 r d^2 + 10 r^3, r = k + 4 rate d"
    source = "Cardoso, Laheld 1996, doi:10.1109/78.553476"
    structure = "dense"
    largest_rate = 1.0

    rate: float = 2e-2
    damping: float = 3.0
    floor: float = 1e-6
    power_rate: float = 0.1
    preserve_power: bool = True

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.number("damping", self.damping, least=0, hint="0 whitens fully, 'center' not at all")
        yield checks.number("floor", self.floor, above=0)
        yield checks.number("power_rate", self.power_rate, above=0, most=1)
        yield checks.flag("preserve_power", self.preserve_power)

    @property
    def confinement(self) -> Confinement:
        """`any`, by a normalised step of first order instead of the exact one."""
        return "any"

    @property
    def gives_back(self) -> bool:
        """True if a scalar keeps the power of the inputs; full whitening gives every unit a power of one instead."""
        return self.preserve_power and self.damping > 0

    def statistics(self, matrix: Tensor) -> State:
        """Running power before the first batch, and the first axis as the one to visit next."""
        state = initial_axis(matrix) | initial_power(matrix) | ({} if self.damping else initial_memory(matrix))
        if self.gives_back:
            one = matrix.new_ones((), dtype=torch.float64)
            state |= {"gain": one, "power_before": 0 * one, "power_after": 0 * one}
        return state

    def needs(self, state: State, features: int) -> Needs:
        """Outputs and the power of the inputs, or the second moment of the outputs."""
        return moment_needs(features)

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Append the axes that are due to the rows, take the inverse root on their span, and give the power back."""
        heard = hear_(state, sample, self.power_rate) if rate else None
        if heard is None:
            return None
        matrix = state["matrix"]
        rows, features = row_count(sample), sample.outputs.shape[1]
        target, leak = self.damping * heard.power, 1.0
        if not self.damping:
            target, leak = 1.0, self.floor * remember_(state, heard.power, self.power_rate)
        weight = newest_weight(rate, heard.updates, self.rate)
        step = weight / (1 + weight * features / (rows * (1 + self.damping)))
        gain = float(state["gain"]) if self.gives_back else 1.0
        # One scalar for both: the first batch sets the scale, and the rule moves D without its gain.
        unit = (heard.power**-0.5 if heard.updates == 1 and not self.damping else 1.0) / gain
        outputs = sample.outputs.to(matrix.dtype) * (unit * math.sqrt(heard.scale / (rows * target)))
        axes = axes_due(features, rows, step)
        factor: DenseFactor | LowRankFactor | SparseFactor
        pattern = pattern_in(state)
        if pattern is not None:
            axes = min(axes, max(rows, _FEWEST))
            connected = SparseMoment.of_rows(pattern, torch.cat([outputs, floor_rows(state, leak * unit**2, axes)]))
            half = 0.5 * step / (1 + step * connected.size)  # first order, and never too large
            factor = connected.factor(1 + half, half)
        elif axes == features:
            floored = moment(sample, outputs).addmm_(matrix, matrix.T, alpha=leak * unit**2)
            factor = _dense(floored, step)
        else:
            factor = _low_rank(torch.cat([outputs, floor_rows(state, leak * unit**2, axes)]), step)
        if self.gives_back:
            after = present_power(factor.transformed(outputs), sample.joint) * rows * target
            gain = _follow_gain_(state, heard.present * heard.scale, after, max(step, 1 / heard.updates))
        return factor.scaled(gain * unit).apply_(matrix, state.get("matrix_residual"))

    def update_groups_(self, states: State, samples: Sample, rate: float) -> list[Change | None]:
        """Update all groups at once if an update visits all axes of the floor, else one after the other."""
        _, rows, features = samples.inputs.shape
        if not rate or axes_due(features, rows, 0.0) < features:
            return super().update_groups_(states, samples, rate)
        heard = hear_groups_(states, samples.inputs, self.power_rate)
        matrix, one = states["matrix"], torch.ones_like(heard.power)
        target, leak = self.damping * heard.power, one
        if not self.damping:
            target, leak = one, self.floor * remember_groups_(states, heard, self.power_rate)
        early = 4 / (heard.updates.double() + 4)
        weight = torch.where(early > self.rate, early.clamp_min(rate), rate)
        step = weight / (1 + weight * features / (rows * (1 + self.damping)))
        gain = states["gain"] if self.gives_back else one
        unit = (heard.power.rsqrt() if not self.damping else one).where(heard.updates == 1, one) / gain
        narrow = matrix.dtype
        outputs = samples.outputs.to(narrow) * _each(unit * (heard.scale / (rows * target)).sqrt(), narrow)
        scaled = matrix * _each(leak.sqrt() * unit, narrow)
        values, vectors = _shifted_eigh(torch.baddbmm(outputs.mT @ outputs, scaled, scaled.mT))
        step = step.to(narrow).unsqueeze(1)
        growth = (vectors * ((1 - step + step * values).rsqrt() - 1).unsqueeze(1)) @ vectors.mT
        if self.gives_back:
            after = torch.baddbmm(outputs, outputs, growth.mT).double().square().mean(dim=(1, 2)) * rows * target
            follow = step.squeeze(1).double().maximum(1 / heard.updates.clamp_min(1).double()) * heard.heard
            states["power_before"].lerp_(heard.present * heard.scale, follow)
            states["power_after"].lerp_(after, follow)
            gain = (states["power_before"] / states["power_after"]).sqrt().where(heard.updates > 0, one)
            states["gain"].copy_(gain)
        total = gain * unit
        growth.mul_(_each(total, narrow)).diagonal(dim1=1, dim2=2).add_((total - 1).to(narrow).unsqueeze(1))
        growth.mul_(_each(heard.heard, narrow))
        product = growth @ matrix
        add_(matrix, lambda groups: product[groups], states.get("matrix_residual"))
        return [
            DenseFactor(each) if moved else None
            for each, moved in zip(growth.unbind(), heard.heard.tolist(), strict=True)
        ]

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance S (I + S / (damping c))^-1, scaled to the power of S; undamped S (S + floor c I)^-1."""
        identity = torch.eye(len(covariance), dtype=covariance.dtype)
        power = covariance.trace() / len(covariance)
        if not self.damping:
            whitened: Tensor = torch.linalg.solve(covariance + self.floor * power * identity, covariance)
            return whitened
        damped: Tensor = torch.linalg.solve(identity + covariance / (self.damping * power), covariance)
        return damped * (covariance.trace() / damped.trace()) if self.gives_back else damped

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound 1 / sqrt(floor c) undamped, 1 damped, an eighth more for axes that wait, times the gain.

        No batch has more than 1 / power_rate times the running power that it moves. So no eigenvalue of Q exceeds
        1 + d / (power_rate damping), and neither does the power that is given back.
        """
        if not self.damping:
            return 1.125 * max(1.0, 1 / math.sqrt(self.floor * least_power))
        return 1.125 * math.sqrt(1 + features / (self.damping * self.power_rate)) if self.gives_back else 1.125


def _each(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """One number per group, shaped to multiply the matrix of the group."""
    return numbers.to(dtype).view(-1, 1, 1)


def _follow_gain_(state: State, before: float, after: float, weight: float) -> float:
    """Square root of the power of the inputs over the power of the outputs without gain, both as running means."""
    powers = []
    for name, power in (("power_before", before), ("power_after", after)):
        powers.append(float(state[name]))
        powers[-1] += weight * (power - powers[-1])
        state[name].fill_(powers[-1])
    gain = math.sqrt(powers[0] / powers[1])
    state["gain"].fill_(gain)
    return gain


def _shifted_eigh(moment: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of one or several second moments M, computed from I + M.

    The kernels of some processors fail in float32 on matrices whose entries differ by more than the square of their
    precision. The identity removes such differences and changes no eigenvector.
    """
    shifted = moment.clone()
    shifted.diagonal(dim1=-2, dim2=-1).add_(1)
    values, vectors = torch.linalg.eigh(shifted)
    return values.sub_(1).clamp_min_(0), vectors  # rounding can make a variance negative


def _dense(moment: Tensor, step: float) -> DenseFactor:
    """Factor A = ((1 - step) I + step moment)^{-1/2}."""
    values, vectors = _shifted_eigh(moment)
    scale = (1 - step + step * values).rsqrt()
    return DenseFactor((vectors * (scale - 1)) @ vectors.T)


def _low_rank(rows: Tensor, step: float) -> LowRankFactor:
    r"""Factor A = ((1 - step) I + step R^T R)^{-1/2}.

    $$
    A = (1 - \eta)^{-1/2}\, (I - w R^T f(w R R^T) R), \quad
    f(g) = \frac{1 - (1 + g)^{-1/2}}{g} = \frac{1}{1 + g + \sqrt{1 + g}}, \quad w = \frac{\eta}{1 - \eta}
    $$
    """
    weight = step / (1 - step)
    gram = (rows @ rows.T).mul_(weight)
    gram.diagonal().add_(1)  # see _shifted_eigh; here it is wanted in any case
    grown, vectors = torch.linalg.eigh(gram)
    grown.clamp_min_(1)
    core = (vectors * (weight / (grown + grown.sqrt()))) @ vectors.T
    scale = (1 - step) ** -0.5
    return LowRankFactor(scale, scale, core @ rows, rows)
