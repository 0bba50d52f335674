"""Time of every credit assignment in a spiking network, as a ratio to backpropagation through time of the same round.

The network is 64-128-10, neurons of `models.spiking`, 25 time steps, batches of 64, layers over whole sequences.

Usage: python benchmarks/spiking_credits.py [--sizes 64 128 10] [--steps N] [--batch N] [--rounds N] [--threads N]
       [--out FILE.csv]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Step, alternate, milliseconds, options, ratio, show
from models.spiking import spiking

HELD: dict[str, Any] = {"hold": "pass", "time_first": True}
CREDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "backprop": ("backprop", {}),
    "feedback_alignment": ("feedback_alignment", {}),
    "direct_feedback_alignment": ("direct_feedback_alignment", {"time_first": True}),
    "eprop": ("eprop", {}),
    "node_perturbation": ("node_perturbation", HELD),
    "node_perturbation, 8 directions side by side": (
        "node_perturbation",
        {**HELD, "directions": 8, "vectorised": True},
    ),
    "activity_perturbation on traces": ("activity_perturbation", {**HELD, "trace": 5.0}),
    "forward_gradient, weights": ("forward_gradient", {}),
    "forward_gradient, activities": ("forward_gradient", {**HELD, "tangents": "activities"}),
}


def prepared(
    parser: argparse.ArgumentParser, arguments: list[str] | None, sizes: list[int], steps: int, batch: int
) -> tuple[argparse.Namespace, Step, Callable[[str, dict[str, Any]], Step]]:
    """Options, a forward pass without gradients, and what makes the step of a credit, all on one network and batch."""
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="units of every layer")
    parser.add_argument("--steps", type=int, default=steps, help="time steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=batch, help="samples (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    model = spiking(chosen.sizes, steps=chosen.steps, gain=2.0, seed=0)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(chosen.batch, chosen.sizes[0], generator=generator)
    targets = torch.randint(chosen.sizes[-1], (chosen.batch,), generator=generator)

    def step(name: str, parameters: dict[str, Any]) -> Step:
        credit = nd.credit.get(name, model, **parameters)
        return lambda: credit.backward(F.cross_entropy, inputs, targets)

    return chosen, torch.no_grad()(lambda: model(inputs)), step


def compare(steps: dict[str, Step], opponent: str, chosen: argparse.Namespace) -> None:
    """Time the steps side by side, and show their ratios to one of them."""
    taken = alternate(steps, chosen.rounds)
    rows = [
        {"what": name, "ms": milliseconds(times), f"/ {opponent}": ratio(times, taken[opponent])}
        for name, times in taken.items()
    ]
    show(rows, chosen.out)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and show one row a credit."""
    parser = options(__doc__.splitlines()[0], rounds=9)
    chosen, _, step = prepared(parser, arguments, sizes=[64, 128, 10], steps=25, batch=64)
    compare({words: step(*made) for words, made in CREDITS.items()}, "backprop", chosen)


if __name__ == "__main__":
    main()
