"""Time of a whole training step with every layer decorrelated, as a ratio to the plain step of the same round.

The network is 3072 - 4 x 1000 - 10 with LeakyReLU, the batch 256, the optimiser Adam. A step is the gradients by the
credit assignment, the optimiser's step and, where layers are decorrelated, the step of the plasticity: with a dense D
or with 64 interneurons that move at every fourth update (times are means over multiples of four steps), each with and
without compensation of the weights. `extra / D` is the most memory that the plasticity's own step allocates, in units
of the largest layer's features x features matrix.

Usage: python benchmarks/training_step.py [--sizes 3072 1000 1000 10] [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Allocations, Step, alternate, milliseconds, options, ratio, show
from models.dense import dense

BATCH = 256
EVERY = 4
CREDITS: dict[str, dict[str, float]] = {"backprop": {}, "feedback_alignment": {}, "node_perturbation": {"sigma": 1e-3}}


class Training:
    """One network with all that a training step of it needs."""

    def __init__(self, sizes: list[int], credit: str, rule: nd.rules.Rule | None, compensate: bool) -> None:
        """Build it, with one random batch that it is trained on."""
        network = dense(sizes, seed=0)
        if rule is not None:
            network = nd.decorrelate(network)
        self.largest = max(sizes[:-1])
        self.plasticity = None if rule is None else nd.Plasticity(network, rule, compensate=compensate)
        self.credit = nd.credit.get(credit, network, **CREDITS[credit])
        self.optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(BATCH, sizes[0], generator=generator) + torch.randn(BATCH, 1, generator=generator)
        self.targets = torch.randint(sizes[-1], (BATCH,), generator=generator)

    def learn(self) -> None:
        """Gradients and the optimiser's step."""
        self.optimiser.zero_grad()
        self.credit.backward(F.cross_entropy, self.inputs, self.targets)
        self.optimiser.step()

    def step(self) -> None:
        """The whole step."""
        self.learn()
        if self.plasticity is not None:
            self.plasticity.step()

    def memory(self) -> str:
        """The most that the plasticity allocates in its step, in units of the largest D."""
        if self.plasticity is None:
            return ""
        peak = 0
        for _ in range(EVERY):
            self.learn()
            with Allocations() as seen:
                self.plasticity.step()
            peak = max(peak, seen.peak)
        return f"{peak / (self.largest**2 * self.inputs.element_size()):.2f}"


def measure(sizes: list[int], credit: str, rounds: int) -> list[dict[str, str]]:
    """One row a condition, all timed in the same rounds."""
    narrowest = min(sizes[:-1])
    rules: dict[str, nd.rules.Rule] = {
        "dense": nd.rules.get("norm_preserving", rate=1e-6),
        "interneurons": nd.rules.get("interneuron", interneurons=min(64, narrowest), every=EVERY, damping=30.0),
    }
    trainings = {"plain": Training(sizes, credit, None, False)}
    for name, rule in rules.items():
        trainings[name] = Training(sizes, credit, rule, False)
        trainings[f"{name}, compensated"] = Training(sizes, credit, rule, True)
    steps: dict[str, Step] = {name: training.step for name, training in trainings.items()}
    taken = alternate(steps, rounds, multiple=EVERY)
    return [
        {
            "credit": credit,
            "lateral weights": name,
            "ms": milliseconds(taken[name]),
            "it / plain": ratio(taken[name], taken["plain"]),
            "extra / D": training.memory(),
        }
        for name, training in trainings.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = options("Time of a training step with decorrelation against the plain one.", rounds=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3072, *[1000] * 4, 10], help="units, input to output")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads, {arguments.rounds} rounds; ratios: median [quartiles] over rounds\n")
    show([row for credit in CREDITS for row in measure(arguments.sizes, credit, arguments.rounds)], arguments.out)


if __name__ == "__main__":
    main()
