"""Local forward gradient: every block of layers learns from a loss of its own, without a backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from neuro_decorr import checks
from neuro_decorr.credit._blocks import Groups, check_groups, cut, features_in, features_out
from neuro_decorr.credit._layers import replaced
from neuro_decorr.credit._local_pass import Draw, End, LocalPass
from neuro_decorr.credit._noise import Distribution, Noise
from neuro_decorr.credit._reach import Reach, by_channel, survey, weigh
from neuro_decorr.credit._side_effects import RandomState, SideEffects
from neuro_decorr.credit._structure import is_spiking
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import StateMismatch, Unsupported


@final
@register
class LocalForwardGradient(Credit):
    r"""Derivative of a local loss along random directions of a block's own nodes, separately for groups of units.

    The weight layers (Linear and convolutions) form blocks, one after the other. A linear readout predicts the targets
    from the output z of each block; the readout of the last block is the last layer of the model. With L the loss of
    this prediction and xi a direction of the nodes a (outputs of the weight layers) of the block,

    $$\hat\delta_c = \Big(\sum_{k \in g(c)} \frac{\partial L}{\partial z_k} \, \dot z_k\Big) \, \xi_c,
    \qquad \dot z = \frac{\partial z}{\partial a} \, \xi, \qquad \Delta W = \sum_n \hat\delta x^T$$

    where $\dot z$ comes from forward-mode differentiation within the block alone, and g(c) is the group of channels to
    which node c belongs. No error passes from one block to another. The readouts learn by their own exact gradient and
    start at zero, so that every block except the last begins to learn at the second step.

    One pass serves all groups: each takes its own part of the sum over k. Between convolutions the readout predicts at
    every position, and the loss is the mean over the positions. The positions that one cell of pooling covers have a
    sum of their own, as the groups have. Normalisation that directly follows a layer counts as part of the layer and is
    differentiated exactly.

    The estimate is unbiased for the gradient of the local losses. Only for the last block is this the gradient of the
    model's loss. Per sample and direction, with $N_g$ nodes that share one sum,

    $$\mathbb{E}\,|\hat\delta - \delta|^2 = (N_g + 1) \, |\delta|^2$$

    ($N_g - 1$ for "rademacher": with `groups="units"` a layer of units then has its exact local gradient). Parts that
    mix on the way to the end of the block (by another layer of the block, normalisation over channels, overlapping
    pooling) share one sum; a few passes of the first batch of a shape find them. The gradient through batch
    normalisation after an activation function, from one sample to another, is left out.

    Cost: one forward pass per direction, with derivatives after the first weights of each block, and the products for
    the gradients of the weights; the readouts add a fraction of outputs / units. Memory: the inputs of all layers.

    Source: Ren, Kornblith, Liao & Hinton 2023, Scaling forward gradient with local losses, arXiv:2210.03310.

    Example:
        >>> import torch
        >>> from neuro_decorr import credit
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        >>> local = credit.get("local_forward_gradient", model, groups=4)
        >>> optimiser = torch.optim.SGD([*model.parameters(), *local.parameters()], lr=0.1)
        >>> inputs, targets = torch.randn(16, 4), torch.randint(3, (16,))
        >>> loss = local.backward(torch.nn.functional.cross_entropy, inputs, targets)
        >>> optimiser.step()

    Args:
        model: Network that calls each of its weight layers once, block after block, and whose operations all have a
            forward-mode derivative. A decorrelated Linear layer shares its D: the readout of the block before it
            receives D z, as its weights do.
        blocks: Layers of each block in the order of the calls: qualified names of layers, or of modules that hold them
            (`"stage_1"`); several names in a sequence make one block. Name all weight layers except one, the readout of
            the model. By default every weight layer is a block, in the order of definition, and the last layer is the
            readout.
        groups: Number of groups of channels (of units in a dense layer) in every block, a divisor of the number of
            channels. "units": each channel is a group.
        noise: Distribution of the directions: "gaussian" or "rademacher" (+1 or -1).
        directions: Number of independent directions to average over; divides the variance.
        seed: Seed of the directions.

    Attributes:
        readouts: Readouts of all blocks except the last, in their order; `parameters()` returns their parameters.
            Readouts before convolutions receive the output of the block;
            `local.readouts = nd.decorrelate(local.readouts)` decorrelates it.

    Raises:
        UnknownName: A name in `blocks` matches no weight layer.
        InvalidValue: A parameter is out of range; groups do not divide the channels; `blocks` leaves out more or fewer
            than one layer.
        Unsupported: The model has no weight layers.
    """

    name = "local_forward_gradient"
    signal = "the derivative of a local loss along a random direction of the block's nodes, one per group of units"
    bias = "none for the local losses, which are greedy: no block learns what later blocks need"
    variance = "(N_g + 1) |g|^2 per sample and direction (Gaussian; N_g - 1 for Rademacher), N_g the nodes of a group"
    locality = "local to a block and its readout; no signal from other blocks"
    cost = "1 forward per direction, with derivatives inside the blocks; no backward"
    memory = "the inputs of all layers, the directions of all nodes; a linear readout per block"
    source = "Ren, Kornblith, Liao & Hinton 2023, Scaling forward gradient with local losses, arXiv:2210.03310"

    def __init__(
        self,
        model: nn.Module,
        *,
        blocks: Sequence[str | Sequence[str]] | None = None,
        groups: Groups = 1,
        noise: Distribution = "gaussian",
        directions: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(model)
        checks.refuse(
            self.name,
            None if groups == "units" else checks.whole_number("groups", groups, least=1, hint="or 'units'"),
            checks.word("noise", noise, get_args(Distribution)),
            checks.whole_number("directions", directions, least=1),
            checks.whole_number("seed", seed, least=0),
        )
        if is_spiking(model):
            raise Unsupported(
                f"{self.name} needs a network without time, and this model has spiking neurons: use node_perturbation, "
                "or, with the neurons of nd.norse, eprop or forward_gradient."
            )
        self.groups = groups
        self.directions = directions
        self._blocks = cut(model, blocks)
        check_groups(model, self._blocks, groups)
        outputs = features_out(self._blocks.last)
        self.readouts = nn.ModuleList(_readout(layer, outputs) for layer in self._blocks.starts()[:-1])
        self._noise = Noise(noise, seed)
        self._side_effects = SideEffects()
        self._surveys: dict[Any, tuple[list[list[Reach]], Any]] = {}

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the local forward gradient to `.grad`, also of the readouts; see `Credit.backward`.

        Raises:
            Unsupported: The layers are not called once each, block after block; a readout's predictions do not have
                the shape of the model's; something has no forward-mode derivative.
        """
        model = self._checked_model(inputs)
        random_state = RandomState({parameter.device for parameter in model.parameters()})
        reaches, shapes = self._surveyed(inputs, random_state)
        courses = [self._unnoticed(inputs, self._draw, random_state) for _ in range(self.directions - 1)]
        clean = LocalPass(model, self._blocks, self._draw)
        outputs = clean.run(inputs)
        courses.append(clean.ends)
        if _shapes(clean.ends) != shapes:
            raise StateMismatch(
                "the shapes of the layers changed for inputs of the same shape: call the model with one tensor."
            )
        loss = scalar_loss(loss_function, outputs, targets)
        if not loss.requires_grad:
            raise Unsupported(f"{self.name} needs a model with trainable parameters; this one has none.")
        local = [
            _local_loss(readout, end, loss_function, outputs, targets)
            for readout, end in zip(self.readouts, clean.ends, strict=False)
        ]
        torch.autograd.backward([loss, *local])
        nodes, deltas = [], []
        for block, ends in enumerate(zip(*courses, strict=True)):
            slopes = [_products(ends[-1], end) for end in ends]
            for place, (node, reach) in enumerate(zip(ends[-1].nodes, reaches[block], strict=True)):
                parts = [
                    weigh(end.nodes[place].direction, node.channels_first, reach, reach.slopes(products))
                    for end, products in zip(ends, slopes, strict=True)
                ]
                nodes.append(node.output)
                deltas.append(sum(parts[1:], parts[0]) / len(parts))
        torch.autograd.backward(nodes, deltas)
        return loss.detach()

    def _draw(self, block: int, place: int, output: Tensor) -> Tensor:
        return self._noise.draw(output)

    def _unnoticed(self, inputs: Any, draw: Draw, random_state: RandomState) -> list[End]:
        """Run a pass that leaves no trace in the model."""
        with self._side_effects.restored(self.model, self._modules_of_model):
            one = LocalPass(self.model, self._blocks, draw)
            one.run(inputs)
        random_state.restore()
        return one.ends

    def _surveyed(self, inputs: Any, random_state: RandomState) -> tuple[list[list[Reach]], Any]:
        """Survey of the nodes and its shapes, made once for inputs and learning layers of the same kind."""
        shape = inputs.shape[1:] if isinstance(inputs, Tensor) else None
        case = shape, tuple(parameter.requires_grad for parameter in self.model.parameters())
        if case not in self._surveys:
            alone = [(module, "training", False) for module in self._modules_of_model if isinstance(module, _BatchNorm)]
            shapes: list[Any] = []

            def run(draw: Draw) -> list[End]:
                with replaced(alone):
                    ends = self._unnoticed(inputs, draw, random_state)
                shapes[:] = _shapes(ends)
                return ends

            self._surveys[case] = survey(run, self.groups), shapes
        return self._surveys[case]


def _shapes(ends: list[End]) -> list[Any]:
    """Shapes of the blocks' outputs and nodes, without the samples."""
    return [[tensor.shape[1:] for tensor in (end.output, *(node.output for node in end.nodes))] for end in ends]


def _readout(layer: Any, outputs: int) -> nn.Linear:
    """Readout of the input of a layer."""
    readout = nn.Linear(features_in(layer), outputs, device=layer.weight.device, dtype=layer.weight.dtype)
    nn.init.zeros_(readout.weight)
    nn.init.zeros_(readout.bias)
    return readout


def _local_loss(readout: nn.Module, end: End, loss_function: LossFunction, outputs: Any, targets: Any) -> Tensor:
    """Loss of a readout's predictions, averaged over positions that the model's outputs do not have."""
    predicted = readout(end.received.movedim(1, -1) if end.channels_first else end.received)
    if predicted.shape == outputs.shape:
        return scalar_loss(loss_function, predicted, targets)
    if predicted.dim() <= 2 or outputs.shape != (len(predicted), predicted.shape[-1]):
        raise Unsupported(
            f"local losses: a readout predicts {tuple(predicted.shape)}, and the model returns {tuple(outputs.shape)}: "
            "the shapes must be equal, except that the outputs may lack the positions, which follow the samples."
        )

    def at_position(predicted: Tensor) -> Tensor:
        return scalar_loss(loss_function, predicted, targets)

    return torch.func.vmap(at_position, in_dims=1)(predicted.flatten(1, -2)).mean()


def _products(end: End, moved: End) -> Tensor:
    """Gradient of the local loss times the derivative of a block's output, shape (samples, channels, *positions)."""
    gradient, derivative = end.output.grad, moved.derivative
    if gradient is None or derivative is None:
        return by_channel(torch.zeros_like(end.output), end.channels_first)
    return by_channel(gradient * derivative, end.channels_first)
