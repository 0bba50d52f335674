"""The loss of every sample, in float64."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from neuro_decorr.credit.base import LossFunction, scalar_loss
from neuro_decorr.errors import Unsupported

# Sums over samples in another order, or a loss that computes in float32 whatever it gets, stay far below this.
_TOLERANCE = 1e-4

_CHUNK = 2**22
"""How many numbers outputs that are repeated for every sample may have at once."""


@final
class SampleLosses:
    """The losses of the samples of a batch, such that the change of the total loss is `share` times that of their sum.

    A loss function that takes `reduction` (those of `torch.nn.functional`), or a module that has it (those of
    `torch.nn`), is asked for reduction "none"; `share` is then what it divides by, such as the number of targets that
    are not ignored, or the sum of the weights of their classes. Any other one is evaluated on batches of one sample by
    `torch.vmap`. Where its total is neither the mean nor the sum of these, the loss of a sample is the loss of the
    batch in which this sample alone is another: exact for every loss, and as many evaluations as there are samples.

    Evaluated in float64, since the estimators take small differences.

    Args:
        loss_function: Maps (outputs, targets) to a scalar.
        targets: Passed on to it.
    """

    def __init__(self, loss_function: LossFunction, targets: Any) -> None:
        self._loss_function = loss_function
        unreduced = _without_reduction(loss_function)
        self._one_by_one = unreduced is None
        self._unreduced = unreduced or functools.partial(_one_by_one, loss_function)
        self._targets = targets
        self._wide_targets = tree_map(_wide, targets)
        self._in_float64 = True

    def loss(self, outputs: Any) -> Tensor:
        """The loss of the batch, a scalar, float64 where the device has it.

        Raises:
            Unsupported: The loss depends on parameters other than through the outputs.
        """
        outputs = tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, outputs)
        loss: Tensor = self._evaluate(functools.partial(scalar_loss, self._loss_function), outputs)
        if loss.requires_grad:
            raise Unsupported(
                "the loss depends on trainable parameters other than through the model's output (a weight penalty?), "
                "which perturbation cannot see; use weight_decay of the optimiser, or add its gradient yourself."
            )
        return loss

    def attribute(self, outputs: Any) -> tuple[Tensor, Tensor, float]:
        """Find out what the samples contribute to the loss; to be called with the clean outputs, before `of`.

        Returns:
            The loss as `loss_function` computes it, a detached scalar in the precision of the outputs; the losses of
            the samples; and `share`.

        Raises:
            Unsupported: The model returns something else than a tensor, or the loss is not a function of it alone.
        """
        if not isinstance(outputs, Tensor):
            raise Unsupported(f"perturbation needs a model that returns one tensor, got {type(outputs).__name__}.")
        outputs = outputs.detach()
        loss, losses = self.loss(outputs), self._evaluate(self._unreduced, outputs)
        if not isinstance(losses, Tensor) or losses.dim() == 0:
            raise Unsupported(
                "perturbation needs the loss of every sample, and this loss function returns one number even when its "
                "reduction is 'none'; pass one that honours `reduction`, or a plain function of (outputs, targets)."
            )
        share = self._share(loss.item(), losses.double(), outputs)
        if share is None:
            self._unreduced = functools.partial(_changed_alone, self._loss_function, outputs)
            return loss.to(outputs.dtype), self.of(outputs), 1 / len(outputs)
        return loss.to(outputs.dtype), _per_sample(losses), share

    def of(self, outputs: Tensor) -> Tensor:
        """The losses of the samples of a pass, shape (samples,), float64, without graph."""
        with torch.no_grad():
            return _per_sample(self._evaluate(self._unreduced, outputs))

    def _share(self, total: float, losses: Tensor, outputs: Tensor) -> float | None:
        """What the total is of the sum of the unreduced losses; None where it is no fixed share of it."""
        added, count = losses.sum().item(), losses.numel()
        size = losses.abs().sum().item()  # losses of both signs may nearly cancel
        for share in (1 / count, 1.0):
            if abs(total - share * added) <= _TOLERANCE * share * size or not math.isfinite(total):
                return share
        if self._one_by_one or len(outputs) == 1 or not added:
            return None
        # Weights of classes and ignored targets depend on the targets alone: the share is that of any other outputs.
        between = (outputs + outputs.flip(0)) / 2
        other: float = self._evaluate(self._unreduced, between).double().sum().item()
        same = abs(total * other - self.loss(between).item() * added) <= _TOLERANCE * abs(total * other)
        return total / added if same else None

    def _evaluate(self, function: Callable[[Any, Any], Any], outputs: Any) -> Any:
        if self._in_float64:
            for everything in (nullcontext(), _Float64()):  # the latter for parameters of the loss in float32
                try:
                    with everything:
                        return function(tree_map(_wide, outputs), self._wide_targets)
                except (RuntimeError, TypeError):
                    # Also on a device without float64. What is wrong for another reason fails again below, with its
                    # own message.
                    continue
            self._in_float64 = False
        return function(outputs, self._targets)


@final
class _Float64(TorchFunctionMode):
    """Lets every function of torch see float64 in the place of other floating types."""

    def __torch_function__(self, function: Any, _types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        return function(*tree_map(_wide, arguments), **tree_map(_wide, keywords or {}))


def _wide(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _per_sample(losses: Tensor) -> Tensor:
    return losses.double().flatten(1).sum(1) if losses.dim() > 1 else losses.double()


def _without_reduction(loss_function: LossFunction) -> Callable[[Any, Any], Tensor] | None:
    if isinstance(loss_function, nn.Module) and isinstance(getattr(loss_function, "reduction", None), str):
        module: Any = copy.copy(loss_function)
        module.reduction = "none"
        unreduced: Callable[[Any, Any], Tensor] = module
        return unreduced
    if _accepts_reduction(loss_function):
        reducible: Callable[..., Tensor] = loss_function
        return functools.partial(reducible, reduction="none")
    return None


def _accepts_reduction(loss_function: LossFunction) -> bool:
    code = getattr(loss_function, "__code__", None)
    if code is not None and not hasattr(loss_function, "__wrapped__"):
        # The names of all arguments; many times faster than a signature, and this runs at every step.
        return "reduction" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    try:
        return "reduction" in inspect.signature(loss_function).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return False


def _one_by_one(loss_function: LossFunction, outputs: Tensor, targets: Any) -> Tensor:
    def dimension(part: Any) -> int | None:
        return 0 if isinstance(part, Tensor) and part.shape[:1] == outputs.shape[:1] else None

    dimensions = tree_map(dimension, targets)

    def single(output: Tensor, target: Any) -> Tensor:
        batch = tree_map(lambda part, batched: part if batched is None else part.unsqueeze(0), target, dimensions)
        return scalar_loss(loss_function, output.unsqueeze(0), batch)

    return _for_each(single, (outputs, targets), (0, dimensions))


def _changed_alone(loss_function: LossFunction, clean: Tensor, outputs: Tensor, targets: Any) -> Tensor:
    """The loss of the clean batch with one sample's outputs in the place of its clean ones, times the samples."""
    samples = torch.arange(len(outputs), device=outputs.device)
    clean = clean.to(outputs.dtype)

    def changed(sample: Tensor) -> Tensor:
        alone = (samples == sample).view(-1, *[1] * (outputs.dim() - 1))
        return scalar_loss(loss_function, torch.where(alone, outputs, clean), targets)

    return len(outputs) * _for_each(changed, (samples,), (0,), max(1, _CHUNK // clean.numel()))


def _for_each(
    function: Callable[..., Tensor], arguments: tuple[Any, ...], dimensions: tuple[Any, ...], chunk: int | None = None
) -> Tensor:
    """The results for every sample, at once, or one after the other for losses that branch on values."""
    try:
        return torch.func.vmap(function, in_dims=dimensions, chunk_size=chunk)(*arguments)
    except RuntimeError as error:
        if "random" in str(error):  # the noise of a loss that draws would pass for an effect of that at the nodes
            raise
    single = [
        tree_map(lambda part, batched, place=place: part if batched is None else part[place], arguments, dimensions)
        for place in range(len(arguments[0]))
    ]
    return torch.stack([function(*each) for each in single])
