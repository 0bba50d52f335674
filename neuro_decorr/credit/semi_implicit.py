"""Semi-implicit backpropagation: every layer proposes the weights that bring its output nearest to a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._cuts import Linearised, Visit, cut_pass
from neuro_decorr.credit._run import one_tensor
from neuro_decorr.credit._side_effects import SideEffects
from neuro_decorr.credit._time import Layout, is_time_first
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import Unsupported

Parts = list[Tensor]
"""Tensors of a layer, one for every parameter."""


@final
@register
class SemiImplicit(Credit):
    r"""Weights that move the activity of a layer to a target, found implicitly; backprop takes one explicit step.

    $$W^* = \operatorname{argmin}_W \frac{1}{B} \sum_n |\phi(W x_n) - t_n|^2 + \lambda \, |W - W_{old}|^2,
    \qquad t_n = z_n - \eta \, \frac{\partial L_n}{\partial z_n}$$

    for B samples n, with x the input of the layer, z the input that the next layer receives from it, and $\phi$ the
    function between the two, from the last layer to the first. The error travels back through the new weights, with the
    derivatives of the old activity. A bias counts as the weight of a constant input of one. `.grad` is $W - W^*$, so
    that `torch.optim.SGD` with a learning rate of 1 takes the proposed weights.

    If nothing follows a Linear layer, as at the output, the solution is exact, with S the mean of $x x^T$ and G the
    gradient: $W - W^* = \eta \, G (S + \lambda I)^{-1}$. For other layers $\phi$ is linearised at the old weights, and
    `steps` steps of conjugate gradients start there; for rectified units the active samples stay fixed. Decorrelated
    inputs need one or two steps. Any layer that owns parameters takes part: linear, convolutions of every kind,
    normalisation.

    Cost: one pass, and for every layer 2 + `steps` times about twice its part of a backward pass; at the output a
    linear system of the size of features or samples, whichever is smaller. Memory: the activations, and graphs of
    second derivatives of one layer at a time.

    Source: Liu & Zhang 2020, Semi-implicit back propagation, arXiv:2002.03516. Their lambda is `damping` times B, and
    their hidden layers take Fletcher-Reeves steps with a line search on the problem without linearisation.

    Args:
        model: Network that calls each layer that learns once, with one tensor.
        eta: Distance of the targets along the error, per sample, for a loss that is the mean over samples.
        damping: lambda, the penalty on changes of the weights, per sample.
        steps: Number of steps of conjugate gradients.
        seed: Unused, since nothing is random here; every credit takes a seed.

    Raises:
        InvalidValue: A parameter is out of range.
    """

    name = "semi_implicit"
    signal = "the error, fed back through the updated weights, as a target for the activity of every layer"
    bias = "biased: a proximal step, the gradient times the inverse of the layer's own curvature"
    variance = "none beyond that of the mini-batch"
    locality = "not local: weight transport, and a linear system for the weights of every unit"
    cost = "1 forward, 2 + steps times 2 backward"
    memory = "the activations, as for backprop; graphs of second derivatives of one layer at a time"
    source = "Liu & Zhang 2020, Semi-implicit back propagation, arXiv:2002.03516"

    def __init__(
        self, model: nn.Module, *, eta: float = 0.1, damping: float = 0.01, steps: int = 5, seed: int = 0
    ) -> None:
        super().__init__(model)
        checks.refuse(
            self.name,
            checks.number("eta", eta, above=0),
            checks.number("damping", damping, above=0),
            checks.whole_number("steps", steps, least=1),
            checks.whole_number("seed", seed, least=0),
        )
        self.eta = eta
        self.damping = damping
        self.steps = steps
        self._side_effects = SideEffects()

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add W - W* to `.grad`; see `Credit.backward`.

        Raises:
            Unsupported: The model has nothing that learns; a layer is called twice, or with anything but one tensor;
                parameters are used outside of the layer that owns them.
        """
        model = self._checked_model(inputs)
        visits, outputs = cut_pass(model, inputs)
        outputs = one_tensor(self.name, outputs)
        if not visits:
            raise Unsupported(
                f"{self.name} needs layers that learn, and this model has none in use: backprop learns all."
            )
        if any(tensor.dtype not in (torch.float32, torch.float64) for tensor in (outputs, *(v.output for v in visits))):
            raise Unsupported(f"{self.name} needs float32 or float64: leave out half precision and torch.autocast.")
        loss = scalar_loss(loss_function, outputs, targets)
        (error,) = torch.autograd.grad(loss, outputs, retain_graph=True)
        samples = Layout(is_time_first(model, None)).samples(outputs) or 1
        later = [(outputs, error)]
        with self._side_effects.restored(model, self._modules_of_model):
            for visit in reversed(visits):
                change, to_input = self._proposed(visit, later, samples)
                for parameter, part in zip(visit.parameters.values(), change, strict=True):
                    parameter.grad = part if parameter.grad is None else parameter.grad.add_(part)
                if to_input is not None:
                    later.append((visit.arriving, to_input))
        return loss.detach()

    def _proposed(self, visit: Visit, later: list[tuple[Tensor, Tensor]], samples: int) -> tuple[Parts, Tensor | None]:
        """Proposed change W - W* of a layer, and the error at its input."""
        parameters = list(visit.parameters.values())
        own = Linearised(parameters, [visit.output])
        between = Linearised([visit.leaf], [each for each, _ in later])
        delta = between.pulled([error for (_, error), depends in zip(later, between.depends, strict=True) if depends])
        aim = [self.eta * each for each in own.pulled(delta)]
        as_it_was = len(between.ends) == 1 and between.ends[0] is visit.sent and visit.sent._version == 0
        if as_it_was and visit.is_linear():
            change = self._solved(visit, delta[0], aim, samples)
        else:

            def curvature(direction: Parts) -> Parts:
                back = own.pulled(between.pulled(between.pushed(own.pushed(direction))))
                return [one / samples + self.damping * each for one, each in zip(back, direction, strict=True)]

            change = _conjugate_gradients(curvature, aim, self.steps)
        if not visit.arriving.requires_grad:
            return change, None
        new = [(parameter - part).detach() for parameter, part in zip(parameters, change, strict=True)]
        return change, visit.sent_back(new, delta[0])

    def _solved(self, visit: Visit, delta: Tensor, aim: Parts, samples: int) -> Parts:
        """Exact solution for a Linear layer, by its features or its samples, whichever are fewer."""
        inputs = visit.received.detach().flatten(0, -2)
        rows = delta.flatten(0, -2)
        if len(aim) > 1:
            inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
        count, features = inputs.shape
        if features <= count:
            gram = inputs.mT @ inputs / samples
            whole = torch.cat([aim[0], *(each.unsqueeze(1) for each in aim[1:])], 1)
            change = torch.linalg.solve(gram + self.damping * _identity(gram), whole.mT).mT
        else:
            gram = inputs @ inputs.mT / samples
            change = self.eta * torch.linalg.solve(gram + self.damping * _identity(gram), rows).mT @ inputs
        width = visit.received.shape[-1]
        return [each.contiguous() for each in (change[:, :width], *change[:, width:].unbind(1))]


def _identity(matrix: Tensor) -> Tensor:
    return torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def _conjugate_gradients(curvature: Callable[[Parts], Parts], aim: Parts, steps: int) -> Parts:
    """Conjugate gradients: a few steps from zero towards the solution of curvature(x) = aim."""
    found = [torch.zeros_like(each) for each in aim]
    rest, direction = [each.clone() for each in aim], aim
    square = start = _inner(rest, rest)
    for _ in range(steps):
        if square <= torch.finfo(aim[0].dtype).eps ** 2 * start:
            break
        bent = curvature(direction)
        length = square / _inner(direction, bent)
        for one, part, along, each in zip(found, rest, direction, bent, strict=True):
            one.add_(along, alpha=length)
            part.sub_(each, alpha=length)
        before, square = square, _inner(rest, rest)
        direction = [part + square / before * along for part, along in zip(rest, direction, strict=True)]
    return found


def _inner(left: Parts, right: Parts) -> float:
    return sum(float((one * other).sum()) for one, other in zip(left, right, strict=True))
