"""Damping of the leading directions by a few inhibitory interneurons (low rank)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr.rules import _interneurons
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._residual import Increment
from neuro_decorr.rules._rule import TRANSFORM, Change, Rule, Sample, State

_SHIFT = 1e-3
"""Variance, in units of the mean power, that every direction is taken to have on top while the subspace turns."""


@dataclass(frozen=True, eq=False)
class InterneuronChange(Change):
    """Directions, suppressions and gain before and after an update."""

    before: tuple[Tensor, ...]
    after: tuple[Tensor, ...]

    @classmethod
    def since(cls, before: tuple[Tensor, ...], state: State) -> InterneuronChange:
        """From a `snapshot` to the present transform of a state."""
        return cls(before, tuple(state[name] for name in TRANSFORM["low_rank"]))

    @staticmethod
    def snapshot(state: State) -> tuple[Tensor, ...]:
        """A copy of the transform of a state."""
        return tuple(state[name].clone() for name in TRANSFORM["low_rank"])

    def increment(self, weight: Tensor) -> Increment:
        r"""W (D_old D_new^{-1} - I), exactly.

        $$D^{-1} = (I + U T U^T) / g, \quad T = (I - S U^T U)^{-1} S$$

        $$
        W (D_{old} D_{new}^{-1} - I) = \rho\, W (P - I) + (\rho - 1) W, \quad
        \rho = g_{old} / g_{new}, \quad P = (I - U S U^T)_{old}\, (I + U T U^T)_{new}
        $$

        U hardly turns in one update, so the factors of P nearly cancel. With U_new = U_old R + E, the product less
        the identity is a sum of small terms over U_old and E, whose k x k cores are taken in double precision: what is
        added to W is small, and so is its rounding, however many updates follow. Cost: 8 k outputs features flop.
        """
        old, new = self.before[0].double(), self.after[0].double()
        suppression_old, suppression_new = self.before[1].double().diag(), self.after[1].double().diag()
        gain_old, gain_new = float(self.before[2]), float(self.after[2])
        identity = torch.eye(len(suppression_new), dtype=torch.float64, device=new.device)
        inverse = torch.linalg.solve(identity - suppression_new @ (new.T @ new), suppression_new)
        rotation = old.T @ new
        turned = new - old @ rotation
        passed = rotation @ inverse - suppression_old @ rotation @ inverse
        along_old = (passed @ rotation.T - suppression_old) @ old.T + passed @ turned.T
        along_turned = inverse @ (rotation.T @ old.T + turned.T)
        narrow = self.after[0].dtype
        onto = weight.to(narrow) @ torch.cat([old, turned], dim=1).to(narrow)
        along = torch.cat([along_old, along_turned]).mul_(gain_old / gain_new).to(narrow)
        if gain_old == gain_new:
            return lambda rows: onto[rows] @ along
        grown = (gain_old - gain_new) / gain_new
        return lambda rows: torch.addmm(weight[rows].to(narrow), onto[rows], along, beta=grown)


@register
@dataclass(frozen=True, kw_only=True)
class Interneuron(Rule):
    r"""k inhibitory interneurons damp the k leading directions of the input; all others pass untouched.

    $$
    x = g\, (z - U \operatorname{diag}(s)\, U^T z), \qquad
    s_i = 1 - \frac{1}{\sqrt{1 + \lambda_i / (\text{damping}\; c)}}, \qquad
    g^2 = \frac{c}{c - \frac1d \sum_i \lambda_i (1 - (1 - s_i)^2)}
    $$

    U (features x k) holds the tracked leading eigenvectors of the input covariance, lambda their variances and c
    the mean power of the inputs. A damped direction keeps the variance g^2 lambda / (1 + lambda / (damping c)), but for
    g^2 the fixed point of `whitening` with the same damping on these directions. The scalar g gives back the power that
    the interneurons take, so that a layer behind learns at the rates that suit it without them; g = 1 with
    `preserve_power` off. Each tracking step is one step of subspace iteration on the running covariance, followed by a
    Rayleigh-Ritz rotation:

    $$
    M = (1 - w)\, U \Lambda U^T + w\, Z^T Z / n, \quad Q R = (M + 10^{-3} c\, I)\, U, \quad
    E \Lambda E^T = Q^T M Q, \quad U \leftarrow Q E
    $$

    in units of c. The shift changes no eigenvector; it keeps the columns independent where interneurons hear nothing.

    Where it began is forgotten: after t tracking steps w is 4 / (t + 4) until the rate is more, corrected for few rows,
    w / (1 + w d / (n (1 + damping))), and c moves by the same w. The tracked variances start at zero, and so does
    inhibition; the first steps, whose few rows could not tell a direction from noise, count the less.

    What holds, whatever the inputs are:

    - U is orthonormal, the variances sum to at most d c, and so 0 < D <= g I with g^2 <= 1 + d / damping.
    - A silent batch (mean power up to 1e-30) does not exist: nothing moves or fades, and it does not count for `every`.
    - A batch that is louder than any before counts as 1e4 c. One that is not finite raises Diverged before anything has
      moved.
    - Where fewer directions have power than there are interneurons, the idle ones keep an orthonormal direction and
      a variance of zero. When units wake that none of them hears, they turn to those.

    All k directions are tracked, those of interneurons that do not inhibit too, so that one can be recruited at once;
    memory and cost are those of k.

    The default damping is the weaker of the two that the protocol `credit_assignment` chose on handwritten digits (0.3
    where strong common modes were added, 3 without). Wide layers on natural images want less: prototypes on CIFAR-10
    did best at 30 to 100. Tune it.

    Source: circuits of Lipshutz, Pehlevan, Chklovskii (2023), Interneurons accelerate learning dynamics in recurrent
    neural networks for statistical adaptation, arXiv:2209.10634, and Duong et al. (2023), Adaptive whitening in neural
    populations with gain-modulating interneurons, arXiv:2301.11955; subspace tracking: Arora, Cotter, Livescu,
    Srebro (2012), Stochastic optimization for PCA and PLS, doi:10.1109/Allerton.2012.6483308.

    Attributes:
        rate: The least weight of the present rows in the running covariance, in (0, 1].
        interneurons: k; a layer of fewer units has as many interneurons as units, and is damped in all directions.
        damping: Strength relative to the mean power; the smaller the stronger.
        every: The subspace moves at every so many updates.
        recruit: Variance along its direction, in units of damping c, above which an interneuron inhibits: how many do
            then grows and shrinks with the inputs, up to k. 0: all k always do.
        fewest: So many interneurons, those of the leading directions, inhibit whatever they see.
        preserve_power: Give back, by g, the power that the interneurons take.
        seed: Of the random initial directions.
    """

    name = "interneuron"
    title = "k interneurons damp the k leading directions; low rank, the cheap one"
    equation = "x = g (z - U diag(s) U^T z), s = 1 - (1 + lambda / (damping c))^-1/2"
    fixed_point_text = "g^2 lambda / (1 + lambda / (damping c)) on the k leading directions"
    locality = "k interneurons a layer (here by subspace iteration)"
    cost = "4 k n d / every"
    source = "Lipshutz et al. 2023, arXiv:2209.10634; Duong et al. 2023, arXiv:2301.11955"
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
    seed: int = 0

    def problems(self) -> Iterator[str | None]:
        """What is wrong with the parameters."""
        yield from super().problems()
        yield from _interneurons.problems(self)

    def interneurons_of(self, features: int) -> int:
        """How many interneurons a layer of so many units has: k, and not more than there are units."""
        return min(self.interneurons, features)

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """Random orthonormal directions, no suppression."""
        return _interneurons.initial_state(self, features, dtype, device)

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """One tracking step at every `every`-th call; suppressions and gain follow from the tracked variances."""
        tracked = _interneurons.track_(self, state, sample.inputs, rate)
        if tracked is None:
            return None
        power, step = tracked.power, tracked.step
        directions, variance = state["directions"], state["variance"]
        before = InterneuronChange.snapshot(state)
        kept = (variance * ((1 - step) / power)).to(directions.dtype)
        rows = tracked.rows.mul_(math.sqrt(step))
        seen = rows @ directions
        gram = seen.T @ seen
        moved = torch.addmm(directions * (kept + _SHIFT), rows.T, seen)
        turned = _listen_elsewhere_(moved, directions, kept + gram.diagonal(), rows)
        columns, form = _interneurons.orthonormal_form(moved)
        # Q^T U: known where Q is a form of (M + shift) U, since U is orthonormal.
        known = columns is moved and not turned
        overlap = form.T @ (gram + (kept + _SHIFT).diag() if known else columns.T @ directions)
        projected = (rows @ columns) @ form
        rayleigh = torch.addmm((overlap * kept) @ overlap.T, projected.T, projected)
        # Shifted too: beside a diagonal of zeros, products of numbers below rounding leave the range of float32, and
        # some kernels then find no eigenvalues.
        rayleigh.diagonal().add_(_SHIFT)
        values, rotation = torch.linalg.eigh(rayleigh)
        torch.mm(columns, form @ rotation.flip(1), out=directions)
        values = values.flip(0) - _SHIFT
        # What is left of a variance below the rounding of the largest is none; it would never reach zero by itself.
        least = 8 * torch.finfo(values.dtype).eps * max(1.0, float(values[0]))
        values = torch.nn.functional.threshold(values, least, 0.0)
        variance.copy_(values).mul_(power)
        _interneurons.inhibit_(self, state, power, len(directions))
        return InterneuronChange.since(before, state)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """The soft cap on the k leading eigenvalues that recruit an interneuron, the others unchanged; times g^2."""
        return _interneurons.damped_covariance(self, covariance)

    def largest_gain(self, features: int, least_power: float) -> float:
        """1, and sqrt(1 + features / damping) where the power is given back."""
        return _interneurons.largest_gain(self, features)


def _listen_elsewhere_(columns: Tensor, directions: Tensor, heard: Tensor, rows: Tensor) -> bool:
    """Turn interneurons that hear nothing towards what none of them hears, each towards that part of one row.

    Without it, directions on units that are silent for good would stay there whatever other units do.

    Args:
        columns: What the directions turn into, shape (features, interneurons); changed in place.
        directions: U, shape (features, interneurons).
        heard: Variance that each of them hears, in units of the mean power, shape (interneurons,).
        rows: In units of the mean power, shape (rows, features).

    Returns:
        Whether there are any such interneurons.
    """
    least = torch.finfo(heard.dtype).eps
    if float(heard.min()) > least:
        return False
    idle = (heard <= least).nonzero().flatten()[: len(rows)]
    some = rows[: len(idle)]
    columns[:, idle] += (some - (some @ directions) @ directions.T).T
    return True
