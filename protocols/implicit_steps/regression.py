"""Least squares with steps of every size at once: exact statistics, or a sample at a time, in front of it a rule."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.data import stream
from neuro_decorr.rules import suite
from protocols.implicit_steps.steps import contraction

Arm = Literal["none", "center", "foof", "whitening"]
STEPS = ("explicit", "implicit")
BATCH = 10
"""Samples between two updates of the rule, and of the metric of FOOF."""
MEMORY = 0.01
"""Weight of the newest sample in the second moment that FOOF is given, once there are more; it begins at the identity,
which counts as many samples as there are features, or else the power of the unseen would be given back to the seen."""
EVERY = 5
"""Samples between two measurements of the error."""
GONE = 1e6
"""Error, relative to the first, at which a step size has diverged."""


def online(
    arm: Arm, sizes: list[float], *, features: int, correlation: float, mean: float, samples: int,
    damping: float | None, seed: int,
) -> NDArray[np.float64]:  # fmt: skip
    r"""Error left of a linear teacher, relative to the first, for every kind and size of steps.

    The layer has one output for each of them, all with the same target <w, z>. Their steps, with the metric P of FOOF
    or the identity, are

    $$\Delta w = -\frac{\alpha\, e\, P x}{1 + \alpha\, x^T P x}, \qquad \text{explicit: } \Delta w = -\alpha\, e\, P x$$

    where x has a constant one for the bias. The error is exact, <(w^T z - y)^2> over all inputs.

    Args:
        arm: Transform of the inputs, or of the gradient.
        sizes: alpha.
        features: Number of inputs.
        correlation: Between any two of them.
        mean: Mean of all inputs, whose variance is one.
        samples: Number of samples.
        damping: Damping of FOOF and whitening.
        seed: Seed of samples and teacher.

    Returns:
        Errors after every fifth sample, shape (samples // 5, 2, sizes), explicit steps first; infinite from where a
        step size has diverged.
    """
    spread = torch.full((features, features), correlation, dtype=torch.float64).fill_diagonal_(1)
    teacher = torch.randn(features, generator=stream(seed, "teacher"), dtype=torch.float64)
    layer = nn.Linear(features, 2 * len(sizes), dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    plasticity = None
    if arm != "none":
        layer = nd.decorrelate(layer)
        rule = nd.rules.get("whitening", damping=damping) if arm == "whitening" else nd.rules.get("center")
        plasticity = nd.Plasticity(layer, rule, compensate=True, row_fraction=1.0)
    alpha = torch.tensor([*sizes, *sizes], dtype=torch.float64)
    bounded = torch.arange(2 * len(sizes)) >= len(sizes)
    moment, metric = torch.eye(features, dtype=torch.float64), torch.eye(features, dtype=torch.float64)
    noise = torch.randn(samples, features, generator=stream(seed, "samples"), dtype=torch.float64)
    first = float(teacher @ spread @ teacher + (mean * teacher.sum()) ** 2)
    errors = []
    with torch.no_grad():
        for index, z in enumerate(mean + noise @ torch.linalg.cholesky(spread).T):
            x = z
            if isinstance(front := getattr(layer, "decorrelation", None), nd.Decorrelation):
                x = front(z.unsqueeze(0)).squeeze(0)
            error = F.linear(x, layer.weight, layer.bias) - z @ teacher
            if arm == "foof":
                assert damping is not None
                moment.lerp_(torch.outer(x, x), max(MEMORY, 1 / (index + 1 + features)))
                if index % BATCH == 0:
                    identity = torch.eye(features, dtype=torch.float64)
                    metric = nd.conditioning.foof(identity, moment=moment, damping=damping)
            towards = metric @ x
            size = torch.where(bounded, alpha / (1 + alpha * (x @ towards + 1)), alpha)
            layer.weight.sub_(torch.outer(size * error, towards))
            layer.bias.sub_(size * error)
            if plasticity is not None and index % BATCH == BATCH - 1:
                plasticity.step()
            if index % EVERY == EVERY - 1:
                found = left(layer, teacher, spread, mean) / first
                gone = ~(found < GONE)
                alpha[gone], layer.weight[gone], layer.bias[gone] = 0, 0, 0
                errors.append(torch.where(alpha > 0, found, math.inf))
    return torch.stack(errors).view(len(errors), 2, -1).numpy()


def left(layer: nn.Linear, teacher: Tensor, spread: Tensor, mean: float) -> Tensor:
    """Exact mean squared error of every output, shape (outputs,)."""
    weight: Tensor = layer.weight
    bias: Tensor = layer.bias
    if isinstance(front := getattr(layer, "decorrelation", None), nd.Decorrelation):
        weight = weight if front.structure == "centering" else weight @ front.matrix
        bias = bias - weight @ front.mean
    missing = weight - teacher
    found: Tensor = ((missing @ spread) * missing).sum(dim=1) + (missing.sum(dim=1) * mean + bias).square()
    return found


def quadratic(
    arm: Arm, sizes: list[float], *, features: int, condition: float, damping: float | None, target: float, seed: int
) -> NDArray[np.float64]:
    """Steps until a linear teacher is learnt, from exact statistics of centred inputs.

    Args:
        arm: Whitening is a rule that has settled; FOOF and centring act on centred inputs.
        sizes: alpha.
        features: Number of inputs.
        condition: Condition number of their covariance, which has a mean power of one.
        damping: Damping of FOOF and whitening.
        target: Target of the error, relative to the first error.
        seed: Seed of the covariance and the teacher.

    Returns:
        Steps, shape (2, sizes), explicit ones first; infinite where unstable, or more than a million.
    """
    moment = suite.covariance(condition, features, seed)
    teacher = torch.randn(features, generator=stream(seed, "teacher"), dtype=torch.float64)
    factor = torch.eye(features, dtype=torch.float64)
    if arm == "whitening":
        rule = nd.rules.get("whitening", rate=1.0, damping=damping)
        factor = suite.run(rule, suite.rows_with(moment), 40)["matrix"]
    if arm == "foof":
        assert damping is not None
        factor = torch.linalg.cholesky(nd.conditioning.foof(factor, moment=moment, damping=damping)).T
    # A metric P on the gradient is a factor in front of the weights, P = D^T D, in exact arithmetic.
    values, vectors = torch.linalg.eigh(factor @ moment @ factor.T)
    start = torch.linalg.solve(factor.T, teacher) @ vectors
    found = [
        [exact_steps(values, start, size, target, implicit=step == "implicit") for size in sizes] for step in STEPS
    ]
    return np.array(found)


def exact_steps(
    curvatures: Tensor, start: Tensor, size: float, target: float, *, implicit: bool, most: int = 10**6
) -> float:
    """Steps on a quadratic loss until it is below its target, by its closed form.

    Args:
        curvatures: Eigenvalues lambda of the loss, shape (features,).
        start: Error along every eigenvector, shape (features,).
        size: alpha.
        target: Target of the loss, relative to the first loss.
        implicit: True for implicit steps.
        most: Steps after which the search ends.

    Returns:
        The number of steps; infinite where more than `most` are needed, or the steps are unstable.
    """
    factors = contraction(curvatures, size, implicit=implicit).abs()
    weights = curvatures * start.square() / (curvatures * start.square()).sum()

    def loss(steps: int) -> float:
        return float((weights * factors ** (2 * steps)).sum())

    if float(factors.max()) >= 1 or loss(most) >= target:
        return math.inf
    low, high = 0, most  # every step lowers the loss: bisection
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) < target else (middle, high)
    return float(high)


def steps_until(errors: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    """The first sample after which each error of `online` is below the target; infinite where none is.

    Args:
        errors: Shape (samples // 5, ...).
        target: Target of the error.
    """
    below = errors < target
    return np.where(below.any(axis=0), EVERY * (below.argmax(axis=0) + 1.0), math.inf)


def usable(sizes: list[float], steps: NDArray[np.float64], fewest: float, slack: float = 2.0) -> tuple[float, float]:
    """Step sizes, of an even logarithmic grid, that need no more than `slack` times the fewest steps.

    Args:
        sizes: The grid.
        steps: Steps of each.
        fewest: Smallest number of steps, as the reference.
        slack: Factor over the smallest number of steps that counts as usable.

    Returns:
        How many decades, and the smallest usable size; 0 and not a number where nothing learnt it.
    """
    good = np.isfinite(steps) & (steps <= slack * fewest)
    if not good.any():
        return 0.0, math.nan
    return float(good.sum() * math.log10(sizes[1] / sizes[0])), sizes[int(good.argmax())]
