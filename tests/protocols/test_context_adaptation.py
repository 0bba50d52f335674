"""Contexts with shared axes, what the circuits make of them, and the figure."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import context_adaptation as drawn
from protocols import context_adaptation
from tests.protocols.execution import whole


def configured(**values: object) -> context_adaptation.Configuration:
    return context_adaptation.PROTOCOL.configure(values)


@pytest.mark.parametrize("world", ["shared", "own"])
def test_contexts_share_their_axes_or_do_not(world: context_adaptation.World) -> None:
    roots, known = context_adaptation.roots(world, 4, 6, seed=0)
    torch.testing.assert_close(known.T @ known, torch.eye(4, dtype=torch.float64))
    rotated = [known.T @ root @ known for root in roots]
    aligned = [bool((made - torch.diag(made.diagonal())).abs().max() < 1e-9) for made in rotated]
    varied = [not torch.allclose(root, torch.eye(4, dtype=torch.float64)) for root in roots]
    for context in range(1, 6):
        assert aligned[context] is (world == "shared" or not varied[context])
    assert all(float(torch.linalg.eigvalsh(root)[0]) >= 1 - 1e-9 for root in roots)


def test_the_error_is_that_of_exact_covariances() -> None:
    """With rate zero nothing is learnt: the error of a context is that of its own covariance."""
    configuration = configured(units=3, contexts=2, hold=2)
    errors = context_adaptation.courses(configuration, "shared", "fixed_synapses", 1e-12, 0.0, seed=1)
    roots, _ = context_adaptation.roots("shared", 3, 2, seed=1)
    for context, root in enumerate(roots):
        exact = np.linalg.norm(root.numpy() @ root.numpy() - np.eye(3)) / 3**0.5
        np.testing.assert_allclose(errors[context], exact, rtol=1e-6, atol=1e-6)


def test_known_synapses_whiten_each_context_and_fixed_ones_do_not() -> None:
    """N gains suffice over the axes that contexts share (the theorem of the source), and not over others."""
    configuration = configured(units=4, contexts=4, hold=120, batch=64)
    known = context_adaptation.courses(configuration, "shared", "known_synapses", 0.05, 0.0, seed=2)
    fixed = context_adaptation.courses(configuration, "shared", "fixed_synapses", 0.05, 0.0, seed=2)
    assert known[:, -1].mean() < 0.3 * fixed[:, -1].mean()


def test_the_figure_and_the_table_show_every_circuit(tmp_path: Path) -> None:
    values = {"units": 3, "contexts": 4, "hold": 5, "rates": (0.1,), "synapse_rates": (0.01,)}
    configuration, tables = whole(context_adaptation.PROTOCOL, values)
    context_adaptation.report(configuration, tables, tmp_path)
    made = drawn.table(tables.of("measure"))
    assert len(made) == 10
    ends = tables.of("measure")["ends"]
    for row in made.to_dict("records"):
        own = ends[(ends["world"] == row["contexts"]) & (ends["circuit"] == row["circuit"])]
        assert row["last"] == pytest.approx(own["error"].mean())
    assert (tmp_path / "figures" / "context_adaptation.png").stat().st_size > 10_000


def test_the_page_runs_and_its_layer_has_learnt_the_axes() -> None:
    page = Path(context_adaptation.__file__).parent.parent / "docs" / "experiments" / "context_adaptation.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(block, names)
    left = names["left"]
    assert isinstance(left, torch.Tensor)
    assert float((left - torch.eye(10)).norm()) / 10**0.5 < 0.5  # ten random gains stay above 1
