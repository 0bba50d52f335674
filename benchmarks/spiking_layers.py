"""Time of a training step of a spiking network with the layers of `neuro_decorr.norse`, against plain Norse.

The network is 784-400-400-10, 50 time steps, batches of 128 Poisson trains, backpropagation through time and Adam. The
opponent is Norse's own: a `SequentialState` of linear layers and `LIF`, which runs over whole sequences. Ours are the
same network with `nd.norse.LIF`, with transforms before every linear layer (centred, with interneurons, dense) and with
lateral inhibition between the hidden neurons, the step of the plasticity included; the aim is at most 1.35 times the
opponent's. `/ Norse` is within a round.

Below, node perturbation with 8 directions, side by side in one batch, over a forward pass without gradients of the
same network; the aim is at most twice the time of 2 x 4 passes, 16. `benchmarks/perturbation_directions.py` has the
directions one after the other too.

Usage: python benchmarks/spiking_layers.py [--sizes 784 400 400 10] [--steps N] [--batch N] [--only NAME ...]
       [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import norse.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Step, alternate, milliseconds, options, ratio, show
from models.spiking import neurons, spiking

OPPONENT = "plain Norse"
DIRECTIONS = 8


def plain(sizes: Sequence[int], gain: float) -> norse.torch.SequentialState:
    """Norse's own network, with the neurons of `models.spiking`."""
    rates = [torch.tensor(value) for value in (200.0, 100.0, 0.0, 0.5, 0.0)]
    parameters = norse.torch.LIFParameters(*rates, alpha=torch.tensor(10.0))
    layers = [layer for layer in spiking(sizes, gain=gain, seed=0).network if isinstance(layer, nn.Linear)]
    return norse.torch.SequentialState(*(part for layer in layers for part in (layer, norse.torch.LIF(parameters))))


def lateral(features: int) -> nn.Module:
    """Hidden neurons that inhibit each other; those that are read out do not."""
    return neurons(features) if features <= 10 else nd.norse.LateralLIF(features, threshold=0.5)


def training(model: nn.Module, plasticity: Sequence[torch.optim.Optimizer], inputs: Tensor, targets: Tensor) -> Step:
    """A whole step: forward, backward through time, Adam, plasticity."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        spikes, _ = model(inputs)
        torch.autograd.backward(F.cross_entropy(spikes.sum(dim=0), targets))
        optimiser.step()
        for one in plasticity:
            one.step()

    return step


def contestants(sizes: Sequence[int], inputs: Tensor, targets: Tensor, gain: float) -> dict[str, Step]:
    """The training steps by name."""

    def with_rule(name: str, **parameters: float) -> Step:
        model = nd.decorrelate(spiking(sizes, gain=gain, seed=0).network)
        return training(model, [nd.Plasticity(model, nd.rules.get(name, **parameters))], inputs, targets)

    inhibited = spiking(sizes, gain=gain, neuron=lateral, seed=0).network
    return {
        OPPONENT: training(plain(sizes, gain), [], inputs, targets),
        "LIF": training(spiking(sizes, gain=gain, seed=0).network, [], inputs, targets),
        "LIF, centred": with_rule("center"),
        "LIF, interneurons": with_rule("interneuron"),
        "LIF, norm preserving": with_rule("norm_preserving", rate=1e-4),
        "LateralLIF": training(inhibited, [nd.norse.NeuronPlasticity(inhibited)], inputs, targets),
    }


def perturbation(sizes: Sequence[int], inputs: Tensor, targets: Tensor, gain: float) -> dict[str, Step]:
    """Node perturbation, and a forward pass of the same network."""
    model = spiking(sizes, gain=gain, seed=0)
    credit = nd.credit.get(
        "node_perturbation", model, sigma=0.2, hold="pass", time_first=True, directions=DIRECTIONS, vectorised=True
    )

    def forward() -> None:
        with torch.no_grad():
            model(inputs)

    return {
        "forward": forward,
        f"{DIRECTIONS} directions": lambda: credit.backward(F.cross_entropy, inputs, targets),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = options(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[784, 400, 400, 10], help="units of every layer")
    parser.add_argument("--steps", type=int, default=50, help="time steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="samples (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], help="of our layers only these (default: all)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    print(f"{chosen.threads} threads, {chosen.rounds} rounds; ratios: median [quartiles] over rounds\n")
    generator = torch.Generator().manual_seed(0)
    inputs = (torch.rand(chosen.steps, chosen.batch, chosen.sizes[0], generator=generator) < 0.1).float()
    targets = torch.randint(chosen.sizes[-1], (chosen.batch,), generator=generator)
    gain = 2.0
    rows = []
    for title, steps, base in (
        ("training step", contestants(chosen.sizes, inputs, targets, gain), OPPONENT),
        ("node perturbation", perturbation(chosen.sizes, inputs, targets, gain), "forward"),
    ):
        kept = {name: step for name, step in steps.items() if not chosen.only or name in (base, *chosen.only)}
        if len(kept) < 2:
            continue
        taken = alternate(kept, chosen.rounds)
        rows += [
            {
                "what": title,
                "layers": name,
                "ms": milliseconds(times),
                "/ Norse, or / forward": ratio(times, taken[base]),
            }
            for name, times in taken.items()
        ]
    show(rows, chosen.out)


if __name__ == "__main__":
    main()
