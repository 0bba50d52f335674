"""Weights of the rows of a batch, by which padding tokens drive neither the mean nor D."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rate.copying import check_model


class Counted(NamedTuple):
    """Rows of one pass that count.

    Attributes:
        rows: Indices of these rows, in order.
        weights: Weights of all rows of the pass.
        total: Sum of the weights.
        common: Weight of every row that counts, if these are equal.
    """

    rows: Tensor
    weights: Tensor
    total: float
    common: float | None

    def of_sampled(self, chosen: Tensor) -> Tensor | None:
        """Weights of some rows; None if each counts one."""
        return None if self.common == 1 else self.weights[chosen]

    def sum_of(self, drive: Tensor) -> Tensor:
        """Weighted sum of the rows, shape (features,); rows of weight zero do not enter, even if not finite.

        Args:
            drive: All rows, shape (rows, features).
        """
        counting = drive.index_select(0, self.rows)
        if self.common is None:
            return self.weights[self.rows].to(drive.dtype) @ counting
        return counting.sum(dim=0) * self.common


@final
class Weighing:
    """Row weights inside the context `row_weights`, with a record of the passes that used them.

    Args:
        weights: Checked weights.
    """

    def __init__(self, weights: tuple[Tensor, ...]) -> None:
        self._counted = {tuple(given.shape): _counted(given) for given in weights}
        self.shapes = list(self._counted)
        self.unmet = set(self._counted)
        self.asked = False

    def of_rows(self, inputs: Tensor, mapped: bool) -> Counted | None:
        """Rows of the input of one layer that count; None if all do.

        Args:
            inputs: Input of the layer, shape (..., features).
            mapped: True if `vmap` maps a dimension of the input.

        Raises:
            InvalidValue: The leading dimensions are neither those of weights nor the first few of them.
            Unsupported: The pass runs in a compiled graph or inside vmap.
        """
        if torch.compiler.is_compiling() or mapped:
            where = "vmap" if mapped else "a compiled graph"
            raise Unsupported(
                f"neuro_decorr.rate.row_weights does not work inside {where}, where the number of rows that count is "
                "not known: run the model without it, or use neuro_decorr.rate.unremembered(model) for this pass."
            )
        self.asked = True
        leading = tuple(inputs.shape[:-1])
        found = self._counted.get(leading)
        if found is None:
            if not any(shape[: len(leading)] == leading for shape in self.shapes):
                raise InvalidValue(
                    f"row_weights of shape {_listed(self.shapes)} do not fit the rows of an input of shape "
                    f"{tuple(inputs.shape)}: lay them out as the inputs of the layers are, or pass further weights of "
                    f"shape {leading} for this input (ones if all rows count)."
                )
            return None
        self.unmet.discard(leading)
        if found.rows.device != inputs.device:
            found = found._replace(rows=found.rows.to(inputs.device), weights=found.weights.to(inputs.device))
            self._counted[leading] = found
        return found


@contextmanager
def row_weights(model: nn.Module, *weights: Tensor) -> Iterator[None]:
    r"""Context whose forward passes drive the plasticity by weighted rows, so that padding tokens need not count.

    $$
    \mu \leftarrow \mu + \rho \frac{\sum_i w_i (z_i - \mu)}{\sum_i w_i}, \qquad
    C = \frac{\sum_i w_i\, x_i x_i^T}{\sum_i w_i}
    $$

    The outputs of the model stay as they are. A layer whose input has the leading dimensions of the weights counts row
    by row: sampled rows are spread over those of positive weight and scaled by the square root of their weight over the
    mean weight, so that every covariance of a rule is the weighted one. Rows of equal weight are not scaled; the
    plasticity then acts as on the batch without the other rows. A layer whose input has only the first few of the
    leading dimensions, such as (batch, features) for weights (batch, tokens), has pooled the rows, and all of its rows
    count. Any other input is refused, since its rows could be of either kind: pass weights for every shape that occurs.
    A pass in which all weights are zero counts as empty.

    Weights act on Linear layers and on every `Decorrelation` that stands by itself; the positions of convolutions all
    count. Weights are comparable between the passes of a step, and within one process of torch.distributed.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> model = nd.decorrelate(torch.nn.Linear(3, 2))
        >>> tokens = torch.randn(4, 7, 3)
        >>> is_padding = torch.arange(7) >= torch.tensor([[7], [5], [2], [1]])
        >>> with nd.rate.row_weights(model, ~is_padding):
        ...     outputs = model(tokens)
        >>> model.decorrelation.take_record().seen
        15.0

    Args:
        model: Model with Decorrelation modules in it.
        *weights: One or several tensors of different shapes, those of the inputs' leading dimensions, such as (batch,
            tokens): numbers >= 0, or True for rows that count. Note that `src_key_padding_mask` of torch is True for
            rows that do not count.

    Yields:
        Nothing.

    Raises:
        InvalidValue: Weights are negative or not finite, or two have the same shape; the model is not a model, has no
            Decorrelation or only convolutions; or, on leaving, passes were made but no layer had rows for the weights.
    """
    check_model("row_weights", model)
    weighing = Weighing(_checked(weights))
    modules = [module for module in model.modules() if "weighing" in vars(module)]
    if not modules:
        raise InvalidValue(f"row_weights: {type(model).__name__} holds no Decorrelation: pass nd.decorrelate(model).")
    inside = {m._modules.get("decorrelation") for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)}
    if inside.issuperset(modules):
        raise InvalidValue(
            f"row_weights: {type(model).__name__} decorrelates convolutions only, whose positions all count: leave "
            "samples that should not count out of the batch."
        )
    before = [module.weighing for module in modules]
    for module in modules:
        module.weighing = weighing  # type: ignore[assignment]  # no submodule
    try:
        yield
    finally:
        for module, earlier in zip(modules, before, strict=True):
            module.weighing = earlier
    if weighing.asked and weighing.unmet:
        unmet = _listed(sorted(weighing.unmet))
        raise InvalidValue(
            f"row_weights of shape {unmet} met no layer: give them all dimensions of the input of a linear layer "
            "except the features."
        )


def _checked(weights: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not weights or not all(isinstance(given, Tensor) for given in weights):
        kinds = ", ".join(type(given).__name__ for given in weights) or "none"
        raise InvalidValue(f"row_weights takes tensors with the weights of rows, got {kinds}.")
    if len({given.shape for given in weights}) < len(weights):
        raise InvalidValue(
            f"row_weights: two weights have the same shape, {_listed([tuple(given.shape) for given in weights])}: give "
            "one for all inputs of that shape."
        )
    for given in weights:
        if given.is_complex() or not bool(((given >= 0) & (given < torch.inf)).all()):
            raise InvalidValue(
                f"row_weights: weights must be finite numbers >= 0, or True for rows that count; those of shape "
                f"{tuple(given.shape)} hold others: use 0 for rows that must not count."
            )
    return tuple(given.detach() for given in weights)


def _counted(weights: Tensor) -> Counted:
    flat = weights.flatten()
    flat = flat if flat.is_floating_point() else flat.double()
    (rows,) = torch.nonzero(flat, as_tuple=True)
    of_rows = flat[rows]
    common = float(of_rows[0]) if len(rows) and bool((of_rows == of_rows[0]).all()) else None
    total = float(of_rows.double().sum()) if common is None else common * len(rows)
    return Counted(rows, flat, total, common)


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes))
