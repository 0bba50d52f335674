"""What every credit assignment is: an abstract module that fills the gradients of a model it does not own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from neuro_decorr.credit._layers import walk
from neuro_decorr.errors import InvalidValue, StateMismatch

LossFunction = Callable[[Any, Any], Tensor]
"""A function of (outputs, targets) that returns one scalar, such as `torch.nn.functional.cross_entropy`."""


class Credit(nn.Module, ABC):
    """A way to assign credit for a loss to the parameters of a model.

    The model is held without being registered: `state_dict()` holds only what the credit itself owns (feedback
    weights, the state of its noise), `parameters()` what of that an optimiser is to learn (the feedback weights of
    `kolen_pollack`, the readouts of `local_forward_gradient`, else nothing), and `.train()` or `.to()` leave the model
    alone. `copy.deepcopy` copies the model as well; copy the pair in one call, `copy.deepcopy((model, credit))`, to
    keep them paired.

    A subclass describes itself in the class attributes below, which are its row in the table of credits, and takes
    `seed` by keyword, as every credit does, so that the same call makes any of them.

    Attributes:
        name: What `get` calls it.
        signal: What is perturbed or fed back.
        bias: How the expected estimate differs from the gradient.
        variance: How much one estimate scatters around its expectation; N is the number of nodes.
        locality: What a synapse has to know.
        cost: Passes.
        memory: What is kept beside the model until the gradients are there.
        dense: "yes", or why it cannot treat Linear layers.
        convolutional: The same of convolutions.
        source: Author, year, title, identifier.
        needs_autograd: Whether it needs torch's gradients to be on.

    Args:
        model: The network whose gradients are to be filled. Its modules are read once, here; their number and
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
            raise InvalidValue(f"a credit needs a torch.nn.Module as its model, got {type(model).__name__}.")
        self._held = (model,)  # a tuple, since nn.Module registers a module that is assigned directly
        self._modules_of_model = walk(model)

    @property
    def model(self) -> nn.Module:
        """The model whose gradients this credit fills."""
        return self._held[0]

    @abstractmethod
    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Evaluate the loss and add its (estimated) gradient to the `.grad` of the model's parameters.

        Adds to what is there, as `Tensor.backward` does; parameters with `requires_grad=False` get none.

        Args:
            loss_function: Maps (outputs, targets) to a scalar loss.
            inputs: What the model is called with; the first dimension is the sample, or, where the credit was made
                with `time_first`, the time of three or more.
            targets: Passed on to `loss_function`.

        Returns:
            The loss, a detached scalar.
        """

    def _checked_model(self, inputs: Any) -> nn.Module:
        """The model, once it is certain that it has the modules this credit was made for, and that a pass makes sense.

        Args:
            inputs: What the model is to be called with.

        Returns:
            The model.

        Raises:
            StateMismatch: The modules have changed, or gradients are switched off and this credit needs them.
            InvalidValue: A batch without samples.
        """
        model = self._held[0]
        if self.needs_autograd and not torch.is_grad_enabled():
            raise StateMismatch(
                f"{self.name} needs gradients, which are switched off here: call backward outside torch.no_grad() and "
                "torch.inference_mode()."
            )
        for tensor in tree_leaves(inputs):
            if isinstance(tensor, Tensor) and tensor.numel() == 0:
                raise InvalidValue(
                    f"inputs: got a tensor of shape {tuple(tensor.shape)}, which holds nothing; credit needs samples: "
                    "leave out empty batches."
                )
        if walk(model) != self._modules_of_model:
            raise StateMismatch(
                f"the modules of the model have changed since this {self.name} was made "
                "(a layer was replaced, added or removed); make the credit again, after the change."
            )
        return model


def scalar_loss(loss_function: LossFunction, outputs: Any, targets: Any) -> Tensor:
    """The loss of a pass, checked to be one number.

    Args:
        loss_function: Maps (outputs, targets) to a scalar loss.
        outputs: Outputs of the model.
        targets: What the outputs are compared with.

    Returns:
        The loss, a scalar with its graph.

    Raises:
        InvalidValue: The loss is not a scalar tensor.
    """
    loss: Any = loss_function(outputs, targets)
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise InvalidValue(f"the loss function must return a scalar tensor, got {got}; reduce it (mean or sum).")
    return loss
