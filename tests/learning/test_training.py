"""The shared training run: its rows, its clock, and what counts as diverged."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import neuro_decorr as nd
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.data import Dataset, from_arrays
from neuro_decorr.learning import accuracy, train


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Two classes that a line separates."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=generator)
    return from_arrays(inputs, (inputs[:, 0] + inputs[:, 1] > 0).long(), source="a line")


def run(
    data: Dataset, rule: nd.rules.Rule | None = None, lr: float = 0.5, **options: object
) -> tuple[bool, study.Recorder]:
    model: nn.Module = dense([6, 8, 2], seed=0)
    plasticity = None
    if rule is not None:
        model = nd.decorrelate(model)
        plasticity = nd.Plasticity(model, rule, row_fraction=1.0)
    recorder = study.Recorder()
    finished = train(
        model, nd.credit.get("backprop", model), torch.optim.SGD(model.parameters(), lr=lr), data, recorder,
        plasticity=plasticity, epochs=4, batch_size=20, seed=0, **options,
    )  # fmt: skip
    return finished, recorder


def test_it_learns_and_records_every_epoch(data: Dataset) -> None:
    finished, recorder = run(data)
    curve = recorder.rows["curves"]
    assert finished and recorder.reason is None
    assert [row["epoch"] for row in curve] == [0, 1, 2, 3, 4]
    assert [row["updates"] for row in curve] == [0, 6, 12, 18, 24], "120 samples in full batches of 20"
    assert curve[0]["loss"] is None
    assert curve[-1]["validation_accuracy"] > 0.85


def test_the_clock_runs_and_starts_at_zero(data: Dataset) -> None:
    timings = run(data)[1].rows["timings"]
    seconds = [row["wall_seconds"] for row in timings]
    assert seconds[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(seconds))


def test_the_same_seed_gives_the_same_rows(data: Dataset) -> None:
    rule = nd.rules.get("interneuron", interneurons=2)
    first, second = (run(data, rule, layers=True)[1].rows for _ in range(2))
    assert set(first) == {"curves", "layers", "spectra", "timings"}
    assert all(first[kind] == second[kind] for kind in ("curves", "layers", "spectra"))


def test_layers_are_measured_as_they_receive(data: Dataset) -> None:
    recorder = run(data, nd.rules.get("center"), layers=True)[1]
    layers = recorder.rows["layers"]
    assert {row["layer"] for row in layers} == {"hidden_1", "output"}
    assert len(layers) == 2 * 5
    for epoch in range(5):
        at = [row for row in recorder.rows["spectra"] if (row["layer"], row["epoch"]) == ("hidden_1", epoch)]
        assert [row["component"] for row in at] == [1, 2, 3, 4, 6]
        shares = [row["share"] for row in at]
        assert shares == sorted(shares, reverse=True) and 0.8 < sum(shares) < 1


@pytest.mark.parametrize("layers", [False, True])
def test_a_loss_that_is_not_finite_is_a_result(data: Dataset, layers: bool) -> None:
    finished, recorder = run(data, lr=1e30, layers=layers)
    assert not finished
    assert recorder.reason is not None and "not finite" in recorder.reason
    assert recorder.step == 6 and len(recorder.rows["curves"]) == 1


def test_a_rule_that_diverges_is_a_result(data: Dataset) -> None:
    finished, recorder = run(data, nd.rules.get("norm_preserving", rate=1e5, form="published"))
    assert not finished
    assert recorder.reason is not None and "norm_preserving" in recorder.reason


def test_a_collapse_with_finite_numbers_is_a_result(data: Dataset) -> None:
    """A transform of rank one, handed in from the start."""
    model = nd.decorrelate(dense([6, 8, 2], seed=0))
    model.hidden_1.decorrelation.matrix.copy_(torch.ones(6, 6))
    recorder = study.Recorder()
    credit, optimiser = nd.credit.get("backprop", model), torch.optim.SGD(model.parameters(), lr=0.1)
    assert not train(model, credit, optimiser, data, recorder, epochs=1, batch_size=20, seed=0)
    assert recorder.reason is not None and "lowered the effective rank" in recorder.reason
    assert recorder.step == 0


def convolutional(transposed: bool, groups: int) -> nn.Module:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    return nn.Sequential(nn.Unflatten(1, (6, 1, 1)), kind(6, 4, 1, groups=groups), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("form", ["patches", "channels"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_collapse_in_a_convolution_is_a_result(data: Dataset, transposed: bool, form: str, groups: int) -> None:
    """In one group alone, too: its D has rank one."""
    torch.manual_seed(0)
    for collapsed in (False, True):
        model = nd.decorrelate(convolutional(transposed, groups), convolution=form)
        held = model.get_submodule("1.decorrelation")
        assert isinstance(held, nd.Decorrelation)
        if collapsed:
            held.matrix.view(groups, 6 // groups, -1)[-1].fill_(1.0)
        recorder = study.Recorder()
        credit, optimiser = nd.credit.get("backprop", model), torch.optim.SGD(model.parameters(), lr=0.1)
        finished = train(model, credit, optimiser, data, recorder, epochs=1, batch_size=20, seed=0)
        assert finished is not collapsed
        assert not collapsed or str(recorder.reason).startswith("the transform of '1' lowered the effective rank from")


def test_a_decorrelation_of_several_groups_is_checked_group_by_group(data: Dataset) -> None:
    for collapsed in (False, True):
        model = nn.Sequential(nd.Decorrelation(3, groups=2), nn.Linear(6, 2))
        if collapsed:
            model[0].matrix[1].fill_(1.0)
        recorder = study.Recorder()
        credit, optimiser = nd.credit.get("backprop", model), torch.optim.SGD(model.parameters(), lr=0.1)
        finished = train(model, credit, optimiser, data, recorder, epochs=1, batch_size=20, seed=0)
        assert finished is not collapsed
        assert not collapsed or str(recorder.reason).endswith("to 1.0")


def test_accuracy_is_counted_in_eval_mode(data: Dataset) -> None:
    model = nn.Sequential(nn.Dropout(0.999), nn.Linear(6, 2)).train()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-1.0, -1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]]))
        model[1].bias.zero_()
    assert accuracy(model, data.test) == 1.0
    assert model.training
