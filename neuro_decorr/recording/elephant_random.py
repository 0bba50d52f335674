"""Seeds for Elephant, which draws from the global random generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python and NumPy, and restore their states afterwards.

    Args:
        seed: The seed.
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  Elephant draws from these
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
