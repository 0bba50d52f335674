"""Compensation: the weights behind a Decorrelation follow D and the mean, so that the layer keeps its function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from neuro_decorr.errors import Unsupported
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.parameter_groups import Layer, structure_of
from neuro_decorr.rate.uses import check_not_used_elsewhere
from neuro_decorr.rate.weights import Weights, computes_of_its_own
from neuro_decorr.rules import Change, State
from neuro_decorr.rules._residual import add_, residual_of


def check_compensable(layers: Sequence[Layer], roots: Sequence[nn.Module]) -> None:
    """Check that the weights behind all layers can follow D.

    Args:
        layers: Layers to be compensated.
        roots: Modules in which other users of their weights are searched.

    Raises:
        Unsupported: No weights are known, they are computed from others, the layer uses them in its own way, another
            layer has the same weights, or they were used outside of the layer.
    """
    for title, module, weights, settings in layers:
        if structure_of(settings.rule, module) == "sparse":
            raise Unsupported(
                f"compensate: {title} has a D of {module.confined(settings.rule).connectivity}, whose inverse is full, "
                "so that its weights cannot follow: confine D to disjoint groups (connectivity.Groups), or use "
                "compensate=False."
            )
        if weights is None:
            raise Unsupported(
                f"compensate: {title} stands by itself, so that the weights to compensate are not known: "
                "let nd.decorrelate(model) place it, or use compensate=False."
            )
        held = weights.layer._parameters
        bias = weights.bias is None or "bias" in held or "bias" in weights.layer._buffers  # a buffer is an offset
        if "weight" not in held or (_passes_mean(module) and not bias):
            raise Unsupported(
                f"compensate: {title} computes its weight anew from other parameters at every pass, so that it "
                "cannot be moved: remove that parametrization, skip the layer, or use compensate=False."
            )
        if computes_of_its_own(weights.layer):
            raise Unsupported(
                f"compensate: {title} has a forward of its own, so that the change that keeps its function is not "
                "known: turn it into a plain layer, skip it, or use compensate=False."
            )
        check_not_used_elsewhere(f"compensate: {title}", weights.layer)
        for name, other in (found for root in roots for found in root.named_modules()):
            if other is not weights.layer and any(p is weights.layer.weight for p in other._parameters.values()):
                raise Unsupported(
                    f"compensate: {title} and '{name}' share one weight, which cannot follow two transforms: untie "
                    "them, skip one, or use compensate=False."
                )


def residuals_of(module: Decorrelation, weights: Weights) -> State:
    """Zeros for the rounding errors of the weights, the bias and a dense D; none for float64."""
    values = {"weight_residual": weights.matrix().detach()}
    if weights.bias is not None:
        values["bias_residual"] = weights.bias.detach().view(-1, 1)
    if module.structure == "dense":
        values["matrix_residual"] = module.matrix
    made = {name: residual_of(tensor) for name, tensor in values.items()}
    return {name: residual for name, residual in made.items() if residual is not None}


def make_offset(module: Decorrelation, weights: Weights) -> None:
    """Give a layer without bias an offset that takes up the moving mean, if it needs one."""
    if _passes_mean(module):
        weights.make_offset()


def follow_transform(weights: Weights, changes: Sequence[Change | None], state: dict[str, Any]) -> None:
    r"""Keep the function of a layer while D moves: $W \leftarrow W D_{old} D_{new}^{-1}$, group by group.

    Args:
        weights: Weights behind D.
        changes: Change of the D of each group; None if it did not move.
        state: State of the plasticity, with or without `weight_residual`.
    """
    if all(change is None for change in changes):
        return
    matrix, residual = weights.matrix(), state.get("weight_residual")
    if weights.groups == 1:
        assert changes[0] is not None
        changes[0].compensate_(matrix, residual)
    else:
        for group, change in enumerate(changes):
            if change is not None:
                of_group = None if residual is None else residual[group]
                change.compensate_(matrix[group], of_group)
    weights.write(matrix)


def follow_mean(module: Decorrelation, weights: Weights, before: Tensor, state: dict[str, Any]) -> None:
    r"""Keep the function of a layer while the mean moves: $b \leftarrow b + W D (\mu_{new} - \mu_{old})$.

    Args:
        module: Decorrelation whose mean has moved; nothing follows if it does not subtract the mean.
        weights: Weights behind D.
        before: Mean before the move, of the shape of the mean.
        state: State of the plasticity, with or without `bias_residual`.
    """
    if not _passes_mean(module):
        return
    moved = module.transform_centred(module.mean - before)  # its move, with rounding
    bias = weights.bias
    assert bias is not None  # an offset was made where there is none
    shift = weights.response(weights.matrix().to(moved.dtype), moved).view(-1, 1)
    add_(bias.view(-1, 1), lambda rows: shift[rows], state.get("bias_residual"))


def _passes_mean(module: Decorrelation) -> bool:
    """True if a move of the running mean changes the function of the layer behind D."""
    return module.center and module.subtract
