"""Worth of sketched gradients of one batch: their variance, signal and noise by direction, and their memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from protocols import _controls as controls
from protocols._controls import Batch, Equipped

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
"""Principal directions that are recorded: about evenly spaced on a logarithmic axis."""


def gradients(
    model: nn.Module, credit: nd.credit.Credit, batch: Batch, draws: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Exact gradients of the weights of every Linear layer, and sketched ones, shape (draws, outputs, features)."""
    training = model.training
    model.eval()  # nothing is remembered for the lateral weights
    exact = controls.gradients(model, nd.credit.get("backprop", model), batch)
    found = [controls.gradients(model, credit, batch) for _ in range(draws)]
    model.zero_grad()
    model.train(training)
    return exact, {name: torch.stack([each[name] for each in found]) for name in exact}


def relative_variance(estimated: Tensor, exact: Tensor) -> float:
    """Mean squared distance of estimates (draws, outputs, features) from the gradient, over its own square."""
    return float((estimated - exact).square().sum((1, 2)).mean() / exact.square().sum())


def principal_directions(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Principal directions of a batch, columns (features, features), the strongest first, and their powers."""
    centred = (inputs - inputs.mean(0)).double()
    powers, directions = torch.linalg.eigh(centred.T @ centred / len(inputs))
    return directions.flip(1).float(), powers.flip(0)


def as_seen(arm: Equipped, name: str, batch: Batch, directions: Tensor, damping: float) -> Tensor:
    r"""Factor of a layer's gradient that gives the change of the effective weights along directions.

    The effective weights of W behind a decorrelation are W D, so that these are $D v$; `foof` puts $G M$ in the place
    of a gradient G, with $M \propto (S + \lambda I)^{-1}$, so that it is $M v$.

    Args:
        arm: The network; its conditioning, where it has any, is `foof`.
        name: Qualified name of the first layer.
        batch: Inputs of the model.
        directions: Columns v, shape (features, directions).
        damping: Damping of `foof`.

    Returns:
        Columns, shape (features, directions).
    """
    (decorrelation,) = (module for found, module, _ in nd.rate.decorrelated_layers(arm.model) if found == name)
    rows = directions.T.contiguous()
    if arm.conditioned is None:
        return decorrelation.transform_centred(rows).T
    return nd.conditioning.foof(rows, batch.inputs - decorrelation.mean, damping=damping).T


def signal_to_noise(estimated: Tensor, exact: Tensor, along: Tensor) -> Tensor:
    """Squared gradient over mean squared distance from it, along columns: shape (directions,)."""
    noise = ((estimated - exact) @ along).square().sum(1).mean(0)
    return (exact @ along).square().sum(0) / noise


def predicted_signal_to_noise(exact: Tensor, along: Tensor, probes: int) -> Tensor:
    r"""$r q / (1 + q)$ along columns, with $q = |G v|^2 / |G|^2$ for the unit vector v."""
    share = (exact @ along).square().sum(0) / along.square().sum(0) / exact.square().sum()
    return probes * share / (1 + share)


def shown(directions: int) -> list[int]:
    """Numbers of the principal directions that are recorded."""
    return [component for component in COMPONENTS if component <= directions]


def alive_bytes(arm: Equipped, credit: nd.credit.Credit, batch: Batch) -> dict[str, int]:
    """Bytes that came to life in a training step and are held when its loss is known: by the graph, and by others.

    A tensor counts whether the graph holds it or an object of Python does: the rows that a plasticity will learn from,
    or the inputs that `foof` will divide by. Storages count once; what was there before
    (parameters, buffers, the batch itself) does not. The graph is counted first.

    Returns:
        Bytes by `graph` and `others`.
    """
    held = list(_tensors())  # as long as they live, nothing new takes their place
    before = {tensor.untyped_storage().data_ptr() for tensor in held}
    graph: dict[int, int] = {}
    others: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in before:
            graph[storage.data_ptr()] = storage.nbytes()
        return tensor

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        for tensor in _tensors():
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in before | graph.keys() and storage.nbytes():
                others[storage.data_ptr()] = storage.nbytes()
        return F.cross_entropy(outputs, targets)

    arm.model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        credit.backward(loss, *batch)
    arm.model.zero_grad()
    return {"graph": sum(graph.values()), "others": sum(others.values())}


def _tensors() -> Iterator[Tensor]:
    """Find every tensor with a storage that an object of Python holds.

    Subclasses have none, such as parameters without a size yet and the stand-ins of a compiler; sparse ones have parts.
    """
    return (one for one in gc.get_objects() if type(one) in (Tensor, nn.Parameter) and one.layout is torch.strided)
