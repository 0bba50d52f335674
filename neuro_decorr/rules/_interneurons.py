"""What the rules with interneurons share: where they start, what they hear, how strongly they inhibit and rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._power import SILENT, hear_, initial_power, newest_weight, present_power
from neuro_decorr.rules._rule import State

_LEAST_SINE = 0.1
"""Columns that lean closer to those before them are left to a QR decomposition."""
_LEAST_WORK = 2**19
"""So are columns with a smaller features * interneurons^2: one call is cheaper than ten."""
_FAINT, _LOUD = 1e-6, 1e15
"""Rows of a norm between these are neither silent nor beyond any floating type: no closer look is needed."""


class Interneurons(Protocol):
    """The parameters of a population of interneurons, as the rules' classes describe them."""

    @property
    def name(self) -> str: ...
    @property
    def rate(self) -> float: ...
    @property
    def interneurons(self) -> int: ...
    @property
    def damping(self) -> float: ...
    @property
    def recruit(self) -> float: ...
    @property
    def fewest(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def every(self) -> int: ...
    @property
    def preserve_power(self) -> bool: ...
    def interneurons_of(self, features: int) -> int: ...


class Tracked(NamedTuple):
    """What a batch adds to the running covariance of the inputs.

    Attributes:
        power: c, the mean power of the inputs in the running covariance, this batch included.
        step: Weight of this batch in it, in (0, 1).
        rows: The inputs in units of c, so that R^T R is their second moment over c; shape (rows, features).
        updates: t, how many batches it holds, this one included.
    """

    power: float
    step: float
    rows: Tensor
    updates: int


def problems(population: Interneurons) -> Iterator[str | None]:
    """What is wrong with the parameters that the rules with interneurons have in common."""
    most, fewest = population.interneurons, population.fewest
    counts = [checks.whole_number("interneurons", most, least=1), checks.whole_number("fewest", fewest, least=0)]
    yield from counts
    if counts == [None, None] and fewest > most:
        yield f"fewest must not be more than interneurons, here {most}, got {fewest}"
    yield checks.number("damping", population.damping, above=0)
    yield checks.whole_number("every", population.every, least=1)
    yield checks.number("recruit", population.recruit, least=0, hint="0 lets all interneurons inhibit")
    yield checks.flag("preserve_power", population.preserve_power)
    yield checks.whole_number("seed", population.seed, least=0)


def initial_state(
    population: Interneurons, features: int, dtype: torch.dtype, device: torch.device | str | None
) -> State:
    """Random orthonormal directions, no suppression, a gain of one, nothing heard: a state that both rules start from.

    Args:
        population: The parameters.
        features: Number of units.
        dtype: Of the transform; variances and power are in double precision, in which no square leaves the range.
        device: Where the state lives.
    """
    count = population.interneurons_of(features)
    generator = torch.Generator().manual_seed(population.seed)
    random = torch.randn(features, count, generator=generator, dtype=torch.float64)
    directions = torch.linalg.qr(random).Q.contiguous().to(dtype=dtype, device=device)
    return {
        "directions": directions,
        "suppression": directions.new_zeros(count),
        "gain": directions.new_ones(()),
        "variance": directions.new_zeros(count, dtype=torch.float64),
        "calls": directions.new_zeros((), dtype=torch.int64),
        **initial_power(directions),
    }


def track_(population: Interneurons, state: State, inputs: Tensor, rate: float) -> Tracked | None:
    r"""Hear every `every`-th batch, and move the mean power of the running covariance to it.

    $$
    c \leftarrow (1 - w)\, c + w \min(p, 10^4 c), \quad
    w = \frac{\eta_t}{1 + \eta_t\, d / (n (1 + \text{damping}))}, \quad
    \eta_t = \max(\eta, 4 / (t + 4)) \text{ at first}
    $$

    with p the power of the batch, n its rows and d the number of units; the first batch sets c. The variances that
    interneurons track move by the same weight w, and start at zero: so their sum is at most d c, always. The weight is
    that of `whitening`: n rows in d dimensions have spurious variances of c d / n, and a running covariance in which
    they would inhibit strongly has to remember more rows than that.

    A silent batch does not exist: it moves nothing, and does not count for `every`. At rate 0 nothing moves either.

    Args:
        population: The parameters.
        state: Holds `power`, `updates` and `calls`, changed in place.
        inputs: Centred rows, shape (rows, features).
        rate: eta.

    Returns:
        None where no update is due, or nothing was heard.

    Raises:
        Diverged: The power of the inputs is not finite; nothing has moved.
    """
    if not rate:
        return None
    if int(state["calls"]) % population.every:
        norm = float(torch.linalg.vector_norm(inputs))
        # Four times as fast as in double precision, which the extremes need.
        if _FAINT < norm < _LOUD or present_power(inputs) > SILENT:
            state["calls"].add_(1)
        return None
    power = float(state["power"])
    heard = hear_(state, inputs, rate)
    if heard is None:
        return None
    state["calls"].add_(1)
    rows, features = inputs.shape
    weight = newest_weight(rate, heard.updates, population.rate)
    step = weight / (1 + weight * features / (rows * (1 + population.damping)))
    counted = heard.present * heard.scale
    power = counted if heard.updates == 1 else power + step * (counted - power)
    state["power"].fill_(power)
    # Scaled before anything is multiplied: the square of a float32 may leave its range where the mean square does not.
    scaled = inputs.to(state["directions"].dtype) * math.sqrt(heard.scale / (rows * power))
    return Tracked(power, step, scaled, heard.updates)


def orthonormal_form(columns: Tensor) -> tuple[Tensor, Tensor]:
    r"""An orthonormal basis of what columns span, as a product that need not be carried out.

    $$Q = C\, T, \quad T = L^{-T}, \quad L L^T = C^T C$$

    with L in double precision, where the columns are as independent as tracked directions are: one product with them,
    where the reflections of a QR decomposition go column by column and take several times as long. Elsewhere, such as
    before all directions have seen an input, and for few or short columns, Q itself and T = I, by QR.

    Args:
        columns: C, shape (features, interneurons).

    Returns:
        C or Q, and T in the same dtype, shape (interneurons, interneurons). Cost: 2 k^2 features flop.
    """
    count = columns.shape[1]
    if columns.numel() * count >= _LEAST_WORK:
        wide = columns.double()
        gram = wide.T @ wide
        scale = gram.diagonal().rsqrt()  # columns differ in length as the variances do: that is no dependence
        factor, failed = torch.linalg.cholesky_ex(gram * scale * scale.unsqueeze(1))
        # A pivot is the sine of the angle to the columns before. The square of it is what rounding is divided by.
        if not int(failed) and bool(factor.diagonal().min() > _LEAST_SINE):
            inverse = torch.linalg.solve_triangular(factor, scale.diag(), upper=False)
            return columns, inverse.T.to(columns.dtype)
    return torch.linalg.qr(columns).Q, torch.eye(count, dtype=columns.dtype, device=columns.device)


def inhibit_(population: Interneurons, state: State, power: float, features: int) -> Tensor:
    r"""Set suppressions and gain by the tracked variances.

    $$
    s_i = 1 - (1 + \lambda_i / (\text{damping}\; c))^{-1/2}, \qquad
    g^2 = \frac{d c}{d c - \sum_i \lambda_i (1 - (1 - s_i)^2)}
    $$

    and s = 0 for an interneuron that has not been recruited, $\lambda_i \le \text{recruit}\; \text{damping}\; c$.
    g gives back the power that the interneurons take, unless `preserve_power` is off (g = 1). The sum of the variances
    is at most d c (see `track_`), so that $g^2 \le 1 + d / \text{damping}$.

    Args:
        population: The parameters.
        state: Holds `variance`; `gain` and `suppression` are changed in place.
        power: c > 0, the mean power of the inputs.
        features: d.

    Returns:
        s in double precision, shape (interneurons,), in [0, 1). The gain of feedback in the recurrent circuit is
        s / (1 - s).
    """
    variances = [value / power for value in state["variance"].tolist()]  # a few numbers: faster than a dozen operations
    left, strengths = float(features), []
    for place, variance in enumerate(variances):
        relative = variance / population.damping
        inhibits = not population.recruit or place < population.fewest or relative > population.recruit
        strengths.append(1 - (1 + relative) ** -0.5 if inhibits else 0.0)
        left -= variance
    strength = torch.tensor(strengths, dtype=torch.float64, device=state["variance"].device)
    state["suppression"].copy_(strength)
    if population.preserve_power:
        # Where the interneurons hear all there is, rounding can make the rest negative, which no power is.
        kept = max(left, 0.0) + sum(v * (1 - s) ** 2 for v, s in zip(variances, strengths, strict=True))
        state["gain"].fill_(math.sqrt(features / kept))
    return strength


def largest_gain(population: Interneurons, features: int) -> float:
    """1, and sqrt(1 + features / damping) where the power is given back."""
    return math.sqrt(1 + features / population.damping) if population.preserve_power else 1.0


def damped_covariance(population: Interneurons, covariance: Tensor) -> Tensor:
    """The soft cap on those of the k leading eigenvalues that recruit an interneuron, the others unchanged; times g^2.

    Args:
        population: The parameters.
        covariance: Of the inputs, shape (features, features).

    Returns:
        Covariance of the outputs at rest; where the power is given back, of the trace of the inputs' covariance.
    """
    values, vectors = torch.linalg.eigh(covariance)
    relative = values / (population.damping * values.mean())
    rank = torch.arange(len(values) - 1, -1, -1)  # eigenvalues come in ascending order
    inhibited = (relative > population.recruit) | (rank < population.fewest)
    inhibited &= rank < population.interneurons
    left = torch.where(inhibited, values / (1 + relative), values)
    if population.preserve_power:
        left = left * (values.sum() / left.sum())
    damped: Tensor = (vectors * left) @ vectors.T
    return damped
