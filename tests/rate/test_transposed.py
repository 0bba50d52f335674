"""Decorrelated transposed convolutions: D acts on the channels at every position of the input, the mean passes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import neuro_decorr as nd

KINDS = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@st.composite
def transposed(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """Any kernel, stride, dilation, groups, padding and output padding, non-square, with a batch that fits."""
    dimensions = draw(st.integers(1, 3))
    sizes = st.tuples(*[st.integers(1, 3)] * dimensions)
    kernel, stride, dilation = draw(sizes), draw(sizes), draw(sizes)
    padding = tuple(draw(st.integers(0, (k - 1) * d // 2)) for k, d in zip(kernel, dilation, strict=True))
    added = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    groups, channels, outputs = draw(st.sampled_from([1, 1, 2, 4])), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    layer = KINDS[dimensions](
        groups * channels, groups * outputs, kernel, stride, padding, added, groups, draw(st.booleans()), dilation
    )
    positions = draw(st.tuples(*[st.integers(1, 3)] * dimensions))
    inputs = torch.randn(3, layer.in_channels, *positions, generator=torch.Generator().manual_seed(0))
    return layer.double(), inputs.double()


def learnt(layer: nn.Module, **options: object) -> nn.Module:
    model = nd.decorrelate(layer, **options)
    generator = torch.Generator().manual_seed(1)
    held = model.decorrelation
    held.matrix.copy_(torch.randn(held.matrix.shape, generator=generator))
    held.mean.copy_(torch.randn(held.mean.shape, generator=generator))
    return model


@given(transposed(), st.booleans())
def test_any_transposed_convolution(case: tuple[nn.Module, Tensor], center: bool) -> None:
    """The plain layer of D z, position by position; the folded layer computes the same with its own bias."""
    layer, inputs = case
    model = learnt(layer, center=center)
    matrices = model.decorrelation.matrix.reshape(layer.groups, -1, layer.in_channels // layer.groups)
    parts = [
        torch.einsum("ij,bj...->bi...", matrix, part)
        for matrix, part in zip(matrices, inputs.chunk(layer.groups, dim=1), strict=True)
    ]
    expected = layer(torch.cat(parts, dim=1))
    outputs = model(inputs)
    torch.testing.assert_close(outputs, expected)
    assert outputs.stride() == expected.stride()
    folded = nd.fold(model)
    torch.testing.assert_close(folded(inputs), expected)
    assert type(folded) is type(layer) and not folded._modules
    assert (folded.bias is None) == (layer.bias is None)
    if layer.bias is not None:
        assert torch.equal(folded.bias, layer.bias)


@pytest.mark.parametrize("groups", [1, 2])
def test_rows_are_the_positions_less_their_mean(groups: int) -> None:
    model = learnt(nn.ConvTranspose2d(4, 4, 3, groups=groups, stride=2), row_fraction=1.0)
    inputs = torch.randn(2, 4, 3, 5) + 1
    model(inputs)
    held = model.decorrelation
    record = held.take_record()
    assert record.seen == 30
    matrices, means = held.matrix.reshape(groups, 4 // groups, -1), held.mean.reshape(groups, -1)
    for group, part in enumerate(inputs.chunk(groups, dim=1)):
        rows = part.movedim(1, -1).reshape(30, -1) - means[group]
        seen = [tensor.reshape(groups, *tensor.shape[-2:])[group] for tensor in (record.inputs, record.outputs)]
        torch.testing.assert_close(seen[0], rows)
        torch.testing.assert_close(seen[1], rows @ matrices[group].T)
        torch.testing.assert_close(record.deviation.reshape(groups, -1)[group], rows.sum(dim=0))


def test_the_output_size_can_be_asked_for() -> None:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2)
    model, inputs = nd.decorrelate(layer), torch.randn(1, 2, 4, 4)
    for size in ([9, 10], (1, 3, 10, 9)):
        torch.testing.assert_close(model(inputs, output_size=size), layer(inputs, output_size=size))
    with pytest.raises(ValueError, match="requested an output size"):
        model(inputs, output_size=[20, 20])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rule", ["whitening", "norm_preserving"])
def test_an_autoencoder_is_decorrelated_and_keeps_its_function(rule: str, bias: bool) -> None:
    """Compensation leaves the bias of a transposed convolution where it is: no mean passes through it."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(2, 6, 3, bias=bias), nn.ReLU(), nn.ConvTranspose1d(6, 4, 4, 2, groups=2, bias=bias), nn.ReLU()
    ).append(nn.ConvTranspose1d(4, 2, 3, bias=bias))
    model = nd.decorrelate(network)
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(300, 16, 2, 9, generator=generator).cumsum(dim=3) + 1
    probe = data[0]
    expected = network(probe).detach()
    plasticity = nd.Plasticity(model, nd.rules.get(rule, rate=1e-2 if rule == "whitening" else 1e-3), compensate=True)
    for batch in data:
        model.train()(batch)
        plasticity.step()
    for index in (2, 4):
        held = model[index].decorrelation
        identity = torch.eye(held.features)
        assert (held.matrix - identity).norm(dim=(-2, -1)).min() > 0.05 and held.mean.any()
        if bias:
            assert torch.equal(model[index].bias, network[index].bias)
    for twin in (model.eval(), nd.fold(model)):
        assert (twin(probe) - expected).abs().max() / expected.abs().max() < 1e-5
