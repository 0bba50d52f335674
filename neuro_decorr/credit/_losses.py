"""Loss of every sample, in float64."""

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

from neuro_decorr.credit._run import one_tensor
from neuro_decorr.credit._time import Layout
from neuro_decorr.credit.base import LossFunction, in_words, unchecked_loss
from neuro_decorr.errors import Unsupported

# Errors of sums over samples in another order, or of a loss that always computes in float32, stay far below this.
_TOLERANCE = 1e-4

_SAMPLES_FIRST = Layout()

_CHUNK = 2**22
"""Largest number of entries of outputs that are repeated for every sample."""


@final
class SampleLosses:
    """Losses of the samples of a batch, such that the change of the total loss is `share` times that of their sum.

    A loss function with an argument `reduction` (those of `torch.nn.functional`), or a module with this attribute
    (those of `torch.nn`), is evaluated with reduction "none". `share` is then the inverse of its divisor, such as the
    number of targets that are not ignored, or the sum of the weights of their classes. Any other loss function is
    evaluated on batches of one sample by `torch.vmap`. If its total is neither the mean nor the sum of these losses,
    the loss of a sample is the loss of the clean batch in which only this sample is replaced. This is exact for every
    loss and takes as many evaluations as there are samples.

    Losses are evaluated in float64, since the estimators take small differences.

    Args:
        loss_function: Function of (outputs, targets) that returns a scalar.
        targets: Targets for the loss function.
    """

    def __init__(self, loss_function: LossFunction, targets: Any) -> None:
        self._loss_function = loss_function
        unreduced = _without_reduction(loss_function)
        self._one_by_one = unreduced is None
        self._unreduced = unreduced or functools.partial(_one_by_one, loss_function, 0)
        self._dimension = 0
        self._targets = targets
        self._wide_targets = tree_map(_wide, targets)
        self._in_float64 = True

    def loss(self, outputs: Any) -> Tensor:
        """Loss of the batch, a scalar, float64 if the device has it.

        Raises:
            Unsupported: The loss depends on parameters other than through the outputs.
        """
        outputs = tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, outputs)
        with in_words(outputs):
            loss: Tensor = self._evaluate(functools.partial(unchecked_loss, self._loss_function), outputs)
        if loss.requires_grad:
            raise Unsupported(
                "the loss depends on trainable parameters other than through the model's output (a weight penalty?), "
                "which perturbation cannot see: use weight_decay of the optimiser, or add the gradient of the penalty "
                "yourself."
            )
        return loss

    def attribute(self, outputs: Any, layout: Layout = _SAMPLES_FIRST) -> tuple[Tensor, Tensor, float]:
        """Find the contribution of the samples to the loss; call it with the clean outputs, before `of`.

        Args:
            outputs: Outputs of the model.
            layout: Layout of the outputs, with the dimension of the samples.

        Returns:
            The loss as `loss_function` computes it, a detached scalar in the precision of the outputs; the losses of
            the samples; and `share`.

        Raises:
            Unsupported: The model does not return one tensor, or the loss is not a function of it alone.
        """
        outputs = one_tensor("perturbation", outputs).detach()
        self._dimension = dimension = layout.sample_dimension(outputs)
        loss = self.loss(outputs)
        if self._one_by_one:
            self._unreduced = functools.partial(_one_by_one, self._loss_function, dimension)
        losses = self._evaluate(self._unreduced, outputs)
        if not isinstance(losses, Tensor) or losses.dim() == 0:
            raise Unsupported(
                "perturbation needs the loss of every sample, and this loss function returns one number even when its "
                "reduction is 'none': pass one that honours `reduction`, or a plain function of (outputs, targets)."
            )
        # For sequences a loss may reduce the steps, or take another dimension for the sample.
        known = not dimension or self._one_by_one or losses.shape[:2] == outputs.shape[:2]
        share = self._share(loss.item(), losses.double(), outputs) if known else None
        if share is None:
            self._unreduced = functools.partial(_changed_alone, self._loss_function, dimension, outputs)
            self._one_by_one = True
            return loss.to(outputs.dtype), self.of(outputs), 1 / outputs.shape[dimension]
        return loss.to(outputs.dtype), self._per_sample(losses), share

    def of(self, outputs: Tensor) -> Tensor:
        """Losses of the samples of a pass, shape (samples,), float64, without graph."""
        with torch.no_grad():
            return self._per_sample(self._evaluate(self._unreduced, outputs))

    def _share(self, total: float, losses: Tensor, outputs: Tensor) -> float | None:
        """Factor between the total and the sum of the unreduced losses; None if the factor is not constant."""
        added, count = losses.sum().item(), losses.numel()
        size = losses.abs().sum().item()  # losses of both signs may nearly cancel
        for share in (1 / count, 1.0):
            if abs(total - share * added) <= _TOLERANCE * share * size or not math.isfinite(total):
                return share
        dimension = self._dimension
        if self._one_by_one or outputs.shape[dimension] == 1 or not added:
            return None
        # Weights of classes and ignored targets depend on the targets alone, so other outputs give the same share.
        between = (outputs + outputs.flip(dimension)) / 2
        other: float = self._evaluate(self._unreduced, between).double().sum().item()
        same = abs(total * other - self.loss(between).item() * added) <= _TOLERANCE * abs(total * other)
        return total / added if same else None

    def _per_sample(self, losses: Tensor) -> Tensor:
        if losses.dim() < 2:
            return losses.double()
        return losses.double().movedim(0 if self._one_by_one else self._dimension, 0).flatten(1).sum(1)

    def _evaluate(self, function: Callable[[Any, Any], Any], outputs: Any) -> Any:
        if self._in_float64:
            for everything in (nullcontext(), _Float64()):  # the latter for parameters of the loss in float32
                try:
                    with everything:
                        return function(tree_map(_wide, outputs), self._wide_targets)
                except (RuntimeError, TypeError):
                    # Also on a device without float64. Any other error occurs again below, with the message of its
                    # cause.
                    continue
            self._in_float64 = False
        return function(outputs, self._targets)


@final
class _Float64(TorchFunctionMode):
    """Mode in which every function of torch sees float64 in place of other floating types."""

    def __torch_function__(self, function: Any, _types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        return function(*tree_map(_wide, arguments), **tree_map(_wide, keywords or {}))


def _wide(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


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


def _one_by_one(loss_function: LossFunction, dimension: int, outputs: Tensor, targets: Any) -> Tensor:
    samples = outputs.shape[dimension]

    def dimension_of(part: Any) -> int | None:
        if not isinstance(part, Tensor):
            return None
        if dimension and part.shape[:2] == outputs.shape[:2]:  # of every step
            return dimension
        return 0 if part.shape[:1] == (samples,) else None

    dimensions = tree_map(dimension_of, targets)

    def single(output: Tensor, target: Any) -> Tensor:
        batch = tree_map(lambda part, batched: part if batched is None else part.unsqueeze(batched), target, dimensions)
        return unchecked_loss(loss_function, output.unsqueeze(dimension), batch)

    return _for_each(single, (outputs, targets), (dimension, dimensions))


def _changed_alone(loss_function: LossFunction, dimension: int, clean: Tensor, outputs: Tensor, targets: Any) -> Tensor:
    """Loss of the clean batch with one sample's outputs in place of its clean outputs, times the number of samples."""
    samples = torch.arange(outputs.shape[dimension], device=outputs.device)
    clean = clean.to(outputs.dtype)

    def changed(sample: Tensor) -> Tensor:
        alone = (samples == sample).view(-1, *[1] * (outputs.dim() - 1 - dimension))
        return unchecked_loss(loss_function, torch.where(alone, outputs, clean), targets)

    return len(samples) * _for_each(changed, (samples,), (0,), max(1, _CHUNK // clean.numel()))


def _for_each(
    function: Callable[..., Tensor], arguments: tuple[Any, ...], dimensions: tuple[Any, ...], chunk: int | None = None
) -> Tensor:
    """Results for every sample, at once, or one after the other for losses that branch on values."""
    try:
        return torch.func.vmap(function, in_dims=dimensions, chunk_size=chunk)(*arguments)
    except RuntimeError as error:
        if "random" in str(error):  # random numbers of the loss would count as an effect of the noise at the nodes
            raise
    single = [
        tree_map(
            lambda part, batched, place=place: part if batched is None else part.select(batched, place),
            arguments,
            dimensions,
        )
        for place in range(arguments[0].shape[dimensions[0]])
    ]
    return torch.stack([function(*each) for each in single])
