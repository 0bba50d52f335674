import math

import pytest
import torch
from torch import nn

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue


def gradients(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 4, generator=generator), torch.randn(3, generator=generator)]


def test_it_is_the_angle_between_the_concatenated_gradients() -> None:
    a, b = gradients(0), gradients(1)
    flat_a, flat_b = (torch.cat([t.flatten() for t in g]).double() for g in (a, b))
    expected = float(flat_a @ flat_b / flat_a.norm() / flat_b.norm())
    got = metrics.alignment(a, b)
    assert got.cosine == pytest.approx(expected, rel=1e-12)
    assert got.angle == pytest.approx(math.degrees(math.acos(expected)))
    assert got.norm_ratio == pytest.approx(float(flat_a.norm() / flat_b.norm()))
    assert got.cosines[1] == pytest.approx(float(torch.cosine_similarity(a[1], b[1], dim=0)), rel=1e-5)


@pytest.mark.parametrize(("factor", "cosine", "angle"), [(3.0, 1.0, 0.0), (-0.5, -1.0, 180.0)])
def test_scaling_leaves_the_angle(factor: float, cosine: float, angle: float) -> None:
    a = gradients(0)
    got = metrics.alignment([factor * t for t in a], a)
    assert got.cosine == pytest.approx(cosine)
    assert got.angle == pytest.approx(angle, abs=1e-4)
    assert got.norm_ratio == pytest.approx(abs(factor))


def test_orthogonal_gradients() -> None:
    got = metrics.alignment([torch.tensor([1.0, 0.0]), torch.zeros(1)], [torch.tensor([0.0, 2.0]), torch.ones(1)])
    assert got.angle == 90
    assert math.isnan(got.cosines[1])


def test_a_zero_gradient_has_no_angle() -> None:
    got = metrics.alignment([torch.zeros(2)], [torch.ones(2)])
    assert math.isnan(got.cosine)
    assert math.isnan(got.angle)
    assert got.norm_ratio == 0
    assert math.isnan(metrics.alignment([torch.ones(2)], [torch.zeros(2)]).norm_ratio)


def test_it_reads_the_gradients_of_a_model() -> None:
    model = nn.Linear(3, 2)
    model(torch.ones(4, 3)).sum().backward()
    both = metrics.alignment((p.grad for p in model.parameters()), (p.grad for p in model.parameters()))
    assert both.cosine == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], [], "0 and 0 tensors"),
        ([torch.ones(1)], [torch.ones(1), torch.ones(1)], "1 and 2 tensors"),
        ([torch.ones(2)], [torch.ones(3)], r"\(2,\) and \(3,\)"),
        ([torch.ones(2), None], [torch.ones(2), torch.ones(2)], "tensor 1 is None"),
        ([torch.tensor([math.nan])], [torch.ones(1)], "tensor 0 holds NaN"),
    ],
)
def test_gradients_that_do_not_fit(first, second, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.alignment(first, second)
