"""From the noise of nodes and its effect on the losses to gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro_decorr.credit._results import Clean, Perturbed
from neuro_decorr.credit._time import Layout


def assign(perturbed: list[Perturbed], changes: list[Tensor], clean: Clean, layout: Layout) -> None:
    """Add to `.grad` what the noise of the nodes is worth: noise times change of the loss, averaged over directions.

    Args:
        perturbed: The perturbed passes; their noise is used up.
        changes: For each of them the change of the loss of every sample, per unit of noise.
        clean: The clean pass.
        layout: Where the samples are.
    """
    sums: list[Tensor] = []
    for one, change in zip(perturbed, changes, strict=True):
        weighed = weigh(_distinct(one.nodes), change * (clean.share / len(perturbed)), layout)
        sums = [a.add_(b) for a, b in zip(sums, weighed, strict=True)] if sums else weighed
    backward_at_nodes(clean.nodes, perturbed[0].nodes)  # which holds the sums now


def _distinct(nodes: list[Tensor]) -> list[Tensor]:
    """The tensors of a list, those that stand in several places once."""
    return list({id(node): node for node in nodes}.values())


def weigh(nodes: list[Tensor], weight: Tensor, layout: Layout) -> list[Tensor]:
    """Node tensors times one weight per sample, in place."""
    shaped: dict[tuple[torch.dtype, int], Tensor] = {}
    for node in nodes:
        kind = (node.dtype, node.dim())
        if kind not in shaped:
            shaped[kind] = layout.weights(node, weight)
        node.mul_(shaped[kind])
    return nodes


def backward_at_nodes(nodes: list[Tensor], deltas: list[Tensor]) -> None:
    """Add the products of the deltas, those without time at all steps, with the layers' own Jacobians to `.grad`."""
    learning = [(node, delta.expand_as(node)) for node, delta in zip(nodes, deltas, strict=True) if node.requires_grad]
    torch.autograd.backward([node for node, _ in learning], [delta for _, delta in learning])
