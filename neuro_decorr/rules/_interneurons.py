"""Parts shared by the rules with interneurons: initial state, tracking, strength of inhibition, fixed point."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._power import SILENT, hear_, initial_power, newest_weight
from neuro_decorr.rules._state import Needs, Sample, State
from neuro_decorr.rules._sums import input_power, row_count

_LEAST_SINE = 0.1
"""Sine of the angle between columns below which a QR decomposition orthogonalises them."""
_LEAST_WORK = 2**19
"""Value of features * interneurons^2 below which a QR decomposition does so: one call is cheaper than ten."""


class Interneurons(Protocol):
    """Parameters of a population of interneurons, as the classes of the rules describe them."""

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
    """Contribution of a batch to the running covariance of the inputs.

    Attributes:
        power: c, the mean power of the inputs in the running covariance, this batch included.
        step: Weight of this batch in it, in (0, 1).
        rows: The inputs in units of c, so that R^T R is their second moment over c; shape (rows, features).
        updates: t, the number of batches in it, this one included.
    """

    power: float
    step: float
    rows: Tensor
    updates: int


def problems(population: Interneurons) -> Iterator[str | None]:
    """Problems of the parameters that the rules with interneurons share."""
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
    """Initial state of both rules: random orthonormal directions, no suppression, a gain of one, no batch heard.

    Args:
        population: Parameters of the interneurons.
        features: Number of units.
        dtype: Floating type of the transform; variances and power are float64, whose range holds every square.
        device: Device of the state.
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


def needs(population: Interneurons, state: State, features: int) -> Needs:
    """Inputs, or their products with the interneurons; nothing of a batch that is not tracked."""
    count = population.interneurons_of(features)
    due = int(state["calls"]) % population.every == 0
    return Needs("inputs", count * (features + 2 * count) if due else 0)


def track_(population: Interneurons, state: State, sample: Sample, rate: float) -> Tracked | None:
    r"""Hear every `every`-th batch, and move the mean power of the running covariance to it.

    $$
    c \leftarrow (1 - w)\, c + w \min(p, 10^4 c), \quad
    w = \frac{\eta_t}{1 + \eta_t\, d / (n (1 + \text{damping}))}, \quad
    \eta_t = \max(\eta, 4 / (t + 4)) \text{ at first}
    $$

    with p the power of the batch, n its rows and d the number of units; the first batch sets c. The variances that
    interneurons track move by the same weight w and start at zero, so that their sum is at most d c at all times. The
    weight is that of `whitening`: n rows in d dimensions have spurious variances of c d / n, and a running covariance
    must remember more rows than that if such variances would inhibit strongly.

    The rule ignores a silent batch: it changes nothing, and `every` does not count it. At rate 0 nothing changes
    either.

    Args:
        population: Parameters of the interneurons.
        state: State with `power`, `updates` and `calls`, changed in place.
        sample: Sample with the inputs.
        rate: eta.

    Returns:
        Contribution of the batch; None if no update is due or the batch is silent.

    Raises:
        Diverged: The power of the inputs is not finite; nothing has changed.
    """
    if not rate:
        return None
    inputs = sample.inputs
    if int(state["calls"]) % population.every:
        if input_power(sample) > SILENT:
            state["calls"].add_(1)
        return None
    power = float(state["power"])
    heard = hear_(state, sample, rate)
    if heard is None:
        return None
    state["calls"].add_(1)
    rows, features = row_count(sample), inputs.shape[1]
    weight = newest_weight(rate, heard.updates, population.rate)
    step = weight / (1 + weight * features / (rows * (1 + population.damping)))
    counted = heard.present * heard.scale
    power = counted if heard.updates == 1 else power + step * (counted - power)
    state["power"].fill_(power)
    # Scaled before any product: the square of a float32 may leave its range although the mean square does not.
    scaled = inputs.to(state["directions"].dtype) * math.sqrt(heard.scale / (rows * power))
    return Tracked(power, step, scaled, heard.updates)


def orthonormal_form(columns: Tensor) -> tuple[Tensor, Tensor]:
    r"""Orthonormal basis of the span of columns, as a product of two factors.

    $$Q = C\, T, \quad T = L^{-T}, \quad L L^T = C^T C$$

    with L in float64, if the columns are as independent as tracked directions are. This takes one product with the
    columns, while the reflections of a QR decomposition go column by column and take several times as long. Otherwise,
    such as before all directions have seen an input, and for few or short columns, a QR decomposition gives Q, and
    T = I.

    Args:
        columns: C, shape (features, interneurons).

    Returns:
        C or Q, and T in the same dtype, shape (interneurons, interneurons). Cost: 2 k^2 features flop.
    """
    count = columns.shape[1]
    if columns.numel() * count >= _LEAST_WORK:
        wide = columns.double()
        gram = wide.T @ wide
        scale = gram.diagonal().rsqrt()  # columns differ in length as the variances do, which is no dependence
        factor, failed = torch.linalg.cholesky_ex(gram * scale * scale.unsqueeze(1))
        # A pivot is the sine of the angle to the columns before; the rounding error is divided by its square.
        if not int(failed) and bool(factor.diagonal().min() > _LEAST_SINE):
            inverse = torch.linalg.solve_triangular(factor, scale.diag(), upper=False)
            return columns, inverse.T.to(columns.dtype)
    return torch.linalg.qr(columns).Q, torch.eye(count, dtype=columns.dtype, device=columns.device)


def inhibit_(population: Interneurons, state: State, power: float, features: int) -> Tensor:
    r"""Set suppressions and gain from the tracked variances.

    $$
    s_i = 1 - (1 + \lambda_i / (\text{damping}\; c))^{-1/2}, \qquad
    g^2 = \frac{d c}{d c - \sum_i \lambda_i (1 - (1 - s_i)^2)}
    $$

    and s = 0 for an interneuron that has not been recruited, $\lambda_i \le \text{recruit}\; \text{damping}\; c$.
    g gives back the power that the interneurons take; `preserve_power=False` sets g = 1. The sum of the variances is at
    most d c (see `track_`), so that $g^2 \le 1 + d / \text{damping}$.

    Args:
        population: Parameters of the interneurons.
        state: State with `variance`; `gain` and `suppression` change in place.
        power: c > 0, the mean power of the inputs.
        features: d.

    Returns:
        s in float64, shape (interneurons,), in [0, 1). The gain of feedback in the recurrent circuit is
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
        # If the interneurons hear all power, rounding can make the rest negative, which a power cannot be.
        kept = max(left, 0.0) + sum(v * (1 - s) ** 2 for v, s in zip(variances, strengths, strict=True))
        state["gain"].fill_(math.sqrt(features / kept))
    return strength


def largest_gain(population: Interneurons, features: int) -> float:
    """Bound sqrt(1 + features / damping) on |D| with `preserve_power`, 1 without."""
    return math.sqrt(1 + features / population.damping) if population.preserve_power else 1.0


def damped_covariance(population: Interneurons, covariance: Tensor) -> Tensor:
    """Covariance with a soft cap on those of the k leading eigenvalues that recruit an interneuron, times g^2.

    Args:
        population: Parameters of the interneurons.
        covariance: Covariance of the inputs, shape (features, features).

    Returns:
        Covariance of the outputs at rest; with `preserve_power` its trace is that of the covariance of the inputs.
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
