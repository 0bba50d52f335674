"""The basis that interneurons track in: orthonormal, and of the same span, whatever the columns are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.rules import _interneurons
from neuro_decorr.rules._interneurons import orthonormal_form


@given(
    features=st.integers(1, 60),
    share=st.floats(0.0, 1.0),
    spread=st.floats(0.0, 6.0),
    tilt=st.sampled_from([0.0, 1e-1, 1e-2, 1e-4, 1e-8]),
    dependent=st.booleans(),
    single=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_orthonormal_and_of_the_same_span(
    features: int, share: float, spread: float, tilt: float, dependent: bool, single: bool, seed: int
) -> None:
    """Lengths over 12 decades; columns that all lean towards one, down to rank one; a column twice; a zero column."""
    count = 1 + int(share * (features - 1))
    generator = np.random.default_rng(seed)
    columns = generator.normal(size=(features, count))
    if tilt:
        columns = tilt * columns + columns[:, :1]
    columns *= 10 ** generator.uniform(-spread, spread, size=count)
    if dependent:
        columns[:, -1] = columns[:, 0]
        columns[:, count // 2] = 0
    dtype = torch.float32 if single else torch.float64
    given_columns = torch.from_numpy(columns).to(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_interneurons, "_LEAST_WORK", 0)
        columns, form = orthonormal_form(given_columns)
    basis = (columns @ form).double()
    assert basis.shape == (features, count)
    accuracy = torch.finfo(dtype).eps
    identity = torch.eye(count, dtype=torch.float64)
    # Of either the columns' rounding or that of the Gram matrix, in double precision over the square of the least sine.
    error = 50 * accuracy / _interneurons._LEAST_SINE + 1e-15 * features / _interneurons._LEAST_SINE**2
    assert (basis.T @ basis - identity).abs().max() < error
    wide = given_columns.double()
    left_over = wide - basis @ (basis.T @ wide)
    assert bool((left_over.norm(dim=0) <= 20 * error * wide.norm(dim=0)).all())


def test_tracked_directions_take_the_way_of_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many columns are independent no QR is called; where they are not, or are few, it is."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(2_000, 20, generator=generator) * torch.logspace(0, -4, 20)
    expected = torch.linalg.qr(columns.double()).Q
    calls = []
    decompose = torch.linalg.qr
    monkeypatch.setattr(torch.linalg, "qr", lambda matrix: calls.append(1) or decompose(matrix))
    same, form = orthonormal_form(columns)
    assert same is columns and not calls
    basis = (columns @ form).double()
    torch.testing.assert_close((expected.T @ basis).abs(), torch.eye(20, dtype=torch.float64), atol=1e-6, rtol=0)
    orthonormal_form(torch.cat([columns, columns[:, :1]], dim=1))
    assert len(calls) == 1
    orthonormal_form(columns[:100])
    assert len(calls) == 2
