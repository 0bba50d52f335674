"""How far one batch may move the running mean."""

from __future__ import annotations

import math
from typing import Any

import torch

from neuro_decorr.rate.record import Record

_FARTHEST = 100.0
"""A batch counts as at most so many times as far from the running mean as those before."""


def heard_shift(state: dict[str, Any], record: Record, mean_rate: float) -> float:
    r"""What the summed deviation of a batch is multiplied with to move the running mean.

    $$
    \mu \leftarrow \mu + w \min(1, 100\, r / r_k)\, (\langle z \rangle - \mu), \quad
    r \leftarrow r + w\, (\min(r_k, 100\, r) - r), \quad w = \max(\eta_\mu, 1 / t)
    $$

    with r_k the root mean square of $\langle z \rangle - \mu$ over the units, and r its running mean. One broken batch
    thus moves the mean by what a batch 100 times as far away as usual would; after a lasting change of place r grows by
    an order of magnitude a step. A batch without any deviation leaves r as it is.

    Args:
        state: Holds `batches`, this one included, and `shift`, r, changed in place.
        record: Its deviation and the rows it is summed over.
        mean_rate: $\eta_\mu$.
    """
    weight: float = max(mean_rate, 1 / state["batches"])
    deviation, seen = record.deviation, float(record.seen)
    norm = float(torch.linalg.vector_norm(deviation))
    usual: float = state["shift"]
    if norm == 0:
        return weight / seen
    present = norm / seen / math.sqrt(deviation.numel())
    counted = min(present, _FARTHEST * usual) if usual > 0 else present
    state["shift"] = usual + weight * (counted - usual)
    share: float = counted / present
    return weight * share / seen
