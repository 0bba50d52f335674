"""Printed findings: words and tables of the project, and the numbers in the words against tables made by hand."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import (
    bootstrap_learning,
    convergence_rate,
    dual_descent,
    evidence,
    implicit_bias,
    implicit_steps,
    interneuron_convergence,
    one_matrix,
    perturbation_sigma,
    settling_limits,
)

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("analysis", "protocols") for path in sorted((ROOT / folder).rglob("*.py"))]
nan = float("nan")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_table_is_printed_as_pandas_prints_it(path: Path) -> None:
    assert "to_string(" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [path.stem for path in SOURCES if path.parent.name == "analysis"])
def test_what_returns_a_table_as_text_returns_words_too(name: str) -> None:
    module = importlib.import_module(f"analysis.{name}")
    assert hasattr(module, "finding") or not hasattr(module, "table_text")


def test_one_matrix() -> None:
    names = ["gradient", *one_matrix.MARKERS, *one_matrix.LEARNT]
    made = pd.DataFrame({"method": names, "distance": [0.7, *[2e-14] * 6, 0.1, 0.2, 0.3, 0.9]})
    made["whitened"] = [0.0, *[1e-11] * 7, nan, nan, nan]
    assert one_matrix.finding(made) == (
        "6 of 7 methods take the update G (S + l I)^-1 up to rounding; the largest distance among them is 2e-14. The "
        "distance of the gradient is 0.7.\n"
        "Distances of rules that learn D from batches: whitening 0.2, interneuron 0.3, norm_preserving 0.9.\n"
        "On inputs that are whitened exactly, every update is within 1e-11 of the gradient."
    )
    made["distance"] = 0.5
    assert one_matrix.finding(made).startswith("0 of 7 methods take the update G (S + l I)^-1 up to rounding. The")


def test_settling_limits() -> None:
    made = pd.DataFrame({"rule": ["lateral"] * 3, "hold": [2.0, 0.5, 10.0], "mean": [0.06, 0.12, 0.02]})
    learning = pd.DataFrame({"seed": [0, 0, 1], "before": [0.2, 0.2, 0.3], "floor": [0.01] * 3})
    assert settling_limits.finding(made, learning) == (
        "Mean absolute correlation before learning: 0.25; sampling floor: 0.01.\n"
        "After learning by lateral: 0.12 with stimuli of 0.5 time constants, 0.02 with stimuli of 10."
    )


def test_interneuron_convergence() -> None:
    made = pd.DataFrame({"rule": ["a"] * 3 + ["b"], "updates": [300.0, nan, 20.0, nan], "floor": [nan, 0.2, 0.5, nan]})
    assert interneuron_convergence.finding(made, 0.05) == (
        "a: with exact statistics 2 of 3 conditions come within 5% of the fixed point, after 20 to 300 updates (median "
        "over seeds). On batches the distance stays at 0.2 to 0.5.\n"
        "b: with exact statistics 0 of 1 conditions come within 5% of the fixed point."
    )


def test_perturbation_sigma() -> None:
    made = pd.DataFrame({"network": "spikes", "state": "drawn", "hold": "pass", "sigma": [0.01, 0.1, 0.3, 1.0]})
    made["asymmetry"], made["agreement"] = [1.5, 0.9, 0.5, 1.1], [0.1, 0.2, 0.4, 0.3]
    assert perturbation_sigma.finding(made) == (
        "spiking, as drawn, noise held: the change of the loss tells the direction of the noise (odd part above even "
        "part) at sigma 0.1 to 0.3; estimates agree best at sigma 0.3, with a cosine of 0.4."
    )
    assert "at no size; estimates" in perturbation_sigma.finding(made.assign(asymmetry=2))
    assert "at sigma 0.3; estimates" in perturbation_sigma.finding(made.assign(asymmetry=[2, 2, 0.1, 2]))


def test_implicit_bias() -> None:
    arms = pd.DataFrame({"arm": ["center", "whitening", "whitening"], "damping": [nan, 0.1, 1.0]})
    made = arms.assign(inputs="images", initial=0.1, more=[0, 2, 9.0], low=[0, 1, 8.0], high=[0, 3, 10.0])
    made["rank 0"], made["rank 50"] = [5.0] * 3, [1.25, 3.25, 10.25]
    assert implicit_bias.finding(made) == (
        "Stable rank of the weights after 50 steps; of damped arms at the smallest damping; in brackets 95 % intervals "
        "over seeds.\nimages, initial weights 0.1: 1.25 with centring; more than it: whitening +2 [+1, +3]."
    )


def test_implicit_steps() -> None:
    widths = pd.DataFrame({"problem": "online", "arm": ["none", "whitening"], "step": ["explicit", "implicit"]})
    widths = widths.assign(damping=[nan, 0.3], decades=[1.5, 4.0], more=[0, 2.5], low=[0, 2.0], high=[0, 3.0])
    solved = pd.DataFrame({"solver": ["adam", "implicit"], "arm": "none", "error": [0.5, 0.1]})
    solved = solved.assign(ratio=[1, 0.2], low=[1, 0.1], high=[1, 0.4])
    assert implicit_steps.finding(widths, solved) == (
        "online: usable step sizes span 1.5 decades with explicit steps and no decorrelation, and most with implicit "
        "steps and whitening at damping 0.3: 4 decades, +2.5 [+2, +3] more.\n"
        "Poisson: the relative error is 0.5 with Adam and no decorrelation, and least with implicit steps and no "
        "decorrelation: 0.1, 0.2 [0.1, 0.4] of it."
    )


def test_evidence() -> None:
    slack = pd.DataFrame({"trained": 1.0, "arm": "center", "bound": ["outputs", "tensors"], "slack": [9.0, 2.0]})
    slack = slack.assign(low=[8.0, 1.0], high=[10.0, 3.0])
    made = pd.DataFrame({"chosen": ["all", "all", "center"], "criterion": ["exact", "validation", "exact"]})
    made = made.assign(low=0.8, high=0.9)
    made["test accuracy"], made["minus validation"], made["from"], made["to"] = [0.85, 0.86, 0.1], -0.01, -0.02, 0.0
    assert evidence.finding(slack, made) == (
        "center, trained with delta 1: the tightest bound of the log determinant is that by tensors, with a slack of 2 "
        "[1, 3].\n"
        "Test accuracy of the setting that the evidence (exact) chooses: 0.850 [0.800, 0.900], -0.010 [-0.020, +0.000] "
        "against the choice by validation.\n"
        "Test accuracy of the setting that validation accuracy chooses: 0.860 [0.800, 0.900]."
    )


def test_dual_descent() -> None:
    found = pd.DataFrame({"arm": ["dual", "none"], "error": [0.1, 0.4], "low": [0.05, 0.3], "high": [0.15, 0.5]})
    speed = pd.DataFrame({"arm": ["none", "foof"], "damping": [nan, 0.1], "iterations": [500.0, 50.0]})
    told = [
        "Relative error of the mean with few points a step: dual 0.1 [0.05, 0.15]; features 0.4 [0.3, 0.5].",
        "With all points, foof at damping 0.1 needs the fewest iterations to 1 %: 50.",
    ]
    assert dual_descent.finding(found, speed) == told
    speed = speed.assign(low=[1, 8.0], high=[1, 12.0])
    speed["times fewer"] = [1, 10.0]
    assert dual_descent.finding(found, speed)[1] == (
        "With all points, foof at damping 0.1 needs the fewest iterations to 1 %: 50; the features as they are take 10 "
        "[8, 12] times as many."
    )
    assert dual_descent.finding(found, speed.assign(iterations=np.nan)) == told[:1]


def test_convergence_rate() -> None:
    made = pd.DataFrame({"arm": ["none", "whitening"], "damping": [nan, 0.1], "least": [0.9, 0.8], "most": [1.1, 1.2]})
    made = made.assign(none=[nan, 16.0])
    made["none low"], made["none high"] = [nan, 12.0], [nan, 20.0]
    pairs = pd.DataFrame({"biases": [True, False], "arm": "none", "least": [0.2, 0.0], "loss left": [0.1, 0.5]})
    assert convergence_rate.finding(made, made, pairs) == (
        "Measured rates are 0.8 to 1.2 times the predicted ones.\n"
        "whitening at damping 0.1: 16 [12, 20] times the rate without decorrelation.\n"
        "Parallel inputs, none, with biases: the loss falls to 0.1 of the first; least eigenvalue of the kernel 0.2.\n"
        "Parallel inputs, none, without biases: the loss falls to 0.5 of the first; least eigenvalue of the kernel 0."
    )


def test_bootstrap_learning() -> None:
    made = pd.DataFrame({"method": ["adam"] * 3, "arm": ["none", "center", "whitening"], "R^2": [0.5, 0.6, 0.7]})
    made = made.assign(low=0.4, high=0.8)
    made["minus none"], made["from"], made["to"] = [nan, 0.1, 0.2], [nan, 0.0, 0.1], [nan, 0.2, 0.3]
    assert bootstrap_learning.finding(made).splitlines()[1] == (
        "Adam: 0.500 [0.400, 0.800] without decorrelation, most with whitening: 0.700 (+0.200 [+0.100, +0.300])."
    )
