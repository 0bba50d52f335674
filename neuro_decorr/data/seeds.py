"""Independent streams of random numbers from one seed, none of them the global one."""

from __future__ import annotations

import operator

import numpy as np
import torch

from neuro_decorr.errors import InvalidValue


def stream(seed: int, key: str) -> torch.Generator:
    """A generator of its own for each purpose, so that one draw never shifts another.

    Args:
        seed: The seed of the run, not negative.
        key: What the numbers are for, such as `"split"`; other keys give independent numbers.

    Returns:
        A generator on the CPU, the same for the same seed and key on every machine.

    Raises:
        InvalidValue: A seed that is not an integer from 0 on.
    """
    try:
        whole = operator.index(seed)  # numpy's integers too, but no floats
    except TypeError:
        whole = -1
    if whole < 0:
        raise InvalidValue(f"seed: got {seed!r}; allowed are the integers from 0 on.")
    state = np.random.SeedSequence([whole, *key.encode()]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
