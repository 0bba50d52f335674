"""What a chip has to do, against counts by hand: one event, one synapse at a time."""

from __future__ import annotations

import itertools

import norse.torch
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported

STEPS, BATCH = 12, 3


def sparse(layer: nn.Module, share: float = 0.4, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    layer.weight.data = 2 * torch.randn(layer.weight.shape, generator=generator)
    layer.weight.data *= torch.rand(layer.weight.shape, generator=generator) < share
    return layer


def spikes(*shape: int, seed: int = 1) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


def loops(weight: Tensor, events: Tensor) -> int:
    """Operations of events (..., inputs) at weights (outputs, inputs)."""
    count = 0
    for event in events.reshape(-1, weight.shape[1]).tolist():
        for number, value in enumerate(event):
            if value != 0:
                count += sum(1 for target in range(weight.shape[0]) if weight[target, number] != 0)
    return count


def test_two_layers_by_hand() -> None:
    first, second = (sparse(layer).requires_grad_(False) for layer in (nn.Linear(5, 8), nn.Linear(8, 3)))
    network = norse.torch.SequentialState(
        first, nd.norse.LIF(8, threshold=0.2), second, nd.norse.LIF(3, threshold=0.2)
    ).train()
    inputs = spikes(STEPS, BATCH, 5)
    report = nd.norse.hardware_report(network, inputs)
    assert network.training and report.samples == BATCH
    hidden = network[1](first(inputs))[0]
    out = network[3](second(hidden))[0]
    assert hidden.sum() > 10
    for found, layer, events in zip(report.layers, (first, second), (inputs, hidden), strict=True):
        pattern = layer.weight != 0
        assert found.stored == found.synapses == int(pattern.sum()) and found.size == layer.weight.numel()
        assert found.fan_in == max(int(row.sum()) for row in pattern)
        assert found.fan_out == max(int(column.sum()) for column in pattern.T)
        assert found.mean_fan_in == pytest.approx(int(pattern.sum()) / pattern.shape[0])
        assert found.mean_fan_out == pytest.approx(int(pattern.sum()) / pattern.shape[1])
        assert found.events == pytest.approx(float(events.sum()) / BATCH)
        assert found.operations == pytest.approx(loops(layer.weight, events) / BATCH)
        assert (found.smallest, found.largest) == (float(layer.weight.min()), float(layer.weight.max()))
        assert not found.graded
    assert [found.neurons for found in report.populations] == [8, 3]
    assert report.spikes == pytest.approx(float(hidden.sum() + out.sum()) / BATCH)
    assert report.operations == pytest.approx(sum(layer.operations for layer in report.layers))
    assert report.stored == sum(layer.stored for layer in report.layers)
    table = str(report)
    assert "fan-in" in table and "0  " in table and "8 neurons" in table and len(table.splitlines()) == 7


def test_networks_of_single_steps_are_the_same() -> None:
    layers = [sparse(nn.Linear(5, 8)), nd.norse.LIF(8, threshold=0.2), sparse(nn.Linear(8, 3), seed=2)]
    inputs = spikes(STEPS, BATCH, 5)
    whole = nd.norse.hardware_report(norse.torch.SequentialState(*layers), inputs)
    nd.norse.set_sequences(layers[1], False)

    def run(network: nn.Module, sequence: Tensor) -> None:
        state = None
        for step in sequence:
            _, state = network(step, state)

    stepwise = nd.norse.hardware_report(norse.torch.SequentialState(*layers), inputs, run=run, samples=BATCH)
    assert stepwise == whole
    of_norse = norse.torch.SequentialState(layers[0], norse.torch.LIFCell())
    found = nd.norse.hardware_report(of_norse, inputs, run=run, samples=BATCH)
    assert found.layers == whole.layers[:1] and found.populations[0].neurons == 8


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 2, "dilation": 2, "groups": 2},
    {"kernel_size": 3, "padding": "same", "bias": False},
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_convolutions_by_hand(options) -> None:
    """Against the convolution as a matrix, one column an input unit."""
    layer = sparse(nn.Conv2d(2, 4, **options))
    images = spikes(BATCH, 2, 6, 5)
    (found,) = nd.norse.hardware_report(nn.Sequential(layer), images).layers
    basis = torch.eye(60).view(60, 2, 6, 5)
    with torch.no_grad():
        bias = layer(torch.zeros(1, 2, 6, 5))
        matrix = (layer(basis) - bias).flatten(1).T
    pattern = matrix.abs() > 1e-6
    assert found.synapses == int(pattern.sum()) and found.stored == int((layer.weight != 0).sum()) < found.synapses
    assert found.fan_in == int(pattern.sum(1).max()) and found.fan_out == int(pattern.sum(0).max())
    assert found.mean_fan_in == pytest.approx(float(pattern.sum(1).double().mean()))
    assert found.mean_fan_out == pytest.approx(float(pattern.sum(0).double().mean()))
    assert found.operations == pytest.approx(loops(pattern.float(), images.flatten(1)) / BATCH)


def test_recurrent_synapses_take_the_spikes_of_their_own_neurons() -> None:
    cell = nd.norse.LateralLIF(6, threshold=0.2)
    cell.weight.copy_(0.1 * spikes(6, 6, seed=3)).fill_diagonal_(0)
    layer = sparse(nn.Linear(5, 6), 0.9)
    inputs = spikes(STEPS, BATCH, 5)
    report = nd.norse.hardware_report(norse.torch.SequentialState(layer, cell), inputs)
    out = cell.eval()(layer(inputs))[0].detach()
    assert [found.name for found in report.layers] == ["0", "1, inhibition"] and out.sum() > 5
    assert report.layers[1].operations == pytest.approx(loops(cell.weight, out) / BATCH)
    assert report.layers[1].events == pytest.approx(float(out.sum()) / BATCH)
    recurrent = norse.torch.LIFRecurrent(5, 6)
    of_norse = nd.norse.hardware_report(recurrent, 5 * inputs)
    trains = recurrent(5 * inputs)[0].detach()
    wanted = [loops(recurrent.input_weights, inputs), loops(recurrent.recurrent_weights, trains)]
    assert [found.operations * BATCH for found in of_norse.layers] == pytest.approx(wanted)
    assert [found.graded for found in of_norse.layers] == [True, False] and trains.sum() > 0


def test_inhibition_between_channels_counts_at_every_place() -> None:
    cell = nd.norse.LateralLIF(3, threshold=0.2, spatial=2)
    cell.weight.copy_(0.1 * spikes(3, 3, seed=5)).fill_diagonal_(0)
    assert 0 < int((cell.weight != 0).sum()) < 6
    inputs = spikes(STEPS, BATCH, 3, 2, 4)
    (found,) = nd.norse.hardware_report(cell, inputs).layers
    out = cell.eval()(inputs)[0]
    assert out.sum() > 10
    assert found.operations == pytest.approx(loops(cell.weight, out.movedim(2, -1)) / BATCH)
    pattern = cell.weight != 0
    assert found.stored == int(pattern.sum()) and found.synapses == 8 * found.stored
    assert found.fan_out == int(pattern.sum(0).max()) and found.fan_in == int(pattern.sum(1).max())
    assert nd.norse.hardware_report(cell, inputs).populations[0].neurons == 24


def test_a_silent_input_shows_what_biases_cause() -> None:
    layer = nn.Linear(4, 5)
    layer.bias.data.fill_(1.0)
    network = norse.torch.SequentialState(layer, nd.norse.LIF(5, threshold=0.5))
    report = nd.norse.hardware_report(network, torch.zeros(20, 2, 4))
    assert report.operations == 0.0 and report.spikes > 0


@given(
    bits=st.integers(2, 12),
    per_channel=st.booleans(),
    shape=st.sampled_from([(3, 4), (2, 3, 2, 2), (1, 1)]),
    seed=st.integers(0, 1000),
)
def test_integer_weights(bits, per_channel, shape, seed) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    numbers, scale = nd.norse.integer_weights(weight, bits, per_channel)
    top = 2 ** (bits - 1) - 1
    rows = range(shape[0]) if per_channel else [slice(None)]
    for row in rows:
        largest = float(weight[row].abs().max())
        step = float(scale[row].squeeze()) if per_channel else float(scale)
        assert step == pytest.approx(largest / top, rel=1e-14)
        assert int(numbers[row].abs().max()) == top
        # Half a step, and the rounding of the product.
        assert float((numbers[row] * step - weight[row]).abs().max()) <= step / 2 * (1 + 1e-9)
    assert numbers.dtype == torch.int32


def test_zeros_stay_zero_and_need_no_scale() -> None:
    numbers, scale = nd.norse.integer_weights(torch.zeros(3, 2), 4, per_channel=True)
    assert not numbers.any() and bool((scale > 0).all())
    layer = sparse(nn.Linear(6, 5), 0.3)
    assert torch.equal(nd.norse.quantised(layer, 2).weight == 0, nd.norse.integer_weights(layer.weight, 2)[0] == 0)
    assert bool((nd.norse.quantised(layer, 8).weight[layer.weight == 0] == 0).all())


@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_networks_have_the_weights_of_these_numbers(per_channel) -> None:
    cell = nd.norse.LateralLIF(6)
    cell.weight.copy_(torch.rand(6, 6))
    modules = [nn.Linear(5, 6), cell, norse.torch.LIFRecurrent(6, 4), nd.norse.Decorrelation(4)]
    with pytest.raises(Unsupported, match=r"'3'.* is a Decorrelation.*nd\.fold\(network\)"):
        nd.norse.quantised(norse.torch.SequentialState(*modules))
    network = norse.torch.SequentialState(*modules[:3])
    before = {name: value.clone() for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    made = nd.norse.quantised(network, 4, per_channel)
    for attribute in ("0.weight", "1.weight", "2.input_weights", "2.recurrent_weights"):
        numbers, scale = nd.norse.integer_weights(before[attribute], 4, per_channel)
        torch.testing.assert_close(made.state_dict()[attribute], (numbers * scale).float())
        assert torch.equal(network.state_dict()[attribute], before[attribute])
    assert torch.equal(made[0].bias, network[0].bias)


def test_bits_are_the_fewest_with_which_weights_keep_the_precision() -> None:
    layer = sparse(nn.Linear(30, 20), 1.0)
    for precision, per_channel in itertools.product((0.2, 0.05, 0.01, 1e-3), (False, True)):
        report = nd.norse.hardware_report(layer, spikes(4, 30), precision=precision, per_channel=per_channel)
        errors = {}
        for bits in range(2, 16):
            left = nd.norse.quantised(layer, bits, per_channel).weight.detach().numpy()
            weight = layer.weight.detach().numpy()
            errors[bits] = np.linalg.norm(left - weight) / np.linalg.norm(weight)
        assert report.layers[0].bits == min(bits for bits, error in errors.items() if error <= precision)


def test_eight_bits_spike_nearly_as_the_network_and_two_do_not() -> None:
    torch.manual_seed(0)
    network = norse.torch.SequentialState(nn.Linear(20, 30), nd.norse.LIF(30, threshold=0.1))
    inputs = spikes(30, 8, 20)
    with torch.no_grad():
        exact = network(inputs)[0]
        off = [float((nd.norse.quantised(network, bits)(inputs)[0] != exact).float().mean()) for bits in (8, 4, 2)]
    assert off[0] < off[1] < off[2] and off[0] < 0.1 * float(exact.mean())


def test_what_cannot_be_counted_is_told() -> None:
    decorrelated = nd.decorrelate(nn.Sequential(nn.Linear(4, 3)))
    with pytest.raises(Unsupported, match=r"Decorrelation, which no chip runs by itself.*nd\.fold"):
        nd.norse.hardware_report(decorrelated, torch.ones(2, 4))
    nd.norse.hardware_report(nd.fold(decorrelated), torch.ones(2, 4))
    with pytest.raises(Unsupported, match=r"'0' \(GRU\) has parameters that are not known to be synapses"):
        nd.norse.hardware_report(nn.Sequential(nn.GRU(4, 3)), torch.ones(2, 3, 4))
    with pytest.raises(Unsupported, match="no synapses"):
        nd.norse.hardware_report(nn.Sequential(nn.ReLU()), torch.ones(2, 4))
    layer, neurons = nn.Linear(4, 4), nd.norse.LIF(4)
    for shared in ([layer, neurons, layer], [neurons, layer, neurons]):
        with pytest.raises(Unsupported, match="in two places, which are two on a chip"):
            nd.norse.hardware_report(norse.torch.SequentialState(*shared), torch.ones(5, 2, 4))
    pruned = nn.Linear(4, 3)
    prune.random_unstructured(pruned, "weight", amount=0.5)
    with pytest.raises(Unsupported, match=r"prune\.remove"):
        nd.norse.quantised(pruned)
    prune.remove(pruned, "weight")
    assert nd.norse.hardware_report(pruned, torch.ones(2, 4)).stored == 6
    with pytest.raises(InvalidValue, match=r"^quantised: bits must be a whole number >= 2 and <= 24, got 32"):
        nd.norse.quantised(pruned, 32)
    with pytest.raises(InvalidValue, match=r"bits must be .*whole number"):
        nd.norse.quantised(pruned, 2.5)
    with pytest.raises(InvalidValue, match=r"precision must be .*> 0"):
        nd.norse.hardware_report(pruned, torch.ones(2, 4), precision=0)

    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.left = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.used(inputs)

    with pytest.raises(InvalidValue, match=r"did not call 'left'"):
        nd.norse.hardware_report(Unused(), torch.ones(2, 4))


def of_least_error(weight: np.ndarray, largest: np.ndarray, top: int, inputs: np.ndarray, apart: bool) -> np.ndarray:
    """The scale of every output, of 41 that are tried on the inputs, one for all where they do not differ."""
    errors = []
    for step in range(41):
        scale = largest * 2 ** (-step / 8)
        lost = inputs @ (np.clip(np.round(weight / scale), -top, top) * scale - weight).T
        errors.append((lost**2).sum(0))
    if apart:
        return largest[:, 0] * 2 ** (-np.argmin(errors, 0) / 8)
    return largest[:, 0] * 2 ** (-np.argmin(np.sum(errors, 1)) / 8)


def by_least_squares(weight: np.ndarray, scale: np.ndarray, top: int, inputs: np.ndarray) -> np.ndarray:
    """One output after the other: round an input's weight, then solve for the later ones from all the inputs seen."""
    numbers = np.zeros_like(weight)
    for row, weights in enumerate(weight):
        left = weights.copy()
        for place in range(len(weights)):
            numbers[row, place] = np.clip(np.round(left[place] / scale[row]), -top, top) if weights[place] else 0.0
            lost = inputs[:, : place + 1] @ (numbers[row, : place + 1] * scale[row] - weights[: place + 1])
            left[place + 1 :] = weights[place + 1 :] - np.linalg.lstsq(inputs[:, place + 1 :], lost, rcond=None)[0]
    return numbers


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_make_up_for_what_the_rounding_of_others_lost(per_channel, kind, bias) -> None:
    generator = torch.Generator().manual_seed(4)
    if kind == "linear":
        layer = sparse(nn.Linear(6, 5, bias=bias), 0.8).double()
        inputs = torch.randn(200, 1, generator=generator) + 0.3 * torch.randn(200, 6, generator=generator) + 1
        rows = inputs = inputs.double()
    else:
        layer = sparse(nn.Conv2d(1, 5, (2, 3), stride=2, padding=1, bias=bias), 0.8).double()
        inputs = torch.rand(4, 1, 8, 9, generator=generator, dtype=torch.float64).cumsum(-1)
        padded = np.pad(inputs.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
        rows = torch.tensor(
            np.array(
                [
                    padded[n, 0, y : y + 2, x : x + 3].ravel()
                    for n in range(4)
                    for y in range(0, 9, 2)
                    for x in range(0, 9, 2)
                ]
            )
        )
    made = nd.norse.quantised(nn.Sequential(layer), 4, per_channel, calibration=inputs)[0]
    weight = layer.weight.detach().flatten(1)
    _, largest = nd.norse.integer_weights(weight, 4, per_channel)
    about = rows.mean(0) if bias else torch.zeros(rows.shape[1])
    # The damping of a hundredth of the mean square, as so many more rows.
    centred = rows - about
    ridge = (0.01 * len(rows) * centred.square().mean()).sqrt() * torch.eye(rows.shape[1])
    seen = torch.cat([centred, ridge.double()]).numpy()
    scales = of_least_error(weight.numpy(), largest.expand(5, 1).numpy(), 7, centred.numpy(), per_channel)
    numbers = by_least_squares(weight.numpy(), scales, 7, seen)
    expected = torch.tensor(numbers * scales[:, None])
    torch.testing.assert_close(made.weight.flatten(1).detach(), expected)
    plain, _ = nd.norse.integer_weights(weight, 4, per_channel)
    assert not torch.equal(plain * largest, expected)
    if bias:
        torch.testing.assert_close(made.bias, layer.bias + (weight - expected) @ about)
    errors = [
        (rows @ (each - weight).T + shift).square().mean()
        for each, shift in zip(
            (expected, plain * largest), ((made.bias - layer.bias) if bias else 0.0, 0.0), strict=True
        )
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize(
    ("padding", "padding_mode", "by_numpy"), [(1, "circular", "wrap"), ("same", "zeros", "constant")]
)
def test_a_calibration_sees_the_padding_of_every_kind(padding, padding_mode, by_numpy) -> None:
    torch.manual_seed(4)
    padded = nn.Conv2d(2, 5, 3, bias=False, padding=padding, padding_mode=padding_mode)
    plain = nn.Conv2d(2, 5, 3, bias=False)
    plain.load_state_dict(padded.state_dict())
    inputs = torch.rand(4, 2, 8, 9).cumsum(-1)
    seen = torch.tensor(np.pad(inputs.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), by_numpy))
    found, expected = (
        nd.norse.quantised(nn.Sequential(layer), 4, calibration=given)[0].weight
        for layer, given in ((padded, inputs), (plain, seen))
    )
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, nd.norse.quantised(nn.Sequential(padded), 4)[0].weight)


def test_a_calibration_passes_what_it_does_not_know_and_inputs_that_are_silent() -> None:
    cell = nd.norse.LateralLIF(4)
    cell.weight.copy_(torch.rand(4, 4))
    network = norse.torch.SequentialState(nn.Conv1d(2, 3, 2), nn.Flatten(), nn.Linear(9, 4), nd.norse.LIF(4))
    nd.norse.set_sequences(network, False)
    plain = nd.norse.quantised(network, 4)
    silent = nd.norse.quantised(network, 4, calibration=torch.zeros(2, 2, 4))
    assert torch.equal(silent[0].weight, plain[0].weight)  # of another kind
    seen = nd.norse.quantised(network, 4, calibration=torch.rand(50, 2, 4))
    assert torch.equal(seen[0].weight, plain[0].weight) and not torch.equal(seen[2].weight, plain[2].weight)
    alone = norse.torch.SequentialState(nn.Linear(4, 4), cell)
    recurrent = nd.norse.quantised(alone, 4, calibration=torch.zeros(6, 2, 4))
    assert torch.equal(recurrent[1].weight, nd.norse.quantised(alone, 4)[1].weight)
    assert torch.equal(recurrent[0].weight, nd.norse.quantised(alone, 4)[0].weight)  # nothing was seen
