"""Lateral inhibition that is confined to connections."""

from __future__ import annotations

import pytest
import torch

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from neuro_decorr.norse import lateral
from neuro_decorr.rules.connectivity import Connectivity, FanIn, Groups, Mask, Neighbourhood


@pytest.mark.parametrize("connectivity", [Groups(3), FanIn(2), Mask(torch.ones(8, 8).tril())], ids=str)
def test_inhibition_is_confined_to_connections(connectivity: Connectivity) -> None:
    """The first update is that of all pairs on the connections, and no other weight ever appears."""
    torch.manual_seed(0)
    currents = 3 * torch.rand(60, 4, 8)
    weights = []
    for given in (None, connectivity):
        rule = nd.norse.LateralCovariance(rate=0.05, smallest_weight=-1.0, homeostasis=None, connectivity=given)
        cell = nd.norse.LateralLIF(8, rule=rule, threshold=0.5)
        plasticity = nd.norse.NeuronPlasticity(cell)
        cell(currents)
        plasticity.step()
        weights.append(cell.weight.clone())
    connected = connectivity.matrix(8)
    assert torch.equal(weights[1], weights[0] * connected)
    for _ in range(3):
        cell(currents)
        plasticity.step()
    assert not bool(cell.weight[~connected].any())
    assert int((cell.weight != 0).sum()) > 4


def test_sparse_inhibition_is_the_full_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spikes and gradients, for neurons that few others inhibit."""
    found = []
    rule = nd.norse.LateralCovariance(connectivity=FanIn(3))
    for many in (1_000, 1):
        monkeypatch.setattr(lateral, "_MANY", many)
        cell = nd.norse.LateralLIF(12, rule=rule, threshold=0.5, dtype=torch.float64).eval()
        generator = torch.Generator().manual_seed(0)
        cell.weight.copy_(torch.rand(12, 12, generator=generator, dtype=torch.float64) * FanIn(3).matrix(12))
        cell.weight.fill_diagonal_(0)
        currents = torch.rand(40, 3, 12, generator=generator, dtype=torch.float64).mul_(3).requires_grad_()
        spikes, _ = cell(currents)
        spikes.square().sum().backward()
        found.append((spikes.detach(), currents.grad))
    assert float(found[0][0].sum()) > 20
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.ones(3, 3), "one of neuro_decorr.rules.connectivity"),
        (Neighbourhood((3, 3), 1), "not a multiple of the 9 positions"),
    ],
)
def test_connections_that_do_not_fit_are_told(given: object, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        nd.norse.LateralLIF(8, rule=nd.norse.LateralCovariance(connectivity=given))
