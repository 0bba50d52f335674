"""Figure: how long a stimulus must be held, and how late inhibition may come, for the recurrent form to work.

Usage: python -m analysis.settling_limits DIR [--updates 1000] [--seeds 3]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

import neuro_decorr as nd
from neuro_decorr.errors import Diverged
from neuro_decorr.rate import settling
from neuro_decorr.report import save_figure, save_table

UNITS, ROWS, TEST = 20, 32, 4_000
HOLDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
RATES = {"anti_hebbian": 0.01, "lateral": 0.01}
CONDITIONS = {10: "#56B4E9", 100: "#0072B2", 1000: "#000000"}
COMMON_MODES = {9: "#56B4E9", 49: "#0072B2", 225: "#000000"}  # variance of one mode, all others 1
CAPTION = (
    "A: distance from the fixed point at the end of a stimulus, relative to the activity, in a circuit that whitens "
    "its drive; stimuli follow each other. B: mean absolute correlation of held-out activity after plasticity that "
    "only saw what the circuit had reached (20 Gaussian units, condition 10). C: the longest delay at which a mode of "
    "the lateral weights settles; simulations 5 % below and above it. D: distance from the fixed point after 20 time "
    "constants against the delay, in circuits that whiten one strong common mode."
)


def covariance(condition: float, seed: int = 0) -> np.ndarray:
    """A covariance with a log-uniform spectrum of mean 1."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(UNITS, UNITS)))[0]
    spectrum = np.logspace(0, np.log10(condition), UNITS)
    covariance: np.ndarray = (basis * (spectrum / spectrum.mean())) @ basis.T
    return covariance


def root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(matrix)
    result: np.ndarray = (vectors * np.sqrt(values)) @ vectors.T
    return result


def stream(condition: float, count: int, seed: int) -> Tensor:
    """Independent Gaussian stimuli, shape (count, UNITS)."""
    generator = np.random.default_rng([seed, 1])
    return torch.from_numpy(generator.normal(size=(count, UNITS)) @ root(covariance(condition, seed)))


def whitening(condition: float) -> nd.LateralWeights:
    """The lateral weights that whiten: I + M = S^{1/2}."""
    return nd.LateralWeights(torch.from_numpy(root(covariance(condition)) - np.eye(UNITS)))


def remaining(activity: Tensor, fixed: Tensor) -> float:
    """Root mean square distance from the fixed point relative to the root mean square activity at it."""
    return float(((activity - fixed).square().mean() / fixed.square().mean()).sqrt())


def learnt(rule: str, hold: float, updates: int, seed: int) -> float:
    """Mean absolute correlation after learning from unfinished settling; not a number where the circuit diverged."""
    drive = stream(10, updates * ROWS + TEST, seed)
    lateral = torch.zeros(UNITS, UNITS, dtype=torch.float64)
    options = {"hold": hold, "successive": True}
    module = nd.Decorrelation(UNITS, center=False, sample=1.0, dtype=torch.float64)
    circuit = nd.Recurrent(module, "continuous", **options)
    plasticity = nd.Plasticity(circuit, nd.rules.get("anti_hebbian"), lr=RATES["anti_hebbian"])
    state = torch.zeros(UNITS, dtype=torch.float64)
    try:
        for update in range(updates):
            inputs = drive[update * ROWS : (update + 1) * ROWS]
            if rule == "anti_hebbian":
                activity = circuit(inputs, initial=state)
                plasticity.step()
            else:
                # The synapses of `lateral` themselves: drive times activity, whatever it is, and a scaling.
                activity = nd.settle(inputs, lateral, "continuous", initial=state, **options)
                lateral = lateral + RATES[rule] * inputs.T @ activity / ROWS
                gain = float((inputs.norm(dim=1) / activity.norm(dim=1)).mean())
                lateral = (lateral + torch.eye(UNITS)) / gain - torch.eye(UNITS)
            state = activity[-1]
        weights = circuit.lateral_weights() if rule == "anti_hebbian" else nd.LateralWeights(lateral)
        return nd.metrics.mean_absolute_correlation(
            nd.settle(drive[-TEST:], weights, "continuous", initial=state, **options)
        )
    except Diverged:
        return math.nan


def draw_settling(axis: Axes) -> None:
    """Panel A."""
    holds = np.geomspace(0.25, 40, 25)
    for condition, colour in CONDITIONS.items():
        weights, drive = whitening(condition), stream(condition, 400, 0)
        fixed = nd.settle(drive, weights)
        left = [
            remaining(nd.settle(drive, weights, "continuous", hold=float(hold), successive=True), fixed)
            for hold in holds
        ]
        axis.plot(holds, left, color=colour, label=f"condition {condition}")
    axis.set(xscale="log", yscale="log", ylim=(1e-4, 3), xlabel="hold time / τ", ylabel="distance from fixed point")
    axis.legend(frameon=False, fontsize=9)


def draw_learning(axis: Axes, table: pd.DataFrame) -> None:
    """Panel B."""
    names = {
        "anti_hebbian": ("#E69F00", "activity × activity (anti_hebbian)"),
        "lateral": ("#0072B2", "drive × activity (lateral)"),
    }
    for rule, (colour, words) in names.items():
        rows = table[table["rule"] == rule].groupby("hold")["correlation"].agg(["mean", "std"])
        axis.errorbar(rows.index, rows["mean"], rows["std"], color=colour, marker="o", capsize=2, label=words)
    seeds = sorted(set(table["seed"]))
    before = np.mean([nd.metrics.mean_absolute_correlation(stream(10, TEST, seed)) for seed in seeds])
    axis.axhline(before, color="#999999", linestyle="--", label="before learning")
    floor = math.sqrt(2 / (math.pi * TEST))  # of independent units
    axis.axhline(floor, color="#999999", linestyle=":", label="sampling floor")
    axis.set(xscale="log", yscale="log", xlabel="hold time / τ", ylabel="mean |correlation|")
    axis.set_xticks(HOLDS, [f"{hold:g}" for hold in HOLDS])
    axis.set_yticks((0.01, 0.02, 0.05, 0.1, 0.2), ("0.01", "0.02", "0.05", "0.1", "0.2"))
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=8)


def draw_delays(axis: Axes) -> None:
    """Panel C."""
    modes = np.geomspace(1.02, 60, 200)
    axis.plot(modes, settling.delay_limits(torch.from_numpy(modes)), color="black", label="exact limit")
    axis.plot(modes, math.pi / 2 / modes, color="#999999", linestyle="--", label="π / (2 m)")
    for factor, marker, words in ((0.95, "o", "settles"), (1.05, "x", "grows")):
        for mode in (1.2, 2.0, 5.0, 15.0, 50.0):
            delay = factor * float(settling.delay_limits(torch.tensor(mode, dtype=torch.float64)))
            grows = _grows(mode, delay)
            colour = "#D55E00" if grows else "#009E73"
            shown = words if mode == 2.0 else None
            axis.plot(mode, delay, marker=marker, linestyle="", color=colour, label=shown)
            if grows != (factor > 1):
                raise AssertionError(f"mode {mode} with delay {delay} contradicts the limit")
    axis.set(xscale="log", yscale="log", xlabel="eigenvalue m of M", ylabel="delay / τ")
    axis.legend(frameon=False, fontsize=9)


def _grows(mode: float, delay: float) -> bool:
    """Whether a simulated mode oscillates ever more: later maxima above earlier ones."""
    step, one = delay / 400, torch.ones(1, dtype=torch.float64)
    _, course = nd.settling_course(one, mode * one[None], duration=24_000 * step, step=step, delay=delay)
    deviation = (course - 1 / (1 + mode)).abs()
    return float(deviation[-6_000:].max()) > float(deviation[6_000:12_000].max())


def draw_distance_by_delay(axis: Axes) -> None:
    """Panel D."""
    for power, colour in COMMON_MODES.items():
        common = np.ones((UNITS, 1)) / math.sqrt(UNITS)
        amplitude = torch.from_numpy((math.sqrt(power) - 1) * common @ common.T)
        weights = nd.LateralWeights(amplitude)
        generator = torch.Generator().manual_seed(0)
        private = torch.randn(50, UNITS, generator=generator, dtype=torch.float64)
        drive = private + private @ amplitude
        fixed = nd.settle(drive, weights)
        limit = settling.largest_delay(weights)
        delays = limit * np.geomspace(0.1, 1.5, 40)
        left = []
        for delay in delays:
            step = float(delay) / 20
            duration = round(20 / step) * step
            course = nd.settling_course(drive, weights, duration=duration, step=step, delay=float(delay))[1]
            left.append(remaining(course[-1], fixed))
        axis.plot(delays, left, color=colour, label=f"{power} times the rest")
        axis.axvline(limit, color=colour, linestyle=":")
    axis.set(xscale="log", yscale="log", ylim=(1e-9, 1e4), ylabel="distance from fixed point")
    axis.set_xlabel("delay / τ (dotted: the limit)")
    axis.legend(frameon=False, fontsize=9, loc="center left", title="common mode")


def main() -> None:
    """Simulate, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("directory", type=Path, help="figures and the table are written below it")
    parser.add_argument("--updates", type=int, default=1_000, help="plasticity updates in panel B")
    parser.add_argument("--seeds", type=int, default=3, help="seeds in panel B")
    arguments = parser.parse_args()
    rows = [
        {"rule": rule, "hold": hold, "seed": seed, "correlation": learnt(rule, hold, arguments.updates, seed)}
        for rule in RATES
        for hold in HOLDS
        for seed in range(arguments.seeds)
    ]
    table = pd.DataFrame(rows)
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    draw_settling(axes[0][0])
    draw_learning(axes[0][1], table)
    draw_delays(axes[1][0])
    draw_distance_by_delay(axes[1][1])
    for axis, letter in zip(axes.flat, "ABCD", strict=True):
        axis.set_title(letter, loc="left", fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, arguments.directory, "settling_limits", CAPTION)
    summary = table.groupby(["rule", "hold"])["correlation"].agg(["mean", "std", "count"]).reset_index()
    save_table(summary, arguments.directory, "settling_limits", CAPTION, digits=3)
    print(summary.to_string(index=False))


if __name__ == "__main__":
    main()
