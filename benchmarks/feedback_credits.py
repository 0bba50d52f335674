"""Time of every credit that feeds the error back, as a ratio to backpropagation of the same round.

Gradients of one batch, forward and backward pass, no step of an optimiser: a dense network 3072 - 4 x 1000 - 10 and
batches of 256, and the convolutional network of `models.convolutional`, 3 x 32 x 32 and batches of 64.

Usage: python benchmarks/feedback_credits.py [--sizes 3072 1000 10] [--image 3 32 32] [--batches 256 64] [--rounds N]
       [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Step, alternate, flop, milliseconds, options, ratio, show
from models.convolutional import convolutional
from models.dense import dense

CREDITS = (
    "backprop",
    "feedback_alignment",
    "direct_feedback_alignment",
    "sign_symmetry",
    "kolen_pollack",
    "weight_mirror",
)


def steps(network: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Step]:
    """Functions that fill the gradients of a network, by credit."""

    def step(name: str) -> Step:
        credit = nd.credit.get(name, network)

        def gradients() -> None:
            network.zero_grad()
            credit.zero_grad()
            credit.backward(F.cross_entropy, inputs, targets)

        return gradients

    return {name: step(name) for name in CREDITS}


def measure(name: str, network: nn.Module, shape: Sequence[int], classes: int, rounds: int) -> list[dict[str, str]]:
    """Make a table with one row per credit, all timed in the same rounds."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(*shape, generator=generator)
    targets = torch.randint(classes, (shape[0],), generator=generator)
    what = steps(network, inputs, targets)
    taken = alternate(what, rounds)
    return [
        {
            "network": name,
            "credit": credit,
            "ms": milliseconds(times),
            "/ backprop": ratio(times, taken["backprop"]),
            "flop / backprop": f"{flop(what[credit], 1) / flop(what['backprop'], 1):.2f}",
        }
        for credit, times in taken.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = options(__doc__.splitlines()[0], rounds=9)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3072, *[1000] * 4, 10], help="of the dense network")
    parser.add_argument("--image", type=int, nargs=3, default=[3, 32, 32], help="of the convolutional network")
    parser.add_argument("--batches", type=int, nargs=2, default=[256, 64], help="of the dense and the convolutional")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    networks = {"dense": dense(chosen.sizes, seed=0), "convolutional": convolutional(chosen.image, seed=0)}
    shapes = (chosen.batches[0], chosen.sizes[0]), (chosen.batches[1], *chosen.image)
    rows = []
    for (name, network), shape, classes in zip(networks.items(), shapes, (chosen.sizes[-1], 10), strict=True):
        rows += measure(name, network, shape, classes, chosen.rounds)
    show(rows, chosen.out)


if __name__ == "__main__":
    main()
