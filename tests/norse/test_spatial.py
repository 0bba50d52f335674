"""Channels with space behind them: at every place of an image a cell does what it does without space."""

from __future__ import annotations

import norse.torch
import pytest
import torch
import torch.nn.functional as F
from norse.torch import Lift, SequentialState
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.norse.spike_trains import step_by_step

STEPS, BATCH, CHANNELS, HEIGHT, WIDTH = 25, 2, 4, 3, 5
SHAPE = (STEPS, BATCH, CHANNELS, HEIGHT, WIDTH)


def images(seed: int = 0) -> Tensor:
    """Currents that channels share in part, at every place others."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.rand(STEPS, BATCH, 1, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    return 0.3 * (shared + torch.rand(SHAPE, generator=generator, dtype=torch.float64))


def as_rows(values: Tensor) -> Tensor:
    """Every place as a sequence of its own: (steps, batch, channels, height, width) as (steps, rows, channels)."""
    return values.movedim(-3, -1).flatten(-4, -2)


def lateral(features: int, **options: object) -> nd.norse.LateralLIF:
    homeostasis = nd.norse.Homeostasis(target_rate=50.0)
    rule = nd.norse.LateralCovariance(rate=0.05, homeostasis=homeostasis)
    cell = nd.norse.LateralLIF(features, rule=rule, **options)
    cell.weight.copy_(0.4 * torch.rand(features, features, generator=torch.Generator().manual_seed(1)))
    cell.bias.copy_(torch.linspace(0, 30, features))
    return cell


THRESHOLDS = {
    "threshold": [0.2, 0.3, 0.4, 0.5],
    "membrane_time": [5e-3, 8e-3, 1e-2, 2e-2],
    "leak": [0.0, 0.1, 0.0, 0.1],
}
CELLS = {
    "LIF": lambda **o: nd.norse.LIF(CHANNELS, **THRESHOLDS, refractory_time=2e-3, **o),
    "IF": lambda **o: nd.norse.IF(CHANNELS, threshold=THRESHOLDS["threshold"], reset_method="subtract", **o),
    "AdaptiveLIF": lambda **o: nd.norse.AdaptiveLIF(
        CHANNELS, adaptation_strength=[0.1, 0.2, 0.3, 0.4], **THRESHOLDS, **o
    ),
    "LateralLIF": lambda **o: lateral(CHANNELS, **THRESHOLDS, **o),
    "Decorrelation": lambda **o: nd.norse.Decorrelation(CHANNELS, True, **o),
    "Decorrelation, trace": lambda **o: nd.norse.Decorrelation(CHANNELS, True, signal="trace", row_fraction=1.0, **o),
}


@pytest.mark.parametrize("name", CELLS)
def test_every_place_is_a_sequence_of_its_own(name: str) -> None:
    """The same outputs and states, in sequences and in steps, and the same that is learnt."""
    make, inputs = CELLS[name], images()
    spatial, plain = make(spatial=2, dtype=torch.float64), make(dtype=torch.float64)
    if isinstance(plain, nd.norse.Decorrelation):
        for cell in (spatial, plain):
            cell.matrix.copy_(torch.randn(CHANNELS, CHANNELS, generator=torch.Generator().manual_seed(2)))
            cell.mean.copy_(torch.linspace(0, 0.5, CHANNELS))
    rule = nd.rules.get("norm_preserving", rate=0.1)
    plasticities = [
        nd.Plasticity(cell, rule) if isinstance(cell, nd.norse.Decorrelation) else nd.norse.NeuronPlasticity(cell)
        for cell in (spatial, plain)
        if not isinstance(cell, nd.norse.IF) and cell is not None and getattr(cell, "learns", True)
    ]
    outputs, state = spatial(inputs)
    expected, expected_state = plain(as_rows(inputs))
    torch.testing.assert_close(as_rows(outputs), expected, rtol=1e-12, atol=1e-12)
    if expected_state is not None:
        assert isinstance(plain, nd.norse.Decorrelation) or 0.02 < expected.mean() < 0.9
        for found, wanted in zip(state, expected_state, strict=True):
            torch.testing.assert_close(as_rows(found) if found.dim() else found, wanted, rtol=1e-12, atol=1e-12)
        started = spatial.initial_state(BATCH, size=(HEIGHT, WIDTH))
        torch.testing.assert_close(
            spatial.eval()(inputs, started)[0],
            plain.eval()(as_rows(inputs))[0].unflatten(1, (BATCH, HEIGHT, WIDTH)).movedim(-1, 2),
            rtol=1e-12,
            atol=1e-12,
        )
    for plasticity in plasticities:
        plasticity.step()
    for (key, found), wanted in zip(spatial.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12, msg=key)
    stepped, stepped_state = step_by_step(spatial.eval(), inputs)
    again, again_state = spatial(inputs)
    torch.testing.assert_close(stepped, again, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(stepped_state or (), again_state or (), strict=True):
        torch.testing.assert_close(found, wanted)


def test_inhibition_between_channels_is_learnt_from_all_places() -> None:
    cell = lateral(CHANNELS, threshold=0.3, spatial=2)
    cell.weight.zero_()
    plasticity = nd.norse.NeuronPlasticity(cell)
    for seed in range(20):
        cell(images(seed).float())
        plasticity.step()
    assert cell.weight.max() > 0.1 and cell.weight.shape == (CHANNELS, CHANNELS)


def test_stepwise_convolutions_spike_as_norses_do() -> None:
    """What was read as a sequence before: (batch, channels, height, width)."""
    torch.manual_seed(0)
    parameters = norse.torch.LIFParameters(v_th=torch.tensor(0.3))
    convolution, inputs = nn.Conv2d(1, 5, 3), 3 * torch.rand(12, 3, 1, 6, 6)
    theirs = SequentialState(convolution, norse.torch.LIFCell(parameters))
    ours = SequentialState(convolution, nd.norse.LIF(5, threshold=0.3, spatial=2, sequences=False))
    lifted = SequentialState(Lift(convolution), nd.norse.LIF(5, threshold=0.3, spatial=2))
    expected, _ = step_by_step(theirs, inputs)
    outputs, _ = step_by_step(ours, inputs)
    assert expected.sum() > 300 and torch.equal(outputs, expected)
    assert torch.equal(lifted(inputs)[0], expected)
    with pytest.raises(InvalidValue, match=r"sequences must be \(steps, batch, 5, height, width\).*sequences=False"):
        nd.norse.LIF(5, spatial=2)(torch.zeros(3, 5, 4, 4))


@pytest.mark.parametrize("lifts", [False, True])
@pytest.mark.parametrize("signal", ["spikes", "trace"])
def test_between_convolutions_it_decorrelates_channels_and_folds(lifts: bool, signal: str) -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(1, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 2, 3, padding=1)
    with torch.no_grad():
        first.weight.abs_()[1:] = first.weight[:1] + 0.05 * torch.rand(CHANNELS - 1, 1, 3, 3)
        first.bias.zero_()
    neurons = norse.torch.LIFBoxCell(norse.torch.LIFBoxParameters(v_th=torch.tensor(0.1)))
    cell = nd.norse.Decorrelation(CHANNELS, True, signal=signal, spatial=2, row_fraction=1.0, sequences=lifts)
    layers = [Lift(first), nd.norse.LIF(CHANNELS, threshold=0.2, spatial=2), cell, Lift(second)]
    network = SequentialState(*layers) if lifts else SequentialState(first, neurons, cell, second)
    plasticity = nd.Plasticity(network, nd.rules.get("zca", damping=0.0))
    inputs = 2 * torch.rand(15, 6, 1, 1, 1) + torch.rand(15, 6, 1, 6, 6)

    def run(model: nn.Module) -> Tensor:
        if lifts:
            return model(inputs)[0]
        state, outputs = None, []
        for step in inputs:
            output, state = model(step, state)
            outputs.append(output)
        return torch.stack(outputs)

    for _ in range(30):
        with torch.no_grad():
            run(network)
        plasticity.step()
    seen: list[Tensor] = []
    handle = cell.register_forward_hook(lambda _, given, found: seen.append(torch.stack((given[0], found[0]))))
    with torch.no_grad():
        outputs = run(network.eval())
    handle.remove()
    before, after = (torch.cat([each[i].reshape(-1, CHANNELS, 6, 6) for each in seen]) for i in (0, 1))
    rows = (each.movedim(1, 0).flatten(1) for each in (before, after))
    before, after = (torch.corrcoef(each).fill_diagonal_(0).abs().max() for each in rows)
    assert before > 0.3
    assert signal == "trace" or after < before / 4  # a trace decorrelates what a synapse makes of the spikes
    folded = nd.fold(network)
    assert not any("Decorrelation" in type(module).__name__ for module in folded.modules())
    torch.testing.assert_close(run(folded), outputs, rtol=1e-4, atol=1e-4)


def test_eprop_of_one_convolution_is_backprop_through_time() -> None:
    """One spiking layer without recurrence: the theorem that holds for dense layers."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.convolution = nn.Conv2d(1, CHANNELS, 3, dtype=torch.float64)
            self.neurons = nd.norse.LIF(CHANNELS, threshold=0.2, spatial=2, dtype=torch.float64)
            self.readout = nn.Linear(CHANNELS * 16, 3, dtype=torch.float64)

        def forward(self, inputs: Tensor) -> Tensor:
            currents = self.convolution(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
            return self.readout(self.neurons(currents)[0].mean(0).flatten(1))

    inputs, targets = 3 * torch.rand(15, 2, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 2])
    found = []
    for credit in ("backprop", "eprop"):
        model = Network()
        nd.credit.get(credit, model).backward(F.cross_entropy, inputs, targets)
        found.append([parameter.grad for parameter in model.parameters()])
    assert found[0][0].abs().max() > 1e-4
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_a_parameter_of_channels_learns_from_all_places() -> None:
    gradients = []
    for spatial in (0, 2):
        threshold = nn.Parameter(torch.tensor(THRESHOLDS["threshold"], dtype=torch.float64))
        cell = nd.norse.LIF(CHANNELS, threshold=threshold, spatial=spatial, dtype=torch.float64)
        cell(images() if spatial else as_rows(images()))[0].sum().backward()
        gradients.append(threshold.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=0)
    assert gradients[0].abs().min() > 0


def test_compiles_and_maps() -> None:
    torch._dynamo.reset()
    cell, inputs = lateral(CHANNELS, threshold=0.3, spatial=2).eval(), images().float()
    expected, _ = cell(inputs)
    compiled = torch.compile(cell, backend="aot_eager", fullgraph=True)
    assert expected.any() and torch.equal(compiled(inputs)[0], expected)
    mapped = torch.vmap(lambda one: cell(one.unsqueeze(1))[0].squeeze(1), in_dims=1, out_dims=1)(inputs)
    assert torch.equal(mapped, expected)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(InvalidValue, match="its dimension -3, the channels, must be 4"):
        nd.norse.Decorrelation(4, spatial=2)(torch.zeros(3, 5, 4, 4))
    with pytest.raises(InvalidValue, match=r"last dimension must be 4.*give spatial=2"):
        nd.norse.Decorrelation(4)(torch.zeros(2, 4, 6, 6))
    with pytest.raises(InvalidValue, match=r"size of space, must be 2 numbers, got \(\)"):
        nd.norse.LIF(4, spatial=2).initial_state(3)
    with pytest.raises(InvalidValue, match="spatial must be a whole number >= 0"):
        nd.norse.Decorrelation(4, spatial=True)
