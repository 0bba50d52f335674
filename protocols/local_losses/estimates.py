"""Local forward gradients of one batch beside the exact local gradient, their closed form, and backpropagation."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from protocols._controls import Batch, gradients

Distribution: TypeAlias = Literal["gaussian", "rademacher"]


class Layer(NamedTuple):
    """Gradient of the weights of one hidden layer.

    Attributes:
        layer: Its name.
        variance: Mean squared distance of an estimate to the exact local gradient, over the square of that.
        predicted: The closed form.
        cosine: Between the exact local gradient and that of backpropagation.
    """

    layer: str
    variance: float
    predicted: float
    cosine: float


def compare(
    model: nn.Module, credit: nd.credit.LocalForwardGradient, batch: Batch, noise: Distribution, draws: int
) -> list[Layer]:
    r"""The gradients of all hidden layers, as they are after learning.

    The closed form, for blocks of one Linear layer and what acts on its units one by one, without normalisation:

    $$\frac{E |\hat G - G|^2}{|G|^2} = \frac{(N_g \pm 1) \frac{1}{B^2} \sum_b |x_b|^2 |\delta_b|^2}{|G|^2}$$

    plus for Gaussian directions, minus for those of +1 and -1.

    Args:
        model: A dense network.
        credit: Whose readouts and groups count.
        batch: B images.
        noise: Distribution of the directions of groups of several units.
        draws: Number of estimates.
    """
    training = model.training
    model.eval()
    with nd.conditioning.Signals(model) as signals:
        backprop = gradients(model, nd.credit.get("backprop", model), batch)
        received = {layer.name: layer.inputs for layer in signals}
    estimates = [gradients(model, credit, batch) for _ in range(draws)]
    found = []
    for number, name in enumerate(list(backprop)[:-1]):
        errors, inputs = local_errors(model, credit, batch, number, received[name]), received[name]
        gradient = errors.T @ inputs / len(inputs)
        square = gradient.square().sum()
        variance = torch.stack([(one[name] - gradient).square().sum() for one in estimates]).mean()
        power = (inputs.square().sum(1) * errors.square().sum(1)).mean() / len(inputs)
        exact = credit.groups == "units"
        sharing = 1 if credit.groups == "units" else errors.shape[1] // credit.groups
        factor = sharing + (1 if noise == "gaussian" and not exact else -1)
        cosine = torch.cosine_similarity(gradient.flatten(), backprop[name].flatten(), dim=0)
        found.append(Layer(name, float(variance / square), float(factor * power / square), float(cosine)))
    model.zero_grad()
    model.train(training)
    return found


def local_errors(
    model: nn.Module, credit: nd.credit.LocalForwardGradient, batch: Batch, number: int, received: Tensor
) -> Tensor:
    """Derivatives of the local loss of every image at the nodes of a hidden layer, by autograd: (images, units).

    Args:
        model: A dense network, a Sequential in eval mode.
        credit: Whose readouts predict.
        batch: Images and classes.
        number: Number of the layer, from 0.
        received: Inputs of its weights, shape (images, features).
    """
    modules = list(model.children())
    linear = [place for place, module in enumerate(modules) if isinstance(module, nn.Linear)]
    start, end = linear[number : number + 2]
    layer, following = modules[start], modules[end]
    assert isinstance(layer, nn.Linear)
    nodes = F.linear(received, layer.weight, layer.bias).detach().requires_grad_()
    activity = nodes
    for module in modules[start + 1 : end]:
        activity = module(activity)
    if end == linear[-1]:
        predicted = following(activity)
    else:
        decorrelated = getattr(following, "decorrelated_input", None)
        predicted = credit.readouts[number](activity if decorrelated is None else decorrelated(activity))
    (errors,) = torch.autograd.grad(F.cross_entropy(predicted, batch.targets, reduction="sum"), nodes)
    return errors
