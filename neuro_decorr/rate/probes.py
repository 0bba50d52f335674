"""Forward passes that are probes, not experience."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from neuro_decorr.rate.decorrelation import Decorrelation


@contextmanager
def unremembered(model: nn.Module) -> Iterator[None]:
    """Forward passes in here do not drive the plasticity: for passes that are probes, not experience.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> model = nd.decorrelate(torch.nn.Linear(3, 2))
        >>> with nd.rate.unremembered(model):
        ...     outputs = model(torch.randn(4, 3))
        >>> model.decorrelation.take_record() is None
        True

    Args:
        model: A model with Decorrelation modules in it, in train mode.

    Yields:
        Nothing.
    """
    paused = [module for module in model.modules() if isinstance(module, Decorrelation) and module.remembers]
    for module in paused:
        module.remembers = False
    try:
        yield
    finally:
        for module in paused:
            module.remembers = True
