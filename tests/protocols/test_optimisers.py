"""Optimisers at equal processor time, small: equal budgets, the updates by hand, a table with a known answer."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import optimisers as analysis
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from protocols import optimisers as protocol

SMALL = {"epochs": 1, "evaluated": 100, "hidden": (20, 12), "interneurons": 8, "batch_size": 30}

pytestmark = pytest.mark.usefixtures("few_images")


def test_every_optimiser_and_arm_has_as_many_selection_runs() -> None:
    configuration = protocol.PROTOCOL.configure({"optimisers": get_args(protocol.OptimiserName)})
    chosen = protocol.SELECTION.selection_runs(configuration, [0], study.Tables())
    keys = [(condition.factors["optimiser"], condition.factors["arm"]) for condition in chosen]
    assert len(set(keys)) == 7 * 2
    assert {keys.count(key) for key in keys} == {5}


@pytest.mark.parametrize("arm", get_args(protocol.ArmName))
@pytest.mark.parametrize("name", get_args(protocol.OptimiserName))
def test_a_run_of_every_optimiser_learns_something(name: str, arm: str) -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "epochs": 2})
    levels = {"optimiser": name, "arm": arm, "learning_rate": protocol.RATES[name]}
    recorder = study.Recorder(levels)
    protocol.run(configuration, study.Condition("measure", 0, levels), recorder)
    assert recorder.reason is None
    before, *_, after = (row["validation_accuracy"] for row in recorder.rows["curves"])
    assert after > before
    assert recorder.rows["tests"][0]["test_accuracy"] == recorder.rows["curves"][-1]["test_accuracy"]


def test_muon_takes_the_orthogonal_factor_of_the_momentum() -> None:
    model = dense([6, 9, 4, 3], seed=0).double()
    optimiser, conditioned = protocol.optimiser_of("muon", model, 0.1, 4, 1.0)
    assert conditioned is not None
    wide, narrow = model.hidden_1.weight, model.hidden_2.weight
    generator = torch.Generator().manual_seed(1)
    momenta = {wide: torch.zeros(9, 6).double(), narrow: torch.zeros(4, 9).double()}
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        expected = {}
        for weight, momentum in momenta.items():
            momentum.mul_(0.9).add_(weight.grad)
            left, _, right = np.linalg.svd((weight.grad + 0.9 * momentum).numpy(), full_matrices=False)
            outputs, features = weight.shape
            step = max(1.0, outputs / features) ** 0.5 * left @ right
            expected[weight] = weight.detach().numpy() - 0.1 * step
        output = model.output.weight.detach().clone()
        conditioned()
        optimiser.step()
        for weight, after in expected.items():
            np.testing.assert_allclose(weight.detach().numpy(), after, rtol=1e-9, atol=1e-9)
        assert not torch.equal(model.output.weight, output)  # Adam moves it


def test_torch_has_the_same_step_to_its_precision() -> None:
    """torch approximates the factor by five steps in bfloat16: singular values of .7 to 1.2, the same directions."""
    changes = []
    for name in ("muon", "torch_muon"):
        model = dense([6, 9, 4, 3], seed=0)
        before = model.hidden_1.weight.detach().clone()
        optimiser, conditioned = protocol.optimiser_of(name, model, 0.1, 4, 1.0)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
        if conditioned is not None:
            conditioned()
        optimiser.step()
        changes.append((model.hidden_1.weight.detach() - before).flatten())
    assert torch.nn.functional.cosine_similarity(*changes, dim=0) > 0.95
    assert 0.6 < changes[1].norm() / changes[0].norm() < 1.3


def test_the_table_stops_early_and_compares_at_the_time_of_centred_adam() -> None:
    """Adam takes 10 s and is best at its end; the other has ended one epoch by then, and is best after the second."""
    curves, timings, tests, runs = [], [], [], []
    courses = {"adam": ((0, 5, 10), (0.1, 0.6, 0.7)), "muon": ((0, 8, 16, 24), (0.1, 0.5, 0.9, 0.8))}
    for name, (seconds, accuracies) in courses.items():
        for seed in (0, 1):
            shared = {"optimiser": name, "arm": "center", "seed": seed, "diverged": False, "learning_rate": 0.1}
            for epoch, (second, right) in enumerate(zip(seconds, accuracies, strict=True)):
                tested = right + 0.02 * seed
                curves.append({**shared, "epoch": epoch, "validation_accuracy": right, "test_accuracy": tested})
                timings.append({**shared, "epoch": epoch, "processor_seconds": second})
            tests.append({**shared, "test_accuracy": accuracies[-1] + 0.02 * seed, "chance": 0.1})
        runs += [{"stage": "select", "optimiser": name, "arm": "center", "learning_rate": r} for r in (0.1, 0.5)]
    frames = {"curves": curves, "timings": timings, "tests": tests}
    measured = {kind: pd.DataFrame(rows).assign(stage="measure") for kind, rows in frames.items()}
    made = analysis.table(study.Tables(measured | {"runs": pd.DataFrame(runs)})).set_index("optimiser")
    assert made.loc["muon", "accuracy"] == pytest.approx(0.91)
    assert made.loc["muon", "epoch"] == 2
    assert made.loc["muon", "seconds"] == 16
    assert made.loc["muon", "last"] == pytest.approx(0.81)
    assert made.loc["muon", "at equal time"] == pytest.approx(0.51)
    assert made.loc["muon", "minus"] == pytest.approx(-0.2)
    assert made.loc["adam", "minus"] == pytest.approx(0)
    assert made.loc["muon", "edge"] == "lowest"


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    with pytest.raises(InvalidValue) as caught:
        protocol.PROTOCOL.configure({"optimisers": ("muon",), "hidden": (4,), "batch_size": 5_000})
    for option in ("--optimisers", "--hidden", "--batch-size"):
        assert option in str(caught.value)
