"""Gradients from the noise of nodes and its effect on the losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuro_decorr.credit._results import Clean, Perturbed
from neuro_decorr.credit._time import Layout


def assign(perturbed: list[Perturbed], changes: list[Tensor], clean: Clean, layout: Layout) -> None:
    """Add the noise of the nodes times the change of the loss, averaged over the passes, to `.grad`.

    Args:
        perturbed: Perturbed passes, whose noise is overwritten. If they have graphs, layers get the product with their
            perturbed inputs, else with the clean inputs.
        changes: Change of the loss of every sample, per unit of noise, for each perturbed pass.
        clean: Clean pass.
        layout: Layout of the tensors, with the dimension of the samples.
    """
    sums: list[Tensor] = []
    first: list[Tensor] = []
    for one, change in zip(perturbed, changes, strict=True):
        noise = _in_numbers(one.nodes, clean.nodes)
        once = {id(node): (node, layer) for node, layer in zip(noise, clean.layers, strict=True)}
        distinct = [node for node, _ in once.values()]  # held noise occurs in several places
        weigh(distinct, [layer for _, layer in once.values()], change * (clean.share / len(perturbed)), layout)
        if one.graphs:
            backward_at_nodes(one.graphs, noise)
        elif first:
            sums = [a.add_(b) for a, b in zip(sums, distinct, strict=True)]
        else:
            sums, first = distinct, noise
    if first:
        backward_at_nodes(clean.nodes, first)  # which holds the sums now


def _in_numbers(nodes: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    """Noise of which only the sign was kept, as +1 and -1; other noise unchanged."""
    if not nodes or nodes[0].dtype != torch.bool:
        return nodes
    numbers = {id(node): node.to(model.dtype).mul_(2).sub_(1) for node, model in zip(nodes, like, strict=True)}
    return [numbers[id(node)] for node in nodes]


def weigh(nodes: list[Tensor], layers: list[nn.Module], weight: Tensor, layout: Layout) -> list[Tensor]:
    """Multiply node tensors of layers by one weight per sample, in place."""
    shaped: dict[tuple[torch.dtype, int, Layout], Tensor] = {}
    for node, layer in zip(nodes, layers, strict=True):
        own = layout.of(layer)
        kind = (node.dtype, node.dim(), own)
        if kind not in shaped:
            shaped[kind] = own.weights(node, weight)
        node.mul_(shaped[kind])
    return nodes


def backward_at_nodes(nodes: list[Tensor], deltas: list[Tensor]) -> None:
    """Add deltas times the layers' own Jacobians to `.grad`; a delta without time acts at all steps."""
    learning = [(node, delta.expand_as(node)) for node, delta in zip(nodes, deltas, strict=True) if node.requires_grad]
    torch.autograd.backward([node for node, _ in learning], [delta for _, delta in learning])
