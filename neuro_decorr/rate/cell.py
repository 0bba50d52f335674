"""Base class of cells with a Decorrelation in them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.traces import TraceState


class DecorrelationCell(nn.Module, ABC):
    """Module `(input, state) -> (output, state)` around one Decorrelation, for use in a sequence of modules.

    A `Plasticity` moves the Decorrelation and may compensate a Linear that follows; `fold` replaces the cell by a
    Linear.

    Attributes:
        decorrelation: Decorrelation of the input.
    """

    decorrelation: Decorrelation

    def plain(self, linear: nn.Linear) -> nn.Module:
        """Plain module that computes the same without this library, made of the Linear that replaces D and the mean."""
        return linear

    @abstractmethod
    def forward(self, inputs: Tensor, state: TraceState | None = None) -> tuple[Tensor, TraceState | None]:
        """Transform one time step or a sequence."""
