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
    r"""Noise at all nodes at once, weighed by how much it changes the loss.

    $$\hat\delta_l = \frac{L(a + \sigma \xi) - L(a)}{\sigma} \, \xi_l, \qquad \Delta W_l = \sum_n \hat\delta_l x_l^T$$

    with xi_l of the shape of the layer's output a_l, drawn anew for every sample, and x_l the clean input. A node is
    one element of the output of a layer that directly owns trainable parameters. Parameters get the product of
    delta with the layer's own Jacobian, so every kind of layer works; no error travels through the network.

    Unbiased up to O(sigma) (sigma^2 for odd-symmetric noise, as both distributions here are). Its variance over
    |g|^2 is N + 1 for Gaussian noise and N - 1 for Rademacher noise, for a single sample with N nodes and gradient g
    at the nodes. Losses are compared in float64. Cost: 1 + `directions` forward passes and one product per layer;
    no backward pass; keeps the noise of all nodes. A `Decorrelation` of the model's input is applied once for all
    passes (not with `vectorised`).

    Batch normalisation in train mode couples the samples of a batch: the effect of one sample's noise on the losses
    of the others enters as noise, so the gradient through the batch statistics is left out.

    In a network that runs in time every time step has nodes of its own, N of them in T steps for N / T units.
    `hold="pass"` gives every unit one current that is constant in time instead:

    $$\hat\delta_l = \frac{L(a_t + \sigma \xi) - L(a_t)}{\sigma} \, \xi_l, \qquad
    \Delta W_l = \sum_n \hat\delta_l \big(\sum_t x_{l,t}\big)^T$$

    whose expectation is the gradient with respect to such a current, sum_t dL/da_{l,t}, with T times fewer nodes to
    tell apart. As an estimate of the gradient of a weight it is unbiased where the input of the layer, or the
    gradient at its output, does not change in time, and leaves out their covariance over time elsewhere.

    Source: Flower & Jabri 1992, Summed weight neuron perturbation: an O(n) improvement over weight perturbation,
    NeurIPS 5; Werfel, Xie & Seung 2005, Learning curves for stochastic gradient descent in linear feedforward
    networks, doi:10.1162/089976605774320539.

    Args:
        model: The network; every trainable parameter in a layer whose output is one tensor (samples, ...).
        sigma: Standard deviation of the noise, in units of the nodes; None for `default_sigma(model, hold)`, 1e-3
            without spikes. `linearity` measures which sizes suit a model.
        noise: "gaussian" or "rademacher" (+1 or -1).
        directions: Number of independent perturbed passes to average over; divides the variance.
        hold: For how long a unit keeps its noise: "step", fresh in every call of its layer and every element of the
            output; or "pass", the same for a sample in all calls of its layer and all time steps.
        time_first: Whether layers run over sequences (time, samples, units); then so is every tensor of three or more
            dimensions. A network that calls its layers once a time step, with (samples, units), needs it not.
        vectorised: Whether the perturbed passes run as one, over a batch that repeats the samples `directions` times
            (and the memory of a pass with it). Refused for models that couple the samples of a batch or draw random
            numbers, which passes of their own share. The noise is as good, but not the same.
        seed: Seed of the noise.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model holds layers that perturbation cannot treat.
    """

    name = "node_perturbation"
    signal = "noise at every node; the change of the loss is broadcast"
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
        time_first: bool = False,
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
    r"""Like node perturbation, with the change of activity in the place of the noise: the noise need not be known.

    $$\hat\delta_l = c \, \frac{L(\tilde a) - L(a)}{\lVert \tilde a - a \rVert^2} (\tilde a_l - a_l),
    \qquad \Delta W_l = \sum_n \hat\delta_l x_l^T$$

    with a the clean and a~ the perturbed outputs of all layers of a sample, the norm over all N nodes of all layers,
    and c = N, sqrt(N) or 1 by `normalisation`. The squared norm is not local: every neuron needs it.

    Biased: with a~ - a = sigma A xi, where A = da/dxi is block lower-triangular (noise at a layer moves the layers
    above it), the expectation is nearly parallel to A g rather than to the gradient g, so the update of a layer mixes
    in gradients of the layers below; for a single layer A = I and c = N is unbiased. Losses are compared in
    float64. Cost: two forward passes and one product per layer; no backward pass; keeps two activations of every
    node. Batch normalisation in train mode: as for `NodePerturbation`.

    Between spiking neurons the difference of a current is a sum over spikes that came or went, 0 or 1 each. With
    `trace` the activity of a node is its current as a synapse filters it, in the place of a and a~:

    $$y_t = e^{-1/\tau} y_{t-1} + a_t, \qquad \Delta W_l = \sum_n \sum_t \hat\delta_{l,t}
    \big(\textstyle\sum_{s \le t} e^{-(t-s)/\tau} x_{l,s}\big)^T$$

    with the norm over all units and time steps of y~ - y. N counts units and time steps, or, with `hold="pass"`, units
    alone: c = N is then unbiased for a single layer with inputs that are constant in time.

    Source: Dalm, van Gerven & Ahmad 2023, Effective learning with node perturbation in deep neural networks,
    arXiv:2310.00965. Published code scales by sqrt(N) where the text has N, hence the option.

    Args:
        model: The network; every trainable parameter in a layer whose output is one tensor (samples, ...).
        sigma: Standard deviation of the noise, in units of the nodes; None for `default_sigma(model, hold)`, 1e-3
            without spikes. `linearity` measures which sizes suit a model.
        noise: "gaussian" or "rademacher" (+1 or -1).
        normalisation: "N" (the scale of the gradient), "sqrtN" or "none": the factor c.
        trace: Time constant tau of the traces that are compared, in time steps; None compares the outputs themselves.
        hold: For how long a unit keeps its noise; see `NodePerturbation`.
        time_first: Whether layers run over sequences (time, samples, units); then so is every tensor of three or more
            dimensions. A network that calls its layers once a time step, with (samples, units), needs it not.
        seed: Seed of the noise.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model holds layers that perturbation cannot treat.
    """

    name = "activity_perturbation"
    signal = "noise at every node; its effect on all activities and the change of the loss are measured"
    bias = "biased: the mean is nearly parallel to A g, A = da/dxi block lower-triangular, not to the gradient g"
    variance = "about that of node_perturbation, N |g|^2 per sample"
    locality = "needs two broadcast numbers: the change of the loss and the squared change of all activities"
    cost = "2 forwards, no backward"
    memory = "inputs of the layers, their clean and perturbed outputs; nothing in between"
    needs_autograd = False
    source = (
        "Dalm, van Gerven & Ahmad 2023, Effective learning with node perturbation in deep neural networks, "
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
        time_first: bool = False,
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
        squares = sum(layout.squares(change) for change in changes)
        nodes = _draws(clean, layout) // len(clean.losses)
        factor = {"N": float(nodes), "sqrtN": math.sqrt(nodes), "none": 1.0}[self.normalisation] * clean.share
        weight = (perturbed.losses - clean.losses).mul_(factor).div_(squares)
        deltas = weigh(changes, weight, layout)
        if self.trace is not None:  # what a step adds to the traces of all later ones
            deltas = low_passed(deltas, clean.layers, layout, self.trace, backward=True)
        backward_at_nodes(clean.nodes, deltas)
        return clean.loss


def _draws(clean: Clean, layout: Layout) -> int:
    """How many numbers the noise of a pass has."""
    if not layout.held:
        return sum(node.numel() for node in clean.nodes)
    drawn = dict(zip(clean.layers, clean.nodes, strict=True))  # one visit a layer
    return sum(layout.drawn(node).numel() for node in drawn.values())
