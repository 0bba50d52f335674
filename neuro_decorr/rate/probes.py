"""Forward passes that are probes, not experience."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from neuro_decorr.rate.copying import check_model


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
        model: A model with modules in it that remember passes, in train mode.

    Yields:
        Nothing.

    Raises:
        InvalidValue: Not a model.
    """
    check_model("unremembered", model)
    paused: list[Any] = [module for module in model.modules() if vars(module).get("remembers")]
    for module in paused:
        module.remembers = False
    try:
        yield
    finally:
        for module in paused:
            module.remembers = True
