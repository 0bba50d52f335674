"""Time of node perturbation of a spiking network with several directions, in units of a forward pass.

The network is 784-400-400-10, neurons of `models.spiking`, 50 time steps, batches of 128. Noise is held over the pass.
The perturbed passes run side by side, in one batch that repeats the samples, or one after the other. `/ forward` is the
time over that of a forward pass without gradients in the same round; the aim for 8 directions is at most 16.

Usage: python benchmarks/perturbation_directions.py [--sizes 784 400 400 10] [--steps N] [--batch N] [--directions N]
       [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

from benchmarks._measure import Step, options
from benchmarks.spiking_credits import HELD, compare, prepared


def main(arguments: list[str] | None = None) -> None:
    """Measure, and show one row a way to run the passes."""
    parser = options(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--directions", type=int, default=8, help="perturbed passes (default: %(default)s)")
    chosen, forward, step = prepared(parser, arguments, sizes=[784, 400, 400, 10], steps=50, batch=128)
    many = {**HELD, "sigma": 0.05, "directions": chosen.directions}
    steps: dict[str, Step] = {
        "forward": forward,
        "1 direction": step("node_perturbation", {**many, "directions": 1}),
        f"{chosen.directions} directions, one after the other": step("node_perturbation", many),
        f"{chosen.directions} directions, side by side": step("node_perturbation", {**many, "vectorised": True}),
    }
    compare(steps, "forward", chosen)


if __name__ == "__main__":
    main()
