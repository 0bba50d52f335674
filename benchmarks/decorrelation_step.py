"""Time and memory of one decorrelation step, forward and update, as ratios to named opponents of the same round.

- published: a module that takes the steps of the paper (see `Published`): C formed, then C D, out of place.
- plain: forward and backward of the linear layer behind it, features x 1000.
- floor: the flop of the two products, 2 B d^2 + 4 k d^2, at the rate of a square product, and one pass over D.

The batch is 256, of which 26 rows drive the update; nine batches take turns, since the rows of one would span 26
directions only. `norm_preserving` is its published form here, `bounded norm_preserving` the default, which has a floor
and a rate of its own besides. Ours are compared with the published module of their own kind:
centred, which also tracks and subtracts the mean (the default of both), or not. Both leave the same D (checked first).
`extra / D` is the most memory that the forward pass and the update allocate on top of what the layer holds, in units
of one features x features matrix.

Usage: python benchmarks/decorrelation_step.py [--sizes 64 256] [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import math
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Allocations, Step, alternate, milliseconds, options, ratio, show

BATCH = 256
OUTPUTS = 1000
ROW_FRACTION = 0.1
GEMM = 1024
EVERY = 4
BATCHES = 9  # the interneurons move at every fourth step, and so meet all of them


def correlated(features: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """A batch with a common mode, shape (BATCH, features)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(BATCH, features, generator=generator, dtype=dtype)
    return rows + torch.randn(BATCH, 1, generator=generator, dtype=dtype)


class Published(nn.Module):
    r"""The layer of the paper, step by step as published: its update happens inside the forward pass.

    $$
    x = D (z - \langle z \rangle), \quad C = \tfrac1k X^T X, \quad
    g = \langle |z| / |x| \rangle, \quad D \leftarrow g D, \quad D \leftarrow D - \eta\, C D
    $$

    Like the authors' layer it takes the mean of the batch, moves a running mean for evaluation, transforms with
    `einsum`, forms C in full, and makes every result a new tensor. Unlike theirs it takes rows spread over the batch
    instead of the first ones and, in the norms, the centred z, so that its D can be compared with ours; neither
    changes what is computed how often. Without `center` the means are left out.

    Source: Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780.
    """

    def __init__(self, features: int, center: bool, dtype: torch.dtype = torch.float32) -> None:
        """D = I, mean zero."""
        super().__init__()
        self.center, self.rate, self.momentum = center, rate(features), 0.1
        self.matrix: Tensor
        self.mean: Tensor
        self.register_buffer("matrix", torch.eye(features, dtype=dtype))
        self.register_buffer("mean", torch.zeros(features, dtype=dtype))
        kept = int(ROW_FRACTION * BATCH) + 1
        self.rows = torch.arange(kept) * BATCH // kept

    def forward(self, inputs: Tensor) -> Tensor:
        """Decorrelated rows; in train mode D moves."""
        if self.center:
            mean = self.mean
            if self.training:
                mean = inputs.mean(dim=0)
                self.mean = (1 - self.momentum) * self.mean + self.momentum * mean
            inputs = inputs - mean
        outputs = torch.einsum("ni,ji->nj", inputs, self.matrix)
        if self.training:
            self.update(inputs, outputs)
        return outputs

    @torch.no_grad()
    def update(self, inputs: Tensor, outputs: Tensor) -> None:
        """The gain, then the decorrelation."""
        inputs, outputs = inputs[self.rows], outputs[self.rows]
        covariance = (1 / len(self.rows)) * (outputs.T @ outputs)
        norms = [torch.sqrt(torch.sum(some**2, dim=1)) for some in (inputs, outputs)]
        self.matrix = self.matrix * torch.mean(norms[0] / norms[1])
        self.matrix = self.matrix - self.rate * (covariance @ self.matrix)


def ours(
    features: int, rule: str, center: bool, dtype: torch.dtype = torch.float32, batches: int = 1
) -> tuple[nd.Decorrelation, Step]:
    """Our layer, and its forward pass with the update, on some batches in turn."""
    parameters: dict[str, Any] = (
        {"interneurons": min(64, math.ceil(features / 4)), "every": EVERY} if rule == "interneuron" else {}
    )
    if rule == "bounded norm_preserving":
        rule = "norm_preserving"
    elif rule == "norm_preserving":
        parameters = {"rate": rate(features), "form": "published"}
    layer = nd.Decorrelation(features, center, row_fraction=ROW_FRACTION, dtype=dtype)
    plasticity = nd.Plasticity(layer, nd.rules.get(rule, **parameters))
    data = cycle([correlated(features, dtype, seed) for seed in range(batches)])

    def step() -> None:
        with torch.no_grad():
            layer(next(data))
        plasticity.step()

    return layer, step


def rate(features: int) -> float:
    """Well below the limit of stability, which falls with the number of units."""
    return 1e-3 / features


def check_equal(features: int, center: bool, faster: float = 1.0, steps: int = 3) -> float:
    """The largest relative difference of D after some steps of both, in float64.

    Args:
        features: Number of units.
        center: True for the variant with centring.
        faster: Multiplies the published rate: any other than 1 is to be found out.
        steps: Updates.

    Raises:
        AssertionError: It is more than rounding, so the times would be of unequal work.
    """
    layer, step = ours(features, "norm_preserving", center, torch.float64)
    published = Published(features, center, torch.float64)
    published.rate *= faster
    batch, identity = correlated(features, torch.float64), torch.eye(features, dtype=torch.float64)
    if center:
        step()  # our first only finds the mean, which on one batch is the mean of the batch from then on
    for _ in range(steps):
        layer.memory.set_updates(0)  # the rows of the published form, which are the same in every step
        step()
        published(batch)
    moved = (published.matrix - identity).abs().max()
    difference = float((layer.matrix - published.matrix).abs().max() / moved)
    assert difference < 1e-10, f"{features} features: ours and the published D differ by {difference:.1e} of the change"
    return difference


def memory(features: int, rule: str, center: bool) -> str:
    """The most that a forward pass and its update allocate beside what the layer holds, in units of D."""
    layer, step = ours(features, rule, center, batches=BATCHES)
    step()  # the first only finds the mean
    with Allocations(*layer.buffers()) as seen:
        for _ in range(EVERY):  # in one of them the interneurons move
            step()
    size = features**2 * layer.mean.element_size()
    return f"{seen.peak / size:.2f}"


def measure(features: int, rounds: int) -> list[dict[str, str]]:
    """Make a table with one row per implementation, all timed in the same rounds."""
    batches = [correlated(features, seed=seed) for seed in range(BATCHES)]

    def published(center: bool) -> Step:
        layer, data = Published(features, center), cycle(batches)

        def step() -> None:
            with torch.no_grad():
                layer(next(data))

        return step

    linear, upstream = nn.Linear(features, OUTPUTS), torch.randn(BATCH, OUTPUTS)
    inputs = batches[0].clone().requires_grad_()

    def plain() -> None:
        linear(inputs).backward(upstream)

    square, passed = torch.randn(GEMM, GEMM), torch.eye(features)
    steps: dict[str, Step] = {
        "norm_preserving": ours(features, "norm_preserving", False, batches=BATCHES)[1],
        "norm_preserving, centred": ours(features, "norm_preserving", True, batches=BATCHES)[1],
        "bounded norm_preserving": ours(features, "bounded norm_preserving", False, batches=BATCHES)[1],
        "bounded norm_preserving, centred": ours(features, "bounded norm_preserving", True, batches=BATCHES)[1],
        "interneuron": ours(features, "interneuron", False, batches=BATCHES)[1],
        "interneuron, centred": ours(features, "interneuron", True, batches=BATCHES)[1],
        "published": published(False),
        "published, centred": published(True),
        "plain": plain,
        "product": lambda: square @ square,
        "pass": lambda: passed.mul_(1.0),
    }
    taken = alternate(steps, rounds, multiple=EVERY)
    kept = int(ROW_FRACTION * BATCH) + 1
    flop = (2 * BATCH + 4 * kept) * features**2
    taken["floor"] = [
        flop * product / (2 * GEMM**3) + once for product, once in zip(taken["product"], taken["pass"], strict=True)
    ]
    rows = []
    for name in [*list(steps)[:9], "floor"]:
        rule, _, centred = name.partition(", ")
        opponent = taken["published, centred" if centred else "published"]
        rows.append(
            {
                "features": str(features),
                "what": name,
                "ms": milliseconds(taken[name]),
                "published / it": ratio(opponent, taken[name]),
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
        difference = max(check_equal(features, center) for center in (False, True))
        print(f"{features} features: D equals the published one to {difference:.0e} of its change")
    print(f"{arguments.threads} threads, {arguments.rounds} rounds; ratios: median [quartiles] over rounds\n")
    show([row for features in arguments.sizes for row in measure(features, arguments.rounds)], arguments.out)


if __name__ == "__main__":
    main()
