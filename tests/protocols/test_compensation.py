"""The compensation protocol, small: its grid, its options, one run of each kind of arm."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import neuro_decorr as nd
from models.dense import dense
from neuro_decorr import data, study
from neuro_decorr.data import batches, stream
from neuro_decorr.errors import InvalidValue
from neuro_decorr.learning import accuracy
from protocols import compensation as protocol

SMALL = {"epochs": 1, "evaluated": 100, "hidden": (20,), "interneurons": 8, "learning_rates": (1e-3,)}


def test_every_arm_meets_every_credit_rate_and_seed_once() -> None:
    configuration = protocol.PROTOCOL.configure()
    conditions = protocol.measured_runs(configuration, [0, 1], study.Tables())
    # none, center and 4 dampings x 2; the dense rule twice, for feedback alignment only; 5 rates, 2 seeds.
    assert len(set(conditions)) == len(conditions) == (3 * 10 + 2) * 5 * 2
    seeds = [condition.seed for condition in conditions[:10]]
    assert seeds == [0] * 10, "arms of one seed follow each other"


@pytest.mark.parametrize("credit", ["backprop", "feedback_alignment", "node_perturbation"])
def test_a_run_of_every_arm_records_accuracy_and_time(credit: str) -> None:
    configuration = protocol.PROTOCOL.configure(SMALL)
    for arm in protocol.arms(configuration, credit):
        condition = study.Condition("measure", 0, {"credit": credit, "learning_rate": 1e-3, **arm})
        recorder = study.Recorder(condition.factors)
        protocol.run(configuration, condition, recorder)
        assert recorder.reason is None
        curve = recorder.rows["curves"]
        assert [row["epoch"] for row in curve] == [0, 1]
        assert all(0 <= row["test_accuracy"] <= 1 for row in curve)
        assert recorder.rows["timings"][1]["processor_seconds"] > 0


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    bad = {"dampings": (0.0,), "hidden": (4,), "batch_size": 5_000, "interneurons": 65}
    with pytest.raises(InvalidValue) as caught:
        protocol.PROTOCOL.configure(bad)
    for option in ("--dampings", "--hidden", "--batch-size", "--interneurons"):
        assert option in str(caught.value)
    with pytest.raises(InvalidValue, match=r"--data-dir: .*data_batch_1.bin: missing; unpack"):
        protocol.PROTOCOL.configure({"data_dir": "nowhere"})  # and nothing is fetched


def test_the_options_read_the_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often they are checked, and the first run that needs them reads them no more."""
    read = []
    digits = data.digits(0)
    monkeypatch.setattr(data, "cifar10", lambda *arguments, **_: read.append(arguments) or digits)
    values = {"data_dir": "a folder", "batch_size": 10, "hidden": (1_000,)}
    for _ in range(3):
        protocol.PROTOCOL.configure(values)
    protocol.dataset("a folder", 10_000, 4_000, 1.0, 0)
    assert read == [("a folder", 0)]


def node_perturbation_on_digits(seed: int, first_compensated_epoch: int) -> float:
    """Test accuracy after six epochs, the weights following D from one of them on."""
    images = protocol.dataset(None, 10_000, 4_000, 1.0, seed)
    network = nd.decorrelate(dense([64, 100, 100, 10], seed=seed))
    rule = nd.rules.get("interneuron", interneurons=16, damping=0.3)
    plasticity = nd.Plasticity(network, rule, compensate=True, row_fraction=0.5)
    credit = nd.credit.get("node_perturbation", network, seed=seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    order = batches(*images.train, 64, stream(seed, "order"), last="drop")
    for epoch in range(6):
        network.train()
        plasticity.compensate = epoch >= first_compensated_epoch
        for inputs, targets in order:
            optimiser.zero_grad()
            credit.backward(F.cross_entropy, inputs, targets)
            optimiser.step()
            plasticity.step()
    return accuracy(network, images.test)


def test_why_compensation_hurts_where_common_modes_are_strong() -> None:
    """It keeps the response of the initial weights to the modes: begun one epoch later, it costs nothing any more."""
    from_the_start, later, never = (
        sum(node_perturbation_on_digits(seed, epoch) for seed in (0, 1)) / 2 for epoch in (0, 1, 6)
    )
    assert from_the_start < later - 0.1
    assert later > never - 0.06
