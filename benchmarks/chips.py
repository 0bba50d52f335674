"""Demands of decorrelation on a chip, and the accuracy that is left with weights of few bits.

Networks 64-100-10 of nd.norse.LIF learn handwritten digits from Poisson spikes, 20 steps; decorrelated ones are folded.
Then every weight becomes a whole number times a scale. Paired seeds: the same weights, batches and spikes.

In those of fan-in 16 a hidden unit reads one quadrant of the image.

Usage: python benchmarks/chips.py [--seeds N] [--updates N] [--arms NAME ...] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import norse.torch
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import options, show
from neuro_decorr.data import digits
from neuro_decorr.study.statistics import half_width

STEPS, UNITS, BATCH, CALIBRATION = 20, 100, 64, 256
ARMS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "decorrelated, centred": {"center": True},
    "decorrelated, not centred": {"center": False},
    "fan-in 16, plain": None,
    "fan-in 16, decorrelated": {"center": False},
    "fan-in 16, decorrelated, zeros kept": {"center": False, "keep_sparsity": True},
}
BITS: dict[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "32 bits": lambda network, _: network,
    "8 bits": lambda network, _: nd.norse.quantised(network, 8),
    "4 bits": lambda network, _: nd.norse.quantised(network, 4),
    "8 bits, calibrated": lambda network, seen: nd.norse.quantised(network, 8, calibration=seen),
    "4 bits, calibrated": lambda network, seen: nd.norse.quantised(network, 4, calibration=seen),
    "3 bits, calibrated": lambda network, seen: nd.norse.quantised(network, 3, calibration=seen),
}


def spikes(intensities: Tensor, generator: torch.Generator) -> Tensor:
    """Bernoulli spikes (steps, samples, features): at most every second step."""
    return (torch.rand(STEPS, *intensities.shape, generator=generator) < 0.5 * intensities).float()


def quadrants() -> Tensor:
    """Mask of the 8 x 8 pixels that a hidden unit reads, those of one quadrant, shape (UNITS, 64)."""
    rows, columns = torch.arange(64) // 8, torch.arange(64) % 8
    quadrant = 2 * (rows // 4) + columns // 4
    return (quadrant == (torch.arange(UNITS) % 4)[:, None]).float()


def trained(seed: int, options: dict[str, Any] | None, updates: int, local: bool = False) -> nn.Module:
    """A network as a chip would run it: trained, folded, in eval mode."""
    torch.manual_seed(seed)
    network: nn.Module = norse.torch.SequentialState(
        nn.Linear(64, UNITS), nd.norse.LIF(UNITS, threshold=0.3), nn.Linear(UNITS, 10), nd.norse.LIF(10, threshold=0.3)
    )
    first: Any = network[0]  # type: ignore[index]  # a sequence
    mask = quadrants() if local else torch.ones(UNITS, 64)
    first.weight.data *= mask
    plasticity = None
    if options is not None:
        network = nd.decorrelate(network, signal="trace", **options)
        plasticity = nd.Plasticity(network, nd.rules.get("norm_preserving", rate=1e-2))
    learn(network, plasticity, updates, seed, mask)
    return (nd.fold(network) if plasticity is not None else network).eval()


def learn(
    network: nn.Module, plasticity: nd.Plasticity | None, updates: int, seed: int, mask: Tensor | None = None
) -> None:
    """Train a network on batches of spikes.

    Args:
        network: The network.
        plasticity: Plasticity of its lateral weights, if any.
        updates: Number of updates.
        seed: Seed of the batches and the spikes.
        mask: Weights of the first layer that are not zero; None: all.
    """
    inputs, targets = intensities("train")
    generator = torch.Generator().manual_seed(seed + 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(updates):
        chosen = torch.randint(len(inputs), (BATCH,), generator=generator)
        optimiser.zero_grad()
        output, _ = network(spikes(inputs[chosen], generator))
        F.cross_entropy(output.sum(0), targets[chosen]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if mask is not None:
            network[0].weight.data *= mask  # type: ignore[index]  # a sequence
        if plasticity is not None:
            plasticity.step()


def intensities(part: str) -> tuple[Tensor, Tensor]:
    """Digits in [0, 1], and their classes."""
    data = digits(seed=0)
    low, high = data.train.inputs.min(), data.train.inputs.max()
    chosen = getattr(data, part)
    return ((chosen.inputs - low) / (high - low)).float(), chosen.targets


def measured(network: nn.Module) -> dict[str, float]:
    """Measure one network: its accuracy at every number of bits, and its demands on a chip."""
    images, targets = intensities("test")
    test = spikes(images, torch.Generator().manual_seed(9))
    training, _ = intensities("train")
    seen = spikes(training[:CALIBRATION], torch.Generator().manual_seed(8))
    found = {}
    with torch.no_grad():
        for name, rounded in BITS.items():
            counts = rounded(network, seen)(test)[0].sum(0)
            found[name] = 100 * float((counts.argmax(1) == targets).double().mean())
    report = nd.norse.hardware_report(network, test)
    found["weights"] = report.stored
    found["fan-in, hidden"] = report.layers[0].fan_in
    found["synaptic operations"] = report.operations
    found["spikes"] = report.spikes
    found["spikes, silent input"] = nd.norse.hardware_report(network, torch.zeros_like(test[:, :1])).spikes
    found["bits for 1 %"] = max(layer.bits or 25 for layer in report.layers)
    return found


def interval(values: list[float]) -> str:
    """Mean and half its 95 % interval by Student's t."""
    half = float(half_width(np.std(values, ddof=1), len(values))) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.1f} ± {half:.1f}"


def main(arguments: list[str] | None = None) -> None:
    """Train all arms with all seeds, and print one row an arm."""
    parser: argparse.ArgumentParser = options(__doc__ or "", rounds=1)
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=300, help="of training (default: %(default)s)")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="which networks")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    rows = []
    for name in chosen.arms:
        local = name.startswith("fan-in")
        found = [measured(trained(seed, ARMS[name], chosen.updates, local)) for seed in range(chosen.seeds)]
        rows.append({"network": name} | {key: interval([one[key] for one in found]) for key in found[0]})
    show(rows, chosen.out)


if __name__ == "__main__":
    main()
