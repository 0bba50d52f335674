"""Cost of centring for a chip whose sensor is silent: spikes with and without input, and the accuracy.

Networks 64-100-10 of nd.norse.LIF, a nd.norse.Decorrelation before each layer, learn handwritten digits from Poisson
spikes, 20 steps. Paired seeds: the same weights, batches and spikes.

Usage: python benchmarks/idle_activity.py [--seeds N] [--updates N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import norse.torch
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import options, show
from benchmarks.chips import STEPS, UNITS, intensities, interval, learn, spikes

RULES = {"norm_preserving": {"rate": 1e-2}, "interneuron": {}}
CENTRING = ("centred", "not centred", "mean tracked, not subtracted")
ARMS = [("none", ""), *product(RULES, CENTRING)]


def trained(seed: int, rule: str, centring: str, updates: int) -> nn.Module:
    """A network in eval mode."""
    torch.manual_seed(seed)
    modules: list[nn.Module] = []
    for inputs, outputs in ((64, UNITS), (UNITS, 10)):
        layer = nn.Linear(inputs, outputs), nd.norse.LIF(outputs, threshold=0.3)
        cell = nd.norse.Decorrelation(inputs, center=centring != "not centred", signal="trace")
        cell.decorrelation.subtract = centring == "centred"
        modules += layer if rule == "none" else (cell, *layer)
    network: nn.Module = norse.torch.SequentialState(*modules)
    plasticity = None if rule == "none" else nd.Plasticity(network, nd.rules.get(rule, **RULES[rule]))
    learn(network, plasticity, updates, seed)
    return network.eval()


@torch.no_grad()
def measured(network: nn.Module) -> dict[str, float]:
    """Accuracy in percent, and hidden spikes a sample with digits and without any input."""
    images, targets = intensities("test")
    counted: list[float] = []

    def count(_: nn.Module, __: object, found: tuple[Tensor, object]) -> None:
        counted.append(float(found[0].sum()) / found[0].shape[1])

    hidden = next(module for module in network.modules() if isinstance(module, nd.norse.LIF))
    handle = hidden.register_forward_hook(count)
    outputs = network(spikes(images, torch.Generator().manual_seed(9)))[0].sum(0)
    network(torch.zeros(STEPS, 1, 64))
    handle.remove()
    accuracy = 100 * float((outputs.argmax(1) == targets).double().mean())
    return {"accuracy": accuracy, "spikes a digit": counted[0], "spikes, silent input": counted[1]}


def main(arguments: list[str] | None = None) -> None:
    """Train all arms with all seeds, and print one row an arm."""
    parser = options((__doc__ or "").splitlines()[0], rounds=1)
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=200, help="of training (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    rows = []
    for rule, centring in ARMS:
        found = [measured(trained(seed, rule, centring, chosen.updates)) for seed in range(chosen.seeds)]
        arm = {"decorrelation": f"{rule}, {centring}".rstrip(", ")}
        rows.append(arm | {key: interval([one[key] for one in found]) for key in found[0]})
    show(rows, chosen.out)


if __name__ == "__main__":
    main()
