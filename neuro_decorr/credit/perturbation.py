"""Perturbation of the nodes: node perturbation and activity perturbation."""

from __future__ import annotations

import math
from typing import Any, Literal, final, get_args

from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._losses import SampleLosses
from neuro_decorr.credit._nodes import assign, backward_at_nodes, weigh
from neuro_decorr.credit._noise import Distribution
from neuro_decorr.credit._perturbing import perturbed_passes
from neuro_decorr.credit._results import Clean
from neuro_decorr.credit._time import Hold, Layout, low_passed
from neuro_decorr.credit.base import Credit, LossFunction
from neuro_decorr.credit.registry import register

Normalisation = Literal["N", "sqrtN", "none"]


@final
@register
class NodePerturbation(Credit):
    r"""Noise at all nodes at once, weighted by the change of the loss that it causes.

    $$\hat\delta_l = \frac{L(a + \sigma \xi) - L(a)}{\sigma} \, \xi_l, \qquad \Delta W_l = \sum_n \hat\delta_l x_l^T$$

    with xi_l of the shape of the layer's output a_l, drawn anew for every sample, and x_l the clean input. A node is
    one element of the output of a layer that directly owns trainable parameters. Parameters get the product of delta
    with the Jacobian of their layer, so that every kind of layer works. No error travels through the network.

    The estimate is unbiased up to O(sigma), or O(sigma^2) for symmetric noise such as both distributions here. Its
    variance divided by |g|^2 is N + 1 for Gaussian noise and N - 1 for Rademacher noise, for a single sample with N
    nodes and gradient g at the nodes. Losses are compared in float64. Cost: 1 + `directions` forward passes and one
    product per layer; no backward pass. Memory: the noise of all nodes. A `Decorrelation` of the model's input is
    applied once for all passes (not with `vectorised`).

    Batch normalisation in train mode couples the samples of a batch: the effect of one sample's noise on the losses of
    other samples enters as noise, so that the gradient through the batch statistics is left out.

    In a network that runs in time every time step has its own nodes: N nodes in T steps for N / T units. `hold="pass"`
    gives every unit one current that is constant in time instead:

    $$\hat\delta_l = \frac{L(a_t + \sigma \xi) - L(a_t)}{\sigma} \, \xi_l, \qquad
    \Delta W_l = \sum_n \hat\delta_l \big(\sum_t x_{l,t}\big)^T$$

    Its expectation is the gradient with respect to such a current, sum_t dL/da_{l,t}, with T times fewer nodes. As an
    estimate of the gradient of a weight it is unbiased if the input of the layer, or the gradient at its output, is
    constant in time; otherwise it leaves out their covariance over time.

    Source: Flower & Jabri 1992, Summed weight neuron perturbation: an O(n) improvement over weight perturbation,
    NeurIPS 5; Werfel, Xie & Seung 2005, Learning curves for stochastic gradient descent in linear feedforward
    networks, doi:10.1162/089976605774320539.

    Args:
        model: Network in which every trainable parameter belongs to a layer whose output is one tensor (samples, ...),
            or (tensor, state), where no noise is added to the state.
        sigma: Standard deviation of the noise, in units of the nodes. None: `default_sigma(model, hold)`, which is 1e-3
            without spikes. `linearity` measures which sizes suit a model.
        noise: "gaussian" or "rademacher" (+1 or -1).
        directions: Number of independent perturbed passes to average over; divides the variance.
        hold: Time for which a unit keeps its noise: "step", fresh in every call of its layer and every element of the
            output; or "pass", the same for a sample in all calls of its layer and all time steps.
        time_first: True if layers run over sequences (time, samples, units). Then every tensor of three or more
            dimensions is laid out so, except outputs of convolutions. None: as declared by neurons of `nd.norse` (by
            their attribute `sequences`), of Norse, or recurrent layers of torch (by their class); without any, False.
        vectorised: True runs all perturbed passes as one, over a batch that repeats the samples `directions` times and
            takes as many times the memory. Models that couple the samples of a batch or draw random numbers are
            refused, since separate passes share these. The noise has the same distribution but other values.
        seed: Seed of the noise.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model holds layers that perturbation cannot treat.
    """

    name = "node_perturbation"
    signal = "the change of the loss under noise at every node, broadcast"
    bias = "none up to O(sigma^2)"
    variance = "(N + 1) |g|^2 per sample and direction (Gaussian noise; N - 1 for Rademacher noise)"
    locality = "local given the broadcast change of the loss; a neuron must know its own noise"
    cost = "1 + directions forwards, no backward"
    memory = "inputs of the layers, their outputs, noise of all nodes for each direction; nothing in between"
    needs_autograd = False
    source = (
        "Flower & Jabri 1992, Summed weight neuron perturbation, NeurIPS 5; Werfel, Xie & Seung 2005, Learning "
        "curves for stochastic gradient descent in linear feedforward networks, doi:10.1162/089976605774320539"
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        sigma: float | None = None,
        noise: Distribution = "gaussian",
        directions: int = 1,
        hold: Hold = "step",
        time_first: bool | None = None,
        vectorised: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(model)
        problems = checks.whole_number("directions", directions, least=1), checks.flag("vectorised", vectorised)
        self.directions = directions
        self._passes = perturbed_passes(self, sigma, noise, hold, time_first, seed, *problems, side_by_side=vectorised)

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the node perturbation estimate to `.grad`; see `Credit.backward`."""
        self._checked_model(inputs)
        perturbed, clean = self._passes.run(inputs, SampleLosses(loss_function, targets), self.directions, "noise")
        changes = [(one.losses - clean.losses).div_(self._passes.sigma) for one in perturbed]
        assign(perturbed, changes, clean, self._passes.layout)
        return clean.loss


@final
@register
class ActivityPerturbation(Credit):
    r"""Node perturbation with the change of activity in place of the noise, so that the noise need not be known.

    $$\hat\delta_l = c \, \frac{L(\tilde a) - L(a)}{\lVert \tilde a - a \rVert^2} (\tilde a_l - a_l),
    \qquad \Delta W_l = \sum_n \hat\delta_l x_l^T$$

    with a the clean and a~ the perturbed outputs of all layers of a sample, the norm over all N nodes of all layers,
    and c = N, sqrt(N) or 1 by `normalisation`. The squared norm is not local: every neuron needs it.

    The estimate is biased: a~ - a = sigma A xi, where A = da/dxi is block lower-triangular, since noise at a layer
    changes the layers above it. The expectation is nearly parallel to A g and not to the gradient g, so that the update
    of a layer contains gradients of the layers below. For a single layer A = I, and c = N is unbiased. Losses are
    compared in float64. Cost: two forward passes and one product per layer; no backward pass. Memory: two activations
    of every node. Batch normalisation in train mode acts as for `NodePerturbation`.

    Between spiking neurons the difference of a current is a sum over spikes that appeared or vanished. With `trace` the
    activity of a node is its current as a synapse filters it, in place of a and a~:

    $$y_t = e^{-1/\tau} y_{t-1} + a_t, \qquad \Delta W_l = \sum_n \sum_t \hat\delta_{l,t}
    \big(\textstyle\sum_{s \le t} e^{-(t-s)/\tau} x_{l,s}\big)^T$$

    with the norm over all units and time steps of y~ - y. N counts units and time steps, or, with `hold="pass"`, units
    alone: c = N is then unbiased for a single layer with inputs that are constant in time.

    Source: Dalm, van Gerven & Ahmad 2025, Node perturbation can effectively train multi-layer neural networks,
    arXiv:2310.00965. The published code scales by sqrt(N) where the text has N; `normalisation` offers both.

    Args:
        model: Network in which every trainable parameter belongs to a layer whose output is one tensor (samples, ...),
            or (tensor, state), where no noise is added to the state.
        sigma: Standard deviation of the noise, in units of the nodes. None: `default_sigma(model, hold)`, which is 1e-3
            without spikes. `linearity` measures which sizes suit a model.
        noise: "gaussian" or "rademacher" (+1 or -1).
        normalisation: Factor c: "N" (the scale of the gradient), "sqrtN" or "none" (1).
        trace: Time constant tau of the traces that are compared, in time steps. None: the outputs are compared.
        hold: Time for which a unit keeps its noise; see `NodePerturbation`.
        time_first: True if layers run over sequences (time, samples, units). Then every tensor of three or more
            dimensions is laid out so, except outputs of convolutions. None: as declared by neurons of `nd.norse` (by
            their attribute `sequences`), of Norse, or recurrent layers of torch (by their class); without any, False.
        seed: Seed of the noise.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model holds layers that perturbation cannot treat.
    """

    name = "activity_perturbation"
    signal = "the change of the loss under noise at every node, over the squared change of all activities, broadcast"
    bias = "biased: the mean is nearly parallel to A g, A = da/dxi block lower-triangular, not to the gradient g"
    variance = "about that of node_perturbation, N |g|^2 per sample"
    locality = "needs two broadcast numbers: the change of the loss and the squared change of all activities"
    cost = "2 forwards, no backward"
    memory = "inputs of the layers, their clean and perturbed outputs; nothing in between"
    needs_autograd = False
    source = (
        "Dalm, van Gerven & Ahmad 2025, Node perturbation can effectively train multi-layer neural networks, "
        "arXiv:2310.00965"
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        sigma: float | None = None,
        noise: Distribution = "gaussian",
        normalisation: Normalisation = "N",
        trace: float | None = None,
        hold: Hold = "step",
        time_first: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model)
        problem = checks.word("normalisation", normalisation, get_args(Normalisation))
        no_trace = None if trace is None else checks.number("trace", trace, above=0)
        self.normalisation = normalisation
        self.trace = trace
        self._passes = perturbed_passes(self, sigma, noise, hold, time_first, seed, problem, no_trace)

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the activity perturbation estimate to `.grad`; see `Credit.backward`."""
        self._checked_model(inputs)
        (perturbed,), clean = self._passes.run(inputs, SampleLosses(loss_function, targets), 1, "activity")
        layout = self._passes.layout
        changes = [noisy.sub_(node.detach()) for noisy, node in zip(perturbed.nodes, clean.nodes, strict=True)]
        if self.trace is not None:
            changes = low_passed(changes, clean.layers, layout, self.trace)
        squares = sum(layout.of(layer).squares(each) for layer, each in zip(clean.layers, changes, strict=True))
        nodes = _draws(clean, layout) // len(clean.losses)
        factor = {"N": float(nodes), "sqrtN": math.sqrt(nodes), "none": 1.0}[self.normalisation] * clean.share
        weight = (perturbed.losses - clean.losses).mul_(factor).div_(squares)
        deltas = weigh(changes, clean.layers, weight, layout)
        if self.trace is not None:  # a step adds to the traces of all later steps
            deltas = low_passed(deltas, clean.layers, layout, self.trace, backward=True)
        backward_at_nodes(clean.nodes, deltas)
        return clean.loss


def _draws(clean: Clean, layout: Layout) -> int:
    """Number of values in the noise of a pass."""
    if not layout.held:
        return sum(node.numel() for node in clean.nodes)
    drawn = dict(zip(clean.layers, clean.nodes, strict=True))  # one visit per layer
    return sum(layout.of(layer).drawn(node).numel() for layer, node in drawn.items())
