"""A Decorrelation of several groups is so many Decorrelations side by side."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, StateMismatch

GROUPS, FEATURES = 3, 4
RULES = {"norm_preserving": {}, "whitening": {}, "interneuron": {"interneurons": 2}, "center": {}}


def rule(name: str) -> nd.rules.Rule:
    return nd.rules.get(name, **RULES[name])


def together_and_apart(name: str, center: bool = True) -> tuple[nd.Decorrelation, list[nd.Decorrelation]]:
    """One module of several groups, and one module a group, with the same random D and mean."""
    generator = torch.Generator().manual_seed(0)
    whole = nd.Decorrelation(FEATURES, center, groups=GROUPS, row_fraction=0.5)
    whole.take_structure(rule(name))
    parts = [nd.Decorrelation(FEATURES, center, row_fraction=0.5) for _ in range(GROUPS)]
    for part in parts:
        part.take_structure(rule(name))
    for buffer, values in whole.named_buffers():
        values.copy_(torch.rand(values.shape, generator=generator))
        for group, part in enumerate(parts):
            dict(part.named_buffers())[buffer].copy_(values[group])
    return whole, parts


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("shape", [(8,), (2, 5), ()])
def test_each_group_is_a_module_of_its_own(name: str, center: bool, shape: tuple[int, ...]) -> None:
    whole, parts = together_and_apart(name, center)
    inputs = torch.randn(*shape, GROUPS * FEATURES, generator=torch.Generator().manual_seed(1))
    expected = torch.cat([part(z) for part, z in zip(parts, inputs.chunk(GROUPS, dim=-1), strict=True)], dim=-1)
    torch.testing.assert_close(whole(inputs), expected)
    for _ in range(2):  # and several passes
        whole(inputs)
        for part, z in zip(parts, inputs.chunk(GROUPS, dim=-1), strict=True):
            part(z)
    record, records = whole.take_record(), [part.take_record() for part in parts]
    assert record.inputs.shape == record.outputs.shape == (GROUPS, len(records[0].inputs), FEATURES)
    for group, of_part in enumerate(records):
        torch.testing.assert_close(record.inputs[group], of_part.inputs)
        torch.testing.assert_close(record.outputs[group], of_part.outputs)
        if center:
            torch.testing.assert_close(record.deviation[group], of_part.deviation)
        assert record.seen == of_part.seen
    weight = torch.randn(GROUPS, 5, FEATURES, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(whole.matrix, torch.stack([part.matrix for part in parts]))
    torch.testing.assert_close(
        whole.fold_into(weight), torch.stack([p.fold_into(w) for p, w in zip(parts, weight, strict=True)])
    )
    torch.testing.assert_close(whole.subtracted(), torch.stack([part.subtracted() for part in parts]))
    torch.testing.assert_close(
        whole.transform_centred(weight[:, 0]),
        torch.stack([p.transform_centred(w) for p, w in zip(parts, weight[:, 0], strict=True)]),
    )


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("groups", [1, GROUPS])
def test_rows_sampled_elsewhere(center: bool, groups: int) -> None:
    module = nd.Decorrelation(FEATURES, center, groups=groups, subtract=False)
    generator = torch.Generator().manual_seed(0)
    for buffer in module.buffers():
        buffer.copy_(torch.randn(buffer.shape, generator=generator))
    shape = (5, FEATURES) if groups == 1 else (groups, 5, FEATURES)
    rows = torch.randn(shape, generator=generator)
    module.remember(rows, seen=50)
    record = module.take_record()
    mean = module.mean.double().unsqueeze(-2) if center else 0.0
    centred = rows.double() - mean
    torch.testing.assert_close(record.inputs.double(), centred, rtol=1e-6, atol=1e-6)
    expected = torch.einsum("...ni,...ji->...nj", centred, module.matrix.double())
    torch.testing.assert_close(record.outputs.double(), expected, rtol=1e-5, atol=1e-5)
    assert record.seen == 50 and not module.subtracted().any()
    if center:
        torch.testing.assert_close(record.deviation.double(), 50 * centred.mean(dim=-2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_structure_and_state(name: str) -> None:
    module = nd.Decorrelation(FEATURES, groups=GROUPS)
    statistics = module.take_structure(rule(name))
    alone = rule(name).initial_state(FEATURES)
    assert set(statistics) == set(alone) - set(module.transform_state())
    for found, tensor in {**statistics, **module.transform_state()}.items():
        assert tensor.shape == (GROUPS, *alone[found].shape) and all(torch.equal(t, alone[found]) for t in tensor)
    assert module.is_identity() and module.mean.shape == (GROUPS, FEATURES)
    torch.testing.assert_close(module.matrix, torch.eye(FEATURES).expand(GROUPS, -1, -1))
    generator = torch.Generator().manual_seed(0)
    for buffer in module.buffers():
        buffer[-1].copy_(torch.rand(buffer[-1].shape, generator=generator))
    assert module.is_identity() == (name == "center"), "one group that has learnt is enough"
    fresh = nd.Decorrelation(FEATURES, groups=GROUPS)
    fresh.load_state_dict(copy.deepcopy(module.state_dict()))
    assert fresh.structure == module.structure and torch.equal(fresh.matrix, module.matrix)
    assert f"groups={GROUPS}" in str(module) and ("interneurons=2" in str(module)) == (name == "interneuron")
    with pytest.raises(RuntimeError, match="size mismatch"):
        nd.Decorrelation(FEATURES).load_state_dict(module.state_dict())


def test_a_transform_that_has_learnt_keeps_its_structure() -> None:
    module, _ = together_and_apart("whitening")
    with pytest.raises(StateMismatch, match="needs a low_rank one"):
        module.take_structure(rule("interneuron"))


def test_a_low_rank_state_without_its_gain_is_torchs_error() -> None:
    module, _ = together_and_apart("interneuron")
    state: dict[str, Tensor] = module.state_dict()
    del state["gain"]
    with pytest.raises(RuntimeError, match=r"Missing key.*gain"):
        nd.Decorrelation(FEATURES, groups=GROUPS).load_state_dict(state)


def test_many_passes_are_thinned_out_alike() -> None:
    module = nd.Decorrelation(1, groups=2, row_fraction=1.0)
    for number in range(40):
        module(torch.tensor([[float(number), -float(number)]]).expand(100, 2))
    record = module.take_record()
    assert record.inputs.shape == (2, 1024, 1) and torch.equal(record.inputs[0], -record.inputs[1])
    torch.testing.assert_close(record.deviation / record.seen, torch.tensor([[19.5], [-19.5]]))


def test_compiled_as_one_graph() -> None:
    torch._dynamo.reset()
    modules = [together_and_apart("whitening")[0] for _ in range(2)]
    compiled = torch.compile(modules[0], fullgraph=True, backend="aot_eager")
    inputs = torch.randn(8, GROUPS * FEATURES, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        torch.testing.assert_close(compiled(inputs), modules[1](inputs))
    for found, expected in zip(*(module.take_record()[:4] for module in modules), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("groups", [0, 1.5, True])
def test_bad_groups(groups: object) -> None:
    with pytest.raises(InvalidValue, match="groups must be a whole number >= 1"):
        nd.Decorrelation(3, groups=groups)


def test_bad_inputs() -> None:
    with pytest.raises(InvalidValue, match=r"3 groups of 4 features.*must be 12"):
        nd.Decorrelation(4, groups=3)(torch.randn(2, 4))
