"""Mini-batches of tensors that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias, final, get_args

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue

Last: TypeAlias = Literal["keep", "drop"]
"""Policy for the last batch if the samples do not divide evenly: `"keep"` it smaller, or `"drop"` it for this pass."""


@final
class Batches:
    """Batches of labelled samples; every iteration is one pass in a new order."""

    def __init__(
        self, inputs: Tensor, targets: Tensor, batch_size: int, generator: torch.Generator | None, last: Last
    ) -> None:
        problems = []
        if len(inputs) != len(targets) or len(inputs) == 0:
            problems.append(
                f"inputs and targets: got {len(inputs)} samples and {len(targets)} labels; give as many of both, at "
                "least one."
            )
        if batch_size < 1 or (last == "drop" and batch_size > len(inputs)):
            problems.append(f"batch_size: got {batch_size}; allowed are 1 to {len(inputs)}.")
        if last not in get_args(Last):
            problems.append(f"last: got {last!r}; allowed are 'keep' and 'drop'.")
        if problems:
            raise InvalidValue("\n".join(problems))
        self._inputs, self._targets, self._size = inputs, targets, batch_size
        self._generator, self._last = generator, last

    def __len__(self) -> int:
        """Number of batches in one pass."""
        whole, rest = divmod(len(self._inputs), self._size)
        return whole + (1 if rest and self._last == "keep" else 0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._generator is None:
            for start in range(0, len(self) * self._size, self._size):
                yield self._inputs[start : start + self._size], self._targets[start : start + self._size]
            return
        # Drawn on the generator's own device, so that the order is the same wherever the samples are.
        order = torch.randperm(len(self._inputs), generator=self._generator, device=self._generator.device)
        for index in torch.split(order.to(self._inputs.device), self._size)[: len(self)]:
            yield self._inputs.index_select(0, index), self._targets.index_select(0, index)


def batches(
    inputs: Tensor,
    targets: Tensor,
    batch_size: int,
    generator: torch.Generator | None = None,
    *,
    last: Last = "keep",
) -> Batches:
    """Divide samples into mini-batches in random order; each sample comes at most once in a pass.

    Args:
        inputs: Samples, shape `(samples, ...)`.
        targets: Labels, shape `(samples,)`, on the same device.
        batch_size: Samples in a batch.
        generator: Random generator of the order, advanced once per pass; None keeps the order of the samples, for
            evaluation.
        last: Policy for an incomplete last batch: `"keep"` or `"drop"` it. Drop it if a layer takes statistics over
            the batch, such as batch normalisation, which refuses a batch of one sample.

    Returns:
        Batches; `len` is their number. Every iteration is one pass and yields `(inputs, targets)`.

    Raises:
        InvalidValue: Different lengths, no samples, an impossible batch size, an unknown policy.
    """
    return Batches(inputs, targets, batch_size, generator, last)
