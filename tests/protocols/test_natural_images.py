"""The protocol on real images, small: equal budgets, one run of every arm and credit, the control on the gradient."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from analysis import comparison
from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from protocols import _arms, _images
from protocols import natural_images as protocol

SMALL = {"epochs": 1, "evaluated": 100, "hidden": (20,), "interneurons": 8, "groups": 4, "batch_size": 30}


pytestmark = pytest.mark.usefixtures("few_images")


def test_every_arm_has_as_many_selection_runs_and_every_seed_once() -> None:
    configuration = protocol.PROTOCOL.configure()
    chosen = protocol.SELECTION.selection_runs(configuration, [0], study.Tables())
    counts: dict[tuple[object, object], int] = {}
    for condition in chosen:
        key = condition.factors["credit"], condition.factors["arm"]
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 5 * 6
    assert set(counts.values()) == {6}
    two = protocol.PROTOCOL.configure({"selection_runs": 6, "dampings": (3.0, 10.0)})
    for arm in two.arms:
        grid = protocol.grid(two, {"credit": "backprop", "arm": arm})
        assert len({tuple(setting.values()) for setting in grid}) == 6
    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("network", ["dense", "convolutional", "residual"])
@pytest.mark.parametrize("arm", ["none", "center", "batch_normalisation", "foof", "norm_preserving", "interneuron"])
def test_a_run_of_every_arm_records_accuracy_and_time(arm: str, network: str) -> None:
    convolutions = {"channels": (4, 8), "hidden_convolutional": 12, "residual_channels": (4, 8), "interneurons": 4}
    configuration = protocol.PROTOCOL.configure({**SMALL, **convolutions, "network": network})
    for credit in configuration.credits:
        levels = {"credit": credit, "arm": arm, "learning_rate": 1e-3, "damping": 3.0}
        recorder = study.Recorder(levels)
        protocol.run(configuration, study.Condition("measure", 0, levels), recorder)
        assert recorder.reason is None
        assert [row["epoch"] for row in recorder.rows["curves"]] == [0, 1]
        assert recorder.rows["timings"][1]["processor_seconds"] > 0
        assert recorder.rows["tests"][0]["test_accuracy"] == recorder.rows["curves"][1]["test_accuracy"]


def test_the_gradient_of_the_control_is_divided_by_the_second_moment_of_the_inputs() -> None:
    configuration = protocol.PROTOCOL.configure(SMALL)
    images = _images.dataset("embedded", None, None, 0)
    model = protocol.network(configuration, images, batch_normalised=False, seed=0).double()
    signals = protocol.nd.conditioning.Signals(model)
    inputs, targets = images.train.inputs[:40].double(), images.train.targets[:40]
    torch.nn.functional.cross_entropy(model(inputs), targets).backward()
    first = next(iter(signals))
    gradient = first.gradient.clone()
    _arms.condition_gradients(signals, damping=3.0)
    moment = inputs.T @ inputs / 40
    strength = 3.0 * moment.trace() / 784
    divided = gradient @ torch.linalg.inv(moment + strength * torch.eye(784, dtype=torch.float64)) * strength
    whitened = torch.linalg.inv(torch.eye(784, dtype=torch.float64) + moment / strength)
    gain = moment.trace() / (moment @ whitened).trace()  # the power that damping takes is given back
    torch.testing.assert_close(first.gradient, gain * divided)


def test_early_stopping_looks_at_the_validation_split_alone() -> None:
    courses = [[(0.1, 0.9), (0.6, 0.5), (0.6, 0.7)], [(0.1, 0.1), (0.2, 0.3), (0.8, 0.2)], [(0.9, 0.9), (None, None)]]
    rows = [
        {"seed": seed, "epoch": epoch, "validation_accuracy": known, "test_accuracy": test, "diverged": seed == 2}
        for seed, course in enumerate(courses)
        for epoch, (known, test) in enumerate(course)
    ]
    found = comparison.early_stopped(pd.DataFrame(rows[::-1]), 0.1)
    assert found["test_accuracy"].to_dict() == {0: 0.5, 1: 0.2, 2: 0.1}


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    bad = {
        "dampings": (0.0,),
        "hidden": (4,),
        "batch_size": 5_000,
        "arms": ("none", "interneuron"),
        "selection_runs": 6,
    }
    with pytest.raises(InvalidValue) as caught:
        protocol.PROTOCOL.configure(bad)
    for option in ("--dampings", "--hidden", "--batch-size", "--arms"):
        assert option in str(caught.value)
    with pytest.raises(InvalidValue, match="--selection-runs: got 5"):
        protocol.PROTOCOL.configure({"selection_runs": 5, "dampings": (3.0, 10.0)})
    with pytest.raises(InvalidValue, match="mnist comes in files: name their folder by --data-dir"):
        protocol.PROTOCOL.configure({"images": "mnist"})


@pytest.mark.parametrize("arm", ["batch_normalisation", "foof", "interneuron"])
def test_the_geometry_of_the_updates_is_recorded_on_request(arm: str) -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "geometry": "natural"})
    levels = {"credit": "feedback_alignment", "arm": arm, "learning_rate": 1e-3, "damping": 3.0}
    recorder = study.Recorder(levels)
    protocol.run(configuration, study.Condition("measure", 0, levels), recorder)
    assert recorder.reason is None
    found = [(row["epoch"], row["layer"]) for row in recorder.rows["geometry"]]
    assert found == [(epoch, layer) for epoch in (0, 1) for layer in ("all", "hidden_1", "output")]
    assert {row["natural_damping"] for row in recorder.rows["natural"]} == {1.0, 10.0, 100.0}
