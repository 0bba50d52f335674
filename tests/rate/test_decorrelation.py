"""The layer: what it computes, what it remembers, what its state survives."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, StateMismatch


def learnt(features: int = 6, **options: object) -> nd.Decorrelation:
    """A layer with a non-symmetric D and a mean."""
    module = nd.Decorrelation(features, **options)
    generator = torch.Generator().manual_seed(0)
    module.matrix.copy_(torch.randn(features, features, generator=generator))
    module.mean.copy_(torch.randn(features, generator=generator))
    return module


def test_starts_as_the_identity() -> None:
    inputs = torch.randn(4, 5)
    assert torch.equal(nd.Decorrelation(5)(inputs), inputs)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 5, 6)])
@pytest.mark.parametrize("center", [True, False])
def test_computes_row_by_row(shape: tuple[int, ...], center: bool) -> None:
    module = learnt(center=center)
    inputs = torch.randn(shape)
    outputs = module(inputs).reshape(-1, 6)
    for row, output in zip(inputs.reshape(-1, 6), outputs, strict=True):
        expected = module.matrix.double() @ (row.double() - (module.mean.double() if center else 0))
        torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)


def test_train_and_eval_compute_the_same_and_a_forward_moves_nothing() -> None:
    module = learnt()
    before = copy.deepcopy(module.state_dict())
    inputs = torch.randn(9, 6)
    assert torch.equal(module.train()(inputs), module.eval()(inputs))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_remembers_in_train_mode_only_and_without_the_graph() -> None:
    module = learnt(row_fraction=0.5)
    module.eval()(torch.randn(8, 6))
    assert module.take_record() is None
    inputs = torch.randn(8, 6, requires_grad=True)
    module.train()(inputs)
    record = module.take_record()
    assert record is not None and module.take_record() is None
    assert not any(tensor.requires_grad for tensor in record[:3]) and record.seen == 8
    torch.testing.assert_close(module.mean + record.deviation / 8, inputs.detach().mean(dim=0))
    torch.testing.assert_close(record.outputs, record.inputs @ module.matrix.T)
    centred = inputs.detach() - module.mean
    assert all((centred == row).all(dim=1).any() for row in record.inputs), "a remembered row is not of the batch"


@given(
    rows=st.integers(1, 40),
    row_fraction=st.floats(0.01, 1.0),
    center=st.booleans(),
    subtract=st.booleans(),
    structure=st.sampled_from(["norm_preserving", "interneuron", "center"]),
    gradient=st.booleans(),
    before=st.integers(1, 40),
)
def test_a_pass_leaves_its_rows_and_the_mean_of_all(
    rows: int, row_fraction: float, center: bool, subtract: bool, structure: str, gradient: bool, before: int
) -> None:
    """Against float64: evenly spaced rows of z - mean, D times these, and the sum of z - mean over all rows."""
    module = nd.Decorrelation(6, center, subtract=subtract, row_fraction=row_fraction)
    nd.Plasticity(module, nd.rules.get(structure, **({"interneurons": 3} if structure == "interneuron" else {})))
    module.mean.fill_(0.3)
    for tensor in module.transform_state().values():
        tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)))
    module(torch.zeros(before, 6))  # of another size
    module.take_record()
    values = torch.randn(rows, 6, generator=torch.Generator().manual_seed(rows))
    outputs = module(values.clone().requires_grad_(gradient))
    record = module.take_record()
    mean, matrix = (module.mean.double() if center else 0.0), module.matrix.double()
    passed = values.double() - (mean if subtract else 0.0)
    torch.testing.assert_close(outputs.double(), passed @ matrix.T, rtol=1e-5, atol=1e-5)
    kept = min(rows, int(row_fraction * rows) + 1)
    centred = values.double() - mean
    chosen = centred[[place * rows // kept for place in range(kept)]]
    assert outputs.requires_grad == gradient and not any(tensor.requires_grad for tensor in record[:3])
    assert record.seen == rows
    torch.testing.assert_close(record.inputs.double(), chosen, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(record.outputs.double(), chosen @ matrix.T, rtol=1e-5, atol=1e-5)
    if center:
        torch.testing.assert_close(record.deviation.double(), centred.sum(dim=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "row_fraction", "kept"), [(256, 0.1, 26), (1, 0.1, 1), (10, 1.0, 10), (7, 0.5, 4)])
def test_how_many_rows_are_remembered(rows: int, row_fraction: float, kept: int) -> None:
    module = nd.Decorrelation(3, row_fraction=row_fraction)
    module(torch.randn(rows, 3))
    record = module.take_record()
    assert record is not None and record.inputs.shape == (kept, 3)


def test_remembered_rows_are_spread_over_the_batch() -> None:
    module = nd.Decorrelation(1, row_fraction=0.1)
    module(torch.arange(100.0).unsqueeze(1))
    record = module.take_record()
    assert record is not None and record.inputs.max() - record.inputs.min() > 80


def test_passes_without_a_step_take_bounded_memory_and_all_count_alike() -> None:
    """Of 40 passes of 100 rows each some 1,024 / 40 rows stay, and the mean of all is exact."""
    module = nd.Decorrelation(1, row_fraction=1.0)
    for number in range(40):
        module(torch.full((100, 1), float(number)))
    record = module.take_record()
    assert record is not None and record.inputs.shape == record.outputs.shape == (1024, 1) and record.seen == 4_000
    torch.testing.assert_close(record.deviation / 4_000, torch.tensor([19.5]))
    kept = torch.bincount(record.inputs[:, 0].long(), minlength=40)
    assert kept.min() >= 20 and kept.max() <= 31
    module(torch.randn(3_000, 1))
    assert len(module.take_record().inputs) == 3_000, "one pass alone is never thinned out"


def test_passes_that_are_probes_are_not_remembered() -> None:
    module = nd.Decorrelation(2)
    module(torch.zeros(3, 2))
    with nd.rate.unremembered(module):
        module(torch.ones(3, 2))
    record = module.take_record()
    assert record is not None and record.seen == 3 and not record.inputs.any() and module.remembers


def test_in_place_work_behind_it_does_not_reach_the_record() -> None:
    module = nd.Decorrelation(3, center=False, row_fraction=1.0)
    inputs = torch.randn(4, 3)
    expected = inputs.clone()
    module(inputs)
    inputs.zero_()
    record = module.take_record()
    assert record is not None and torch.equal(record.inputs, expected)


@pytest.mark.parametrize("center", [True, False])
def test_low_rank_form_computed_in_place_leaves_the_input_the_record_and_the_gradient_as_they_are(center: bool) -> None:
    module = nd.Decorrelation(6, center, row_fraction=0.5)
    nd.Plasticity(module, nd.rules.get("interneuron", interneurons=2))
    generator = torch.Generator().manual_seed(0)
    for buffer in module.buffers():
        buffer.copy_(torch.rand(buffer.shape, generator=generator))
    directions, suppression, gain = (
        module.transform_state()[n].double() for n in ("directions", "suppression", "gain")
    )
    matrix = gain * (torch.eye(6).double() - directions * suppression @ directions.T)
    values = torch.randn(8, 6, generator=generator)
    inputs, upstream = values.clone().requires_grad_(), torch.randn(8, 6, generator=generator)
    outputs = module(inputs)
    outputs.backward(upstream)
    record = module.take_record()
    centred = values - module.mean if center else values
    kept = [0, 1, 3, 4, 6]  # 5 of 8, evenly spaced
    assert record is not None and torch.equal(inputs, values) and torch.equal(record.inputs, centred[kept])
    torch.testing.assert_close(outputs.double(), centred.double() @ matrix.T)
    assert torch.equal(record.outputs, outputs[kept]) and not record.outputs.requires_grad
    torch.testing.assert_close(inputs.grad.double(), upstream.double() @ matrix)


def test_the_directions_of_interneurons_can_be_differentiated() -> None:
    module = nd.Decorrelation(6)
    nd.Plasticity(module, nd.rules.get("interneuron", interneurons=2))
    module.transform_state()["suppression"].fill_(0.5)
    directions = module.transform_state()["directions"].clone().requires_grad_()
    inputs, upstream = torch.randn(8, 6), torch.randn(8, 6)
    torch.func.functional_call(module, {"directions": directions}, (inputs,)).backward(upstream)
    z, g, u = inputs.double(), upstream.double(), directions.detach().double()
    expected = -0.5 * (z.T @ g + g.T @ z) @ u  # of -tr(G^T Z U S U^T)
    torch.testing.assert_close(directions.grad.double(), expected, rtol=1e-4, atol=1e-5)


def test_the_gain_can_be_differentiated() -> None:
    module = nd.Decorrelation(6)
    nd.Plasticity(module, nd.rules.get("interneuron", interneurons=2))
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    gain = torch.tensor(0.5, requires_grad=True)
    torch.func.functional_call(module, {"gain": gain}, (inputs,)).sum().backward()
    torch.testing.assert_close(gain.grad, inputs.sum())  # nothing is suppressed yet


def test_a_gain_alone_is_no_identity() -> None:
    module = nd.Decorrelation(6)
    nd.Plasticity(module, nd.rules.get("interneuron", interneurons=2))
    assert module.is_identity()
    module.transform_state()["gain"].fill_(1.5)
    assert not module.is_identity()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_state_stays_float32_in_a_narrow_model(dtype: torch.dtype) -> None:
    module = learnt()
    expected = module.matrix.clone()
    module.to(dtype)
    assert module.matrix.dtype == module.mean.dtype == torch.float32
    assert torch.equal(module.matrix, expected), "the detour through fewer bits lost some"
    assert module(torch.randn(2, 6, dtype=dtype)).dtype == dtype
    assert module.double().matrix.dtype == torch.float64


def test_autocast_does_not_reach_the_product() -> None:
    module = learnt()
    inputs = torch.randn(5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = module(inputs)
    torch.testing.assert_close(outputs, module(inputs), rtol=0, atol=0)


def test_gradient_flows_through_d() -> None:
    module = learnt()
    inputs = torch.randn(3, 6, requires_grad=True)
    weights = torch.randn(3, 6)
    (module(inputs) * weights).sum().backward()
    torch.testing.assert_close(inputs.grad, weights @ module.matrix)
    assert list(module.parameters()) == []


def test_deepcopy_and_buffers() -> None:
    module = learnt()
    twin = copy.deepcopy(module)
    twin.matrix.zero_()
    assert module.matrix.any()
    assert set(dict(module.named_buffers())) == {"matrix", "mean"}


@pytest.mark.parametrize("rule", ["interneuron", "center", "whitening"])
def test_a_fresh_module_takes_the_structure_of_the_state(rule: str) -> None:
    parameters = {"interneurons": 3} if rule == "interneuron" else {}
    module = nd.Decorrelation(6)
    plasticity = nd.Plasticity(module, nd.rules.get(rule, **parameters), row_fraction=1.0)
    for _ in range(9):
        module(torch.randn(8, 6) * torch.arange(1, 7))
        plasticity.step()
    fresh = nd.Decorrelation(6)
    fresh.load_state_dict(module.state_dict())
    assert fresh.structure == module.structure and torch.equal(fresh.matrix, module.matrix)
    back = nd.Decorrelation(6)
    module.load_state_dict(back.state_dict())
    assert module.structure == "centering" and torch.equal(module.matrix, torch.eye(6))


def test_without_a_rule_no_matrix_is_held_until_it_is_set_by_hand() -> None:
    """D = I, and what is written into it acts."""
    model = nd.decorrelate(nn.Sequential(nn.Linear(6, 4), nn.Conv2d(4, 4, 3, groups=2)))
    assert {name.rsplit(".")[-1] for name, _ in model.named_buffers()} == {"mean"}
    linear, grouped = model[0].decorrelation, model[1].decorrelation
    rows, identity = torch.randn(5, 6), torch.eye(18).expand(2, 18, 18)
    assert torch.equal(linear(rows), rows) and torch.equal(grouped.matrix, identity)
    linear.matrix.mul_(3)
    assert torch.equal(linear(rows), 3 * rows) and linear.structure == "dense"
    nd.Plasticity(model[1], nd.rules.get("interneuron", interneurons=2))
    assert set(dict(grouped.named_buffers())) == {"mean", "directions", "suppression", "gain"}


def test_missing_state_is_torchs_error() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        nd.Decorrelation(4).load_state_dict({"matrix": torch.eye(4)})


def test_structure_is_not_changed_under_a_learnt_transform() -> None:
    with pytest.raises(StateMismatch, match="needs a low_rank one"):
        nd.Plasticity(learnt(), nd.rules.get("interneuron", interneurons=2))


def test_functional_call_swaps_d() -> None:
    module = nd.Decorrelation(3).eval()
    inputs = torch.randn(2, 3)
    doubled = {"matrix": 2 * torch.eye(3), "mean": torch.zeros(3)}
    torch.testing.assert_close(torch.func.functional_call(module, doubled, (inputs,)), 2 * inputs)
    assert torch.equal(module.matrix, torch.eye(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0,), "whole number >= 1"), ((2.5,), "whole number"), ((True,), "whole number")],
)
def test_bad_features(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        nd.Decorrelation(*arguments)


@pytest.mark.parametrize("row_fraction", [0.0, 1.5, -1, float("nan"), "all"])
def test_bad_row_fraction(row_fraction: object) -> None:
    with pytest.raises(InvalidValue, match=r"in \(0, 1\]"):
        nd.Decorrelation(3, row_fraction=row_fraction)


def test_bad_inputs() -> None:
    module = nd.Decorrelation(3)
    with pytest.raises(InvalidValue, match="last dimension must be 3"):
        module(torch.randn(2, 4))
    with pytest.raises(InvalidValue, match="float32 or float64"):
        nd.Decorrelation(3, dtype=torch.float16)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool, torch.float64])
def test_an_input_of_another_kind_is_one_clear_line(dtype: torch.dtype) -> None:
    with pytest.raises(InvalidValue, match=f"must be torch.float32 or a narrower floating type, got {dtype}"):
        nd.Decorrelation(3)(torch.ones(2, 3, dtype=dtype))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 5, 3)])
@pytest.mark.parametrize("structure", ["norm_preserving", "interneuron"])
def test_an_empty_batch_passes_and_leaves_nothing(shape: tuple[int, ...], structure: str) -> None:
    """As in torch's Linear: an expert of a mixture may get no token."""
    module = nd.Decorrelation(3)
    nd.Plasticity(module, nd.rules.get(structure, **({"interneurons": 2} if structure == "interneuron" else {})))
    outputs = module(torch.randn(shape, requires_grad=True))
    outputs.sum().backward()
    assert outputs.shape == shape and module.take_record() is None
    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    module(inputs)
    module(torch.randn(shape))
    record = module.take_record()
    assert record is not None and record.seen == 4
    torch.testing.assert_close(record.deviation, inputs.sum(dim=0))
    assert module.eval()(torch.randn(shape)).shape == shape


def test_shows_its_structure() -> None:
    module = nd.Decorrelation(6)
    nd.Plasticity(module, nd.rules.get("interneuron", interneurons=2))
    assert str(nn.Sequential(module)).count("structure=low_rank, interneurons=2") == 1
