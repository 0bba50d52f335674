"""Time of node perturbation with several directions, in units of a forward pass on as many times larger a batch.

Two networks: dense, 784-400-400-10 with ReLU, and spiking, of the same sizes, neurons of `models.spiking`, 25 time
steps, noise held over the pass; batches of 128. The perturbed passes run side by side, in one batch that repeats the
samples, or one after the other. The aim for 16 directions side by side is at most 1.2.

Usage: python benchmarks/perturbation_directions.py [--sizes 784 400 400 10] [--steps N] [--batch N] [--directions N]
       [--processor-time] [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Step, alternate, milliseconds, options, ratio, show
from models.spiking import spiking


def dense(sizes: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    torch.manual_seed(0)
    layers = [[nn.Linear(wide, narrow), nn.ReLU()] for wide, narrow in itertools.pairwise(sizes)]
    return nn.Sequential(*[module for pair in layers for module in pair][:-1])


def main(arguments: list[str] | None = None) -> None:
    """Measure, and show one row a network and way to run the passes."""
    parser = options(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[784, 400, 400, 10], help="units of every layer")
    parser.add_argument("--steps", type=int, default=25, help="time steps of the spiking one (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="samples (default: %(default)s)")
    parser.add_argument("--directions", type=int, default=16, help="perturbed passes (default: %(default)s)")
    parser.add_argument("--processor-time", action="store_true", help="time of the processor, not of the wall")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    inputs = torch.rand(chosen.batch, chosen.sizes[0], generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(chosen.batch, dtype=torch.long)
    networks: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "dense": (dense(chosen.sizes), {}),
        "spiking": (
            spiking(chosen.sizes, steps=chosen.steps, gain=2.0, seed=0),
            {"hold": "pass", "time_first": True, "sigma": 0.05},
        ),
    }
    rows = []
    for network, (model, parameters) in networks.items():

        def step(directions: int, model: nn.Module = model, **parameters: object) -> Step:
            credit = nd.credit.get("node_perturbation", model, directions=directions, **parameters)
            return lambda: credit.backward(F.cross_entropy, inputs, targets)

        many = torch.cat([inputs] * chosen.directions)
        larger = f"forward, {chosen.directions} times the batch"
        steps: dict[str, Step] = {
            larger: torch.no_grad()(lambda model=model, many=many: model(many)),
            "1 direction": step(1, **parameters),
            f"{chosen.directions} directions, one after the other": step(chosen.directions, **parameters),
            f"{chosen.directions} directions, side by side": step(chosen.directions, vectorised=True, **parameters),
        }
        clock = time.process_time if chosen.processor_time else time.perf_counter
        taken = alternate(steps, chosen.rounds, clock=clock)
        rows += [
            {"network": network, "what": name, "ms": milliseconds(times), "/ forward": ratio(times, taken[larger])}
            for name, times in taken.items()
        ]
    show(rows, chosen.out)


if __name__ == "__main__":
    main()
