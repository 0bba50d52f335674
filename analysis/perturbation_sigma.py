"""Figure: which sizes of the noise a perturbation of spiking networks can learn from.

Networks 64-128-10 of handwritten digits: spiking (25 time steps of constant currents) as drawn and after two epochs of
backpropagation, and one of tanh units. For every size of the noise: how the losses of single samples answer
(`nd.credit.linearity`), and how alike independent estimates of the gradient are, which is what an update is worth.

Usage: python -m analysis.perturbation_sigma DIR [--seeds 3] [--samples 128]
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from models.dense import dense
from models.spiking import spiking
from neuro_decorr.credit import Hold
from neuro_decorr.report import save_figure, save_table

SIGMAS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
STEPS, DIRECTIONS, ESTIMATES = 25, 4, 8
CONDITIONS: dict[tuple[str, str, Hold], tuple[str, str, str]] = {
    ("spikes", "trained", "pass"): ("#D55E00", "-", "spiking, trained, noise held"),
    ("spikes", "drawn", "pass"): ("#D55E00", "--", "spiking, as drawn, noise held"),
    ("spikes", "trained", "step"): ("#0072B2", "-", "spiking, trained, noise of every step"),
    ("spikes", "drawn", "step"): ("#0072B2", "--", "spiking, as drawn, noise of every step"),
    ("rates", "trained", "step"): ("#999999", "-", "tanh units, trained"),
}
ANY_SPIKING = spiking([1, 1])
DEFAULTS: dict[str, Hold] = {"#D55E00": "pass", "#0072B2": "step"}
CAPTION = (
    "By the size of the noise at the currents. A: root mean square change of a sample's loss (odd part) per sigma; "
    "flat is linear, the dotted line is what single spikes that appear or vanish give. B: even part of the change over "
    "odd part; from 1 on the change says nothing about the direction of the noise. C: mean cosine of independent "
    "estimates of the gradient of one batch, 4 directions each. Bars: deviation over seeds. Triangles: default sizes."
)


def network(kind: str, state: str, seed: int, data: nd.data.Split) -> nn.Module:
    """A network as drawn, or after two epochs of backpropagation."""
    sizes = [64, 128, 10]
    model = spiking(sizes, steps=STEPS, gain=2.0, seed=seed) if kind == "spikes" else dense(sizes, nn.Tanh, seed=seed)
    if state == "trained":
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        batches = nd.data.batches(*data, 64, torch.Generator().manual_seed(seed))
        for inputs, targets in itertools.chain(batches, batches):
            optimiser.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimiser.step()
    return model


def agreement(model: nn.Module, batch: tuple[Tensor, Tensor], sigma: float, hold: Hold, seed: int) -> float:
    """Mean cosine of independent estimates of the gradient."""
    options = {"hold": hold, "time_first": True, "directions": DIRECTIONS, "vectorised": True, "seed": seed}
    credit = nd.credit.get("node_perturbation", model, sigma=sigma, **options)
    estimates = []
    for _ in range(ESTIMATES):
        model.zero_grad()
        credit.backward(F.cross_entropy, *batch)
        estimates.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    unit = F.normalize(torch.stack(estimates), dim=1)
    return float(((unit @ unit.T).sum() - ESTIMATES) / (ESTIMATES * (ESTIMATES - 1)))


def measure(seeds: int, samples: int, sigmas: tuple[float, ...] = SIGMAS) -> pd.DataFrame:
    """One row for every network, hold, size and seed."""
    rows = []
    for seed, (kind, state, hold) in itertools.product(range(seeds), CONDITIONS):
        data = nd.data.digits(seed).train
        model = network(kind, state, seed, data)
        batch = (data.inputs[:samples], data.targets[:samples])
        responses = nd.credit.linearity(
            model, F.cross_entropy, *batch, sigmas, directions=DIRECTIONS, hold=hold, time_first=True, seed=seed
        )
        for response in responses:
            alike = agreement(model, batch, response.sigma, hold, seed)
            facts = {"network": kind, "state": state, "hold": hold, "seed": seed, "linear": response.linear}
            rows.append({**facts, **response._asdict(), "agreement": alike})
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame, directory: Path) -> None:
    """Draw the figure and write the table."""
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.6), layout="constrained")
    panels = {
        "slope": "A: change of the loss (odd part) / σ",
        "asymmetry": "B: even / odd part",
        "agreement": "C: cosine of independent estimates",
    }
    for axis, (measured, words) in zip(axes, panels.items(), strict=True):
        for index, ((kind, state, hold), (colour, line, label)) in enumerate(CONDITIONS.items()):
            own = rows[(rows["network"] == kind) & (rows["state"] == state) & (rows["hold"] == hold)]
            by_sigma = own.groupby("sigma")[measured].agg(["mean", "std"])
            beside = by_sigma.index * 1.03 ** (index - 2)  # so that bars do not cover each other
            axis.errorbar(
                beside,
                by_sigma["mean"],
                by_sigma["std"].fillna(0),
                color=colour,
                linestyle=line,
                capsize=2,
                label=label,
            )
        for colour, held in DEFAULTS.items():
            default = nd.credit.default_sigma(ANY_SPIKING, held)
            axis.plot(default, 0.02, marker="^", color=colour, transform=axis.get_xaxis_transform(), clip_on=False)
        axis.set(xscale="log", xlabel="σ", title=words)
        axis.spines[["top", "right"]].set_visible(False)
    sizes = np.array([SIGMAS[0], 0.1])
    axes[0].plot(sizes, 0.2 * sizes**-0.5, color="black", linestyle=":", label="∝ σ$^{-1/2}$: single spikes")
    axes[0].set_yscale("log")
    axes[1].axhline(1, color="black", linewidth=0.8, linestyle=":")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, directory, "perturbation_sigma", CAPTION)
    plt.close(figure)
    keys = ["network", "state", "hold", "sigma"]
    save_table(
        rows.groupby(keys, sort=False).mean().drop(columns="seed").reset_index(),
        directory,
        "perturbation_sigma",
        CAPTION,
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="where figures and tables go")
    parser.add_argument("--seeds", type=int, default=3, help="networks and noises (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=128, help="in the batch (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    draw(measure(chosen.seeds, chosen.samples), chosen.directory)


if __name__ == "__main__":
    main()
