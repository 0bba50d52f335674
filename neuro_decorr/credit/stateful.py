"""Contract of models that keep the state of their neurons themselves."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """Model that keeps the state of its neurons in attributes, from one call to the next.

    A credit runs every pass of a batch, perturbed or clean, from the same state, and leaves the state of the clean
    pass. It finds the state in buffers and attributes of modules: numbers, tensors, and tuples, lists, dicts and data
    classes of them. A credit never resets the state: call `reset` before other sequences begin. Before a batch it calls
    `detach`, so that sequences which continue over several batches assign no credit to earlier batches (truncated
    backpropagation through time). A state with a graph is refused if the model has no `detach`.

    Models that return (output, state), or start anew in every call, need neither method.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> class Leaky(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(4, 3)
        ...         self.reset()
        ...     def reset(self):
        ...         self.level = torch.zeros(3)
        ...     def detach(self):
        ...         self.level = self.level.detach()
        ...     def forward(self, inputs):
        ...         self.level = 0.9 * self.level + self.layer(inputs)
        ...         return self.level
        >>> isinstance(Leaky(), nd.credit.Stateful)
        True
    """

    def reset(self) -> None:
        """Forget the state, so that the next call begins other sequences."""

    def detach(self) -> None:
        """Keep the numbers of the state and forget their graph, so that the next call continues from these numbers."""
