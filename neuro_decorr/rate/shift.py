"""Limit on the move of the running mean by one batch."""

from __future__ import annotations

import math
from typing import Any

import torch

from neuro_decorr.rate.record import Record

_FARTHEST = 100.0
"""Largest distance of a batch from the running mean, relative to the usual distance, with which it counts."""


def heard_shift(state: dict[str, Any], record: Record, mean_rate: float) -> float:
    r"""Factor by which the summed deviation of a batch moves the running mean.

    $$
    \mu \leftarrow \mu + w \min(1, 100\, r / r_k)\, (\langle z \rangle - \mu), \quad
    r \leftarrow r + w\, (\min(r_k, 100\, r) - r), \quad w = \max(\eta_\mu, 1 / t)
    $$

    with r_k the root mean square of $\langle z \rangle - \mu$ over the units, and r its running mean. One broken batch
    thus moves the mean as far as a batch at 100 times the usual distance. After a lasting shift of the inputs r grows
    by an order of magnitude per step. A batch without any deviation leaves r as it is.

    Args:
        state: State with `batches`, this one included, and `shift`, r, changed in place.
        record: Record with the deviation and the number of its rows.
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
