r"""Decorrelated layers, each an instance of a subclass of its own class whose forward pass applies D.

The layer keeps its name and its parameters, and `isinstance` works as before; only its class is exchanged, as
`torch.nn.utils.parametrize` and FSDP2 do. A hook or an attribute of the instance would not work: a graph that
`torch.compile` made of a plain layer is guarded by the class of the layer and not by its hooks, so that a second model
in the process would run without D. A method bound to an instance would continue to use its weights in a copy.

Each class of layers has one such subclass. It computes

- for a Linear, or a class registered as linear (`neuro_decorr.rate.register_linear`): its own forward of D (z - mean);
- for a convolution: the convolution with D folded into the kernel (see `neuro_decorr.rate.convolution`).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.libraries import check_not_traced_by_nirtorch
from neuro_decorr.rate.convolution import convolved, transposed
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.weights import decorrelation_of, make_offset
from neuro_decorr.row_choice import Convolution, TransposedConvolution


def attach(layer: nn.Module, decorrelation: Decorrelation) -> None:
    """Let a layer decorrelate its input: add the submodule, and exchange the class for one that uses it.

    Args:
        layer: A Linear, a convolution, or a layer of a registered class.
        decorrelation: Decorrelation with the features of the layer's input.
    """
    layer.decorrelation = decorrelation
    _exchange(layer, decorrelated_class)


def detach(layer: nn.Module) -> None:
    """Undo `attach`; the weights stay as they are."""
    del layer.decorrelation
    _exchange(layer, lambda found: getattr(found, "plain_class", found))


@functools.cache
def decorrelated_class(plain: type[nn.Module]) -> type[nn.Module]:
    """Class of the decorrelated layers of a class; the same at every call."""
    kind: type[nn.Module] = _DecorrelatedLinear
    if issubclass(plain, Convolution):
        kind = _DecorrelatedConvolution
    elif issubclass(plain, TransposedConvolution):
        kind = _DecorrelatedTransposed
    # In the module of the plain class, by which torch.fx and others recognise torch's own layers.
    members = {"plain_class": plain, "__module__": plain.__module__, "__doc__": plain.__doc__}
    return type(f"Decorrelated{plain.__name__}", (kind, plain), members)


def keep_within_reach(model: nn.Module) -> None:
    """Prevent fused kernels from bypassing the decorrelated layers of a model.

    In eval mode a TransformerEncoderLayer gives the weights of its layers to one kernel, unless a module inside has a
    hook. So every Decorrelation inside gets a hook that does nothing.
    """
    for encoder in model.modules():
        if isinstance(encoder, nn.TransformerEncoderLayer):
            for module in encoder.modules():
                if isinstance(module, Decorrelation) and not module._forward_hooks:
                    module.register_forward_hook(_nothing)


class _Attached(nn.Module):
    """Base of all decorrelated layers."""

    plain_class: type[nn.Module]

    def decorrelated_weight(self, weight: Tensor) -> Tensor:
        """Product W D for any W of the shape of the layer's weight, or of a Linear with other outputs; without mean."""
        found = decorrelation_of(self)
        assert found is not None  # it is attached
        decorrelation, weights = found
        return weights.shaped(decorrelation.fold_into(weights.matrix(weight)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Let a copy or a pickle find the class by the plain class, since no module holds it by name.

        A weight that a hook computed from others, as in a pruned layer, is copied as a plain tensor: torch copies no
        results of operations, and the hook computes the weight anew.
        """
        reduced = super().__reduce_ex__(protocol)
        if "plain_class" not in vars(type(self)) or not isinstance(reduced, tuple):
            return reduced
        make, arguments, *state = reduced
        if state and isinstance(state[0], dict):
            state[0] = {
                name: value.detach() if isinstance(value, Tensor) and not value.is_leaf else value
                for name, value in state[0].items()
            }
        plain = self.plain_class
        return (
            _made,
            (plain, make, *(plain if argument is type(self) else argument for argument in arguments)),
            *state,
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Load a state; a layer without bias takes the offset that compensation gave to the saved layer."""
        if prefix + "bias" in state_dict and getattr(self, "bias", self) is None:
            make_offset(self)  # type: ignore[arg-type]  # a weight layer
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class _DecorrelatedLinear(_Attached):
    def decorrelated_input(self, input: Tensor) -> Tensor:
        """Input x = D (z - mean) of the plain class in place of z, shape (..., features)."""
        decorrelation: Any = self._modules["decorrelation"]
        weight = self._parameters.get("weight")
        given: object = input  # users may err
        if not isinstance(given, Tensor) or (weight is not None and given.dtype != weight.dtype):
            self._check_input(input, weight)
        if input.is_nested:
            return _of_nested(decorrelation, input)
        return decorrelation(input)  # type: ignore[no-any-return]

    def _check_input(self, input: object, weight: Tensor | None) -> None:
        """Raise InvalidValue unless the input is a tensor of a type that torch's Linear takes without autocast.

        A layer of a registered class may cast its input, and D takes any type that is not wider than its own.
        """
        kind = self.plain_class.__name__
        if not isinstance(input, Tensor):
            raise InvalidValue(
                f"the input of a decorrelated {kind} must be a tensor of shape (..., features), got {shown(input)}."
            )
        if self.plain_class.forward is nn.Linear.forward and not torch.is_autocast_enabled(input.device.type):
            raise InvalidValue(
                f"a decorrelated {kind} with weights of {weight.dtype} got an input of {input.dtype}: cast the input "  # type: ignore[union-attr]
                "(inputs.to(weight.dtype)) or the model, or run it inside torch.autocast."
            )

    def forward(self, input: Tensor, *arguments: Any, **keywords: Any) -> Any:
        check_not_traced_by_nirtorch("decorrelation")
        return super().forward(self.decorrelated_input(input), *arguments, **keywords)


class _DecorrelatedConvolution(_Attached):
    def forward(self, input: Tensor) -> Tensor:
        check_not_traced_by_nirtorch("decorrelation")
        return convolved(self, input)  # type: ignore[arg-type]  # a convolution


class _DecorrelatedTransposed(_Attached):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        check_not_traced_by_nirtorch("decorrelation")
        return transposed(self, input, output_size)  # type: ignore[arg-type]  # a transposed convolution


def _exchange(layer: nn.Module, exchanged: Any) -> None:
    """Exchange the class of a layer, beneath the class of torch's parametrizations, which restore the class below."""
    found = type(layer)
    if not parametrize.is_parametrized(layer):
        layer.__class__ = exchanged(found)
        return
    # Always a new class: its properties vanish from all copies when the parametrization is removed.
    members = {name: value for name, value in vars(found).items() if name not in ("__dict__", "__weakref__")}
    layer.__class__ = type(found.__name__, tuple(map(exchanged, found.__bases__)), members)


def _made(plain: type[nn.Module], make: Any, *arguments: Any) -> nn.Module:
    layer: nn.Module = make(*arguments)
    layer.__class__ = decorrelated_class(plain)  # type: ignore[arg-type]  # a class can be hashed
    return layer


def _of_nested(decorrelation: nn.Module, inputs: Tensor) -> Tensor:
    """Apply D to sequences of unequal lengths, which a TransformerEncoder makes of a padding mask in eval mode."""
    if inputs.layout == torch.jagged:
        jagged: Any = inputs
        return torch.nested.nested_tensor_from_jagged(
            decorrelation(inputs.values()), jagged.offsets(), jagged.lengths()
        )
    sequences = inputs.unbind()
    rows = decorrelation(torch.cat(sequences))
    return torch.nested.as_nested_tensor(list(rows.split([len(sequence) for sequence in sequences])))


def _nothing(*_: Any) -> None:
    """Hook that does nothing, whose presence is enough."""
