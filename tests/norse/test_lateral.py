"""Lateral inhibition: the Brian2 rule on the same input spikes, a loop over spikes, and what keeps it bounded."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
import torch
from brian2 import Hz, NeuronGroup, SpikeMonitor, TimedArray, ms, second
from norse.torch import SequentialState
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import Diverged, InvalidValue
from tests.norse.spike_trains import spike_trains, step_by_step

NEURONS, STEPS = 6, 600
WEIGHTS = torch.Generator().manual_seed(3)
ONTO = 0.6 * torch.rand(NEURONS, NEURONS, generator=WEIGHTS, dtype=torch.float64)  # from input spikes to neurons


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def in_brian(inputs: Tensor, rule: nd.brian.SpikingRule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spikes (steps, neurons), weights onto the row's neuron and biases of a population on input currents."""
    currents = TimedArray(inputs.numpy(), dt=1 * ms)  # the equations name it
    neurons = NeuronGroup(
        NEURONS,
        "dv/dt = (g - v)/(10*ms) : 1\ndg/dt = -g/(5*ms) : 1",
        threshold="v > 0.4",
        reset="v = 0",
        method="euler",
    )
    neurons.run_regularly("g += currents(t, i)", when="start")
    synapses = rule.synapses(neurons, drive="g_post -= w")
    synapses.connect(condition="i != j")
    spikes = SpikeMonitor(neurons)
    network = brian2.Network(neurons, synapses, spikes)
    network.run(STEPS * ms, namespace={"currents": currents})
    trains = np.zeros((STEPS, NEURONS))
    trains[np.round(np.asarray(spikes.t / ms)).astype(int), np.asarray(spikes.i)] = 1
    weights = np.nan_to_num(nd.brian.weights_to_matrix(synapses)).T
    bias = synapses.companions.target.bias_rate / Hz if rule.homeostasis is not None else np.zeros(NEURONS)
    return trains, weights, np.asarray(bias)


def cell_of(rule: nd.norse.LateralCovariance, **options: object) -> nd.norse.LateralLIF:
    return nd.norse.LateralLIF(NEURONS, rule=rule, threshold=0.4, dtype=torch.float64, **options)


@pytest.mark.parametrize("homeostasis", ["none", "own rate", "target rate"])
@pytest.mark.parametrize("largest_weight", [1.0, 0.003])
def test_the_rule_of_brian_on_the_same_input_spikes(homeostasis: str, largest_weight: float) -> None:
    """Stepped after every time step: the same spikes, and weights and biases to 1e-9, at a bound too."""
    theirs, ours = None, None
    if homeostasis == "own rate":
        theirs = nd.brian.Homeostasis(calibration=100 * ms, rate=30 * Hz, average_time=0.5 * second)
        ours = nd.norse.Homeostasis(calibration=0.1, rate=30.0, average_time=0.5)
    if homeostasis == "target rate":
        theirs = nd.brian.Homeostasis(target_rate=40 * Hz, rate=30 * Hz)
        ours = nd.norse.Homeostasis(target_rate=40.0, rate=30.0)
    values = {"rate": 1e-2, "largest_weight": largest_weight}
    inputs = spike_trains(STEPS, 1, NEURONS) @ ONTO.T
    trains, weights, bias = in_brian(
        inputs[:, 0],
        nd.brian.get(
            trace_time=40 * ms, mean_time=0.3 * second, homeostasis=theirs, gain=None, schedule=None, **values
        ),
    )
    cell = cell_of(
        nd.norse.LateralCovariance(trace_time=40e-3, mean_time=0.3, homeostasis=ours, **values), sequences=False
    )
    plasticity = nd.norse.NeuronPlasticity(cell)
    state, spikes = None, []
    for step in inputs:
        output, state = cell(step, state)
        plasticity.step()
        spikes.append(output[0])
    assert np.array_equal(torch.stack(spikes).numpy(), trains) and 0.02 < trains.mean() < 0.5
    np.testing.assert_allclose(cell.weight.numpy(), weights, atol=1e-9)
    np.testing.assert_allclose(cell.bias.numpy(), bias, atol=1e-7)
    assert weights.max() == 0.003 if largest_weight < 1 else weights.max() > 0.1


def test_a_batch_of_sequences_is_the_mean_of_their_changes() -> None:
    """Against a loop over sequences, time steps and spikes, in float64."""
    inputs = spike_trains(80, 3, NEURONS) @ ONTO.T
    rule = nd.norse.LateralCovariance(rate=2e-3, smallest_weight=-1.0, homeostasis=None)
    cell = cell_of(rule)
    cell.mean.fill_(0.7)
    cell.weight.copy_(0.05 * (1 - torch.eye(NEURONS)))
    cell.elapsed.fill_(20.0)
    before = cell.weight.clone()
    plasticity = nd.norse.NeuronPlasticity(cell)
    spikes, _ = cell(inputs)
    plasticity.step()
    traces, kept = torch.zeros(81, 3, NEURONS, dtype=torch.float64), np.exp(-1e-3 / 50e-3)
    for step in range(80):
        traces[step + 1] = traces[step] * kept + spikes[step]
    mean = 0.7 + (1 - (1 - 1e-4) ** 80) * (traces[:80].mean(dim=(0, 1)) * (1 + kept) / 2 - 0.7)
    torch.testing.assert_close(cell.mean, mean)
    change = torch.zeros(NEURONS, NEURONS, dtype=torch.float64)
    for step in range(80):
        for example in range(3):
            for spiking in spikes[step, example].nonzero().flatten():
                gained = traces[step, example] * kept - mean
                change[:, spiking] += gained / 3  # at a spike of the presynaptic neuron
                change[spiking, :] += (gained + spikes[step, example]) / 3  # at one of the postsynaptic neuron
    expected = (before + 2e-3 * change).fill_diagonal_(0)
    torch.testing.assert_close(cell.weight, expected)
    assert (cell.weight - before).abs().max() > 1e-3


@pytest.mark.parametrize("together", [0.0, 0.02])
def test_spikes_of_one_step_are_one_pair(together: float) -> None:
    """A cell that repeats its input: weights drift by the covariance of trains within a step, and not without one."""
    generator = torch.Generator().manual_seed(0)
    steps, batch = 1500, 64
    common = (torch.rand(steps, batch, 1, generator=generator) < together).double()
    trains = torch.maximum(common, (torch.rand(steps, batch, 2, generator=generator) < 0.02).double())
    rule = nd.norse.LateralCovariance(rate=1e-7, trace_time=5e-3, mean_time=1e3, homeostasis=None, smallest_weight=-1.0)
    cell = nd.norse.LateralLIF(2, threshold=0.5, membrane_time=1e-3, synapse_time=None, rule=rule, dtype=torch.float64)
    probability, kept = trains.mean(dim=(0, 1)), np.exp(-1 / 5)
    cell.mean.copy_(probability * (1 + kept) / 2 / (1 - kept))  # of what synapses read
    cell.elapsed.fill_(1e9)
    with torch.no_grad():
        spikes, _ = cell(trains)
    assert torch.equal(spikes, trains)
    nd.norse.NeuronPlasticity(cell).step()
    both = trains.prod(dim=-1).mean() - probability.prod()
    # Of independent trains: spikes (2 p T a sequence, mean of 64) times the scatter of the trace, 4 standard errors.
    error = 4 * float((2 * probability[0] * steps / batch * probability[0] / (1 - kept**2)) ** 0.5)
    assert float(cell.weight[0, 1]) / 1e-7 == pytest.approx(float(both) * steps, abs=error)
    assert error < 2 and (together == 0 or float(both) * steps > 10 * error)


def test_steps_and_sequences_are_the_same() -> None:
    inputs = spike_trains(100, 4, NEURONS) @ ONTO.T
    one, other = cell_of(nd.norse.LateralCovariance()), cell_of(nd.norse.LateralCovariance())
    for cell in (one, other):
        cell.weight.copy_(0.3 * ONTO)
    spikes, state = one(inputs)
    stepped, stepped_state = step_by_step(other, inputs)
    started, _ = one.eval()(inputs, one.initial_state(4))
    assert spikes.sum() > 0 and torch.equal(spikes, stepped) and torch.equal(spikes, started)
    assert all(torch.equal(*pair) for pair in zip(state, stepped_state, strict=True))
    for sums in zip(one.take_record(), other.take_record(), strict=True):
        torch.testing.assert_close(*sums)


def test_without_weights_it_is_a_lif_and_with_them_it_is_norses_recurrent_cell() -> None:
    import norse.torch

    inputs = spike_trains(100, 4, NEURONS) @ ONTO.T
    cell = cell_of(nd.norse.LateralCovariance(homeostasis=None))
    plain, _ = nd.norse.LIF(NEURONS, threshold=0.4, dtype=torch.float64)(inputs)
    assert plain.sum() > 0 and torch.equal(cell(inputs)[0], plain)
    weight = (0.5 * ONTO).fill_diagonal_(0)
    cell.weight.copy_(weight)
    parameters = norse.torch.LIFParameters(
        *(torch.tensor(value, dtype=torch.float64) for value in (200.0, 100.0, 0.0, 0.4, 0.0))
    )
    theirs = norse.torch.LIFRecurrentCell(
        NEURONS, NEURONS, p=parameters, input_weights=torch.eye(NEURONS).double(), recurrent_weights=-weight
    )
    expected, _ = step_by_step(theirs, inputs)
    spikes, _ = cell(inputs)
    assert torch.equal(spikes, expected) and spikes.sum() < 0.9 * plain.sum()


@pytest.mark.slow
def test_learning_decorrelates_and_keeps_the_rates() -> None:
    """Ten neurons under one shared drive; learnt on 25 s of 16 sequences, tested on fresh input, everything held."""
    torch.manual_seed(0)
    homeostasis = nd.norse.Homeostasis(calibration=3.0, average_time=3.0)
    rule = nd.norse.LateralCovariance(rate=2e-2, mean_time=3.0, homeostasis=homeostasis)
    cell = nd.norse.LateralLIF(10, rule=rule, threshold=1.0)
    plasticity = nd.norse.NeuronPlasticity(cell)

    def drive(seconds: float) -> Tensor:
        shared = torch.randn(round(seconds * 1000) // 50, 16, 1).repeat_interleave(50, dim=0)
        return 0.2 + 0.06 * shared + 0.3 * torch.randn(len(shared), 16, 10)

    def measured() -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        with torch.no_grad():
            spikes, _ = cell.eval()(drive(6.0))
        counts = spikes.view(-1, 50, 16, 10).sum(dim=1).reshape(-1, 10)
        return torch.corrcoef(counts.T).fill_diagonal_(0).abs().sum() / 90, spikes.mean() * 1000

    correlation, rate = measured()
    torch.manual_seed(2)
    state = None
    for _ in range(125):
        with torch.no_grad():
            _, state = cell.train()(drive(0.2), state)
        plasticity.step()
    learnt, kept = measured()
    assert correlation > 0.2 and learnt < correlation / 3
    assert abs(kept / rate - 1) < 0.1


def test_homeostatic_thresholds_bring_every_neuron_to_its_rate() -> None:
    for make in (
        lambda homeostasis: nd.norse.LIF(4, rule=homeostasis),
        lambda homeostasis: nd.norse.LateralLIF(4, rule=nd.norse.LateralCovariance(homeostasis=homeostasis)),
    ):
        generator = torch.Generator().manual_seed(0)
        cell = make(nd.norse.ThresholdHomeostasis(target_rate=30.0, rate=1e-2))
        plasticity, state = nd.norse.NeuronPlasticity(cell), None
        rates = []
        for course in range(60):
            currents = torch.tensor([0.1, 0.2, 0.3, 0.5]) * (1 + torch.randn(200, 8, 4, generator=generator))
            spikes, state = cell(currents, state)
            plasticity.step()
            rates.append(spikes.mean(dim=(0, 1)) * 1000 if course >= 30 else None)
        last = torch.stack(rates[30:]).mean(dim=0)
        torch.testing.assert_close(last, torch.full((4,), 30.0), rtol=0.05, atol=0)
        assert cell.threshold.std() > 0.1


def test_one_update_of_the_thresholds() -> None:
    homeostasis = nd.norse.ThresholdHomeostasis(target_rate=100.0, rate=0.1)
    cell = nd.norse.LIF(2, threshold=0.5, synapse_time=None, rule=homeostasis, dtype=torch.float64)
    currents = torch.tensor([0.0, 100.0], dtype=torch.float64).expand(20, 3, 2)  # never, and at every step
    cell(currents)
    nd.norse.NeuronPlasticity(cell).step()
    torch.testing.assert_close(cell.threshold, torch.tensor([0.5 - 0.1 * 2, 0.5 + 0.1 * 18], dtype=torch.float64))


def test_silent_and_always_active_neurons_stay_bounded() -> None:
    thresholds = nd.norse.ThresholdHomeostasis(rate=0.1)
    for homeostasis in (None, nd.norse.Homeostasis(target_rate=20.0), thresholds):
        rule = nd.norse.LateralCovariance(rate=0.1, homeostasis=homeostasis)
        cell = nd.norse.LateralLIF(4, rule=rule)
        plasticity = nd.norse.NeuronPlasticity(cell)
        currents = torch.tensor([0.0, -1.0, 50.0, 0.3])
        for steps, batch in ((1, 1), (80, 2)):
            for _ in range(25):
                spikes, _ = cell(currents.expand(steps, batch, 4))
                plasticity.step()
        assert all(torch.isfinite(buffer).all() for buffer in cell.buffers()) and torch.isfinite(spikes).all()
        assert cell.weight.min() >= 0 and cell.weight.max() <= 1 and not cell.weight.diagonal().any()
        assert cell.threshold.min() >= thresholds.smallest_threshold
        assert cell.threshold.max() <= thresholds.largest_threshold


def test_memory_does_not_grow_over_two_thousand_steps() -> None:
    cell = nd.norse.LateralLIF(3, sequences=False)
    currents, state = torch.rand(2, 3), None
    with torch.no_grad():
        for _ in range(2_000):
            _, state = cell(currents, state)
    record = cell.take_record()
    assert [tensor.numel() for tensor in record] == [1, 3, 3, 9, 9] and float(record.steps) == 2_000
    assert all(torch.isfinite(tensor).all() for tensor in (*record, *state))


def test_traces_have_no_graph_and_nothing_is_mutated() -> None:
    cell = nd.norse.LateralLIF(3, threshold=0.1)
    inputs, state = torch.rand(5, 2, 3, requires_grad=True), cell.initial_state(2)
    before = inputs.detach().clone()
    spikes, after = cell(inputs, state)
    assert torch.equal(inputs, before) and not any(tensor.any() for tensor in state)
    assert spikes.requires_grad and after.potential.requires_grad and not after.trace.requires_grad
    assert not any(tensor.requires_grad for tensor in cell.take_record())


def test_all_that_is_learnt_is_in_the_state_dict_and_moves() -> None:
    inputs = spike_trains(100, 4, NEURONS) @ ONTO.T
    rule = nd.norse.LateralCovariance(rate=0.05, homeostasis=nd.norse.Homeostasis(target_rate=20.0))
    one, other = cell_of(rule), cell_of(rule)
    plasticity = nd.norse.NeuronPlasticity(one)
    for _ in range(3):
        one(inputs)
        plasticity.step()
    other.load_state_dict(one.state_dict())
    assert one.weight.max() > 0 and one.elapsed == pytest.approx(0.3) and one.bias.abs().max() > 0
    again = nd.norse.NeuronPlasticity(other)
    for cell, moving in ((one, plasticity), (other, again)):
        cell(inputs)
        moving.step()
    assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in other.state_dict().items())
    half = other.float().half()
    assert half.weight.dtype == half.mean.dtype == torch.float32
    outputs, state = half(inputs.half())
    again.step()  # the buffers are new ones
    assert outputs.dtype == torch.float16 and state.potential.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = half(inputs.float())
    assert state.current.dtype == half.take_record().coincidences.dtype == torch.float32


def test_compiles_without_a_graph_break_and_maps_over_noise() -> None:
    torch._dynamo.reset()
    inputs = spike_trains(6, 4, NEURONS) @ ONTO.T
    cell = cell_of(nd.norse.LateralCovariance())
    cell.weight.copy_(0.3 * ONTO)
    compiled = torch.compile(cell, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        expected, _ = cell(inputs)
        records = [cell.take_record()]
        outputs, _ = compiled(inputs)
    records.append(cell.take_record())
    assert expected.sum() > 0 and torch.equal(outputs, expected)
    for sums in zip(*records, strict=True):
        torch.testing.assert_close(*sums)
    noise = 0.3 * torch.randn(5, 6, 4, NEURONS, dtype=torch.float64)
    looped = torch.stack([cell(inputs + draw)[0] for draw in noise])
    records = [cell.take_record()]
    assert torch.equal(torch.vmap(lambda draw: cell(inputs + draw)[0])(noise), looped)
    records.append(cell.take_record())
    torch.testing.assert_close(records[0].spikes, 5 * records[1].spikes)  # sums over passes, means over sequences
    torch.testing.assert_close(records[0].coincidences, 5 * records[1].coincidences)
    torch.testing.assert_close(records[0].together, 5 * records[1].together)
    cell.sequences = False
    torch.vmap(lambda draw: cell(inputs[0] + draw, cell.initial_state(4))[0])(noise[:, 0])
    assert cell.take_record().steps == 1


def test_gradients_reach_earlier_spikes_through_the_inhibition() -> None:
    cell = nd.norse.LateralLIF(2, threshold=0.5, synapse_time=None, slope=1.0, dtype=torch.float64)
    cell.weight.copy_(torch.tensor([[0.0, 3.0], [0.0, 0.0]]))
    inputs = torch.tensor([[[1.0, 2.0]], [[4.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    spikes, _ = cell(inputs)
    (gradient,) = torch.autograd.grad(spikes[1, 0, 0], inputs)
    first = torch.tensor([0.1, 0.2], dtype=torch.float64)  # potentials of the first step, dt / tau_m = 0.1
    second = 0.9 * first[0] + 0.1 * 4.0
    surrogates = [(1 + (first[1] - 0.5).abs()) ** -2, (1 + (second - 0.5).abs()) ** -2]
    torch.testing.assert_close(gradient[0, 0, 1], -0.1 * 3.0 * surrogates[1] * 0.1 * surrogates[0])
    torch.testing.assert_close(gradient[1, 0, 0], 0.1 * surrogates[1])


def test_plasticity_of_neurons_is_an_optimiser() -> None:
    network = SequentialState(
        nn.Linear(6, 5), nd.norse.LateralLIF(5, threshold=0.1), nn.Linear(5, 2), nd.norse.LIF(2)
    ).float()
    plasticity = nd.norse.NeuronPlasticity(network)
    schedule = torch.optim.lr_scheduler.ExponentialLR(plasticity, 0.5)
    inputs = spike_trains(50, 4, 6, dtype=torch.float32)
    with nd.rate.unremembered(network):
        network(inputs)
    with pytest.warns(UserWarning, match="no forward pass in train mode since the last step for: 1"):
        plasticity.step()
    network(inputs)
    plasticity.step()
    schedule.step()
    assert plasticity.param_groups[0]["lr"] == pytest.approx(5e-4)
    network.eval()(inputs)
    assert network[1].take_record() is None
    network.train()(inputs * torch.nan)
    with pytest.raises(Diverged, match="neurons '1'"):
        plasticity.step()


def test_wide_currents_move_narrow_weights() -> None:
    rule = nd.norse.LateralCovariance(rate=0.05, homeostasis=nd.norse.Homeostasis(target_rate=20.0))
    cell = nd.norse.LateralLIF(NEURONS, rule=rule, threshold=0.4)
    spikes, _ = cell(spike_trains(50, 2, NEURONS, dtype=torch.float64) @ ONTO.T)
    nd.norse.NeuronPlasticity(cell).step()
    assert spikes.dtype == torch.float64 and cell.weight.dtype == torch.float32 and cell.bias.abs().max() > 0


def test_bad_values_are_told() -> None:
    for options, match in (
        ({"rate": 0.0}, "rate must be a finite number > 0"),
        ({"mean_time": 0.01}, "mean_time must be above trace_time"),
        ({"smallest_weight": 2.0}, "in this order"),
        ({"homeostasis": "on"}, "Homeostasis"),
    ):
        with pytest.raises(InvalidValue, match=match):
            nd.norse.LateralCovariance(**options)
    with pytest.raises(InvalidValue, match="target_rate must be a finite number > 0"):
        nd.norse.ThresholdHomeostasis(target_rate=0.0)
    with pytest.raises(InvalidValue, match="in this order"):
        nd.norse.ThresholdHomeostasis(smallest_threshold=3.0, largest_threshold=2.0)
    with pytest.raises(InvalidValue, match="smallest_threshold"):
        nd.norse.LIF(2, reset=0.5, rule=nd.norse.ThresholdHomeostasis())
    with pytest.raises(InvalidValue, match="trace_time must be at least dt"):
        nd.norse.LateralLIF(2, dt=0.1, membrane_time=0.2, synapse_time=None)
    with pytest.raises(InvalidValue, match="no neurons that learn"):
        nd.norse.NeuronPlasticity(nd.norse.LIF(2))
    with pytest.raises(InvalidValue, match="rule must be"):
        nd.norse.LateralLIF(2, rule=nd.rules.get("whitening"))
    with pytest.raises(InvalidValue, match="ThresholdHomeostasis"):
        nd.norse.LIF(2, rule=nd.norse.Homeostasis())
    with pytest.raises(InvalidValue, match="empty"):
        nd.norse.LateralLIF(2)(torch.zeros(0, 3, 2))
