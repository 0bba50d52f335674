"""Whole networks: `decorrelate`, `Plasticity`, `fold` treat spiking networks as they treat rate networks."""

from __future__ import annotations

import norse.torch
import pytest
import torch
from torch import nn

import neuro_decorr as nd
from models.spiking import Spiking, spiking
from neuro_decorr.errors import Unsupported
from neuro_decorr.learning.training import _collapse
from tests.norse.spike_trains import spike_trains


def cells(signal: str = "spikes", **options: object) -> Spiking:
    model = spiking(
        [6, 12, 3], gain=3.0, seed=0, decorrelation=lambda n: nd.norse.Decorrelation(n, True, signal=signal, **options)
    )
    return model.double()


def hooked(signal: str = "spikes", **options: object) -> Spiking:
    return nd.decorrelate(spiking([6, 12, 3], gain=3.0, seed=0).double(), signal=signal, **options)


@pytest.mark.parametrize("signal", ["spikes", "trace", "rate"])
def test_a_place_before_a_layer_and_a_cell_learn_the_same(signal: str) -> None:
    models = cells(signal, row_fraction=1.0), hooked(signal, row_fraction=1.0)
    plasticities = [nd.Plasticity(model, nd.rules.get("norm_preserving", rate=0.05)) for model in models]
    for seed in range(6):
        for model, plasticity in zip(models, plasticities, strict=True):
            model(spike_trains(10, 4, 6, seed))
            plasticity.step()
    matrices = [models[0].network[0].matrix, models[1].network[0].decorrelation.matrix]
    torch.testing.assert_close(*matrices)
    assert (matrices[0] - torch.eye(6)).abs().max() > 0.01


def test_a_trace_decorrelates_what_the_synapse_makes_of_the_spikes() -> None:
    """D of filtered spikes, applied to spikes, decorrelates them behind the filter."""
    cell = nd.norse.Decorrelation(6, True, signal="trace", row_fraction=1.0)
    plasticity = nd.Plasticity(cell, nd.rules.get("zca", damping=0.0))
    for seed in range(40):
        cell(spike_trains(100, 32, 6, seed, torch.float32))
        plasticity.step()
    spikes = spike_trains(100, 256, 6, 99, torch.float32)
    behind = [nd.norse.Trace().filtered(each, None)[0].reshape(-1, 6) for each in (spikes, cell(spikes)[0])]
    before, after = (torch.corrcoef(each.T).fill_diagonal_(0).abs().max() for each in behind)
    assert before > 0.2 and after < 0.05


def test_statistics_of_all_time_steps_make_one_update() -> None:
    cell, spikes = nd.norse.Decorrelation(4, True, row_fraction=1.0, dtype=torch.float64), spike_trains(10, 5, 4)
    rule = nd.rules.get("decorrelating", rate=0.1, form="published")
    plasticity = nd.Plasticity(cell, rule, mean_rate=1.0)
    cell(spikes)
    plasticity.step()  # the mean is known from here on
    cell(spikes)
    plasticity.step()
    centred = (spikes - spikes.mean(dim=(0, 1))).reshape(-1, 4)
    moment = centred.T @ centred / 50
    expected = torch.eye(4) - 0.1 * (moment - moment.diagonal().diag())
    torch.testing.assert_close(cell.matrix, expected)


@pytest.mark.parametrize("make", [cells, hooked])
@pytest.mark.parametrize("rule", ["norm_preserving", "interneuron"])
def test_compensated_layers_keep_their_currents(make: type, rule: str) -> None:
    model = make("trace")
    parameters = {"interneurons": 3} if rule == "interneuron" else {"rate": 0.05}
    plasticity = nd.Plasticity(model, nd.rules.get(rule, **parameters), compensate=True)
    inputs = spike_trains(15, 6, 6, 9)
    expected = model.eval().spikes(inputs)
    for seed in range(8):
        model.train()(spike_trains(15, 6, 6, seed))
        plasticity.step()
    matrix = (model.network[0] if make is cells else model.network[0].decorrelation).matrix
    assert (matrix - torch.eye(6)).abs().max() > 0.01
    assert expected.sum() > 0 and torch.equal(model.eval().spikes(inputs), expected)


@pytest.mark.parametrize("make", [cells, hooked])
def test_folded_networks_are_plain_and_spike_the_same(make: type) -> None:
    model = make("trace")
    plasticity = nd.Plasticity(model, nd.rules.get("norm_preserving", rate=0.05))
    for seed in range(5):
        model(spike_trains(15, 6, 6, seed))
        plasticity.step()
    inputs = spike_trains(15, 6, 6, 9)
    plain = nd.fold(model)
    assert not any("Decorrelation" in type(module).__name__ for module in plain.modules())
    spikes = model.spikes(inputs)
    assert spikes.sum() > 0 and torch.equal(plain.spikes(inputs), spikes)


def test_weights_behind_a_cell_are_known_only_where_they_are_plain() -> None:
    cell, layer = nd.norse.Decorrelation(3), nn.Linear(3, 3)
    known = norse.torch.SequentialState(cell, layer)
    nd.Plasticity(known, nd.rules.get("whitening"), compensate=True)
    for unknown in (
        norse.torch.SequentialState(cell, nd.norse.LIF(3)),
        nn.Sequential(known, layer),  # used twice
        norse.torch.SequentialState(nd.norse.Decorrelation(3), nd.decorrelate(nn.Linear(3, 3))),
    ):
        with pytest.raises(Unsupported, match="stands by itself"):
            nd.Plasticity(unknown, nd.rules.get("whitening"), compensate=True)


def test_a_place_with_a_trace_needs_sequences() -> None:
    model = hooked("trace")
    with pytest.raises(Unsupported, match=r"one time step.*norse.Decorrelation"):
        model.network(torch.zeros(2, 6, dtype=torch.float64))
    with pytest.raises(Unsupported, match=r"'0' .Conv1d. has no traces"):
        nd.decorrelate(nn.Sequential(nn.Conv1d(2, 2, 3)), signal="trace")


def test_passes_that_are_probes_are_not_remembered() -> None:
    model = cells("trace")
    with nd.rate.unremembered(model):
        model(spike_trains(5, 2, 6))
    assert model.network[0].decorrelation.take_record() is None
    model.eval()(spike_trains(5, 2, 6))
    assert model.network[0].decorrelation.take_record() is None


def test_a_study_sees_the_collapse_of_a_cell() -> None:
    model = cells().float()
    inputs = spike_trains(20, 8, 6, dtype=torch.float32)
    assert _collapse(model, inputs) is None
    model.network[0].matrix.copy_(torch.ones(6, 6))
    assert "'network.0' lowered the effective rank" in str(_collapse(model, inputs))
