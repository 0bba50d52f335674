"""Time is said, not guessed: a cell takes sequences or single steps, and refuses everything else in one line."""

from __future__ import annotations

import norse.torch
import pytest
import torch
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.norse.spike_trains import spike_trains, step_by_step

CELLS = [
    nd.norse.LIF,
    nd.norse.AdaptiveLIF,
    nd.norse.LateralLIF,
    lambda features, **options: nd.norse.Decorrelation(features, signal="trace", **options),
]


@pytest.mark.parametrize("make", CELLS)
@pytest.mark.parametrize(
    ("sequences", "shape", "advice"),
    [
        (True, (30, 4), r"sequences must be \(steps, batch, 4\).*unsqueeze\(1\).*sequences=False"),
        (True, (4,), r"sequences must be \(steps, batch, 4\)"),
        (True, (12, 3, 1, 4), "give spatial=2"),
        (True, (5, 2, 3), "Dimension 2 must be 4"),
        (False, (5, 2, 4), r"a time step must be \(batch, 4\) or \(4,\).*sequences=True"),
        (False, (2, 3), "Dimension 1 must be 4"),
        (False, (3,), r"a time step must be \(batch, 4\) or \(4,\)"),
    ],
)
def test_another_shape_is_refused_in_one_line(make, sequences, shape, advice) -> None:
    with pytest.raises(InvalidValue, match=advice) as told:
        make(4, sequences=sequences)(torch.zeros(shape))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("make", CELLS)
def test_what_is_no_dense_tensor_is_refused_in_one_line(make) -> None:
    inputs = torch.ones(5, 3, 4)
    for wrong, advice in ((inputs.numpy(), "as_tensor"), (inputs.to_sparse(), "to_dense")):
        with pytest.raises(InvalidValue, match=advice):
            make(4)(wrong)


@pytest.mark.parametrize("make", CELLS)
def test_a_sequence_of_one_step_is_the_single_step(make) -> None:
    inputs = spike_trains(20, 3, 4, dtype=torch.float32)
    cells = [make(4, sequences=sequences) for sequences in (True, False)]
    states = [None, None]
    for step in inputs:
        sequence, states[0] = cells[0](step[None], states[0])
        single, states[1] = cells[1](step, states[1])
        assert torch.equal(sequence[0], single)
        assert all(torch.equal(*pair) for pair in zip(*states, strict=True))
    alone, _ = cells[1](inputs[0, 0])
    assert alone.shape == (4,)


@pytest.mark.parametrize("make", CELLS)
def test_the_state_of_another_batch_is_refused(make) -> None:
    cell, inputs = make(4), torch.rand(5, 3, 4)
    _, state = cell(inputs)
    with pytest.raises(InvalidValue, match=r"state of shape \(3, 4\) with time steps of shape \(2, 4\)"):
        cell(inputs[:, :2], state)
    with pytest.raises(InvalidValue, match="State that it returned at the step before, or None"):
        cell(inputs, inputs[0])


def test_spikes_drive_statistics_without_time() -> None:
    cell = nd.norse.Decorrelation(4)
    for shape in ((4,), (3, 4), (5, 3, 4), (5, 3, 7, 4)):
        outputs, state = cell(torch.ones(shape))
        assert outputs.shape == shape and state is None
    with pytest.raises(InvalidValue, match="state must be None, since there is no trace, got a TraceState"):
        cell(torch.ones(4), nd.norse.Decorrelation(4, signal="trace").initial_state(1))


def test_a_whole_network_is_switched() -> None:
    torch.manual_seed(0)
    network = norse.torch.SequentialState(
        nd.norse.Decorrelation(4, signal="trace"),
        norse.torch.SequentialState(nn.Linear(4, 6), nd.norse.LIF(6, threshold=0.1)),
    )
    inputs = spike_trains(20, 3, 4, dtype=torch.float32)
    expected = network(inputs)[0]
    assert expected.sum() > 0 and torch.equal(step_by_step(network, inputs)[0], expected)
    nd.norse.set_sequences(network, False)
    assert not network[0].sequences and not network[1][1].sequences
    nd.norse.set_sequences(network, True)
    assert network[0].sequences and network[1][1].sequences
    lifted = norse.torch.Lift(nd.norse.LIF(6, sequences=False))
    nd.norse.set_sequences(nn.Sequential(lifted), True)
    assert not lifted.lifted_module.sequences  # it gets single steps
    with pytest.raises(InvalidValue, match="sequences must be True or False"):
        nd.norse.set_sequences(network, "steps")
    with pytest.raises(InvalidValue, match="sequences must be True or False"):
        nd.norse.LIF(3, sequences="steps")


@pytest.mark.parametrize("make", CELLS)
def test_what_norse_lifts_and_repeats(make) -> None:
    inputs = spike_trains(12, 3, 4, dtype=torch.float32)
    cell = make(4, sequences=False)
    outputs, state = norse.torch.Lift(cell)(inputs)
    nd.norse.set_sequences(cell, True)
    expected, expected_state = cell(inputs)
    assert torch.equal(outputs, expected)
    assert all(torch.equal(*pair) for pair in zip(state, expected_state, strict=True))


def test_norses_feedback_loop_around_a_cell() -> None:
    """What `RecurrentSequential` returns is the input of the next step, beside what arrives."""
    torch.manual_seed(0)
    cell, layer = nd.norse.LIF(4, threshold=0.1, sequences=False), nn.Linear(4, 4)
    loop, inputs = norse.torch.RecurrentSequential(cell, layer), spike_trains(12, 3, 4, dtype=torch.float32)
    state, own, fed_back = None, None, torch.zeros(3, 4)
    for step in inputs:
        outputs, state = loop(step, state)
        spikes, own = cell(step + fed_back, own)
        fed_back = layer(spikes)
        assert torch.equal(outputs, fed_back)
    assert spikes.sum() > 0
