"""Weights behind a Decorrelation: their layer, and their form as a matrix."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeGuard, TypeVar, final, get_args

import torch
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue, Unsupported, shown
from neuro_decorr.libraries import is_chain
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.precision import exactly
from neuro_decorr.row_choice import Convolution, TransposedConvolution

WeightLayer: TypeAlias = nn.Linear | Convolution | TransposedConvolution
"""Layers that can be decorrelated; layers of a registered class have the attributes of a Linear."""

Layout = Literal["outputs_first", "inputs_first"]
"""Layout of the weight of a Linear-like class: (outputs, inputs), as in torch, or (inputs, outputs)."""

Kind = TypeVar("Kind", bound=type[nn.Module])

_LAYOUTS: dict[type[nn.Module], Layout] = {nn.Linear: "outputs_first"}
_CONVOLUTIONS: frozenset[type[nn.Module]] = frozenset((*get_args(Convolution), *get_args(TransposedConvolution)))


def register_linear(kind: Kind, weight: Layout = "outputs_first") -> Kind:
    r"""Register a class whose layers `decorrelate` treats as Linear layers, for classes of other libraries.

    $$y = W x + b$$

    Such a layer takes its input (..., inputs) as the first argument and holds a parameter `weight` of two dimensions
    and a `bias` of shape (outputs,), or None. Subclasses count as well.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> class Projection(torch.nn.Module):  # as Conv1D of the library transformers, in GPT-2
        ...     def __init__(self, inputs, outputs):
        ...         super().__init__()
        ...         self.weight = torch.nn.Parameter(torch.randn(inputs, outputs))
        ...         self.bias = torch.nn.Parameter(torch.zeros(outputs))
        ...
        ...     def forward(self, x):
        ...         return torch.addmm(self.bias, x, self.weight)
        >>> nd.rate.register_linear(Projection, weight="inputs_first").__name__
        'Projection'
        >>> nd.decorrelate(Projection(3, 2)).decorrelation.features
        3

    Args:
        kind: Class of torch modules.
        weight: `outputs_first`: its weight has the shape (outputs, inputs); `inputs_first`: (inputs, outputs).

    Returns:
        The class, so that this function can decorate it.

    Raises:
        InvalidValue: The argument is not a class of modules, is known already or belongs to torch; the order does not
            exist, or the class is registered with another one.
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):  # type: ignore[redundant-expr]  # users may err
        raise InvalidValue(f"register_linear takes a class of torch modules, got {shown(kind)}.")
    if weight not in get_args(Layout):
        allowed = " or ".join(map(repr, get_args(Layout)))
        raise InvalidValue(
            f"register_linear: weight, the order of its dimensions, must be {allowed}, got {shown(weight)}."
        )
    if kind is nn.Linear or issubclass(kind, nn.modules.conv._ConvNd):
        raise InvalidValue(
            f"register_linear: {kind.__name__} can be decorrelated without registration: leave register_linear out."
        )
    if kind.__module__.startswith("torch.nn."):
        raise InvalidValue(
            f"register_linear: {kind.__name__} belongs to torch and does not compute W x + b: register a class of your "
            "own, or of another library."
        )
    if _LAYOUTS.get(kind, weight) != weight:
        raise InvalidValue(
            f'register_linear: {kind.__name__} is registered with weight="{_LAYOUTS[kind]}", on which decorrelated '
            "layers depend: use that order, or a fresh process."
        )
    _LAYOUTS[kind] = weight
    return kind


def is_weight_layer(module: nn.Module) -> TypeGuard[WeightLayer]:
    """True if a module is of a class that can be decorrelated."""
    return _kind(module) is not None


def is_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """True if a module is a Linear, or of a class registered as linear."""
    return _kind(module) in _LAYOUTS


def layout_of(layer: nn.Module) -> Layout | None:
    """Order of the dimensions of a linear layer's weight; None for all other layers."""
    kind = _kind(layer)
    return None if kind is None else _LAYOUTS.get(kind)


def plain_class(layer: nn.Module) -> type[nn.Module]:
    """Class of a layer; for a decorrelated layer the class before decorrelation."""
    found: type[nn.Module] = getattr(type(layer), "plain_class", type(layer))
    return found


@final
@dataclass(frozen=True, eq=False)
class Weights:
    """Weights that act on the outputs of one Decorrelation, as a matrix of shape (rows, features).

    A row is an output unit. For a convolution with decorrelated channels a row is an output unit at one position of the
    kernel, since D acts equally at every position. A grouped convolution has a matrix per group: (groups, rows,
    features).

    Attributes:
        layer: Layer that owns the weights.
        groups: Number of groups of channels of the layer.
        per_channel: True if D acts on channels, False if on patches.
    """

    layer: WeightLayer
    groups: int = 1
    per_channel: bool = False

    @property
    def outputs(self) -> int:
        """Number of outputs of the layer."""
        return self._arranged(self.layer.weight).shape[:2].numel()

    @property
    def bias(self) -> Tensor | None:
        """Biases, or the offset of `make_offset` in their place, shape (outputs,)."""
        bias: Tensor | None = self.layer.bias
        return bias

    def make_offset(self) -> None:
        """Give a layer without bias an offset that only compensation moves; see `make_offset`."""
        make_offset(self.layer)

    def matrix(self, whole: Tensor | None = None) -> Tensor:
        """Matrix W, shape (rows, features), or (groups, rows, features); a view if the memory layout allows.

        Args:
            whole: Tensor of the shape of the layer's weight to be arranged in its place.
        """
        whole = self.layer.weight if whole is None else whole
        if whole.dim() == 2:
            return whole if self._outputs_first() else whole.t()
        if self.groups > 1:
            block = self._arranged(whole)
            return block.movedim(2, -1).flatten(1, -2) if self.per_channel else block.flatten(2)
        # Runs at every forward pass, and each operation has a backward, so no dimension of a single group is added.
        block = whole.transpose(0, 1) if self._transposed() else whole
        return block.movedim(1, -1).flatten(0, -2) if self.per_channel else block.flatten(1)

    def shaped(self, matrix: Tensor) -> Tensor:
        """Matrix in the shape of the weight."""
        if self.layer.weight.dim() == 2:
            return matrix if self._outputs_first() else matrix.t()
        if self.groups == 1 and not self.per_channel:
            return matrix.reshape(self.layer.weight.shape)
        block = self._block(matrix)
        return (block.transpose(1, 2) if self._transposed() else block).flatten(0, 1)

    def write(self, matrix: Tensor, whole: Tensor | None = None) -> None:
        """Write back the result of `matrix` after a change in place; a view needs no writing."""
        whole = self.layer.weight if whole is None else whole
        if matrix.data_ptr() != whole.data_ptr():
            self._arranged(whole).copy_(self._block(matrix))

    def response(self, matrix: Tensor, constant: Tensor) -> Tensor:
        """Change of the outputs by a constant change of the inputs.

        Args:
            matrix: W, shape (rows, features), or (groups, rows, features).
            constant: Change of every input row, shape (features,), or (groups, features).

        Returns:
            The change, shape (outputs,).
        """
        if matrix.dim() == 2 and not self.per_channel:
            return matrix @ constant
        return (matrix @ constant.unsqueeze(-1)).reshape(self.outputs, -1).sum(dim=1)

    def _outputs_first(self) -> bool:
        return _LAYOUTS.get(_kind(self.layer)) == "outputs_first"  # type: ignore[arg-type]  # None is not in there

    def _transposed(self) -> bool:
        return isinstance(self.layer, TransposedConvolution)

    def _arranged(self, whole: Tensor) -> Tensor:
        """Tensor of the shape of the weight as a view (groups, outputs, channels, *kernel)."""
        if whole.dim() == 2:
            return (whole if self._outputs_first() else whole.t()).unsqueeze(0)
        block = whole.view(self.groups, -1, *whole.shape[1:])
        return block.transpose(1, 2) if self._transposed() else block

    def _block(self, matrix: Tensor) -> Tensor:
        """Matrix in the shape (groups, outputs, channels, *kernel)."""
        _, outputs, channels, *kernel = self._arranged(self.layer.weight).shape
        if self.per_channel:
            return matrix.reshape(self.groups, outputs, *kernel, channels).movedim(-1, 2)
        return matrix.reshape(self.groups, outputs, channels, *kernel)


def make_offset(layer: WeightLayer) -> None:
    """Give a layer without bias an offset: a buffer of shape (outputs,), zero at first.

    The offset is not a parameter, so that no optimiser moves it; compensation does when the running mean moves. `fold`
    turns it into a bias. A layer with a bias stays as it is.
    """
    if layer.bias is None:
        outputs = Weights(layer, groups_of(layer)).outputs
        del layer.bias
        layer.register_buffer("bias", layer.weight.detach().new_zeros(outputs))


def groups_of(layer: WeightLayer) -> int:
    """Number of groups of channels of a layer."""
    return 1 if is_linear(layer) else layer.groups  # type: ignore[return-value]  # of a convolution


def features_of(layer: WeightLayer, on_channels: bool = False) -> int:
    """Number of features that the weights of a layer see, in one group: inputs, patches, or channels.

    Args:
        layer: The layer.
        on_channels: True counts the channels of a convolution, False its patches.

    Raises:
        Unsupported: A layer of a registered class does not have the attributes of a linear layer.
    """
    found: Any = getattr(layer, "weight", None)
    if is_linear(layer):
        if not isinstance(found, Tensor) or found.dim() != 2 or not hasattr(layer, "bias"):
            held = f"a weight of shape {tuple(found.shape)}" if isinstance(found, Tensor) else "no tensor 'weight'"
            raise Unsupported(
                f"{plain_class(layer).__name__} is registered as linear, which needs a weight of two dimensions and a "
                f"bias or None; it has {held} and {'a' if hasattr(layer, 'bias') else 'no'} bias: skip the layer."
            )
        return found.shape[1 if Weights(layer)._outputs_first() else 0]
    weight: Tensor = found
    if isinstance(layer, TransposedConvolution):
        return weight.shape[0] // layer.groups
    return weight.shape[1] if on_channels else weight[0].numel()


def decorrelation_of(layer: nn.Module) -> tuple[Decorrelation, Weights] | None:
    """Decorrelation that `decorrelate` put before a layer, with the weights behind it; None if there is none."""
    held = layer._modules.get("decorrelation")
    if not isinstance(held, Decorrelation) or not is_weight_layer(layer):
        return None
    if is_linear(layer):
        return held, Weights(layer)
    per_channel = isinstance(layer, TransposedConvolution) or held.features != layer.weight[0].numel()
    return held, Weights(layer, groups_of(layer), per_channel)


def weights_behind_cells(model: nn.Module) -> dict[Decorrelation, Weights]:
    """Weights of plain Linear layers that directly follow a cell with a Decorrelation in a Sequential."""
    sequences = [
        [child for child in module._modules.values() if child is not None]
        for module in model.modules()
        if is_chain(module)
    ]
    uses = Counter(child for module in model.modules() for child in module._modules.values())
    return {
        cell.decorrelation: Weights(layer)
        for sequence in sequences
        for cell, layer in pairwise(sequence)
        if isinstance(cell, DecorrelationCell)
        and is_linear(layer)
        and decorrelation_of(layer) is None
        and not (computes_of_its_own(layer) or layer._forward_pre_hooks)
        and uses[cell] == uses[layer] == 1
    }


def computes_of_its_own(layer: WeightLayer) -> bool:
    """True if a layer uses its weight in another way than its known class does."""
    kind, plain = _kind(layer), plain_class(layer)
    assert kind is not None
    methods = ["forward"]
    if issubclass(kind, nn.modules.conv._ConvNd):
        methods.append("_conv_forward" if issubclass(kind, Convolution) else "_output_padding")
    return "forward" in vars(layer) or any(getattr(plain, name) is not getattr(kind, name) for name in methods)


def folded(layer: WeightLayer, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight W D of the plain layer, and the shift W D mean that its bias loses; differentiable in W.

    Args:
        layer: A decorrelated layer.
        dtype: Type of the products and of the results.

    Returns:
        The weight in its own shape, and the shift, shape (outputs,).
    """
    found = decorrelation_of(layer)
    assert found is not None
    decorrelation, weights = found
    matrix = decorrelation.fold_into(weights.matrix().to(dtype))
    with exactly(matrix):
        shift = weights.response(matrix, decorrelation.subtracted().to(dtype))
    return weights.shaped(matrix), shift


def _kind(module: nn.Module) -> type[nn.Module] | None:
    """Known class of a module."""
    for kind in type(module).__mro__:
        if kind in _LAYOUTS or kind in _CONVOLUTIONS:
            return kind
    return None
