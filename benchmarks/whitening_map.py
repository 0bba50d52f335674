"""Whitening without tuning, wide: one cell of the map of docs/whitening.md, at 4096 units by default.

    python benchmarks/whitening_map.py [--features 4096] [--batch 256] [--condition 1e6] [--scale 1e3] [--seconds 100]

A whole cell of 4096 units takes 40 minutes or more of one core (7,406 updates), so by default the run stops after a
time and compares what it reached with what any estimate of a covariance could have reached from the same samples.
Printed is the mean squared correlation of the outputs, exact (D S D^T), beside the bound 1 / samples.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # run from anywhere

import neuro_decorr as nd
from neuro_decorr.data import covariance_with_condition, stream
from neuro_decorr.rules import Sample, transform
from protocols.whitening_map import GOAL, mean_squared_correlation, schedule


def main() -> None:
    """Run one cell for as long as allowed; print what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--condition", type=float, default=1e6)
    parser.add_argument("--scale", type=float, default=1e3)
    parser.add_argument("--seconds", type=float, default=100.0, help="0: the whole cell (default: %(default)s)")
    chosen = parser.parse_args()
    features, batch = chosen.features, chosen.batch
    covariance = chosen.scale**2 * covariance_with_condition(features, chosen.condition, seed=0)
    root = torch.linalg.cholesky(covariance).T.float()
    start = mean_squared_correlation(covariance)
    hold, updates = schedule(features, batch, chosen.condition, start)
    rule = nd.rules.get("whitening", damping=0.0)
    state, samples, done = rule.initial_state(features), stream(0, "samples"), 0
    begun, learning = time.perf_counter(), 0.0
    while done < updates and not 0 < chosen.seconds < time.perf_counter() - begun:
        drive = torch.randn(batch, features, generator=samples) @ root
        rate = rule.rate / (1 + rule.rate * max(0, done - hold))
        at = time.perf_counter()
        rule.update_(state, Sample(drive, transform(state, drive), torch.zeros(features)), rate)
        learning += time.perf_counter() - at
        done += 1
    matrix = state["matrix"].double()
    end = mean_squared_correlation(matrix @ covariance @ matrix.T)
    print(f"{features} units, batches of {batch}, condition {chosen.condition:g}, scale {chosen.scale:g}")
    print(f"updates done                     {done} of {updates} ({hold} before annealing)")
    print(f"seconds an update                {learning / done:.3f}")
    print(f"mean squared correlation         {start:.2e} at the start, {end:.2e} at the end: ratio {end / start:.2e}")
    print(f"bound of these samples           {1 / (done * batch):.2e}; the goal is a ratio of {GOAL:g}")


if __name__ == "__main__":
    main()
