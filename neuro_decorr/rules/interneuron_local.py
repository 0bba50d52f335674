"""Damping of the leading directions by interneurons whose synapses learn from what is present at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules import _interneurons
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State
from neuro_decorr.rules.interneuron import InterneuronChange

Signs = Literal["free", "fixed"]

_SILENT = 1e-3
"""Variance, relative to the mean power, below which a direction is learnt more slowly than at the rate."""


@register
@dataclass(frozen=True, kw_only=True)
class InterneuronLocal(Rule):
    r"""Interneurons learn the leading directions one after the other, each from what the earlier ones left.

    First volley, in which the interneurons learn. Interneuron i hears the units after interneurons 1 to i - 1 have
    inhibited them, and then inhibits them itself, through synapses of the same strength:

    $$r^{(0)} = z, \qquad u_i = U_i^T r^{(i-1)}, \qquad r^{(i)} = r^{(i-1)} - U_i u_i$$

    $$
    \Delta U_{ji} = \frac{\eta}{v_i} \langle u_i\, r^{(i)}_j \rangle, \qquad
    v_i \leftarrow (1 - \eta)\, v_i + \eta\, \langle u_i^2 \rangle
    $$

    What a synapse needs is at it: the activity of unit j after the inhibition that j itself has received so far, and
    that of interneuron i. The synapse back from i onto j sees the same two and learns the same, anti-Hebbian in its
    effect on the units. Written with the decay by the synapse's own strength, which is what r^{(i)} holds where both
    directions are equal,

    $$
    \Delta U_{ji} = \frac{\eta}{v_i} \langle u_i (r^{(i-1)}_j - U_{ji} u_i) \rangle, \qquad
    \Delta V_{ji} = \frac{\eta}{v_i} \langle u_i (r^{(i-1)}_j - V_{ji} u_i) \rangle,
    $$

    a separate synapse back V that starts elsewhere loses its difference from U by the factor
    $1 - \eta \langle u_i^2 \rangle / v_i$ at every update, whatever the inputs: so the library holds them once.
    Dividing by the interneuron's own variance makes the step free of the scale of the inputs, and as fast for weak
    directions as for strong ones. At rest U_i is the i-th eigenvector of the covariance and v_i its eigenvalue
    (Sanger's theorem).

    Then the circuit settles, with feedback at gain g_i, set by the interneuron's own variance and by the mean power c,
    which is one scalar a layer:

    $$x = z - U \operatorname{diag}(g)\, n, \quad n = U^T x, \quad g_i = \sqrt{1 + v_i / (\text{damping}\; c)} - 1$$

    The eigenvalues of (I + U diag(g) U^T)^{-1} lie in (0, 1] whatever the synapses are, so inhibition never overshoots.
    In its low-rank form, I - Q diag(s) Q^T, s = g / (1 + g) where the columns of U are orthonormal, as they are at
    rest: a direction keeps the variance lambda / (1 + lambda / (damping c)). What a layer behind gets is

    $$D z = G\, x, \qquad G^2 = \frac{c}{c - \frac1d \sum_i v_i (1 - (1 + g_i)^{-2})}$$

    The scalar G gives back the power that the interneurons take, exactly so at rest, by the same variances and the same
    c; G = 1 with `preserve_power` off. The fixed point is that of `interneuron` with the same damping.

    Where it began is forgotten: after t moves of the synapses eta is 4 / (t + 4) until the rate is more, corrected for
    few rows, eta / (1 + eta d / (n (1 + damping))), in the synapses, in v and in c alike. The variances start at zero.

    What holds, whatever the inputs are:

    - The synapses onto an interneuron are scaled down where the sum of their squares would exceed 1, as it never does
      at rest. So the sum of all v is at most d c, and 0 < D <= G I with G^2 <= 1 + d / damping.
    - A silent batch (mean power up to 1e-30) does not exist: nothing moves or fades, and it does not count for `every`.
    - A batch that is louder than any before counts as 1e4 c. One that is not finite raises Diverged before anything has
      moved.
    - An interneuron whose units are all silent keeps its synapses; so that these do not grow without bound, 1e-3 c is
      added to v. Synapses of units that died fade to zero, and return only while a unit that the interneuron still
      hears is active together with theirs.

    With `signs` = fixed no synapse changes its sign (Dale's law), and the fixed point is the same. Each direction then
    has two interneurons in push-pull, with activities u and -u about their baseline, excited through P >= 0 and N >= 0;
    each inhibits the units that excite it, at the same strength, and its partner, at strength 1. U stands for P - N:

    $$
    P_{ji} \leftarrow [P_{ji} + \tfrac{\eta}{v_i} \langle u_i (r^{(i-1)}_j - P_{ji} u_i) \rangle]_+, \qquad
    N_{ji} \leftarrow [N_{ji} + \tfrac{\eta}{v_i} \langle -u_i (r^{(i-1)}_j + N_{ji} u_i) \rangle]_+
    $$

    At rest P and N are the positive and the negative part of U. Partners cannot be spared in general: without them all
    that interneurons do to others is to lower them, D_jk <= 0 for j != k, and that damps no direction of mixed sign.

    Source: Sanger (1989), Optimal unsupervised learning in a single-layer linear feedforward neural network,
    doi:10.1016/0893-6080(89)90044-0; division by the variance: Moeller, Koenies (2004), Coupled principal component
    analysis, doi:10.1109/TNN.2003.820439; circuit: Lipshutz et al. (2023), arXiv:2209.10634, and Duong et al. (2023),
    arXiv:2301.11955.

    Attributes:
        rate: The least eta, per move of the synapses, in (0, 1].
        interneurons: k (with fixed signs: pairs); a layer of fewer units has as many interneurons as units.
        damping: Strength relative to the mean power; the smaller the stronger.
        every: The synapses move at every so many updates.
        recruit: Variance that an interneuron sees, in units of damping c, above which it inhibits: how many do then
            grows and shrinks with the inputs, up to k. 0: all k always do. All k learn.
        fewest: So many interneurons, the first ones, inhibit whatever they see.
        preserve_power: Give back, by G, the power that the interneurons take.
        signs: `free`, or `fixed` for excitatory and inhibitory synapses that keep their sign.
        seed: Of the random initial directions.
    """

    name = "interneuron_local"
    title = "the local form of interneuron: Hebbian onto k interneurons, anti-Hebbian from them, gains by own variance"
    equation = "U_ji <- U_ji + rate <u_i r_j> / v_i, D = G (I + U diag(g) U^T)^-1, g = (1 + v / (damping c))^1/2 - 1"
    fixed_point_text = "G^2 lambda / (1 + lambda / (damping c)) on the k leading directions"
    locality = "unit j as inhibited so far, interneuron i and its variance, a scalar a layer"
    cost = "(4 k n d + 10 k^2 d) / every"
    source = "Sanger 1989, doi:10.1016/0893-6080(89)90044-0; circuit: Lipshutz et al. 2023, arXiv:2209.10634"
    structure = "low_rank"
    detects_divergence = True
    largest_rate = 1.0

    rate: float = 0.1
    interneurons: int = 16
    damping: float = 3.0
    every: int = 4
    recruit: float = 0.0
    fewest: int = 0
    preserve_power: bool = True
    signs: Signs = "free"
    seed: int = 0

    def problems(self) -> Iterator[str | None]:
        """What is wrong with the parameters."""
        yield from super().problems()
        yield from _interneurons.problems(self)
        yield checks.word("signs", self.signs, get_args(Signs))

    @property
    def equivariance(self) -> Literal["orthogonal", "none"]:
        """`orthogonal` with free signs; `none` with fixed ones, which belong to the units."""
        return "orthogonal" if self.signs == "free" else "none"

    def interneurons_of(self, features: int) -> int:
        """How many interneurons a layer of so many units has: k, and not more than there are units."""
        return min(self.interneurons, features)

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """Random orthonormal synapses and no inhibition; with fixed signs, `synapses` holds P and N side by side."""
        state = _interneurons.initial_state(self, features, dtype, device)
        directions = state["directions"]
        signed = self.signs == "fixed"
        state["synapses"] = torch.cat([directions, -directions], dim=1).relu() if signed else directions.clone()
        return state

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """The first volley and its plasticity at every `every`-th call; then D is that of the settled circuit."""
        tracked = _interneurons.track_(self, state, sample.inputs, rate)
        if tracked is None:
            return None
        before = InterneuronChange.snapshot(state)
        synapses, variance = self._net(state), state["variance"]
        seen = self._volley(synapses, tracked.rows)
        together = seen.T @ seen
        own = together.diagonal()
        variance.lerp_(own.double() * tracked.power, tracked.step)
        step = (tracked.step / (variance / tracked.power + _SILENT)).to(own.dtype)
        heard = tracked.rows.T @ (seen * step) - synapses @ (together.triu(1) * step)  # step <u_i r^(i-1)>
        decay = own * step
        if self.signs == "fixed":
            synapses = state["synapses"].mul_(1 - decay.repeat(2)).add_(torch.cat([heard, -heard], dim=1)).relu_()
        else:
            state["synapses"].mul_(1 - decay).add_(heard)
        synapses = self._net(state)
        scale = torch.linalg.vector_norm(synapses, dim=0).clamp_min(1).reciprocal()
        state["synapses"].mul_(scale if self.signs == "free" else scale.repeat(2))
        self._settle_(state, self._net(state), tracked.power)
        return InterneuronChange.since(before, state)

    def _net(self, state: State) -> Tensor:
        """U, or P - N: what the units and an interneuron, or a pair of them, do to each other."""
        if self.signs == "free":
            return state["synapses"]
        excited, partner = state["synapses"].chunk(2, dim=1)
        return excited - partner

    @staticmethod
    def _volley(synapses: Tensor, inputs: Tensor) -> Tensor:
        """u, shape (rows, interneurons): u_i = U_i^T (z - sum over l < i of U_l u_l), a triangular system."""
        overlap = (synapses.T @ synapses).tril(-1)
        seen: Tensor = torch.linalg.solve_triangular(overlap, (inputs @ synapses).T, upper=False, unitriangular=True)
        return seen.T

    def _settle_(self, state: State, synapses: Tensor, power: float) -> None:
        r"""D = (I + U diag(g) U^T)^{-1} as I - Q diag(s) Q^T, from the eigenvalues of I + R diag(g) R^T, U = Q R."""
        strength = _interneurons.inhibit_(self, state, power, len(synapses))
        columns, form = _interneurons.orthonormal_form(synapses)
        upper = form.T @ (columns.T @ synapses)
        core = (upper * (strength / (1 - strength)).to(upper.dtype)) @ upper.T
        core.diagonal().add_(1)
        values, rotation = torch.linalg.eigh(core)
        torch.mm(columns, form @ rotation.flip(1), out=state["directions"])
        values = values.flip(0) - 1
        least = 8 * torch.finfo(values.dtype).eps * (1 + float(values[0]))  # what rounding makes of no inhibition
        values = torch.nn.functional.threshold(values, least, 0.0)
        state["suppression"].copy_(values / (1 + values))

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """The soft cap on the k leading eigenvalues that recruit an interneuron, the others unchanged; times G^2."""
        return _interneurons.damped_covariance(self, covariance)

    def largest_gain(self, features: int, least_power: float) -> float:
        """1, and sqrt(1 + features / damping) where the power is given back."""
        return _interneurons.largest_gain(self, features)
