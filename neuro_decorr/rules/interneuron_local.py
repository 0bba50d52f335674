"""Damping of the leading directions by interneurons whose synapses learn from local quantities only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules import _interneurons
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Rule
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import total
from neuro_decorr.rules.interneuron import InterneuronChange

Signs = Literal["free", "fixed"]

_SILENT = 1e-3
"""Variance, relative to the mean power, below which a direction is learned more slowly than at the rate."""


@register
@dataclass(frozen=True, kw_only=True)
class InterneuronLocal(Rule):
    r"""Interneurons that learn the leading directions in sequence, each from the activity that the earlier ones left.

    The interneurons learn during the first volley. Interneuron i hears the units after interneurons 1 to i - 1 have
    inhibited them, and then inhibits them through synapses of the same strength:

    $$r^{(0)} = z, \qquad u_i = U_i^T r^{(i-1)}, \qquad r^{(i)} = r^{(i-1)} - U_i u_i$$

    $$
    \Delta U_{ji} = \frac{\eta}{v_i} \langle u_i\, r^{(i)}_j \rangle, \qquad
    v_i \leftarrow (1 - \eta)\, v_i + \eta\, \langle u_i^2 \rangle
    $$

    A synapse needs only what is present at it: the activity of unit j after the inhibition that j has received so far,
    and the activity of interneuron i. The synapse back from i onto j sees the same two activities and learns the same
    strength; its effect on the units is anti-Hebbian. If both synapses are equal, r^{(i)} contains a decay by the
    synapse's own strength. Written out, the two updates are

    $$
    \Delta U_{ji} = \frac{\eta}{v_i} \langle u_i (r^{(i-1)}_j - U_{ji} u_i) \rangle, \qquad
    \Delta V_{ji} = \frac{\eta}{v_i} \langle u_i (r^{(i-1)}_j - V_{ji} u_i) \rangle,
    $$

    so that the difference of a separate synapse back V from U shrinks by the factor
    $1 - \eta \langle u_i^2 \rangle / v_i$ at every update, whatever the inputs are. The library therefore holds both
    synapses as one number.

    The division by the variance of the interneuron makes the step independent of the scale of the inputs, and as fast
    for weak directions as for strong ones. At rest U_i is the i-th eigenvector of the covariance and v_i its eigenvalue
    (Sanger's theorem).

    Then the circuit settles, with feedback at gain g_i. The variance of the interneuron and the mean power c, one
    scalar per layer, set this gain:

    $$x = z - U \operatorname{diag}(g)\, n, \quad n = U^T x, \quad g_i = \sqrt{1 + v_i / (\text{damping}\; c)} - 1$$

    The eigenvalues of (I + U diag(g) U^T)^{-1} lie in (0, 1] for all synapses, so that inhibition never overshoots. In
    its low-rank form, I - Q diag(s) Q^T, s = g / (1 + g) if the columns of U are orthonormal, as they are at rest: a
    direction keeps the variance lambda / (1 + lambda / (damping c)). The next layer receives

    $$D z = G\, x, \qquad G^2 = \frac{c}{c - \frac1d \sum_i v_i (1 - (1 + g_i)^{-2})}$$

    The scalar G gives back the power that the interneurons take (exactly so at rest), computed from the same variances
    and the same c; `preserve_power=False` sets G = 1. The fixed point is that of `interneuron` with the same damping.

    The rule forgets its random start: after t moves of the synapses eta is 4 / (t + 4) until the rate exceeds it,
    corrected for few rows, eta / (1 + eta d / (n (1 + damping))), for the synapses, v and c alike. The variances start
    at zero. An update costs (4 k n d + 10 k^2 d) / every flop for n rows and d units.

    These statements hold for all inputs:

    - The rule scales the synapses onto an interneuron down if the sum of their squares would exceed 1, which does not
      happen at rest. So the sum of all v is at most d c, and 0 < D <= G I with G^2 <= 1 + d / damping.
    - The rule ignores a silent batch (mean power up to 1e-30): nothing moves or fades, and `every` does not count it.
    - A batch that is louder than any before counts as 1e4 c. A batch that is not finite raises Diverged and changes
      nothing.
    - An interneuron whose units are all silent keeps its synapses; the rule adds 1e-3 c to v so that they do not grow
      without bound. Synapses of units that died fade to zero. They return only while such a unit is active together
      with a unit that the interneuron still hears.

    With `signs="fixed"` no synapse changes its sign (Dale's law), and the fixed point is the same. Each direction then
    has two interneurons in push-pull, with activities u and -u about their baseline, excited through P >= 0 and N >= 0.
    Each inhibits the units that excite it, at the same strength, and its partner, at strength 1. U stands for P - N:

    $$
    P_{ji} \leftarrow [P_{ji} + \tfrac{\eta}{v_i} \langle u_i (r^{(i-1)}_j - P_{ji} u_i) \rangle]_+, \qquad
    N_{ji} \leftarrow [N_{ji} + \tfrac{\eta}{v_i} \langle -u_i (r^{(i-1)}_j + N_{ji} u_i) \rangle]_+
    $$

    At rest P and N are the positive and the negative part of U. The partners are necessary in general: without them
    interneurons can only lower the activity of other units, D_jk <= 0 for j != k, and this damps no direction of mixed
    sign.

    Source: Sanger (1989), Optimal unsupervised learning in a single-layer linear feedforward neural network,
    doi:10.1016/0893-6080(89)90044-0; division by the variance: Moeller, Koenies (2004), Coupled principal component
    analysis, doi:10.1109/TNN.2003.820439; circuit: Lipshutz et al. (2023), arXiv:2209.10634, and Duong et al. (2023),
    arXiv:2301.11955.

    Attributes:
        rate: Least eta, per move of the synapses, in (0, 1].
        interneurons: k, the number of interneurons (with fixed signs: of pairs); a layer of fewer units has as many
            interneurons as units.
        damping: Soft cap relative to the mean power; a smaller value decorrelates more.
        every: Number of updates from one move of the synapses to the next.
        recruit: Variance that an interneuron sees, in units of damping c, above which it inhibits. The number of
            inhibiting interneurons then grows and shrinks with the inputs, up to k. 0: all k always inhibit. All k
            learn in any case.
        fewest: Number of interneurons, the first ones, that inhibit whatever variance they see.
        preserve_power: True gives back, by G, the power that the interneurons take.
        signs: `free`, or `fixed` for excitatory and inhibitory synapses that keep their sign.
        seed: Seed of the random initial directions.
    """

    name = "interneuron_local"
    title = "local form of interneuron: Hebbian synapses onto k interneurons, whose gains follow their own variance"
    equation = "U_ji <- U_ji + rate <u_i r_j> / v_i, D = G (I + U diag(g) U^T)^-1, g = (1 + v / (damping c))^1/2 - 1"
    fixed_point_text = "G^2 lambda / (1 + lambda / (damping c)) on the k leading directions"
    locality = "activity of unit j as inhibited so far, of interneuron i, its variance, one scalar per layer"
    cost = "(4 k n d + 10 k^2 d) / every for k interneurons"
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
        """Problems of the parameters."""
        yield from super().problems()
        yield from _interneurons.problems(self)
        yield checks.word("signs", self.signs, get_args(Signs))

    @property
    def equivariance(self) -> Literal["orthogonal", "none"]:
        """`orthogonal` with free signs; `none` with fixed signs, which belong to the units."""
        return "orthogonal" if self.signs == "free" else "none"

    def interneurons_of(self, features: int) -> int:
        """Number of interneurons of a layer: k, or the number of units if that is smaller."""
        return min(self.interneurons, features)

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """Random orthonormal synapses without inhibition; with fixed signs, `synapses` holds P and N side by side."""
        state = _interneurons.initial_state(self, features, dtype, device)
        directions = state["directions"]
        signed = self.signs == "fixed"
        state["synapses"] = torch.cat([directions, -directions], dim=1).relu() if signed else directions.clone()
        return state

    def needs(self, state: State, features: int) -> Needs:
        """Inputs, or their products with the interneurons; nothing for an update that does not move the synapses."""
        return _interneurons.needs(self, state, features)

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Learn from the first volley at every `every`-th call, then set D to that of the settled circuit."""
        tracked = _interneurons.track_(self, state, sample, rate)
        if tracked is None:
            return None
        before = InterneuronChange.snapshot(state)
        synapses, variance = self._net(state), state["variance"]
        seen = self._volley(synapses, tracked.rows)
        together, products = total(sample, seen.T @ seen, tracked.rows.T @ seen)
        own = together.diagonal()
        variance.lerp_(own.double() * tracked.power, tracked.step)
        step = (tracked.step / (variance / tracked.power + _SILENT)).to(own.dtype)
        heard = products * step - synapses @ (together.triu(1) * step)  # step <u_i r^(i-1)>
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
        """Net synapses between units and interneurons: U, or P - N for pairs of interneurons."""
        if self.signs == "free":
            return state["synapses"]
        excited, partner = state["synapses"].chunk(2, dim=1)
        return excited - partner

    @staticmethod
    def _volley(synapses: Tensor, inputs: Tensor) -> Tensor:
        """Activity u, shape (rows, interneurons), from the triangular system u_i = U_i^T (z - sum_{l < i} U_l u_l)."""
        overlap = (synapses.T @ synapses).tril(-1)
        seen: Tensor = torch.linalg.solve_triangular(overlap, (inputs @ synapses).T, upper=False, unitriangular=True)
        return seen.T

    def _settle_(self, state: State, synapses: Tensor, power: float) -> None:
        r"""Set D = (I + U diag(g) U^T)^{-1} as I - Q diag(s) Q^T, by the eigenvalues of I + R diag(g) R^T, U = Q R."""
        strength = _interneurons.inhibit_(self, state, power, len(synapses))
        columns, form = _interneurons.orthonormal_form(synapses)
        upper = form.T @ (columns.T @ synapses)
        core = (upper * (strength / (1 - strength)).to(upper.dtype)) @ upper.T
        core.diagonal().add_(1)
        values, rotation = torch.linalg.eigh(core)
        torch.mm(columns, form @ rotation.flip(1), out=state["directions"])
        values = values.flip(0) - 1
        least = 8 * torch.finfo(values.dtype).eps * (1 + float(values[0]))  # rounding error without inhibition
        values = torch.nn.functional.threshold(values, least, 0.0)
        state["suppression"].copy_(values / (1 + values))

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance with a soft cap on those of the k leading eigenvalues that recruit an interneuron, times G^2."""
        return _interneurons.damped_covariance(self, covariance)

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound sqrt(1 + features / damping) on |D| with `preserve_power`, 1 without."""
        return _interneurons.largest_gain(self, features)
