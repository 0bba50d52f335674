"""Conditioned direct feedback alignment, small: the published update, equal budgets, a run of every arm."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

import neuro_decorr as nd
from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from protocols import _images
from protocols import conditioned_feedback as protocol
from protocols.conditioned_feedback.configuration import PublishedName, TunedName

SMALL = {"hidden": (12, 10), "interneurons": 4, "batch_size": 20, "steps": 3, "measure_every": 2}


pytestmark = pytest.mark.usefixtures("few_images")


def published_update(
    weights: list[np.ndarray], feedback: list[np.ndarray], inputs: np.ndarray, targets: np.ndarray, sides: str
) -> list[np.ndarray]:
    """The gradients of all weights, from the equations of the publication; lambda 0.03 and 30, biases zero."""
    activities = [inputs]
    for weight in weights[:-1]:
        activities.append(np.tanh(activities[-1] @ weight.T))
    error = 1 / (1 + np.exp(-activities[-1] @ weights[-1].T)) - np.eye(10)[targets]
    count = len(inputs)
    updates = []
    for index in range(len(weights) - 1):
        delta = (error @ feedback[index]) * (1 - activities[index + 1] ** 2)
        raw = delta.T @ activities[index] / count
        update = raw
        if sides in ("ndfa", "k_ndfa"):
            second = activities[index].T @ activities[index] / count
            update = np.linalg.solve(second + 0.03 * np.eye(len(second)), update.T).T
        if sides in ("error_ndfa", "k_ndfa"):
            update = np.linalg.solve(delta.T @ delta / count + 30 * np.eye(delta.shape[1]), update)
        updates.append(update * np.linalg.norm(raw) / np.linalg.norm(update))
    return [*updates, error.T @ activities[-1] / count]


@pytest.mark.parametrize("arm", ["dfa", "ndfa", "error_ndfa", "k_ndfa"])
def test_the_published_updates_are_those_of_the_equations(arm: str) -> None:
    configuration = protocol.PROTOCOL.configure(SMALL)
    images = _images.dataset("embedded", None, None, 0)
    model, plasticity = protocol.network(configuration, images, f"published_{arm}", 0.0, seed=0)
    assert plasticity is None
    model = model.double()
    credit = protocol.feedback_credit(model, seed=0)
    conditioned = protocol.conditioning(model, f"published_{arm}", 0.0, 0.9)
    inputs, targets = images.train.inputs[:20].double(), images.train.targets[:20]
    credit.backward(protocol.binary_cross_entropy, inputs, targets)
    conditioned()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    feedback = list(credit.feedback_weights().values())[1:]  # what the first layer would send goes nowhere
    expected = published_update(
        [layer.weight.detach().numpy() for layer in layers],
        [weight.numpy() for weight in feedback],
        inputs.numpy(),
        targets.numpy(),
        arm,
    )
    for layer, update in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.weight.grad, torch.from_numpy(update))


def test_both_sides_together_are_kfac() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    signals = nd.conditioning.Signals(model, errors=True)
    model(torch.randn(9, 6, dtype=torch.float64)).square().mean().backward()
    expected = {}
    for layer in signals:
        conditioned = nd.conditioning.kfac(layer.gradient, layer.inputs, layer.errors, damping=3.0)
        expected[layer.name] = nd.conditioning.match_norm(conditioned, layer.gradient)
    protocol.condition(signals, ("inputs", "errors"), 3.0)
    for layer in signals:
        torch.testing.assert_close(layer.gradient, expected[layer.name])


def test_the_network_is_the_published_one() -> None:
    configuration = protocol.PROTOCOL.configure()
    images = _images.dataset("embedded", None, None, 0)
    model, _ = protocol.network(configuration, images, "none", 0.0, seed=0)
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [(300, 784), (300, 300), (300, 300), (10, 300)]
    for layer in layers:
        bound = (6 / sum(layer.weight.shape)) ** 0.5  # Glorot and Bengio (2010): uniform
        assert layer.weight.abs().max() <= bound
        assert float(layer.weight.square().mean().detach()) == pytest.approx(bound**2 / 3, rel=0.1)  # 3,000 draws
        assert not layer.bias.any()
    feedback = protocol.feedback_credit(model, seed=0).feedback_weights()
    for weights in feedback.values():
        assert float(weights.square().mean()) == pytest.approx(1, rel=0.15)  # 3,000 draws: deviation 0.026


def test_every_tuned_arm_has_as_many_selection_runs_and_the_published_ones_have_nothing_to_choose() -> None:
    configuration = protocol.PROTOCOL.configure(full=True)
    counts: dict[object, int] = {}
    chosen = protocol.SELECTION.selection_runs(configuration, [0], study.Tables())
    for condition in chosen:
        counts[condition.factors["arm"]] = counts.get(condition.factors["arm"], 0) + 1
    assert {counts.pop(arm) for arm in configuration.published} == {1}
    assert set(counts) == set(configuration.tuned)
    assert set(counts.values()) == {configuration.selection_runs}
    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("arm", [*get_args(PublishedName), *get_args(TunedName)])
def test_a_run_of_every_arm_learns_and_records_accuracy_and_time(arm: str) -> None:
    configuration = protocol.PROTOCOL.configure(SMALL)
    levels = {"credit": protocol.CREDIT, "arm": arm, "learning_rate": 1e-2, "damping": 3.0}
    recorders = [study.Recorder(levels) for _ in range(2)]
    for recorder in recorders:
        protocol.run(configuration, study.Condition("measure", 0, levels), recorder)
    first, second = recorders
    assert first.reason is None
    assert [row["updates"] for row in first.rows["curves"]] == [0, 2, 3]
    assert first.rows["timings"][-1]["processor_seconds"] > 0
    assert first.rows["curves"] == second.rows["curves"]  # the same seed
    assert first.rows["tests"][0]["chance"] == 0.1


def test_a_diverged_run_is_told_and_leaves_its_row() -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "steps": 60})
    levels = {"credit": protocol.CREDIT, "arm": "none", "learning_rate": 1e38, "damping": 0.0}
    recorder = study.Recorder(levels)
    protocol.run(configuration, study.Condition("measure", 0, levels), recorder)
    assert recorder.reason is not None
    assert recorder.rows["tests"][0]["test_accuracy"] is None


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    bad = {"dampings": (0.0, 1.0, 2.0), "hidden": (4,), "tuned": ("none", "interneuron")}
    with pytest.raises(InvalidValue) as caught:
        protocol.PROTOCOL.configure(bad)
    for option in ("--dampings", "--hidden", "--tuned", "--selection-runs"):
        assert option in str(caught.value)
    with pytest.raises(InvalidValue, match="mnist comes in files: name their folder by --data-dir"):
        protocol.PROTOCOL.configure({"images": "mnist"})
