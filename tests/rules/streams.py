"""Batches that real networks send now and then, and what a rule makes of a sequence of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from neuro_decorr.errors import NeuroDecorrError
from neuro_decorr.rules._power import SILENT
from neuro_decorr.rules._rule import Rule
from neuro_decorr.rules._state import Sample, State
from neuro_decorr.rules._transform import dense_matrix, transform

Maker: TypeAlias = Callable[[Tensor], Tensor]


def _partly_dead(rows: Tensor) -> Tensor:
    return rows * (torch.arange(rows.shape[1]) % 2)


def _duplicated(rows: Tensor) -> Tensor:
    return rows[:, torch.arange(rows.shape[1]) // 2 * 2]


KINDS: Mapping[str, Maker] = {
    "ordinary": lambda rows: rows,
    "silent": torch.zeros_like,
    "partly_dead": _partly_dead,
    "duplicated": _duplicated,
    "constant": torch.ones_like,
    "denormal": lambda rows: rows * 1e-40,  # of float32
    "tiny": lambda rows: rows * 1e-25,
    "huge": lambda rows: rows * 1e18,
    "loud": lambda rows: rows * 30,
}
"""What becomes of ordinary rows of unit power, shape (rows, features)."""


class Stream:
    """Ordinary batches with a fixed covariance of condition 30 and unit power, and everything that is made of them.

    Args:
        features: Number of units.
        rows: Rows a batch.
        dtype: Of the rows.
        seed: Of their noise.
    """

    def __init__(self, features: int, rows: int, dtype: torch.dtype, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        basis = torch.linalg.qr(torch.randn(features, features, generator=self._generator, dtype=torch.float64)).Q
        spectrum = torch.logspace(0, -math.log10(30), features, dtype=torch.float64)
        spectrum *= features / spectrum.sum()
        self.covariance: Tensor = (basis * spectrum) @ basis.T
        self._mix = ((basis * spectrum.sqrt()) @ basis.T).to(dtype)
        self._shape = (rows, features)

    def batch(self, kind: str = "ordinary") -> Tensor:
        """The next batch, of one of `KINDS`."""
        noise = torch.randn(*self._shape, generator=self._generator, dtype=torch.float64).to(self._mix.dtype)
        return KINDS[kind](noise @ self._mix)


def live_through(rule: Rule, state: State, batches: Iterable[Tensor], least_power: float = math.inf) -> float:
    """Update a state by batches, one after the other, and look after each whether D is finite and within its bound.

    Args:
        rule: The rule, at its own rate.
        state: Changed in place.
        batches: Of shape (rows, features).
        least_power: The least mean power of the batches before, silent ones apart.

    Returns:
        The least mean power of all batches so far.

    Raises:
        AssertionError: D is not finite, or larger than the rule's `largest_gain`.
    """
    for number, rows in enumerate(batches):
        power = float(rows.double().square().mean())
        least_power = min(least_power, power) if power > SILENT else least_power
        mean = torch.zeros(rows.shape[1], dtype=rows.dtype)
        outputs = transform(state, rows)
        if not bool(torch.isfinite(outputs).all()):
            continue  # no number of this floating type: a Plasticity refuses such a batch before the rule sees it
        try:
            rule.update_(state, Sample(rows, outputs, mean), rule.rate)
        except NeuroDecorrError:
            continue  # refused, and told; what it left is looked at all the same
        finally:
            # By NumPy: of so small a state that is several times as fast.
            matrix = dense_matrix(state, rows.shape[1], rows).double().numpy()
            allowed = rule.largest_gain(rows.shape[1], least_power)
            largest = float(np.linalg.norm(matrix)) if np.isfinite(matrix).all() else math.inf
            if allowed < largest < math.inf:  # the spectral norm is at most that of Frobenius, which is quicker
                largest = float(np.linalg.norm(matrix, 2))
            finite = all(np.isfinite(tensor.numpy()).all() for tensor in state.values())
            assert finite, f"{rule.name}: its state is not finite after batch {number}."
            assert largest <= allowed * (1 + 1e-4), (
                f"{rule.name}: |D| is {largest:.3g} after batch {number}, allowed {allowed:.3g}."
            )
    return least_power
