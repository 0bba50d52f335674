"""Figures can be printed: the width of a column, text of 6 pt or more, lettered panels, no text on another.

The tables are small and random: all levels that the default study has, a few seeds.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import t

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.report import sizes
from tests import _legible

ARMS = ["none", "center", "batch_normalisation", "foof", "norm_preserving", "interneuron"]
CREDITS = ["backprop", "feedback_alignment", "direct_feedback_alignment", "node_perturbation", "local_forward_gradient"]


def crossed(values: Iterable[str] = (), /, **factors: Iterable[Any]) -> pd.DataFrame:
    """Make a row for every combination of levels, with random values between 0.2 and 0.9."""
    levels = {"stage": ["measure"], "seed": range(1, 4), **factors}
    rows = pd.DataFrame(itertools.product(*levels.values()), columns=list(levels))
    random = np.random.default_rng(0)
    fixed = {"diverged": False, "chance": 0.1, "learning_rate": 0.1, "setting": 1.0, "damping": 0.1, "rate": 0.1}
    for name, value in fixed.items():
        if name not in rows:
            rows[name] = value
    return rows.assign(**{name: random.uniform(0.2, 0.9, len(rows)) for name in values})


def both(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the rows of the selection."""
    return pd.concat([rows, rows.assign(stage="select")], ignore_index=True)


def courses(values: Iterable[str], /, **factors: Iterable[Any]) -> dict[str, pd.DataFrame]:
    """Make the tables of learning curves."""
    curves = crossed(values, **factors, epoch=range(4))
    curves["updates"] = 20 * curves["epoch"]
    clock = curves[[*curves.columns.difference([*values, "chance"])]]
    return {"curves": curves, "timings": clock.assign(processor_seconds=0.5 + clock["epoch"], wall_seconds=1.0)}


def credit_assignment() -> study.Tables:
    strengths = [0.0, 1.0]
    of: dict[str, Any] = {"credit": CREDITS, "arm": ARMS, "strength": strengths}
    layers: dict[str, Any] = {**of, "layer": ["hidden_1", "hidden_2", "output"], "epoch": range(3)}
    return study.Tables({
        **courses(["validation_accuracy"], **of),
        "runs": crossed(**of),
        "tests": crossed(["test_accuracy"], **of),
        "layers": crossed(["mean_squared_correlation", "effective_rank"], seed=(1, 2), **layers),
        "spectra": crossed(["share"], seed=(1, 2), **layers, component=(1, 10, 100)),
        "spikes": crossed(["spikes"], **of, layer=("hidden_1", "hidden_2")),
    })  # fmt: skip


def natural_images() -> study.Tables:
    of: dict[str, Any] = {"credit": CREDITS, "arm": ARMS}
    parts = courses(["validation_accuracy", "test_accuracy"], **of)
    parts |= {"tests": crossed(["test_accuracy"], **of), "runs": both(crossed(**of))}
    return study.Tables(parts)


def deep_spiking() -> study.Tables:
    of: dict[str, Any] = {"credit": ["eprop", *CREDITS[1:]], "arm": ARMS, "depth": (2, 5, 10)}
    parts = courses(["validation_accuracy"], **of)
    parts |= {"tests": crossed(["test_accuracy"], **of), "runs": both(crossed(**of))}
    parts["alignment"] = crossed(["cosine", "rate"], **of, when=("before", "after"), layer=range(1, 11))
    return study.Tables(parts)


def optimisers() -> study.Tables:
    of: dict[str, Any] = {
        "optimiser": ["adam", "foof", "kfac", "momentum", "muon", "soap"],
        "arm": ["center", "interneuron"],
    }
    parts = courses(["validation_accuracy", "test_accuracy"], **of)
    parts |= {"tests": crossed(["test_accuracy"], **of), "runs": both(crossed(**of))}
    return study.Tables(parts)


def channel_directed() -> study.Tables:
    of: dict[str, Any] = {"arm": ARMS, "gradient": ["plain", "h0", "h1"]}
    return study.Tables({"tests": crossed(["test_accuracy"], **of), "runs": both(crossed(**of))})


def recurrent() -> study.Tables:
    of: dict[str, Any] = {
        "task": ["digits", "delayed_xor"],
        "cell": ["tanh"],
        "credit": [*CREDITS[:2], CREDITS[3]],
        "arm": ARMS[:4],
    }
    parts = {"tests": crossed(["test_accuracy"], **of), "runs": both(crossed(**of))}
    parts["states"] = crossed(["correlation", "effective_rank"], **of)
    return study.Tables(parts)


def context_adaptation() -> study.Tables:
    circuits = ["slow_synapses", "fixed_synapses", "all_pairs", "synapses_alone", "known_synapses"]
    of: dict[str, Any] = {"world": ["shared", "own"], "circuit": circuits}
    parts = {"courses": crossed(["error"], **of, when=["first", "last"], update=range(5))}
    parts |= {"contexts": crossed(["error"], **of, context=range(20))}
    parts |= {"ends": crossed(["error", "first"], **of).assign(synapse_rate=0.1)}
    return study.Tables(parts)


def learning_rates() -> study.Tables:
    damped = [f"{rule}, damping {d}" for rule in ("whitening", "interneuron") for d in ("0.3", "3")]
    arms = [*ARMS[:2], "norm_preserving", *(f"{arm}, {way}" for arm in damped for way in ("given back", "taken"))]
    of: dict[str, Any] = {"strength": [0.0, 1.0], "arm": arms, "learning_rate": [0.01, 0.1, 1.0], "epoch": [1]}
    return study.Tables({"curves": crossed(["validation_accuracy"], **of)})


def settling_limits() -> study.Tables:
    learning = crossed(["correlation", "before"], rule=["anti_hebbian", "lateral"], level=[0.5, 1, 2, 5, 10, 20])
    parts = {
        "settling": crossed(["distance"], seed=(1,), level=[10, 100, 1000], hold=[0.1, 1, 10]),
        "learning": learning.assign(floor=0.1),
        "delays": crossed(["delay"], seed=(1,), level=[1.2, 2, 5], grows=[True, False]),
        "late": crossed(["distance"], seed=(1,), level=[9, 49, 225], delay=[0.01, 0.1]).assign(limit=0.1),
        "runs": crossed(rule=["anti_hebbian", "lateral"], level=[0.5, 1.0], part=["learning"]),
    }
    return study.Tables(parts)


def perturbation_sigma() -> study.Tables:
    of: dict[str, Any] = {"network": ["spikes", "rates"], "state": ["trained", "drawn"], "hold": ["pass", "step"]}
    rows = crossed(["slope", "asymmetry", "agreement"], **of, sigma=[0.01, 0.1, 1.0]).assign(default=0.1)
    return study.Tables({"responses": rows})


def whitening_map() -> study.Tables:
    of: dict[str, Any] = {
        "features": [16, 64, 256],
        "batch": [8, 64],
        "condition": [1.0, 1e2, 1e4],
        "scale": [0.01, 1.0, 100.0],
    }
    rows = crossed(["start", "samples"], **of).assign(updates=100)
    return study.Tables({"cells": rows.assign(end=3e-4 * rows["start"])})


def whitening_course() -> study.Tables:
    rules = ["norm_preserving", "whitening", "interneuron", "decorrelating", "anti_hebbian"]
    of: dict[str, Any] = {"source": ["gaussian", "patches", "drifting"], "rule": rules}
    rows = crossed(["distance", "mean_squared_correlation"], **of, updates=[0, 10, 100])
    return study.Tables({"courses": rows, "timings": rows.assign(wall_seconds=0.1), "runs": crossed(**of)})


def spiking() -> study.Tables:
    of: dict[str, Any] = {"mixing": ["positive", "mixed", "opposed", "antagonists"], "sign": ["non-negative", "signed"]}
    arms = ["before", "learnt", "replayed", "other_input", "uniform", "shuffled", "homeostasis"]
    values = ["mean_absolute", "floor", "rms", "fano_factor", "participation_ratio"]
    parts = {
        "correlations": crossed(values, **of, arm=arms, bin=[0.01, 0.05, 0.1]),
        "lags": crossed(["correlation"], **of, arm=arms, lag=[-0.1, 0.0, 0.1]),
        "rates": crossed(["rate", "ratio", "within", "cv"], **of, arm=arms),
        "courses": crossed(["mean_absolute", "rate", "floor"], **of, time=[0, 10, 20]),
        "signs": crossed(["correlation"], **of, arm=["before", "learnt"], inputs=["alike", "opposed"]).assign(pairs=9),
    }
    return study.Tables(parts)


CASES: dict[str, Callable[[], study.Tables]] = {
    "dose_response": credit_assignment,
    "learning_curves": credit_assignment,
    "achieved_decorrelation": credit_assignment,
    "spikes_per_inference": credit_assignment,
    "natural_images": natural_images,
    "deep_spiking": deep_spiking,
    "optimisers": optimisers,
    "channel_directed": channel_directed,
    "recurrent": recurrent,
    "context_adaptation": context_adaptation,
    "learning_rates": learning_rates,
    "settling_limits": settling_limits,
    "perturbation_sigma": perturbation_sigma,
    "whitening_map": whitening_map,
    "whitening_course": whitening_course,
    "spiking_controls": spiking,
    "spiking_course": spiking,
    "spiking_signs": spiking,
}


QUICK = {"dose_response", "optimisers", "channel_directed", "perturbation_sigma", "whitening_map", "spiking_signs"}
"""Figures that the default run draws; the others, with more panels, are slow tests."""
MARKED = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES]


@pytest.mark.parametrize("name", MARKED)
def test_a_figure_can_be_printed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"analysis.{name}")
    saved: dict[str, Figure] = {}

    def keep(figure: Figure, directory: Path, title: str, caption: str = "", **_: Any) -> None:
        assert caption, directory
        saved[title] = figure

    monkeypatch.setattr(module, "save_figure", keep)
    module.draw(CASES[name](), tmp_path)
    found = {title: _legible.faults(figure) for title, figure in saved.items()}
    plt.close("all")
    assert found and not any(found.values()), found


def test_faults_are_found() -> None:
    figure = Figure(figsize=(4, 2))
    first, second = figure.subplots(1, 2)
    first.set_title("A", loc="left")
    second.text(0.5, 0.5, "small", fontsize=5)
    second.text(0.5, 0.5, "great")
    told = " | ".join(_legible.faults(figure))
    assert "102 mm wide" in told and "letters ['A', '']" in told and "5.0 pt: 'small'" in told
    assert "'small' on 'great'" in told
    assert sizes.SMALLEST == _legible.SMALLEST


def test_bands_are_students_interval_over_seeds() -> None:
    values = pd.DataFrame(np.random.default_rng(1).normal(size=(4, 5)))
    _, axes = style.panels(1, 1, 2.0)
    style.band(axes[0][0], values, colour="black")
    (drawn,) = axes[0][0].collections
    ends = np.array(t.interval(0.95, 4, values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(5)))
    box = drawn.get_paths()[0].get_extents()
    assert (box.y0, box.y1) == pytest.approx((ends.min(), ends.max()))
    assert intervals.over_seeds(values[[0]])[1].tolist() == [0, 0, 0, 0], "one seed has no interval"
    plt.close("all")


def test_too_many_panels_for_the_width_go_on_below() -> None:
    figure, places = style.grid("ab", range(5), 2.0)
    assert [axis.get_title(loc="left") for axis in places.values()] == list("ABCDEFGHIJ")
    assert sum(axis.get_visible() for axis in figure.axes) == 10 and figure.get_figwidth() == sizes.DOUBLE
    plt.close("all")
