"""What a cell with a Decorrelation in it is to the rest of the library."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.traces import TraceState


class DecorrelationCell(nn.Module, ABC):
    """A module `(input, state) -> (output, state)` around one Decorrelation, which stands for it in a sequence.

    A `Plasticity` moves the Decorrelation, and may compensate a Linear that follows; `fold` puts a Linear in its place.

    Attributes:
        decorrelation: What transforms the input.
    """

    decorrelation: Decorrelation

    @abstractmethod
    def forward(self, inputs: Tensor, state: TraceState | None = None) -> tuple[Tensor, TraceState | None]:
        """Transform one time step or a sequence."""
