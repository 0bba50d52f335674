"""What one batch may do to the running mean, what autocast may not do to a step, and whose structure D has."""

import pytest
import torch
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import StateMismatch


def test_one_broken_batch_moves_the_mean_a_hundred_usual_deviations_at_most() -> None:
    """Against the equation, in a loop of Python numbers."""
    module = nd.Decorrelation(1, row_fraction=1.0, dtype=torch.float64)
    plasticity = nd.Plasticity(module, nd.rules.get("center"))
    generator = torch.Generator().manual_seed(0)
    mean = usual = 0.0
    for step in range(1, 61):
        batch = torch.randn(16, 1, generator=generator, dtype=torch.float64) + 3
        batch = batch * 1e16 if step == 30 else batch
        module(batch)
        plasticity.step()
        weight, deviation = max(0.1, 1 / step), float(batch.mean()) - mean
        counted = min(abs(deviation), 100 * usual) if usual else abs(deviation)
        mean += weight * deviation * counted / abs(deviation)
        usual += weight * (counted - usual)
        assert float(module.mean) == pytest.approx(mean, rel=1e-9)
    assert abs(mean - 3) < 3


def test_a_lasting_change_of_place_is_followed() -> None:
    module = nd.Decorrelation(3, row_fraction=1.0)
    plasticity = nd.Plasticity(module, nd.rules.get("center"))
    generator = torch.Generator().manual_seed(0)
    for step in range(200):
        module(torch.randn(64, 3, generator=generator) + (1e6 if step >= 50 else 0.0))
        plasticity.step()
    torch.testing.assert_close(module.mean, torch.full((3,), 1e6), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("name", nd.rules.names())
def test_a_step_inside_autocast_is_the_same_as_outside(name: str) -> None:
    matrices = []
    for inside in (False, True):
        torch.manual_seed(0)
        model = nd.decorrelate(nn.Linear(20, 3))
        plasticity = nd.Plasticity(model, nd.rules.get(name), compensate=True, row_fraction=1.0)
        for _ in range(4):
            model(torch.randn(16, 20))
            with torch.autocast("cpu", torch.bfloat16, enabled=inside):
                plasticity.step()
        matrices.append((model.decorrelation.matrix, model.weight.detach()))
    for outside, within in zip(*matrices, strict=True):
        assert torch.equal(outside, within)


@pytest.mark.parametrize("by", ["loading", "another rule"])
def test_a_structure_that_is_not_the_rules_own_any_more_is_told(by: str) -> None:
    model = nd.decorrelate(nn.Linear(32, 3))
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"))
    other = nd.decorrelate(nn.Linear(32, 3)) if by == "loading" else model
    nd.Plasticity(other, nd.rules.get("interneuron"))
    model.load_state_dict(other.state_dict())
    model(torch.randn(8, 32))
    with pytest.raises(StateMismatch, match="load the model's state before"):
        plasticity.step()


@pytest.mark.parametrize("scale", [1e-3, 0.1])
def test_the_first_batch_that_sets_the_scale_is_compensated_too(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    model = nd.decorrelate(nn.Linear(9, 3), row_fraction=1.0)
    inputs = scale * torch.randn(64, 9, generator=generator)
    with torch.no_grad():
        before = model(inputs)
        plasticity = nd.Plasticity(model, nd.rules.get("variance_weighted", rate=1e-6), compensate=True)
        for _ in range(2):
            model(scale * torch.randn(64, 9, generator=generator))
            plasticity.step()
        torch.testing.assert_close(model(inputs), before, rtol=1e-4, atol=1e-5 * float(before.abs().max()))
