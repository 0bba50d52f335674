"""Choice of learning rates and paired differences of learning from reward, on numbers made up for it."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import reward_learning as analysis
from neuro_decorr import study

ARMS = ("none", "lateral")
GAIN = {0: 0.10, 1: 0.12, 2: 0.17}  # of lateral, by seed


@pytest.fixture(scope="module")
def tables() -> study.Tables:
    made: dict[str, list[dict[str, object]]] = {"inputs": [], "validations": [], "tests": []}
    for arm, seed, credit in itertools.product(ARMS, GAIN, ("node_perturbation", "broadcast_feedback", "hidden_fixed")):
        made["inputs"].append({"stage": "measure", "seed": seed, "arm": arm, "decoder": 0.9, "correlation": 0.2,
                     "floor": 0.0, "dimensions": 5.0, "rate": 10.0, "silent": 0, "inhibition": 0.0})  # fmt: skip
        for rate in (0.1, 0.2):
            # On the selection seed the smaller rate is better at the end, on the measured seeds the larger one is.
            level = {"credit": credit, "eligibility": "centred", "learning_rate": rate, "arm": arm}
            course = {0: 0.9, 10: 0.6, 20: 0.6 - rate}
            made["validations"] += [
                {"stage": "select", "seed": 1000, "learnt": learnt, "accuracy": value, **level}
                for learnt, value in course.items()
            ]
            value = 0.5 + rate + 0.01 * seed + GAIN[seed] * (arm == "lateral") - 0.05 * (credit == "hidden_fixed")
            made["tests"].append({"stage": "measure", "seed": seed, "learnt": 20, "accuracy": value, **level})
    empty = pd.DataFrame({"stage": []})
    return study.Tables(
        runs=empty, timings=empty, **{kind: pd.DataFrame(rows).drop_duplicates() for kind, rows in made.items()}
    )


def test_the_rate_is_chosen_on_the_selection_seed(tables: study.Tables) -> None:
    assert (analysis.chosen(tables)["learning_rate"] == 0.1).all()


def test_differences_are_paired_and_at_the_chosen_rate(tables: study.Tables) -> None:
    table = analysis.table(tables).set_index(["credit", "inputs"])
    row = table.loc[("node_perturbation", "lateral")]
    gain = np.array(list(GAIN.values()))
    assert row["accuracy"] == pytest.approx((0.6 + 0.01 * np.arange(3) + gain).mean())
    interval = stats.t.interval(0.95, 2, gain.mean(), stats.sem(gain))
    assert (row["low"], row["minus reference"], row["high"]) == pytest.approx((interval[0], gain.mean(), interval[1]))


def test_contrasts_and_their_verdicts(tables: study.Tables) -> None:
    found = analysis.contrasts(tables).set_index("comparison")
    assert found.at["node_perturbation: lateral - none", "verdict"] == "better"
    assert found.at["none: hidden layer learns - fixed", "difference"] == pytest.approx(0.05)
    assert "lateral - uniform" not in " ".join(found.index), "an arm that was not run is not compared"
