"""From the noise of nodes and its effect on the losses to gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro_decorr.credit._results import Clean, Perturbed
from neuro_decorr.credit._time import Layout


def assign(perturbed: list[Perturbed], changes: list[Tensor], clean: Clean, layout: Layout) -> None:
    """Add to `.grad` what the noise of the nodes is worth: noise times change of the loss, averaged over the passes.

    Args:
        perturbed: The perturbed passes; their noise is used up. Where they have graphs, layers get the product with
            their perturbed inputs, else with the clean ones.
        changes: For each of them the change of the loss of every sample, per unit of noise.
        clean: The clean pass.
        layout: Where the samples are.
    """
    sums: list[Tensor] = []
    first: list[Tensor] = []
    for one, change in zip(perturbed, changes, strict=True):
        noise = _in_numbers(one.nodes, clean.nodes)
        distinct = list({id(node): node for node in noise}.values())  # held noise stands in several places
        weigh(distinct, change * (clean.share / len(perturbed)), layout)
        if one.graphs:
            backward_at_nodes(one.graphs, noise)
        elif first:
            sums = [a.add_(b) for a, b in zip(sums, distinct, strict=True)]
        else:
            sums, first = distinct, noise
    if first:
        backward_at_nodes(clean.nodes, first)  # which holds the sums now


def _in_numbers(nodes: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    """Noise of which the sign was kept, as +1 and -1; other noise as it is."""
    if not nodes or nodes[0].dtype != torch.bool:
        return nodes
    numbers = {id(node): node.to(model.dtype).mul_(2).sub_(1) for node, model in zip(nodes, like, strict=True)}
    return [numbers[id(node)] for node in nodes]


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
