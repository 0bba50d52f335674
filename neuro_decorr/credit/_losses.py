"""The loss of every sample, in float64."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit.base import LossFunction, scalar_loss
from neuro_decorr.errors import InvalidValue, Unsupported

# Sums over samples in another order, or a loss that computes in float32 whatever it gets, stay far below this.
_TOLERANCE = 1e-4


@final
class SampleLosses:
    """The losses of the samples of a batch, such that the total loss is `share` times their sum.

    A loss function that takes `reduction` (those of `torch.nn.functional`), or a module that has it (those of
    `torch.nn`), is asked for reduction "none"; any other one is evaluated on batches of one sample by `torch.vmap`.
    Evaluated in float64 where the loss function can, since the estimators take small differences.

    Args:
        loss_function: Maps (outputs, targets) to a scalar: the mean or the sum over the samples.
        targets: Passed on to it.
    """

    def __init__(self, loss_function: LossFunction, targets: Any) -> None:
        self._loss_function = loss_function
        self._unreduced = _without_reduction(loss_function)
        self._targets = targets
        floating = isinstance(targets, Tensor) and targets.is_floating_point()
        self._wide_targets = targets.double() if floating else targets
        self._wide = True

    def of(self, outputs: Any) -> Tensor:
        """The unreduced losses (samples, ...) of a pass, without graph."""
        if not isinstance(outputs, Tensor):
            raise Unsupported(f"perturbation needs a model that returns one tensor, got {type(outputs).__name__}.")
        with torch.no_grad():
            losses = self._evaluate(self._unreduced, outputs)
        if not isinstance(losses, Tensor) or losses.dim() == 0:
            raise Unsupported(
                "perturbation needs the loss of every sample, and this loss function returns one number even when its "
                "reduction is 'none'; pass one that honours `reduction`, or a plain function of (outputs, targets)."
            )
        return losses.double()

    def total(self, outputs: Tensor, losses: Tensor) -> tuple[Tensor, float]:
        """The total loss of the clean pass, and what each of its unreduced losses contributes to it.

        Args:
            outputs: Outputs of the clean pass.
            losses: What `of(outputs)` returned.

        Returns:
            The loss as `loss_function` computes it, a detached scalar in the precision of the outputs; and `share`,
            with total = share * losses.sum(): 1 / number of losses for a mean, 1 for a sum.

        Raises:
            InvalidValue: The total is neither the mean nor the sum.
            Unsupported: The loss depends on parameters other than through the outputs.
        """
        loss = self._evaluate(functools.partial(scalar_loss, self._loss_function), outputs)
        if loss.requires_grad:
            raise Unsupported(
                "the loss depends on trainable parameters other than through the model's output (a weight penalty?), "
                "which perturbation of the nodes cannot see; use weight_decay of the optimiser, or add its gradient "
                "yourself."
            )
        total, average, count = loss.item(), losses.mean().item(), losses.numel()
        size = abs(average)
        if abs(total - average) > _TOLERANCE * size:
            size = losses.abs().mean().item()  # losses of both signs may nearly cancel
        if abs(total - average) <= _TOLERANCE * size or not math.isfinite(total):
            share = 1 / count
        elif abs(total - average * count) <= _TOLERANCE * size * count:
            share = 1.0
        else:
            raise InvalidValue(
                f"the loss of the batch ({total:.6g}) is neither the mean ({average:.6g}) nor the sum "
                f"({average * count:.6g}) of the losses of its samples, so it cannot be attributed to them; pass a "
                "loss function that averages over samples, without class weights or ignored targets."
            )
        return loss.detach().to(outputs.dtype), share

    def _evaluate(self, function: Callable[[Any, Any], Any], outputs: Tensor) -> Any:
        if self._wide:
            try:
                return function(outputs.double(), self._wide_targets)
            except (RuntimeError, TypeError):
                # A loss with parameters of its own precision (class weights), or a device without float64. What is
                # wrong for another reason fails again below, with its own message.
                self._wide = False
        return function(outputs, self._targets)


def per_sample(losses: Tensor) -> Tensor:
    """Sum of the losses (samples, ...) over everything but the sample."""
    return losses if losses.dim() == 1 else losses.flatten(1).sum(1)


def _without_reduction(loss_function: LossFunction) -> Callable[[Any, Any], Tensor]:
    if isinstance(loss_function, nn.Module) and isinstance(getattr(loss_function, "reduction", None), str):
        module: Any = copy.copy(loss_function)
        module.reduction = "none"
        unreduced: Callable[[Any, Any], Tensor] = module
        return unreduced
    if _accepts_reduction(loss_function):
        reducible: Callable[..., Tensor] = loss_function
        return functools.partial(reducible, reduction="none")
    return functools.partial(_one_by_one, loss_function)


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
    batched = isinstance(targets, Tensor) and targets.shape[:1] == outputs.shape[:1]

    def single(output: Tensor, target: Any) -> Tensor:
        return scalar_loss(loss_function, output.unsqueeze(0), target.unsqueeze(0) if batched else target)

    return torch.func.vmap(single, in_dims=(0, 0 if batched else None))(outputs, targets)
