"""Compensation: the function stays while D moves, to float32's last places, for every rule."""

from __future__ import annotations

import copy
import dataclasses
import math
import statistics

import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rules import Rule
from neuro_decorr.rules._residual import add_, residual_of

# Smaller than the defaults where these need many units, and with a floor under weak directions where D would reach
# condition numbers at which a float32 network cannot compute its own function to 1e-5.
PARAMETERS: dict[str, dict[str, object]] = {
    "interneuron": {"interneurons": 3, "every": 1},
    "interneuron_local": {"interneurons": 3, "every": 1},
    "gain_modulation": {"floor": 0.3},
    "zca": {"damping": 0.0, "epsilon": 1e-3},
}
KINDS = ("linear", "convolution")


def rule_of(name: str) -> Rule:
    return nd.rules.get(name, **PARAMETERS.get(name, {}))


def network(kind: str) -> nn.Sequential:
    torch.manual_seed(0)
    if kind == "linear":
        layers = [nn.Linear(8, 6), nn.LeakyReLU(), nn.Linear(6, 6), nn.LeakyReLU(), nn.Linear(6, 3)]
    else:
        layers = [nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*layers)


def batch(kind: str, generator: torch.Generator, rows: int = 16) -> Tensor:
    """Inputs with a strong shared mode and a mean."""
    private = torch.randn(rows, 8 if kind == "linear" else 16, generator=generator)
    inputs = 1.5 + private + 2 * torch.randn(rows, 1, generator=generator)
    return inputs if kind == "linear" else inputs.view(rows, 1, 4, 4)


def drift(
    name: str, kind: str, updates: int, compensate: object, rate: float | None = None, seed: int = 0, **options: str
) -> float:
    """Largest change of an output, relative to the largest output, after updates with zero error.

    Outputs are those of the folded network in float64: what W, b, D and the mean say, without the rounding of a pass.
    """
    generator = torch.Generator().manual_seed(seed)
    model = nd.decorrelate(network(kind))
    probe = batch(kind, generator, 64).double()
    expected = nd.fold(model).double()(probe)
    rule = dataclasses.replace(rule_of(name), **options, **({} if rate is None else {"rate": rate}))
    plasticity = nd.Plasticity(model, rule, row_fraction=0.5, compensate=compensate)
    for _ in range(updates):
        model(batch(kind, generator))
        plasticity.step()
    moved = nd.fold(model).double()(probe)
    return float((moved - expected).detach().abs().max() / expected.detach().abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", nd.rules.names())
def test_exact_keeps_the_function_of_every_rule(name: str, kind: str) -> None:
    """100 updates; the bound is 1e-5 at 10,000 updates, scaled as rounding adds up: with the square root."""
    assert drift(name, kind, 100, True) < 1e-5 * math.sqrt(100 / 10_000)
    assert drift(name, kind, 100, False) > 1e-3, "nothing moved: nothing was tested"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", nd.rules.names())
def test_exact_over_ten_thousand_updates(name: str, kind: str) -> None:
    """By the median of five streams of inputs for the rule whose D grows where there is no variance: 3e-6 to 1.4e-5."""
    streams = range(5) if name == "norm_preserving" else range(1)
    assert statistics.median(drift(name, kind, 10_000, True, seed=seed) for seed in streams) < 1e-5


def test_constrained_parameter_inference_needs_its_hebbian_term() -> None:
    """Over 1,000 updates of COPI the function drifts by less than 1e-3 with the term, by more than 0.1 without it."""
    assert drift("decorrelating", "linear", 1_000, True, rate=1e-3) < 1e-3
    assert drift("decorrelating", "linear", 1_000, False, rate=1e-3) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_residuals_keep_increments_below_the_last_place(dtype: torch.dtype) -> None:
    """1,000 increments far below the last place sum up to within one unit there; without a residual all are lost."""
    small = torch.finfo(dtype).eps / 100
    increments = small * torch.randn(40, 7, generator=torch.Generator().manual_seed(3)).abs()
    kept, lost = torch.ones(40, 7, dtype=dtype), torch.ones(40, 7, dtype=dtype)
    residual = residual_of(kept)
    assert residual is not None
    for _ in range(1_000):
        add_(kept, lambda rows: increments[rows], residual)
        add_(lost, lambda rows: increments[rows])
    expected = 1 + 1_000 * increments.double()
    total = kept.double() + residual.double()
    assert float((total - expected).abs().max()) < torch.finfo(dtype).eps
    assert bool((lost == 1).all())
    assert residual_of(torch.ones(2, 2, dtype=torch.float64)) is None


def test_large_matrices_are_summed_in_blocks() -> None:
    increments = torch.randn(700, 400, generator=torch.Generator().manual_seed(4))
    values = torch.zeros(700, 400)
    add_(values, lambda rows: increments[rows], residual_of(values))
    assert torch.equal(values, increments)


@pytest.mark.parametrize("name", ["norm_preserving", "interneuron"])
def test_saved_loaded_and_continued_is_never_stopped(name: str) -> None:
    """Residuals travel with the state, in their own floating type."""
    generator = torch.Generator().manual_seed(5)
    data = [batch("convolution", generator) for _ in range(12)]

    def advance(model: nn.Module, plasticity: nd.Plasticity, part: list[Tensor]) -> None:
        for inputs in part:
            model(inputs)
            plasticity.step()

    straight = nd.decorrelate(network("convolution"))
    plasticity = nd.Plasticity(straight, rule_of(name), compensate=True)
    advance(straight, plasticity, data[:6])
    saved = copy.deepcopy((straight.state_dict(), plasticity.state_dict()))
    advance(straight, plasticity, data[6:])

    fresh = nd.decorrelate(network("convolution"))
    fresh.load_state_dict(saved[0])
    resumed = nd.Plasticity(fresh, rule_of(name), compensate=True)
    resumed.load_state_dict(saved[1])
    advance(fresh, resumed, data[6:])
    for key, tensor in straight.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[key]), key
    types = {state["weight_residual"].dtype for state in resumed.state.values()}
    assert types == {torch.bfloat16}


def test_a_model_cast_to_double_goes_on_exactly() -> None:
    generator = torch.Generator().manual_seed(6)
    model = nd.decorrelate(network("linear"))
    plasticity = nd.Plasticity(model, rule_of("norm_preserving"), compensate=True)
    model(batch("linear", generator))
    plasticity.step()
    model.double()
    probe = batch("linear", generator, 64).double()
    expected = nd.fold(model)(probe)
    for _ in range(50):
        model(batch("linear", generator).double())
        plasticity.step()
    torch.testing.assert_close(nd.fold(model)(probe), expected, rtol=1e-6, atol=1e-6)


def test_weights_in_half_precision_keep_their_function_as_far_as_they_can_hold_it() -> None:
    generator = torch.Generator().manual_seed(7)
    model = nd.decorrelate(nn.Linear(8, 3)).bfloat16()
    probe = batch("linear", generator, 64).double()
    expected = nd.fold(model).double()(probe)
    plasticity = nd.Plasticity(model, rule_of("decorrelating"), row_fraction=0.5, compensate=True)
    for _ in range(300):
        model(batch("linear", generator).bfloat16())
        plasticity.step()
    change = (nd.fold(model).double()(probe) - expected).detach().abs().max() / expected.detach().abs().max()
    assert float(change) < 10 * torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize("layer", [nn.Linear(8, 3, bias=False), nn.Conv2d(1, 3, 3, bias=False)], ids=KINDS)
def test_a_layer_without_bias_keeps_its_function_by_an_offset_that_no_optimiser_holds(layer: nn.Module) -> None:
    kind = "linear" if isinstance(layer, nn.Linear) else "convolution"
    generator = torch.Generator().manual_seed(8)
    model = nd.decorrelate(layer)
    probe = batch(kind, generator, 64).double()
    expected = nd.fold(model).double()(probe)
    plasticity = nd.Plasticity(model, rule_of("whitening"), row_fraction=0.5, compensate=True)
    for _ in range(100):
        model(batch(kind, generator))
        plasticity.step()
    torch.testing.assert_close(nd.fold(model).double()(probe), expected, rtol=1e-5, atol=1e-5)
    assert float(model.decorrelation.mean.abs().max()) > 1, "no mean has moved: nothing was tested"
    assert [name for name, _ in model.named_parameters()] == ["weight"]


def test_groups_of_a_convolution_are_compensated_each_by_its_own_change() -> None:
    generator = torch.Generator().manual_seed(9)
    model = nd.decorrelate(nn.Conv1d(6, 4, 3, groups=2))
    data = [1 + torch.randn(8, 6, 9, generator=generator).cumsum(dim=2) for _ in range(60)]
    expected = nd.fold(model).double()(data[0].double())
    plasticity = nd.Plasticity(model, rule_of("whitening"), row_fraction=0.5, compensate=True)
    for inputs in data:
        model(inputs)
        plasticity.step()
    torch.testing.assert_close(nd.fold(model).double()(data[0].double()), expected, rtol=1e-4, atol=1e-4)
    one, other = model.decorrelation.matrix
    assert float((one - other).abs().max()) > 1e-2 < float((one - torch.eye(9)).abs().max())


def test_weights_that_something_else_computes_with_are_refused_before_anything_moves() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(8, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return nn.functional.linear(self.encoder(inputs), self.encoder.weight.t())

    model = nd.decorrelate(Tied())
    plasticity = nd.Plasticity(model, rule_of("whitening"), compensate=True)
    before = copy.deepcopy(model.state_dict())
    model(torch.ones(4, 8))
    with pytest.raises(Unsupported, match=r"compensate: layer 'encoder'.*outside of the layer"):
        plasticity.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_bad_option() -> None:
    with pytest.raises(InvalidValue, match="compensate must be True or False, got 'maybe'"):
        nd.Plasticity(nd.decorrelate(network("linear")), rule_of("center"), compensate="maybe")
