"""Independent streams of random numbers from one seed; the global generators stay untouched."""

from __future__ import annotations

import operator

import numpy as np
import torch

from neuro_decorr.errors import InvalidValue


def stream(seed: int, key: str) -> torch.Generator:
    """Make a random generator for one purpose, so that draws for one purpose never shift those for another.

    Args:
        seed: Seed of the run, an integer from 0 on.
        key: Name of the purpose, such as `"split"`; different keys give independent numbers.

    Returns:
        A generator on the CPU; the same seed and key give the same numbers on every machine.

    Raises:
        InvalidValue: The seed is no integer from 0 on.
    """
    try:
        whole = operator.index(seed)  # numpy's integers too, but no floats
    except TypeError:
        whole = -1
    if whole < 0:
        raise InvalidValue(f"seed: got {seed!r}; allowed are the integers from 0 on.")
    state = np.random.SeedSequence([whole, *key.encode()]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
