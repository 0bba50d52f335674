"""Time and memory of a decorrelation confined to connections, as ratios to the full one of the same round.

Units of square images of 32 x 32 to 128 x 128 pixels; a neighbourhood of a radius, disjoint groups of as many, or as
many others at random. `forward`: a batch of 256; `step`: the same, and the rule norm_preserving on 26 rows of it; `D`:
bytes that the layer holds, indices included, over those of a full matrix; `extra`: the most that a step allocates
besides, over the same. Beyond 4,096 units no full one is made.

Processor time of this process. Usage: python benchmarks/connections.py [--sides 32 64] [--radii 1 2 4] [--rounds N]
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import cycle
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Allocations, Step, alternate, milliseconds, options, ratio, show
from benchmarks.decorrelation_step import ROW_FRACTION, correlated
from neuro_decorr.rules.connectivity import Connectivity, FanIn, Groups, Neighbourhood

LARGEST_FULL = 4096
BATCHES = 3


def layer_of(units: int, connectivity: Connectivity | None) -> tuple[nd.Decorrelation, Step, Step]:
    """A layer, its forward pass on some batches in turn, and its forward pass with the update."""
    layer = nd.Decorrelation(units, row_fraction=ROW_FRACTION)
    plasticity = nd.Plasticity(layer, nd.rules.get("norm_preserving", connectivity=connectivity))
    data = cycle([correlated(units, seed=seed) for seed in range(BATCHES)])

    def forward() -> None:
        with torch.no_grad():
            layer(next(data))

    def step() -> None:
        forward()
        plasticity.step()

    step()  # the first only finds the mean
    step()  # and the second prepares the connections
    return layer, forward, step


def measure(side: int, radii: list[float], rounds: int) -> list[dict[str, str]]:
    """Make a table with one row per connectivity, all timed in the same rounds."""
    units = side**2
    patterns: dict[str, Connectivity | None] = {} if units > LARGEST_FULL else {"full": None}
    for radius in radii:
        near = Neighbourhood((side, side), radius)
        count = round(len(near.pairs(units)[0]) / units)
        patterns |= {
            f"radius {radius:g}": near,
            f"groups of {count}": Groups(count),
            f"fan-in {count}": FanIn(count - 1),
        }
    made = {name: layer_of(units, connectivity) for name, connectivity in patterns.items()}
    steps: dict[str, Step] = {}
    for name, (_, forward, step) in made.items():
        steps |= {f"{name}, forward": forward, f"{name}, step": step}
    taken = alternate(steps, rounds, clock=time.process_time)
    rows = []
    for name, (layer, _, step) in made.items():
        held = list(layer.transform_state().values())
        with Allocations(*layer.buffers()) as seen:
            step()
        whole = units**2 * 4
        row = {"units": str(units), "connections": name}
        row["a unit"] = f"{sum(t.numel() for t in held if t.is_floating_point()) / units:.1f}"
        for part in ("forward", "step"):
            own = taken[f"{name}, {part}"]
            row[f"{part}, ms"] = milliseconds(own)
            row[f"{part} / full"] = ratio(own, taken[f"full, {part}"]) if "full" in made else "-"
        row["D / full"] = f"{sum(t.numel() * t.element_size() for t in held) / whole:.4f}"
        row["extra / full"] = f"{seen.peak / whole:.4f}"
        rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = options(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64], help="of the images (default: %(default)s)")
    parser.add_argument("--radii", type=float, nargs="+", default=[1.0, 2.0, 4.0], help="(default: %(default)s)")
    given: argparse.Namespace = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    show([row for side in given.sides for row in measure(side, given.radii, given.rounds)], given.out)


if __name__ == "__main__":
    main()
