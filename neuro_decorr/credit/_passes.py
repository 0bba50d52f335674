"""Perturbed and clean passes through a model, with what happens at its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit._forward_mode import derivative, with_tangent
from neuro_decorr.credit._layers import Forward, name_of, own_parameters, replaced_forwards, walk
from neuro_decorr.credit._losses import SampleLosses
from neuro_decorr.credit._noise import Noise
from neuro_decorr.credit._results import Clean, Perturbed, passes_side_by_side
from neuro_decorr.credit._side_effects import Buffers, RandomState
from neuro_decorr.credit._time import Layout
from neuro_decorr.errors import StateMismatch, Unsupported

Kept = Literal["noise", "activity", "tangent"]
"""What is kept of a perturbed pass: noise, or activities, or the noise of a pass with derivatives along it."""


@final
class Passes:
    """Runs a model with noise at its nodes, then without.

    A node is one element of the output of a layer that directly owns trainable parameters (linear, convolution,
    normalisation with an affine map, any module of the user's); a layer that is called twice has its nodes twice.

    Every pass is a forward call of its own, so that statistics of the batch are never shared between the perturbed
    and the clean samples. All passes see the same random numbers (dropout). What a perturbed pass writes into buffers
    is undone; modules that remember their input for a plasticity remember the clean pass alone, which comes last.

    Args:
        model: The network.
        sigma: Standard deviation of the noise, in units of the nodes.
        noise: Where the noise comes from.
        layout: Where the samples are in the node tensors, and for how long noise is held.
        side_by_side: Whether the perturbed passes are one, over a batch that repeats the samples.
    """

    def __init__(
        self, model: nn.Module, sigma: float, noise: Noise, layout: Layout, side_by_side: bool = False
    ) -> None:
        self.side_by_side = side_by_side
        self.sigma = sigma
        self.noise = noise
        self.layout = layout
        self._model = (model,)
        self._modules = walk(model)
        self._layers = _owners(model)
        self._buffers = Buffers()

    def run(self, inputs: Any, losses: SampleLosses, directions: int, keep: Kept) -> tuple[list[Perturbed], Clean]:
        """Run `directions` perturbed passes and one clean pass.

        Args:
            inputs: What the model is called with.
            losses: The losses to evaluate.
            directions: Number of perturbed passes, each with noise of its own.
            keep: What to keep of the nodes of a perturbed pass.

        Returns:
            The perturbed passes and the clean one.

        Raises:
            Unsupported: The model has nothing to perturb, or something happens in it that perturbation cannot treat.
            StateMismatch: The passes did not visit the same nodes.
        """
        model = self._model[0]
        layers, devices = self._learning()
        if not layers:
            raise Unsupported("perturbation needs a model with trainable parameters; this one has none.")
        if isinstance(inputs, Tensor) and inputs.requires_grad:
            inputs = inputs.detach()
        random_state = RandomState(devices)
        visits = _Visits(model, self.sigma, self.noise, keep, self.layout)
        stand_ins = replaced_forwards((layer, visits.stand_in(layer)) for layer in layers)
        with stand_ins, self._shared(inputs):
            perturbed = self._perturbed(inputs, losses, directions, keep, visits, random_state)
            visits.perturbing = False
            with torch.enable_grad():
                outputs = model(inputs)
            losses_of_pass = losses.of(outputs)
            if visits.use_parameters(outputs):
                raise Unsupported(
                    "the model uses trainable parameters outside the forward of the layer that owns them, so that "
                    "perturbing the outputs of its layers misses them; call the layers, or freeze these parameters."
                )
            loss, share = losses.total(outputs.detach(), losses_of_pass)
        nodes, shapes = visits.take()
        clean = Clean(loss, losses_of_pass, share, nodes, visits.layers)
        samples = len(losses_of_pass)
        for layer, node in zip(visits.layers, nodes, strict=False):
            if self.layout.samples(node) != samples:
                place = "second (time_first=True)" if self.layout.is_sequence(node) else "first"
                raise Unsupported(
                    f"the output of layer {name_of(model, layer)} has shape {tuple(node.shape)}, but there are "
                    f"{samples} losses: its {place} dimension must be the sample; time_first=True is for layers that "
                    "run over (time, samples, units)."
                )
        for one in perturbed:
            if one.shapes != shapes:
                raise StateMismatch(
                    "the perturbed and the clean pass did not visit the same nodes: the model's path depends on its "
                    "values, or on a state that is no buffer."
                )
        return perturbed, clean

    @contextmanager
    def _shared(self, inputs: Any) -> Iterator[None]:
        """Let modules that offer it (`share_passes`) apply their lateral weights once to the input of the model.

        It is the same in every pass, since noise is added behind them.
        """
        sharing: list[Any] = []
        if isinstance(inputs, Tensor) and not self.side_by_side:
            sharing = [module for module in self._modules if hasattr(type(module), "share_passes")]
        for module in sharing:
            module.share_passes(inputs)
        try:
            yield
        finally:
            for module in sharing:
                module.share_passes(None)

    def _perturbed(
        self,
        inputs: Any,
        losses: SampleLosses,
        directions: int,
        keep: Kept,
        visits: _Visits,
        random_state: RandomState,
    ) -> list[Perturbed]:
        """The perturbed passes, side by side or one after the other, with nothing of them left behind."""
        model = self._model[0]
        if self.side_by_side:
            with torch.no_grad(), self._buffers.restored(model, self._modules):
                together = passes_side_by_side(model, inputs, losses, directions, self.layout, visits.take)
            if random_state.was_used():
                random_state.restore()
                raise Unsupported(
                    "the model draws random numbers (dropout?), which directions side by side cannot share; use "
                    "vectorised=False."
                )
            return together
        perturbed = []
        for _ in range(directions):
            with torch.no_grad(), self._buffers.restored(model, self._modules):
                if keep == "tangent":
                    losses_of_pass = derivative(lambda: losses.of(model(inputs)))
                else:
                    losses_of_pass = losses.of(model(inputs))
            perturbed.append(Perturbed(losses_of_pass, *visits.take()))
            random_state.restore()
        return perturbed

    def _learning(self) -> tuple[list[nn.Module], set[torch.device]]:
        """The layers with trainable parameters as of now, and where they are."""
        layers, devices = [], set()
        for layer in self._layers:
            for parameter in own_parameters(layer):
                if parameter.requires_grad:
                    layers.append(layer)
                    devices.add(parameter.device)
                    break
        return layers, devices


@final
class _Visits:
    """What happens at the nodes: noise in a perturbed pass, a cut of the graph in the clean one."""

    def __init__(self, model: nn.Module, sigma: float, noise: Noise, keep: Kept, layout: Layout) -> None:
        self.perturbing = True
        self.layers: list[nn.Module] = []
        self._model = model
        self._sigma = sigma
        self._noise = noise
        self._keep = keep
        self._layout = layout
        self._nodes: list[Tensor] = []
        self._shapes: list[torch.Size] = []
        self._held: dict[nn.Module, Tensor] = {}
        self._parameters: set[int] = set()  # filled when first needed, which for most models is never
        self._followed: set[Any] = set()

    def use_parameters(self, *tensors: Any) -> bool:
        """Whether the graph of a tensor reaches a parameter of the model.

        That a tensor requires a gradient is not enough: cells of Norse start from a state that requires one.
        """
        found = [node for tensor in tensors if (node := _source(tensor)) is not None]
        if found and not self._parameters:
            self._parameters.update(map(id, self._model.parameters()))
        for node in found:
            if node in self._followed:
                continue
            self._followed.add(node)
            if id(getattr(node, "variable", None)) in self._parameters:
                return True
            found.extend(earlier for earlier, _ in node.next_functions if earlier is not None)
        return False

    def take(self) -> tuple[list[Tensor], list[torch.Size]]:
        """What was kept since the last call, in the order of the visits, and the shapes of the outputs."""
        kept = self._nodes, self._shapes
        self._nodes, self._shapes, self._held = [], [], {}
        return kept

    def stand_in(self, layer: nn.Module) -> Forward:
        """The layer's forward, followed by the visit of its output."""
        forward = layer.forward

        def visited(*arguments: Any, **keywords: Any) -> Tensor:
            output = forward(*arguments, **keywords)
            if self.perturbing:
                return self._perturb(layer, output)
            return self._cut(layer, (*arguments, *keywords.values()), output)

        return visited

    def _perturb(self, layer: nn.Module, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.dtype not in (torch.float32, torch.float64):
            got = f"a tensor of {output.dtype}" if isinstance(output, Tensor) else type(output).__name__
            raise Unsupported(
                f"layer {name_of(self._model, layer)} returns {got}; perturbation needs one float32 or float64 tensor "
                "(half precision rounds a small perturbation away)."
            )
        noise = self._noise_for(layer, output)
        self._shapes.append(output.shape)
        if self._keep == "tangent":
            self._nodes.append(noise)
            return with_tangent(output, noise.expand_as(output))
        noisy = torch.add(output, noise, alpha=self._sigma)
        if self._keep == "noise":
            self._nodes.append(noise)
            return noisy
        self._nodes.append(noisy)
        return noisy.clone()  # what follows may work in place

    def _noise_for(self, layer: nn.Module, output: Tensor) -> Tensor:
        like = self._layout.drawn(output)
        if not self._layout.held:
            return self._noise.draw(like)
        noise = self._held.get(layer)
        if noise is None:
            noise = self._held[layer] = self._noise.draw(like)
        elif noise.shape != like.shape:
            raise Unsupported(
                f"the outputs of layer {name_of(self._model, layer)} change from shape {tuple(noise.shape)} to "
                f"{tuple(like.shape)} within a pass, so that its noise cannot be held; use hold='step'."
            )
        return noise

    def _cut(self, layer: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        if self.use_parameters(*arguments):
            raise Unsupported(
                f"the input of layer {name_of(self._model, layer)} depends on trainable parameters that no layer owns "
                "or that are used outside the forward of their owner; perturbation cannot assign credit to them."
            )
        self.layers.append(layer)
        self._nodes.append(output)
        self._shapes.append(output.shape)
        detached = output.detach()
        return detached.clone() if self._keep == "activity" else detached


def _source(tensor: Any) -> Any:
    """Where the graph of a tensor begins, if it has one; for a leaf the node that accumulates its gradient."""
    if not isinstance(tensor, Tensor) or not tensor.requires_grad:
        return None
    return tensor.grad_fn or torch.autograd.graph.get_gradient_edge(tensor).node


def _owners(model: nn.Module) -> list[nn.Module]:
    """The layers that directly own parameters.

    Raises:
        Unsupported: One of them also contains layers that own parameters: its output says nothing about those inside.
    """
    owners = []
    inside_parametrization: set[nn.Module] = set()
    for module in model.modules():
        if module in inside_parametrization or not own_parameters(module):
            continue
        if "parametrizations" in module._modules:
            inside_parametrization.update(module._modules["parametrizations"].modules())  # type: ignore[union-attr]
        inner = [child for child in walk(module)[1:] if child not in inside_parametrization and own_parameters(child)]
        if inner:
            raise Unsupported(
                f"layer {name_of(model, module)} owns parameters and contains {name_of(model, inner[0])}, which owns "
                "some as well: perturbation needs every parameter in a layer of its own."
            )
        owners.append(module)
    return owners
