"""Time and memory of one decorrelation step, forward and update, as ratios to named opponents of the same round.

- published: x = D z, C = X^T X / k formed, D <- g (D - eta C D) out of place; the same rows, so the same D (checked).
- plain: forward and backward of the linear layer behind it, features x 1000.
- floor: the flop of the two products, 2 B d^2 + 4 k d^2, at the rate of a square product, and one pass over D.

The batch is 256, of which 26 rows drive the update. `centred` is the library's default, which also tracks and subtracts
the mean; the other rows leave that out, as the published formulation does. `extra / D` is the most memory that the
forward pass and the update allocate on top of what the layer holds, in units of one features x features matrix.

Usage: python benchmarks/decorrelation_step.py [--sizes 64 256] [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Allocations, Step, alternate, milliseconds, options, ratio, show

BATCH = 256
OUTPUTS = 1000
SAMPLE = 0.1
GEMM = 1024
EVERY = 4

Update = Callable[[Tensor, Tensor, float], Tensor]


def correlated(features: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """A batch with a common mode, shape (BATCH, features)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(BATCH, features, generator=generator, dtype=dtype)
    return rows + torch.randn(BATCH, 1, generator=generator, dtype=dtype)


def published_update(matrix: Tensor, batch: Tensor, rate: float) -> Tensor:
    """The formulation of the paper: forward, then the new D, out of place."""
    kept = int(SAMPLE * BATCH) + 1
    rows = slice(None, (BATCH // kept) * kept, BATCH // kept)
    inputs, outputs = batch[rows], F.linear(batch, matrix)[rows]
    covariance = outputs.T @ outputs / kept
    gain = (inputs.norm(dim=1) / outputs.norm(dim=1)).mean()
    return gain * (matrix - rate * covariance @ matrix)


def ours(features: int, rule: str, center: bool, dtype: torch.dtype = torch.float32) -> tuple[nd.Decorrelation, Step]:
    """Our layer, and its forward pass with the update."""
    parameters = {"interneurons": min(64, math.ceil(features / 4)), "every": EVERY} if rule == "interneuron" else {}
    if rule == "norm_preserving":
        parameters = {"rate": rate(features)}
    layer = nd.Decorrelation(features, center, sample=SAMPLE, dtype=dtype)
    plasticity = nd.Plasticity(layer, nd.rules.get(rule, **parameters))
    batch = correlated(features, dtype)

    def step() -> None:
        with torch.no_grad():
            layer(batch)
        plasticity.step()

    return layer, step


def rate(features: int) -> float:
    """Well below the limit of stability, which falls with the number of units."""
    return 1e-3 / features


def check_equal(features: int, published: Update = published_update, steps: int = 3) -> float:
    """The largest relative difference of D after some steps of both, in float64.

    Raises:
        AssertionError: It is more than rounding, so the times would be of unequal work.
    """
    layer, step = ours(features, "norm_preserving", False, torch.float64)
    batch, matrix = correlated(features, torch.float64), torch.eye(features, dtype=torch.float64)
    for _ in range(steps):
        step()
        matrix = published(matrix, batch, rate(features))
    moved = (matrix - torch.eye(features, dtype=torch.float64)).abs().max()
    difference = float((layer.matrix - matrix).abs().max() / moved)
    assert difference < 1e-10, f"{features} features: ours and the published D differ by {difference:.1e} of the change"
    return difference


def memory(features: int, rule: str, center: bool) -> str:
    """The most that a forward pass and its update allocate beside what the layer holds, in units of D."""
    layer, step = ours(features, rule, center)
    step()  # the first only finds the mean
    with Allocations(*layer.buffers()) as seen:
        for _ in range(EVERY):  # in one of them the interneurons move
            step()
    size = features**2 * layer.mean.element_size()
    return f"{seen.peak / size:.2f}"


def measure(features: int, rounds: int) -> list[dict[str, str]]:
    """One row an implementation, all timed in the same rounds."""
    batch = correlated(features)
    state = {"matrix": torch.eye(features)}

    def published() -> None:
        state["matrix"] = published_update(state["matrix"], batch, rate(features))

    linear, upstream = torch.nn.Linear(features, OUTPUTS), torch.randn(BATCH, OUTPUTS)
    inputs = batch.clone().requires_grad_()

    def plain() -> None:
        linear(inputs).backward(upstream)

    square, passed = torch.randn(GEMM, GEMM), torch.eye(features)
    steps: dict[str, Step] = {
        "norm_preserving": ours(features, "norm_preserving", False)[1],
        "norm_preserving, centred": ours(features, "norm_preserving", True)[1],
        "interneuron": ours(features, "interneuron", False)[1],
        "interneuron, centred": ours(features, "interneuron", True)[1],
        "published": published,
        "plain": plain,
        "product": lambda: square @ square,
        "pass": lambda: passed.mul_(1.0),
    }
    taken = alternate(steps, rounds, multiple=EVERY)
    kept = int(SAMPLE * BATCH) + 1
    flop = (2 * BATCH + 4 * kept) * features**2
    taken["floor"] = [
        flop * product / (2 * GEMM**3) + once for product, once in zip(taken["product"], taken["pass"], strict=True)
    ]
    rows = []
    for name in [*list(steps)[:6], "floor"]:
        rule, _, centred = name.partition(", ")
        rows.append(
            {
                "features": str(features),
                "what": name,
                "ms": milliseconds(taken[name]),
                "published / it": ratio(taken["published"], taken[name]),
                "it / floor": ratio(taken[name], taken["floor"]),
                "it / plain": ratio(taken[name], taken["plain"]),
                "extra / D": memory(features, rule, bool(centred)) if rule in nd.rules.names() else "",
            }
        )
    return rows


def main() -> None:
    """Check, measure, print."""
    parser = options("Time and memory of one decorrelation step against named opponents.", rounds=11)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1000, 3072], help="numbers of features")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for features in arguments.sizes:
        print(f"{features} features: D equals the published one to {check_equal(features):.0e} of its change")
    print(f"{arguments.threads} threads, {arguments.rounds} rounds; ratios: median [quartiles] over rounds\n")
    show([row for features in arguments.sizes for row in measure(features, arguments.rounds)], arguments.out)


if __name__ == "__main__":
    main()
