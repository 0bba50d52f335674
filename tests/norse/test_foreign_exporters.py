"""Exporters of other libraries take the weights that they know: they fail at a D, and take what is folded."""

from __future__ import annotations

from collections.abc import Callable

import norse.torch
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import Unsupported

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporters, which are as they are


def leaky(features: int) -> nn.Module:
    import snntorch

    return snntorch.Leaky(beta=0.9 * torch.ones(features), threshold=torch.ones(features), init_hidden=True)


def snntorch_export(network: nn.Module, sample_data: Tensor) -> object:
    from snntorch.export_nir import export_to_nir

    return export_to_nir(network, sample_data, ignore_dims=[0])


NORSE = (norse.torch.to_nir, norse.torch.SequentialState, lambda _: norse.torch.LIFBoxCell())
SNNTORCH = (snntorch_export, nn.Sequential, leaky)


def reasons(error: BaseException | None) -> list[BaseException]:
    """An error, and those during whose handling it was raised: nirtorch has one of its own for a trace that failed."""
    return [] if error is None else [error, *reasons(error.__context__)]


def decorrelated(sequence: type[nn.Sequential], neurons: Callable[[int], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    network = nd.decorrelate(sequence(nn.Linear(4, 6), neurons(6), nn.Linear(6, 3), neurons(3)))
    for layer in (network[0], network[2]):
        layer.decorrelation.matrix.add_(0.3 * torch.randn(layer.in_features, layer.in_features))
        layer.decorrelation.mean.fill_(0.2)
    return network


@pytest.mark.parametrize(("export", "sequence", "neurons"), [NORSE, SNNTORCH])
@pytest.mark.parametrize("place", ["first", "second"])
def test_a_decorrelated_layer_is_not_exported_without_its_decorrelation(export, sequence, neurons, place) -> None:
    network, inputs = decorrelated(sequence, neurons), torch.rand(1, 4)
    if place == "second":
        network[0] = nd.fold(network[0])
    with pytest.raises(Exception) as told:  # noqa: PT011  # whose it is, is up to the exporter
        export(network, inputs)
    found = [error for error in reasons(told.value) if isinstance(error, Unsupported)]
    assert found and "nd.norse.to_nir(network), which writes both" in str(found[0])


@pytest.mark.parametrize(("export", "sequence", "neurons"), [NORSE, SNNTORCH])
def test_what_is_folded_is_exported(export, sequence, neurons) -> None:
    network = decorrelated(sequence, neurons)
    layer, graph = network[2], export(nd.fold(network), torch.rand(1, 4))
    held = layer.decorrelation
    weight = layer.weight.detach() @ held.matrix
    np.testing.assert_allclose(graph.nodes["2"].weight, weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(graph.nodes["2"].bias, layer.bias.detach() - weight @ held.mean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "cell",
    [
        nd.norse.Decorrelation(4),
        nd.norse.LIF(4, sequences=False),
        nd.norse.LateralLIF(4, sequences=False),
        nd.decorrelate(nn.Conv2d(1, 4, 3)),
        nd.decorrelate(nn.ConvTranspose2d(1, 4, 3)),
    ],
)
def test_cells_are_not_left_out(cell) -> None:
    inputs = torch.rand(1, 4) if not hasattr(cell, "kernel_size") else torch.rand(1, 1, 5, 5)
    with pytest.raises(Exception) as told:  # noqa: PT011
        norse.torch.to_nir(norse.torch.SequentialState(cell), inputs)
    assert any(isinstance(error, Unsupported) for error in reasons(told.value))
    assert isinstance(cell(inputs), tuple | Tensor)  # nothing is left behind
