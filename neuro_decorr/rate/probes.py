"""Forward passes that probe a model and do not drive its plasticity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from neuro_decorr.rate.copying import check_model


@contextmanager
def unremembered(model: nn.Module) -> Iterator[None]:
    """Context whose forward passes do not drive the plasticity, for passes that only probe a model.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> model = nd.decorrelate(torch.nn.Linear(3, 2))
        >>> with nd.rate.unremembered(model):
        ...     outputs = model(torch.randn(4, 3))
        >>> model.decorrelation.take_record() is None
        True

    Args:
        model: Model whose modules remember passes in train mode.

    Yields:
        Nothing.

    Raises:
        InvalidValue: The argument is not a model.
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
