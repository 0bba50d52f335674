"""Kinds of networks of Norse: decorrelated, trained under two credits, folded, written, read again; or refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import norse.torch as nt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from models.spiking import Spiking
from neuro_decorr.errors import Unsupported

LOW = {"threshold": 0.3}
STEPS, BATCH = 20, 6


class Kind(NamedTuple):
    """A network, and what is special about it."""

    modules: Callable[[], list[nn.Module]]
    shape: tuple[int, ...] = (6,)
    stepwise: bool = False
    reset_method: Any = "value"
    refused: str | None = None


def linears(*sizes: int) -> list[nn.Linear]:
    layers = [nn.Linear(one, two) for one, two in pairwise(sizes)]
    for layer in layers:
        layer.weight.data.mul_(3)
    return layers


def dense(one: Any, two: Any) -> Callable[[], list[nn.Module]]:
    def made() -> list[nn.Module]:
        first, second = linears(6, 10, 3)
        return [first, one(), second, two()]

    return made


def convolutional(neurons: Callable[..., nn.Module]) -> Callable[[], list[nn.Module]]:
    def made() -> list[nn.Module]:
        convolution, (readout,) = nn.Conv2d(2, 4, 3, stride=2, padding=1), linears(16, 3)
        convolution.weight.data.mul_(6)
        pooled = [nt.Lift(nn.AvgPool2d(2)), nn.Flatten(2)]
        return [nt.Lift(convolution), neurons(4, spatial=2), *pooled, readout, neurons(3)]

    return made


def box() -> nn.Module:
    return nt.LIFBoxCell(nt.LIFBoxParameters(v_th=torch.tensor(0.2)))


def lateral() -> nn.Module:
    cell = nd.norse.LateralLIF(10, rule=nd.norse.LateralCovariance(homeostasis=None), **LOW, dtype=torch.float64)
    cell.weight.copy_(torch.rand(10, 10) * (1 - torch.eye(10)))
    return cell


def normalised() -> list[nn.Module]:
    one, two = linears(6, 10, 3)
    norms = [nt.Lift(nn.BatchNorm1d(10)), nt.Lift(nn.BatchNorm1d(10))]
    return [one, norms[0], nd.norse.LIF(10, **LOW), nn.Dropout(0.1), norms[1], two, nd.norse.LIF(3, **LOW)]


def own(neurons: Any, **options: Any) -> Callable[[], list[nn.Module]]:
    return dense(lambda: neurons(10, **LOW, **options), lambda: neurons(3, **LOW, **options))


def read_with_a_cycle() -> list[nn.Module]:
    one, back, two = (linears(*sizes)[0] for sizes in ((6, 10), (10, 10), (10, 3)))
    nodes = {"one": one, "lif": nd.norse.LIF(10, **LOW), "back": back, "two": two, "out": nd.norse.LIF(3, **LOW)}
    edges = [("input", "one"), ("one", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "two"), ("two", "out")]
    return [
        nd.norse.from_nir(nd.norse.to_nir(nd.norse.Graph(nodes, [*edges, ("out", "output")], (6,))), trainable=True)
    ]


NESTED = Kind(lambda: [nt.SequentialState(*own(nd.norse.LIF)()[:2]), nt.SequentialState(*own(nd.norse.LIF)()[2:])])
KINDS = {
    "neurons of ours": Kind(own(nd.norse.LIF)),
    "box": Kind(dense(box, box), stepwise=True),
    "recurrent": Kind(dense(lambda: nt.LIFRecurrent(10, 10), nt.LIF)),
    "recurrent cells": Kind(dense(lambda: nt.LIFRecurrentCell(10, 10), nt.LIFCell), stepwise=True),
    "convolutional": Kind(convolutional(lambda n, **space: nd.norse.LIF(n, **space, **LOW)), (2, 8, 8)),
    "convolutional, subtractive": Kind(
        convolutional(lambda n, **space: nd.norse.IF(n, **space, reset_method="subtract")),
        (2, 8, 8),
        reset_method="subtract",
    ),
    "refractory": Kind(own(nd.norse.LIF, refractory_time=2e-3), refused="is refractory"),
    "adaptive": Kind(own(nd.norse.AdaptiveLIF), refused="thresholds that change"),
    "adaptive of Norse": Kind(dense(nt.LSNNCell, nt.LIFCell), stepwise=True, refused="LSNNCell.* has no form"),
    "Lift": Kind(lambda: [nt.Lift(one) if isinstance(one, nn.Linear) else one for one in dense(nt.LIF, nt.LIF)()]),
    "nested": NESTED,
    "inhibited": Kind(dense(lateral, lambda: nd.norse.LIF(3, **LOW))),
    "batch normalisation and dropout": Kind(normalised),
    "a graph that was read": Kind(read_with_a_cycle),
}


def examples(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    chance = torch.rand(1, BATCH, *shape, generator=generator)
    spikes = (torch.rand(STEPS, BATCH, *shape, generator=generator) < chance).double()
    return spikes, torch.arange(BATCH) % 3


@pytest.mark.parametrize("name", KINDS)
def test_a_network_is_decorrelated_trained_folded_written_and_read(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    torch.manual_seed(0)
    model = Spiking(nt.SequentialState(*kind.modules()).double(), STEPS, kind.stepwise, "count")
    model = nd.decorrelate(model)
    plasticity = nd.Plasticity(model, nd.rules.get("norm_preserving", rate=0.2))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, targets = examples(kind.shape)
    for credit in ("backprop", "node_perturbation"):
        weights = [parameter.clone() for parameter in model.parameters()]
        optimiser.zero_grad()
        nd.credit.get(credit, model).backward(F.cross_entropy, inputs, targets)
        optimiser.step()
        plasticity.step()
        assert any(not torch.equal(one, two) for one, two in zip(weights, model.parameters(), strict=True))
    model.eval()
    places = [module for module in model.modules() if isinstance(module, nd.Decorrelation)]
    assert len(places) >= 2 and not any(place.is_identity() for place in places)
    with torch.no_grad():
        expected, plain = model.spikes(inputs), nd.fold(model)
        assert expected.std() > 0
        assert torch.equal(plain.spikes(inputs), expected)
    options = {"reset_method": kind.reset_method, "input_shape": kind.shape}
    if kind.refused is not None:
        with pytest.raises(Unsupported, match=kind.refused):
            nd.norse.to_nir(model.network, **options)
        return
    for network in (model.network, plain.network):
        nd.norse.to_nir(network, tmp_path / "network.nir", **options)
        read = nd.norse.from_nir(tmp_path / "network.nir", dtype=torch.float64)
        assert torch.equal(read(inputs)[0], expected)
