"""The cell: what it computes, what drives its statistics, and that steps and sequences are the same."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from norse.torch import LIBoxCell, LIFBoxCell, LIFCell, SequentialState
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.record import MOST_ROWS
from tests.norse.spike_trains import spike_trains, step_by_step

SIGNALS = ["spikes", "trace", "rate"]


def learnt(features: int, **options: object) -> nd.norse.Decorrelation:
    cell = nd.norse.Decorrelation(features, True, dtype=torch.float64, **options)
    generator = torch.Generator().manual_seed(0)
    cell.matrix.copy_(torch.randn(features, features, generator=generator))
    cell.mean.copy_(torch.rand(features, generator=generator))
    return cell


@pytest.mark.parametrize("signal", SIGNALS)
def test_transforms_the_spikes_whatever_drives_the_statistics(signal: str) -> None:
    cell, spikes = learnt(6, signal=signal), spike_trains(5, 3, 6)
    outputs, _ = cell(spikes)
    for step in range(5):
        for example in range(3):
            expected = cell.matrix @ (spikes[step, example] - cell.mean)
            torch.testing.assert_close(outputs[step, example], expected)


@pytest.mark.parametrize(("signal", "decay"), [("trace", math.exp(-1 / 5)), ("rate", 1.0), (None, math.exp(-2 / 7))])
def test_trace_is_the_weighted_mean_of_the_spikes_so_far(signal: str | None, decay: float) -> None:
    spikes = spike_trains(30, 2, 4)
    trace = signal or nd.norse.Trace(time=7e-3, dt=2e-3)
    cell = nd.norse.Decorrelation(4, dtype=torch.float64, signal=trace, sequences=False)
    state = None
    for last in range(30):
        _, state = cell(spikes[last], state)
        weights = [decay ** (last - step) for step in range(last + 1)]
        expected = sum(w * z for w, z in zip(weights, spikes, strict=False)) / sum(weights)
        torch.testing.assert_close(state.mean, expected)


@pytest.mark.parametrize("signal", SIGNALS)
def test_statistics_are_the_covariance_of_the_signal_over_all_time_steps(signal: str) -> None:
    cell, spikes = learnt(5, signal=signal, row_fraction=1.0), spike_trains(20, 4, 5)
    cell(spikes)
    record = cell.decorrelation.take_record()
    trace = {"spikes": lambda z: z, "trace": lambda z: nd.norse.Trace().filtered(z, None)[0]}.get(
        signal, lambda z: z.cumsum(0) / torch.arange(1.0, 21.0).view(-1, 1, 1)
    )(spikes)
    moment = torch.zeros(5, 5, dtype=torch.float64)
    for step in range(20):
        for example in range(4):
            output = cell.matrix @ (trace[step, example] - cell.mean)
            moment += torch.outer(output, output) / 80
    torch.testing.assert_close(record.outputs.T @ record.outputs / len(record.outputs), moment)
    torch.testing.assert_close(cell.mean + record.deviation / 80, spikes.mean(dim=(0, 1)))  # not of the trace
    assert record.seen == 80


def test_a_mean_rate_is_not_biased_by_the_onset() -> None:
    """Of a constant input every trace is that input from the first step on, so that nothing is left to decorrelate."""
    for signal in SIGNALS:
        cell = nd.norse.Decorrelation(3, True, signal=signal, row_fraction=1.0)
        cell.mean.copy_(torch.tensor([1.0, 0.5, 0.0]))
        cell(cell.mean.expand(10, 2, 3).clone())
        assert cell.decorrelation.take_record().inputs.abs().max() < 1e-6


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(("steps", "batch", "row_fraction"), [(25, 12, 0.1), (25, 12, 0.5), (9, 1, 1.0), (40, 48, 1.0)])
def test_steps_and_sequences_are_the_same(signal: str, steps: int, batch: int, row_fraction: float) -> None:
    spikes = spike_trains(2 * steps, batch, 4)
    one, other = (learnt(4, signal=signal, row_fraction=row_fraction) for _ in range(2))
    state = stepped_state = None
    for half in (spikes[:steps], spikes[steps:]):  # a state is carried over, and a record joined
        outputs, state = one(half, state)
        stepped, stepped_state = step_by_step(other, half, stepped_state)
        torch.testing.assert_close(outputs, stepped, rtol=1e-13, atol=1e-13)
    if signal != "spikes":
        assert torch.equal(state.mean, stepped_state.mean) and torch.equal(state.weight, stepped_state.weight)
    record, stepped_record = one.decorrelation.take_record(), other.decorrelation.take_record()
    assert torch.equal(record.inputs, stepped_record.inputs) and record.seen == stepped_record.seen
    torch.testing.assert_close(record.outputs, stepped_record.outputs, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(record.deviation, stepped_record.deviation, rtol=1e-13, atol=1e-13)
    assert len(record.inputs) <= MOST_ROWS


def test_every_example_has_its_turn() -> None:
    """One of ten examples a step is remembered; always the same one would be a sample of one."""
    inputs = torch.arange(10.0).view(1, 10, 1).expand(20, 10, 1)
    cell = nd.norse.Decorrelation(1, row_fraction=0.05)
    cell(inputs)
    layer = nd.decorrelate(nn.Linear(1, 1), row_fraction=0.05)
    for step in inputs:
        layer(step)
    for decorrelation in (cell.decorrelation, layer.decorrelation):
        rows = decorrelation.take_record().inputs
        assert sorted(rows.flatten().tolist()) == sorted([*range(10), *range(10)])


def test_as_the_identity_it_changes_nothing_between_cells_of_norse() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 20), LIFCell(), nn.Linear(20, 20), LIFBoxCell(), nn.Linear(20, 3), LIBoxCell()]
    cells = [nd.norse.Decorrelation(layer.in_features) for layer in layers[::2]]
    plain = SequentialState(*layers)
    between = SequentialState(cells[0], *layers[:2], cells[1], *layers[2:4], cells[2], *layers[4:])
    inputs = 5 * torch.rand(30, 4, 6)
    expected, _ = step_by_step(plain, inputs)
    outputs, _ = step_by_step(between, inputs)
    assert expected.abs().max() > 0 and torch.equal(outputs, expected)


def test_composes_alone() -> None:
    cell = nd.norse.Decorrelation(3, signal="trace")
    outputs, state = SequentialState(cell)(torch.ones(7, 2, 3))
    assert torch.equal(outputs, torch.ones(7, 2, 3)) and state[0].mean.shape == (2, 3)


def test_initial_state_is_what_none_stands_for() -> None:
    cell = nd.norse.Decorrelation(3, signal="trace")
    state = cell.initial_state(2, dtype=torch.float64)
    assert state.mean.dtype == torch.float64 and state.mean.shape == (2, 3)
    spikes = spike_trains(4, 2, 3, dtype=torch.float32)
    for first in (cell.initial_state(2), None):
        _, last = cell(spikes, first)
        expected = nd.norse.Trace().filtered(spikes, None)[0][-1]
        assert torch.equal(last.mean, expected)
    assert nd.norse.Decorrelation(3).initial_state(2) is None


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_input_is_one_clear_error(shape: tuple[int, ...], training: bool) -> None:
    with pytest.raises(InvalidValue, match="empty"):
        nd.norse.Decorrelation(3, signal="trace").train(training)(torch.zeros(shape))


def test_bad_options_are_told() -> None:
    with pytest.raises(InvalidValue, match=r"'spikes', 'trace', 'rate'.*'filtered'"):
        nd.norse.Decorrelation(3, signal="filtered")
    with pytest.raises(InvalidValue, match="time must be a number > 0"):
        nd.norse.Trace(time=-1.0)
    with pytest.raises(InvalidValue, match="last dimension must be 3"):
        nd.norse.Decorrelation(3)(torch.zeros(5, 2, 4))


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("rule", ["center", "whitening", "interneuron", "decorrelating", "norm_preserving"])
def test_degenerate_activity_stays_bounded(signal: str, rule: str) -> None:
    """Silent and always-active units, constant input, one step, one sequence."""
    silent = torch.zeros(20, 3, 4)
    active = torch.ones(20, 3, 4)
    half = torch.cat((silent[..., :2], active[..., :2]), dim=-1)
    for inputs in (silent, active, half, half[:1], half[:1, :1], 0.3 * active):
        network = SequentialState(nd.norse.Decorrelation(4, signal=signal), nn.Linear(4, 2), nd.norse.LIF(2))
        parameters = {"interneurons": 2} if rule == "interneuron" else {}
        plasticity = nd.Plasticity(network, nd.rules.get(rule, **parameters), compensate=True)
        for _ in range(15):
            network(inputs)
            plasticity.step()
        assert network[0].matrix.abs().max() < 100 and torch.isfinite(network(inputs)[0]).all()


def test_nothing_is_mutated_and_traces_have_no_graph() -> None:
    cell = nd.norse.Decorrelation(3, signal="trace")
    inputs = torch.rand(6, 2, 3, requires_grad=True)
    state = cell.initial_state(2)
    before, state_before = inputs.detach().clone(), copy.deepcopy(state)
    outputs, after = cell(inputs, state)
    assert torch.equal(inputs, before) and torch.equal(state.mean, state_before.mean)
    assert outputs.requires_grad and not after.mean.requires_grad
    assert not any(tensor.requires_grad for tensor in cell.decorrelation.take_record()[:3])


def test_memory_does_not_grow_over_two_thousand_steps() -> None:
    cell = nd.norse.Decorrelation(2, signal="trace", row_fraction=1.0, sequences=False)
    inputs, state = torch.rand(4, 2, requires_grad=True), None
    for _ in range(2_000):
        _, state = cell(inputs, state)
    record = cell.decorrelation.take_record()
    assert len(record.inputs) <= MOST_ROWS and record.seen == 8_000
    assert state.mean.shape == (4, 2) and state.mean.grad_fn is None and torch.isfinite(state.mean).all()


@pytest.mark.parametrize("neurons", [nd.norse.LIF(2, dt=1e-4), LIFCell(dt=1e-4)])
def test_a_trace_of_other_time_steps_than_the_neurons_is_refused(neurons: nn.Module) -> None:
    def network(**options: object) -> SequentialState:
        return SequentialState(nd.norse.Decorrelation(4, **options), nn.Linear(4, 2), neurons)

    rule = nd.rules.get("norm_preserving")
    told = r"trace of '0.decorrelation' has time steps of 0.001 s, and the neurons '2' .* 0.0001 s.*dt=0.0001"
    with pytest.raises(InvalidValue, match=told):
        nd.Plasticity(network(signal="trace"), rule)
    for signal in ("spikes", "rate", nd.norse.Trace(5e-3, dt=1e-4)):
        nd.Plasticity(network(signal=signal), rule)
    with pytest.raises(InvalidValue, match=r"trace of '0.decorrelation' has time steps"):
        nd.Plasticity(nd.decorrelate(SequentialState(nn.Linear(4, 2), neurons), signal="trace"), rule)
