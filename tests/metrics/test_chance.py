"""The edge of Marchenko and Pastur against spectra of independent units."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.chance import marchenko_pastur_edge


def test_the_largest_eigenvalue_of_independent_units_is_at_the_edge() -> None:
    noise = np.random.default_rng(0).normal(size=(4000, 400))
    largest = np.linalg.eigvalsh(np.corrcoef(noise.T))[-1]
    assert largest == pytest.approx(marchenko_pastur_edge(4000, 400), rel=0.02)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least 2 samples"):
        marchenko_pastur_edge(1, 3)
