"""Time of a training step of decorrelated convolutions, as a ratio to the plain step of the same round.

- convolution: one 3 x 3 convolution of 32 to 64 channels at 16 x 16, batch 64: forward, backward to the inputs and the
  weights, and the update of the lateral weights; no optimiser.
- network: four convolutions, a dense layer and the output at 3 x 32 x 32, as in Ahmad (2024), batch 64, with Adam.
  Its first layer has patches of 27 features, so there are 27 interneurons in every layer, here and in ResNet-18.
- residual: ResNet-18 at 3 x 32 x 32, batch 32, with Adam. Not by default: its dense matrices take a while.

D is folded into the kernel at every step, W D, and the gradient of W is carried back through the fold: 4 outputs
features^2 flop, whatever the batch. The convolution itself costs 6 positions outputs features flop, so the fold alone
adds 2 features / (3 positions): 1 % for 32 channels at 16 x 16 and batch 64, more than the convolution itself where
the images have become small and the channels many, as in the last layers of ResNet-18. The update adds
(2 + 4) k features^2 flop with k patches. `flop / plain` counts the products and convolutions of both.

Usage: python benchmarks/convolution_step.py [--only convolution network residual] [--rounds N] [--out FILE.csv]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks import training_step
from benchmarks._measure import Step, alternate, milliseconds, options, ratio, show
from models.convolutional import convolutional
from models.residual import residual

CASES = ("convolution", "network", "residual")


def one_convolution(rounds: int, batch: int = 64) -> list[dict[str, str]]:
    """Make a table with one row per condition of a convolution alone."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, 32, 16, 16, generator=generator).requires_grad_()
    upstream = torch.randn(batch, 64, 16, 16, generator=generator)
    rules = training_step.rules(most_interneurons=64)

    def step_of(rule: nd.rules.Rule | None) -> Step:
        layer: nn.Module = nn.Conv2d(32, 64, 3, padding=1)
        plasticity = None
        if rule is not None:
            layer = nd.decorrelate(layer)
            plasticity = nd.Plasticity(layer, rule)

        def step() -> None:
            inputs.grad = None
            layer.zero_grad()
            layer(inputs).backward(upstream)
            if plasticity is not None:
                plasticity.step()

        return step

    steps = {"plain": step_of(None), **{name: step_of(rule) for name, rule in rules.items()}}
    taken = alternate(steps, rounds, multiple=training_step.EVERY)
    return [
        {
            "what": "convolution",
            "lateral weights": name,
            "ms": milliseconds(taken[name]),
            "it / plain": ratio(taken[name], taken["plain"]),
            "flop / plain": training_step.relative_flop(step, steps["plain"]),
            "extra / D": "",
        }
        for name, step in steps.items()
    ]


def whole_network(name: str, network: nn.Module, batch: int, rounds: int) -> list[dict[str, str]]:
    """Make a table with one row per condition of a training step with backprop."""
    data = training_step.batches((batch, 3, 32, 32), classes=10)
    rows = training_step.measure(network, data, "backprop", rounds, compensation=(False,))
    return [{"what": name, **{key: row[key] for key in row if key != "credit"}} for row in rows]


def main() -> None:
    """Measure and print."""
    parser = options("Time of a training step of decorrelated convolutions against the plain one.", rounds=5)
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES[:2], help="which (default: the first two)")
    parser.add_argument("--batch", type=int, help="images a batch (default: 64, and 32 for residual)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads, {arguments.rounds} rounds; ratios: median [quartiles] over rounds\n")
    rows = []
    if "convolution" in arguments.only:
        rows += one_convolution(arguments.rounds, arguments.batch or 64)
    if "network" in arguments.only:
        rows += whole_network("network", convolutional(seed=0), arguments.batch or 64, arguments.rounds)
    if "residual" in arguments.only:
        rows += whole_network("residual", residual(seed=0), arguments.batch or 32, arguments.rounds)
    show(rows, arguments.out)


if __name__ == "__main__":
    main()
