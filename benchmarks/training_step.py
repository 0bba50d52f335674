"""Time of a whole training step with every layer decorrelated, as a ratio to the plain step of the same round.

The network is 3072 - 4 x 1000 - 10 with LeakyReLU, the batch 256, the optimiser Adam. A step is the gradients by the
credit assignment, the optimiser's step and, where layers are decorrelated, the step of the plasticity: with a dense D
or with 64 interneurons that move at every fourth update (times are means over multiples of four steps), each with and
without compensation of the weights. `flop / plain` counts the products of both: what the ratio of the times would be
if all of them ran at one speed and nothing else took time. `extra / D` is the most memory that the plasticity's own
step allocates, in units of the largest layer's features x features matrix.

Usage: python benchmarks/training_step.py [--sizes 3072 1000 1000 10] [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Allocations, Step, alternate, flop, milliseconds, options, ratio, show
from models.dense import dense

BATCH = 256
EVERY = 4
BATCHES = 9  # the interneurons move at every fourth step, and so meet all of them
WEIGHTS = nn.Linear | nn.Conv2d
CREDITS: dict[str, dict[str, float]] = {"backprop": {}, "feedback_alignment": {}, "node_perturbation": {"sigma": 1e-3}}


class Training:
    """Network with all objects that its training step needs."""

    def __init__(
        self,
        network: nn.Module,
        batches: Sequence[tuple[Tensor, Tensor]],
        credit: str,
        rule: nd.rules.Rule | None,
        compensate: bool,
    ) -> None:
        """Decorrelate a copy of the network where a rule is given; it is trained on the batches in turn."""
        network = copy.deepcopy(network) if rule is None else nd.decorrelate(network)
        self.plasticity = None if rule is None else nd.Plasticity(network, rule, compensate=compensate)
        self.largest = max(layer.weight[0].numel() for layer in network.modules() if isinstance(layer, WEIGHTS))
        self.credit = nd.credit.get(credit, network, **CREDITS[credit])
        self.optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
        self.batches = cycle(batches)

    def learn(self) -> None:
        """Gradients and the optimiser's step."""
        self.optimiser.zero_grad()
        self.credit.backward(F.cross_entropy, *next(self.batches))
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
        return f"{peak / (self.largest**2 * torch.float32.itemsize):.2f}"


def batches(shape: Sequence[int], classes: int) -> list[tuple[Tensor, Tensor]]:
    """Nine times inputs with a common mode, shape (batch, ...), and labels: sampled rows of one would span little."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(BATCHES):
        common = torch.randn(shape[0], *[1] * (len(shape) - 1), generator=generator)
        inputs = torch.randn(*shape, generator=generator) + common
        made.append((inputs, torch.randint(classes, (shape[0],), generator=generator)))
    return made


def rules(most_interneurons: int) -> dict[str, nd.rules.Rule]:
    """Rules that are compared with plain training: one of every structure."""
    return {
        "dense": nd.rules.get("norm_preserving", rate=1e-6, form="published"),
        "interneurons": nd.rules.get("interneuron", interneurons=most_interneurons, every=EVERY, damping=30.0),
    }


def relative_flop(step: Step, plain: Step) -> str:
    """Floating-point operations of a step, in units of the plain one."""
    return f"{flop(step, EVERY) / flop(plain, EVERY):.2f}"


def measure(
    network: nn.Module,
    data: Sequence[tuple[Tensor, Tensor]],
    credit: str,
    rounds: int,
    compensation: Sequence[bool] = (False, True),
) -> list[dict[str, str]]:
    """Make a table with one row per condition, all timed in the same rounds."""
    narrowest = min(layer.weight[0].numel() for layer in network.modules() if isinstance(layer, WEIGHTS))
    trainings = {"plain": Training(network, data, credit, None, False)}
    for name, rule in rules(min(64, narrowest)).items():
        for compensate in compensation:
            key = f"{name}, compensated" if compensate else name
            trainings[key] = Training(network, data, credit, rule, compensate)
    steps: dict[str, Step] = {name: training.step for name, training in trainings.items()}
    taken = alternate(steps, rounds, multiple=EVERY)
    return [
        {
            "credit": credit,
            "lateral weights": name,
            "ms": milliseconds(taken[name]),
            "it / plain": ratio(taken[name], taken["plain"]),
            "flop / plain": relative_flop(training.step, trainings["plain"].step),
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
    network, data = dense(arguments.sizes, seed=0), batches((BATCH, arguments.sizes[0]), arguments.sizes[-1])
    show([row for credit in CREDITS for row in measure(network, data, credit, arguments.rounds)], arguments.out)


if __name__ == "__main__":
    main()
