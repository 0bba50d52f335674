"""Time of node perturbation of a spiking network with several directions, in units of a forward pass.

The network is 784-400-400-10, neurons of `models.spiking`, 50 time steps, batches of 128. Noise is held over the pass.
The perturbed passes run side by side, in one batch that repeats the samples, or one after the other. `/ forward` is the
time over that of a forward pass without gradients in the same round; the aim for 8 directions is at most 16.

Usage: python benchmarks/perturbation_directions.py [--sizes 784 400 400 10] [--batch N] [--directions N]
       [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Step, alternate, milliseconds, options, ratio, show
from models.spiking import spiking


def main(arguments: list[str] | None = None) -> None:
    """Measure, and show one row a way to run the passes."""
    parser = options(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[784, 400, 400, 10], help="units of every layer")
    parser.add_argument("--steps", type=int, default=50, help="time steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="samples (default: %(default)s)")
    parser.add_argument("--directions", type=int, default=8, help="perturbed passes (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    model = spiking(chosen.sizes, steps=chosen.steps, gain=2.0, seed=0)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(chosen.batch, chosen.sizes[0], generator=generator)
    targets = torch.randint(chosen.sizes[-1], (chosen.batch,), generator=generator)

    def forward() -> None:
        with torch.no_grad():
            model(inputs)

    def perturb(directions: int, vectorised: bool) -> Step:
        credit = nd.credit.get(
            "node_perturbation",
            model,
            sigma=0.05,
            hold="pass",
            time_first=True,
            directions=directions,
            vectorised=vectorised,
        )
        return lambda: credit.backward(F.cross_entropy, inputs, targets)

    steps: dict[str, Step] = {
        "forward": forward,
        "1 direction": perturb(1, False),
        f"{chosen.directions} directions, one after the other": perturb(chosen.directions, False),
        f"{chosen.directions} directions, side by side": perturb(chosen.directions, True),
    }
    taken = alternate(steps, chosen.rounds)
    rows = [
        {"what": name, "ms": milliseconds(times), "/ forward": ratio(times, taken["forward"])}
        for name, times in taken.items()
    ]
    show(rows, chosen.out)


if __name__ == "__main__":
    main()
