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
from neuro_decorr.rules._rule import Rule
from neuro_decorr.rules._state import TRANSFORM, Change, Needs, Sample, State
from neuro_decorr.rules._sums import first_rows, row_count, total

_SHIFT = 1e-3
"""Variance, in units of the mean power, that is added to every direction while the subspace turns."""


@dataclass(frozen=True, eq=False)
class InterneuronChange(Change):
    """Change of the directions, suppressions and gain by one update."""

    before: tuple[Tensor, ...]
    after: tuple[Tensor, ...]

    @classmethod
    def since(cls, before: tuple[Tensor, ...], state: State) -> InterneuronChange:
        """Change from a `snapshot` to the present transform of a state."""
        return cls(before, tuple(state[name] for name in TRANSFORM["low_rank"]))

    @staticmethod
    def snapshot(state: State) -> tuple[Tensor, ...]:
        """Copy of the transform of a state."""
        return tuple(state[name].clone() for name in TRANSFORM["low_rank"])

    def increment(self, weight: Tensor) -> Increment:
        r"""Increment W (D_old D_new^{-1} - I), exactly.

        $$D^{-1} = (I + U T U^T) / g, \quad T = (I - S U^T U)^{-1} S$$

        $$
        W (D_{old} D_{new}^{-1} - I) = \rho\, W (P - I) + (\rho - 1) W, \quad
        \rho = g_{old} / g_{new}, \quad P = (I - U S U^T)_{old}\, (I + U T U^T)_{new}
        $$

        U hardly turns in one update, so the factors of P nearly cancel. With U_new = U_old R + E, the product minus the
        identity is a sum of small terms over U_old and E, whose k x k cores are computed in float64. So the increment
        of W is small, and so is its rounding error, however many updates follow. Cost: 8 k outputs features flop.
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
    r"""k inhibitory interneurons that damp the k leading directions of the input and leave all others unchanged.

    $$
    x = g\, (z - U \operatorname{diag}(s)\, U^T z), \qquad
    s_i = 1 - \frac{1}{\sqrt{1 + \lambda_i / (\text{damping}\; c)}}, \qquad
    g^2 = \frac{c}{c - \frac1d \sum_i \lambda_i (1 - (1 - s_i)^2)}
    $$

    U (features x k) holds the tracked leading eigenvectors of the input covariance, lambda holds their variances, and c
    is the mean power of the inputs. A damped direction keeps the variance g^2 lambda / (1 + lambda / (damping c)). On
    these directions this is, apart from g^2, the fixed point of `whitening` with the same damping. The scalar g gives
    back the power that the interneurons take, so that a layer behind them learns at the learning rates that suit it
    without them; `preserve_power=False` sets g = 1. Each tracking step is one step of subspace iteration on the running
    covariance, followed by a Rayleigh-Ritz rotation:

    $$
    M = (1 - w)\, U \Lambda U^T + w\, Z^T Z / n, \quad Q R = (M + 10^{-3} c\, I)\, U, \quad
    E \Lambda E^T = Q^T M Q, \quad U \leftarrow Q E
    $$

    in units of c. The shift changes no eigenvector; it keeps the columns independent where interneurons receive no
    input. The rule forgets its random start: after t tracking steps w is 4 / (t + 4) until the rate exceeds it,
    corrected for few rows, w / (1 + w d / (n (1 + damping))), and c moves by the same w. The tracked variances start at
    zero, and so does inhibition. The first steps count less, since their few rows cannot tell a direction from noise.

    These statements hold for all inputs:

    - U is orthonormal and the variances sum to at most d c, so that 0 < D <= g I with g^2 <= 1 + d / damping.
    - The rule ignores a silent batch (mean power up to 1e-30): nothing moves or fades, and `every` does not count it.
    - A batch that is louder than any before counts as 1e4 c. A batch that is not finite raises Diverged and changes
      nothing.
    - If fewer directions have power than there are interneurons, the idle interneurons keep an orthonormal direction
      and a variance of zero. When units wake that no interneuron hears, idle interneurons turn to them.

    The rule tracks all k directions, including those of interneurons that do not inhibit, so that each can be recruited
    at once. Memory and cost are those of k: an update costs 4 k n d / every flop for n rows and d units.

    The default damping is the weaker of the two that the protocol `credit_assignment` chose on handwritten digits (0.3
    with strong common modes added, 3 without). Wide layers on natural images need weaker decorrelation: prototypes on
    CIFAR-10 did best at 30 to 100. Tune it.

    Source: circuits of Lipshutz, Pehlevan, Chklovskii (2023), Interneurons accelerate learning dynamics in recurrent
    neural networks for statistical adaptation, arXiv:2209.10634, and Duong et al. (2023), Adaptive whitening in neural
    populations with gain-modulating interneurons, arXiv:2301.11955; subspace tracking: Arora, Cotter, Livescu,
    Srebro (2012), Stochastic optimization for PCA and PLS, doi:10.1109/Allerton.2012.6483308.

    Attributes:
        rate: Least weight of the present rows in the running covariance, in (0, 1].
        interneurons: k; a layer of fewer units has as many interneurons as units and is damped in all directions.
        damping: Soft cap relative to the mean power; a smaller value decorrelates more.
        every: Number of updates from one move of the subspace to the next.
        recruit: Variance along its direction, in units of damping c, above which an interneuron inhibits. The number of
            inhibiting interneurons then grows and shrinks with the inputs, up to k. 0: all k always inhibit.
        fewest: Number of interneurons, those of the leading directions, that inhibit whatever variance they see.
        preserve_power: True gives back, by g, the power that the interneurons take.
        seed: Seed of the random initial directions.
    """

    name = "interneuron"
    title = "damps the k leading directions by k interneurons (low rank, cheap)"
    equation = "x = g (z - U diag(s) U^T z), s = 1 - (1 + lambda / (damping c))^-1/2"
    fixed_point_text = "g^2 lambda / (1 + lambda / (damping c)) on the k leading directions"
    locality = "k interneurons per layer (computed here by subspace iteration)"
    cost = "4 k n d / every for k interneurons"
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
        """Problems of the parameters."""
        yield from super().problems()
        yield from _interneurons.problems(self)

    def interneurons_of(self, features: int) -> int:
        """Number of interneurons of a layer: k, or the number of units if that is smaller."""
        return min(self.interneurons, features)

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """Random orthonormal directions without suppression; arguments as in `Rule.initial_state`."""
        return _interneurons.initial_state(self, features, dtype, device)

    def needs(self, state: State, features: int) -> Needs:
        """Inputs, or their products with the interneurons; nothing for an update that does not move the subspace."""
        return _interneurons.needs(self, state, features)

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Take a tracking step at every `every`-th call; the tracked variances set suppressions and gain."""
        tracked = _interneurons.track_(self, state, sample, rate)
        if tracked is None:
            return None
        power, step = tracked.power, tracked.step
        directions, variance = state["directions"], state["variance"]
        before = InterneuronChange.snapshot(state)
        kept = (variance * ((1 - step) / power)).to(directions.dtype)
        rows = tracked.rows.mul_(math.sqrt(step))
        seen = rows @ directions
        gram, moved = total(sample, seen.T @ seen, rows.T @ seen)
        moved.addcmul_(directions, kept + _SHIFT)
        turned = _listen_elsewhere_(moved, directions, kept + gram.diagonal(), rows, sample)
        columns, form = _interneurons.orthonormal_form(moved)
        # Q^T U: known where Q is a form of (M + shift) U, since U is orthonormal.
        known = columns is moved and not turned
        overlap = form.T @ (gram + (kept + _SHIFT).diag() if known else columns.T @ directions)
        projected = (rows @ columns) @ form
        (heard,) = total(sample, projected.T @ projected)
        rayleigh = heard.addmm_(overlap * kept, overlap.T)
        # The shift helps here too: beside a diagonal of zeros, products of numbers below rounding leave the range of
        # float32, and some kernels then find no eigenvalues.
        rayleigh.diagonal().add_(_SHIFT)
        values, rotation = torch.linalg.eigh(rayleigh)
        torch.mm(columns, form @ rotation.flip(1), out=directions)
        values = values.flip(0) - _SHIFT
        # A variance below the rounding of the largest counts as zero, which it would never reach by itself.
        least = 8 * torch.finfo(values.dtype).eps * max(1.0, float(values[0]))
        values = torch.nn.functional.threshold(values, least, 0.0)
        variance.copy_(values).mul_(power)
        _interneurons.inhibit_(self, state, power, len(directions))
        return InterneuronChange.since(before, state)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance with a soft cap on those of the k leading eigenvalues that recruit an interneuron, times g^2."""
        return _interneurons.damped_covariance(self, covariance)

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound sqrt(1 + features / damping) on |D| with `preserve_power`, 1 without."""
        return _interneurons.largest_gain(self, features)


def _listen_elsewhere_(columns: Tensor, directions: Tensor, heard: Tensor, rows: Tensor, sample: Sample) -> bool:
    """Turn interneurons that hear nothing towards inputs that no interneuron hears, each towards a part of one row.

    Without this step, directions on units that are silent for good would stay there whatever other units do.

    Args:
        columns: New directions, shape (features, interneurons); changed in place.
        directions: U, shape (features, interneurons).
        heard: Variance that each interneuron hears, in units of the mean power, shape (interneurons,).
        rows: Inputs in units of the mean power, shape (rows, features).
        sample: Sample to which the rows belong.

    Returns:
        True if there are any such interneurons.
    """
    least = torch.finfo(heard.dtype).eps
    if float(heard.min()) > least:
        return False
    idle = (heard <= least).nonzero().flatten()[: row_count(sample)]
    some = first_rows(sample, rows, len(idle))
    columns[:, idle] += (some - (some @ directions) @ directions.T).T
    return True
