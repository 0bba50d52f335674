"""Damping of the leading directions by a few inhibitory interneurons (low rank)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr.rules._interneurons import check_interneurons, damped_covariance, orthonormal_form, random_directions
from neuro_decorr.rules._interneurons import suppression as strength
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._residual import Increment
from neuro_decorr.rules._rule import Change, Rule, Sample, State


@dataclass(frozen=True, eq=False)
class InterneuronChange(Change):
    """Directions and suppressions before and after an update."""

    before: tuple[Tensor, Tensor]
    after: tuple[Tensor, Tensor]

    def increment(self, weight: Tensor) -> Increment:
        r"""W (D_old D_new^{-1} - I), exactly.

        .. math:: D^{-1} = I + U T U^T, \quad T = (I - S U^T U)^{-1} S

        U hardly turns in one update, so D_old and D_new^{-1} nearly cancel. With U_new = U_old R + E, the product less
        the identity is a sum of small terms over U_old and E, whose k x k cores are taken in double precision: what is
        added to W is small, and so is its rounding, however many updates follow. Cost: 8 k outputs features flop.
        """
        old, new = self.before[0].double(), self.after[0].double()
        suppression_old, suppression_new = self.before[1].double().diag(), self.after[1].double().diag()
        identity = torch.eye(len(suppression_new), dtype=torch.float64, device=new.device)
        inverse = torch.linalg.solve(identity - suppression_new @ (new.T @ new), suppression_new)
        rotation = old.T @ new
        turned = new - old @ rotation
        passed = rotation @ inverse - suppression_old @ rotation @ inverse
        along_old = (passed @ rotation.T - suppression_old) @ old.T + passed @ turned.T
        along_turned = inverse @ (rotation.T @ old.T + turned.T)
        narrow = self.after[0].dtype
        onto = weight.to(narrow) @ torch.cat([old, turned], dim=1).to(narrow)
        along = torch.cat([along_old, along_turned]).to(narrow)
        return lambda rows: onto[rows] @ along

    def moment_increment(self, moment: Tensor) -> Increment:
        r"""Adds m (D_old^{-1} D_new - I), both being symmetric; T as above, of the old directions.

        .. math:: D_{old}^{-1} D_{new} - I = U T U^T - (I + U T U^T)\, V S V^T

        Cost: 8 k outputs features flop.
        """
        old, new = self.before[0].double(), self.after[0].double()
        suppression_old, suppression_new = self.before[1].double().diag(), self.after[1].double().diag()
        identity = torch.eye(len(suppression_old), dtype=torch.float64, device=old.device)
        inverse = torch.linalg.solve(identity - suppression_old @ (old.T @ old), suppression_old)
        inhibited = suppression_new @ new.T
        narrow = self.after[0].dtype
        onto = moment.to(narrow) @ torch.cat([old, new], dim=1).to(narrow)
        along = torch.cat([inverse @ (old.T - old.T @ new @ inhibited), -inhibited]).to(narrow)
        return lambda rows: onto[rows] @ along


@register
@dataclass(frozen=True, kw_only=True)
class Interneuron(Rule):
    r"""k inhibitory interneurons damp the k leading directions of the input; all others pass untouched.

    .. math::
        x = z - U \operatorname{diag}(s)\, U^T z, \qquad
        s_i = 1 - \frac{1}{\sqrt{1 + \lambda_i / (\text{damping}\; c)}}

    U (features x k) holds the tracked leading eigenvectors of the input covariance, lambda their variances and c
    the mean power of the inputs. A damped direction keeps the variance lambda / (1 + lambda / (damping c)), the
    fixed point of `whitening` with the same damping on these directions. Each tracking step is one step of subspace
    iteration on the running covariance, followed by a Rayleigh-Ritz rotation:

    .. math:: M = (1 - \rho)\, U \Lambda U^T + \rho\, Z^T Z / n, \quad Q R = M U, \quad
              E \Lambda E^T = Q^T M Q, \quad U \leftarrow Q E

    The tracked variances start at zero, so inhibition grows in over about 1 / rho tracking steps.

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
        rate: rho, the weight of the present rows in the running covariance, in (0, 1].
        interneurons: k, at most the number of features of every layer it is used on.
        damping: Strength relative to the mean power; the smaller the stronger.
        every: The subspace moves at every so many updates.
        recruit: Variance along its direction, in units of damping c, above which an interneuron inhibits: how many do
            then grows and shrinks with the inputs, up to k. 0: all k always do.
        fewest: So many interneurons, those of the leading directions, inhibit whatever they see.
        seed: Of the random initial directions.
    """

    name = "interneuron"
    title = "k interneurons damp the k leading directions; low rank, the cheap one"
    equation = "x = z - U diag(s) U^T z, s = 1 - (1 + lambda / (damping c))^-1/2"
    fixed_point_text = "lambda / (1 + lambda / (damping c)) on the k leading directions"
    locality = "k interneurons a layer (here by subspace iteration)"
    cost = "4 k n d / every"
    reference = "Lipshutz et al. 2023, arXiv:2209.10634; Duong et al. 2023, arXiv:2301.11955"
    structure = "low_rank"

    rate: float = 0.1
    interneurons: int = 16
    damping: float = 3.0
    every: int = 4
    recruit: float = 0.0
    fewest: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A parameter outside its range; the message names it.
        """
        super().__post_init__()
        check_interneurons(self)

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """Random orthonormal directions, no suppression.

        Raises:
            InvalidValue: More interneurons than features.
        """
        directions = random_directions(self, features)
        return {
            "directions": directions.to(dtype=dtype, device=device),
            "suppression": torch.zeros(self.interneurons, dtype=dtype, device=device),
            "variance": torch.zeros(self.interneurons, dtype=dtype, device=device),
            "power": torch.zeros((), dtype=dtype, device=device),
            "updates": torch.zeros((), dtype=dtype, device=device),
        }

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """One tracking step at every `every`-th call; the suppressions follow from the tracked variances."""
        updates = int(state["updates"])
        state["updates"].add_(1)
        if updates % self.every:
            return None
        directions, suppression, variance = state["directions"], state["suppression"], state["variance"]
        before = (directions.clone(), suppression.clone())
        inputs = sample.inputs
        rows = len(inputs)
        state["power"].lerp_(inputs.square().mean(), 1.0 if updates == 0 else rate)

        kept = (1 - rate) * variance
        seen = inputs @ directions
        moved = torch.addmm(directions * kept, inputs.T, seen, alpha=rate / rows)
        columns, form = orthonormal_form(moved)
        # Q^T U: known where Q is a form of M U, since U is orthonormal.
        overlap = (
            torch.addmm(kept.diag(), seen.T, seen, alpha=rate / rows) if columns is moved else columns.T @ directions
        )
        overlap = form.T @ overlap
        projected = (inputs @ columns) @ form
        rayleigh = (overlap * kept) @ overlap.T
        rayleigh.addmm_(projected.T, projected, alpha=rate / rows)
        values, rotation = torch.linalg.eigh(rayleigh)
        torch.mm(columns, form @ rotation.flip(1), out=directions)
        variance.copy_(values.flip(0).clamp_min(0))  # a variance is not negative; rounding can make it so

        power = float(state["power"])
        if power > 0:
            suppression.copy_(strength(self, variance, power))
        return InterneuronChange(before, (directions, suppression))

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """The soft cap on the k leading eigenvalues that recruit an interneuron, the others unchanged."""
        return damped_covariance(self, covariance)
