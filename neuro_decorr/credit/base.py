"""Credit assignment: an abstract module that fills the gradients of a model it does not own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from neuro_decorr.credit._layers import walk
from neuro_decorr.credit.stateful import Stateful
from neuro_decorr.errors import InvalidValue, NeuroDecorrError, StateMismatch, Unsupported

LossFunction = Callable[[Any, Any], Tensor]
"""Function of (outputs, targets) that returns one scalar, such as `torch.nn.functional.cross_entropy`."""


class Credit(nn.Module, ABC):
    """Credit assignment for a loss to the parameters of a model.

    A credit holds the model without registering it. `state_dict()` contains only what the credit owns (feedback
    weights, the state of its noise). `parameters()` returns those of its tensors that an optimiser has to learn: the
    feedback weights of `kolen_pollack`, the readouts of `local_forward_gradient`, else none. `.train()` and `.to()` do
    not act on the model. `copy.deepcopy` copies the model as well; copy both in one call,
    `copy.deepcopy((model, credit))`, to keep them paired.

    A subclass describes itself in the class attributes below, which are its row in the table of credits. It takes
    `seed` by keyword, as every credit does, so that the same call makes any of them.

    Attributes:
        name: Name for `neuro_decorr.credit.get`.
        signal: Quantity that is perturbed, fed back or broadcast.
        bias: Difference of the expected estimate from the gradient.
        variance: Variance of one estimate; N is the number of nodes.
        locality: Quantities that a synapse needs.
        cost: Number of passes through the model.
        memory: Tensors kept beside the model until the gradients are complete.
        dense: "yes", or the reason why the credit cannot treat Linear layers.
        convolutional: "yes", or the reason why the credit cannot treat convolutions.
        source: Author, year, title and identifier of the publication.
        needs_autograd: True if the credit needs torch's gradients to be on.

    Args:
        model: Network whose gradients are to be filled. The credit reads its modules once, here; their number and
            identity must not change afterwards (their parameters, modes, devices and hooks may).

    Raises:
        InvalidValue: `model` is not a `torch.nn.Module`.
    """

    name: ClassVar[str]
    signal: ClassVar[str]
    bias: ClassVar[str]
    variance: ClassVar[str]
    locality: ClassVar[str]
    cost: ClassVar[str]
    memory: ClassVar[str]
    dense: ClassVar[str] = "yes"
    convolutional: ClassVar[str] = "yes"
    source: ClassVar[str]
    needs_autograd: ClassVar[bool] = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise InvalidValue(f"the model of a credit must be a torch.nn.Module, got {type(model).__name__}.")
        self._held = (model,)  # a tuple, since nn.Module registers a module that is assigned directly
        self._modules_of_model = walk(model)
        self._is_stateful = isinstance(model, Stateful)

    @property
    def model(self) -> nn.Module:
        """Model whose gradients this credit fills."""
        return self._held[0]

    @abstractmethod
    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Evaluate the loss and add its (estimated) gradient to the `.grad` of the model's parameters.

        The call adds to existing gradients, as `Tensor.backward` does; parameters with `requires_grad=False` get none.

        Args:
            loss_function: Function of (outputs, targets) that returns a scalar loss. If the model returns (output,
                state), the function gets the output. If the output holds all time steps, (steps, samples, outputs), the
                function has to reduce them, such as
                `lambda outputs, targets: F.cross_entropy(outputs.sum(0), targets)`.
            inputs: Inputs of the model. The first dimension is the sample; in networks whose tensors are sequences, the
                first of three or more dimensions is time.
            targets: Targets for `loss_function`.

        Returns:
            The loss, a detached scalar.

        Raises:
            StateMismatch: The modules of the model have changed, or gradients are switched off and the credit needs
                them.
            InvalidValue: The batch has no samples, or the loss is not a scalar tensor.
            Unsupported: The model has no trainable parameters, or the credit cannot treat it.
        """

    def _checked_model(self, inputs: Any) -> nn.Module:
        """Check that the model has the modules for which this credit was made and that a pass is possible.

        Args:
            inputs: Inputs of the model.

        Returns:
            The model.

        Raises:
            StateMismatch: The modules have changed, or gradients are switched off and this credit needs them.
            InvalidValue: The batch has no samples.
            Unsupported: The model has no trainable parameters.
        """
        model = self._held[0]
        if self.needs_autograd and not torch.is_grad_enabled():
            raise StateMismatch(
                f"{self.name} needs gradients, which are switched off here: call backward outside torch.no_grad() and "
                "torch.inference_mode()."
            )
        given = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
        if self.needs_autograd and not any(each.requires_grad for each in (*given, *model.parameters())):
            raise Unsupported(
                f"{self.name} needs a model with trainable parameters; this one has none, or none with requires_grad."
            )
        for tensor in given:
            if tensor.numel() == 0:
                raise InvalidValue(
                    f"inputs must hold at least one sample, got an empty tensor of shape {tuple(tensor.shape)}: leave "
                    "out empty batches."
                )
        if walk(model) != self._modules_of_model:
            raise StateMismatch(
                f"the modules of the model have changed since this {self.name} was made "
                "(a layer was replaced, added or removed): make the credit again after the change."
            )
        if self._is_stateful:
            model.detach()  # type: ignore[operator]  # it has it
        return model


def scalar_loss(loss_function: LossFunction, outputs: Any, targets: Any) -> Tensor:
    """Compute the loss of a pass and check that it is one number.

    Args:
        loss_function: Function of (outputs, targets) that returns a scalar loss.
        outputs: Outputs of the model.
        targets: Targets for `loss_function`.

    Returns:
        The loss, a scalar with its graph.

    Raises:
        InvalidValue: The loss is not a scalar tensor.
    """
    with in_words(outputs):
        return unchecked_loss(loss_function, outputs, targets)


@contextmanager
def in_words(outputs: Any) -> Iterator[None]:
    """Context in which a loss function that fails on sequences raises an error with the remedy.

    Raises:
        InvalidValue: The loss function failed on outputs of three or more dimensions.
    """
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, NeuroDecorrError) or not isinstance(outputs, Tensor) or outputs.dim() < 3:
            raise
        raise InvalidValue(
            f"the loss function failed on outputs of shape {tuple(outputs.shape)}: {str(error).splitlines()[0]} "
            "If these are (steps, samples, outputs), reduce the steps: lambda outputs, targets: "
            "F.cross_entropy(outputs.sum(0), targets)."
        ) from error


def unchecked_loss(loss_function: LossFunction, outputs: Any, targets: Any) -> Tensor:
    """Do the work of `scalar_loss` without changing errors of the loss function."""
    loss: Any = loss_function(outputs, targets)
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise InvalidValue(f"the loss function must return a scalar tensor, got {got}: reduce it (mean or sum).")
    return loss
