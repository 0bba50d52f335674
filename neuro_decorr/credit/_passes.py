"""Perturbed and clean passes through a model, with what happens at its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit._forward_mode import derivative, with_tangent
from neuro_decorr.credit._layers import (
    Forward,
    ParameterUses,
    is_plain_linear,
    name_of,
    own_parameters,
    owners,
    replaced_forwards,
    walk,
)
from neuro_decorr.credit._losses import SampleLosses
from neuro_decorr.credit._noise import Noise
from neuro_decorr.credit._results import Clean, Perturbed, Repeated, Visited, passes_side_by_side
from neuro_decorr.credit._side_effects import RandomState, SideEffects, last_pass
from neuro_decorr.credit._time import Layout
from neuro_decorr.errors import StateMismatch, Unsupported

Kept = Literal["noise", "sign", "activity", "tangent"]
"""What is kept of a perturbed pass: noise, its sign, or activities; or the noise of one with derivatives along it."""


@final
class Passes:
    """Runs a model with noise at its nodes, then without.

    A node is one element of the output of a layer that directly owns trainable parameters (linear, convolution,
    normalisation with an affine map, any module of the user's); a layer that is called twice has its nodes twice.

    Every pass is a forward call of its own, so that statistics of the batch are never shared between the perturbed
    and the clean samples. All passes see the same random numbers (dropout). What a perturbed pass leaves in buffers
    and attributes is undone; modules that remember their input for a plasticity remember the clean pass alone, which
    comes last.

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
        self._layers = owners(model)
        self._side_effects = SideEffects()

    def run(
        self,
        inputs: Any,
        losses: SampleLosses,
        directions: int,
        keep: Kept,
        *,
        antithetic: bool = False,
        graphs: bool = False,
    ) -> tuple[list[Perturbed], Clean]:
        """Run the perturbed passes and one clean pass.

        Args:
            inputs: What the model is called with.
            losses: The losses to evaluate.
            directions: Number of perturbed passes, each with noise of its own.
            keep: What to keep of the nodes of a perturbed pass.
            antithetic: Whether each of them is followed by one with the negative of its noise.
            graphs: Whether to keep of the perturbed passes what a layer makes of its input, with the graph of it.

        Returns:
            The perturbed passes and the clean one.

        Raises:
            Unsupported: The model has nothing to perturb, or something happens in it that perturbation cannot treat.
            StateMismatch: The passes did not visit the same nodes, or the clean one is not the same twice.
        """
        model = self._model[0]
        layers, devices = self._learning()
        if not layers:
            raise Unsupported("perturbation needs a model with trainable parameters; this one has none.")
        if isinstance(inputs, Tensor) and inputs.requires_grad:
            inputs = inputs.detach()
        version = inputs._version if graphs and isinstance(inputs, Tensor) else None
        random_state = RandomState(devices)
        visits = _Visits(model, self.sigma, self.noise, keep, graphs, self.layout)
        stand_ins = replaced_forwards((layer, visits.stand_in(layer)) for layer in layers)
        with stand_ins, self._shared(inputs):
            known = self._side_effects.are_known(self._modules)
            if self.side_by_side:
                passes = self._together(inputs, directions, visits, random_state)
            else:
                passes = self._in_turn(inputs, directions, antithetic, visits, random_state)
            visits.perturbing = False
            with torch.enable_grad():
                outputs = last_pass(
                    model, inputs, self._modules, self._side_effects, random_state, known, between=visits.take
                )
        if version is not None and inputs._version != version:
            raise Unsupported(
                "the model works in place on its inputs, which the layers of the noisy passes keep; give it a copy, or "
                "use presynaptic='clean'."
            )
        clean = self._clean(outputs, losses, visits, [visited for _, visited in passes])

        def losses_of(result: Tensor) -> Tensor:
            if keep != "tangent":
                return losses.of(result)
            return derivative(lambda: losses.of(with_tangent(outputs.detach(), result)))

        return [Perturbed(losses_of(result), visited.nodes, visited.graphs) for result, visited in passes], clean

    def _clean(self, outputs: Any, losses: SampleLosses, visits: _Visits, perturbed: list[Visited]) -> Clean:
        """What the clean pass left, once it is certain that the noise reached all that learns, and the same nodes."""
        model = self._model[0]
        if visits.parameters.reached(outputs) is not None:
            raise Unsupported(
                "the model uses trainable parameters outside the forward of the layer that owns them, so that "
                "perturbing the outputs of its layers misses them; call the layers, or freeze these parameters."
            )
        clean_visited = visits.take()
        if any(visited.shapes != clean_visited.shapes for visited in perturbed):
            raise StateMismatch(
                "the perturbed and the clean pass did not visit the same nodes: the model's path depends on its values."
            )
        clean = Clean(*losses.attribute(outputs), clean_visited.nodes, clean_visited.layers)
        samples = len(clean.losses)
        for layer, node in zip(clean.layers, clean.nodes, strict=True):
            if self.layout.samples(node) != samples:
                place = "second (time_first=True)" if self.layout.is_sequence(node) else "first"
                raise Unsupported(
                    f"the output of layer {name_of(model, layer)} has shape {tuple(node.shape)}, but there are "
                    f"{samples} losses: its {place} dimension must be the sample; time_first=True is for layers that "
                    "run over (time, samples, units)."
                )
        return clean

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

    def _together(
        self, inputs: Any, directions: int, visits: _Visits, random_state: RandomState
    ) -> list[tuple[Tensor, Visited]]:
        """The perturbed passes as one, with nothing of it left behind: their outputs, and what was kept of them."""
        model = self._model[0]
        with torch.no_grad(), self._side_effects.restored(model, self._modules):
            visits.repeated = Repeated(inputs, directions, self.layout)
            together = passes_side_by_side(model, visits.repeated, self.layout, visits.take)
        if random_state.was_used():
            random_state.restore()
            raise Unsupported(
                "the model draws random numbers (dropout?), which directions side by side cannot share; use "
                "vectorised=False."
            )
        return together

    def _in_turn(
        self, inputs: Any, directions: int, antithetic: bool, visits: _Visits, random_state: RandomState
    ) -> list[tuple[Tensor, Visited]]:
        """The same, one after the other; the results are derivatives where the nodes got tangents."""
        model = self._model[0]
        passes = []
        for _ in range(directions):
            start = self.noise.get_extra_state() if antithetic else None
            for sign in (1, -1) if antithetic else (1,):
                if sign < 0 and start is not None:
                    self.noise.set_extra_state(start)
                visits.sigma = sign * self.sigma
                with torch.no_grad(), self._side_effects.restored(model, self._modules):
                    result = derivative(lambda: model(inputs)) if visits.keep == "tangent" else model(inputs)
                passes.append((result, visits.take()))
                random_state.restore()
        return passes

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

    def __init__(self, model: nn.Module, sigma: float, noise: Noise, keep: Kept, graphs: bool, layout: Layout) -> None:
        self.perturbing = True
        self.sigma = sigma
        self.keep = keep
        self.repeated: Repeated | None = None
        self._model = model
        self._noise = noise
        self._with_graphs = graphs
        self._layout = layout
        self._held: dict[nn.Module, Tensor] = {}
        self._kept = Visited([], [], [], [])
        self.parameters = ParameterUses(model)

    def take(self) -> Visited:
        """What was kept since the last call."""
        kept, self._kept, self._held = self._kept, Visited([], [], [], []), {}
        if self.perturbing and self.keep == "sign":
            signs = {id(noise): noise > 0 for noise in kept.nodes}
            return kept._replace(nodes=[signs[id(noise)] for noise in kept.nodes])
        return kept

    def stand_in(self, layer: nn.Module) -> Forward:
        """The layer's forward, followed by the visit of its output."""
        forward = layer.forward

        def visited(*arguments: Any, **keywords: Any) -> Tensor:
            if not self.perturbing:
                return self._cut(layer, (*arguments, *keywords.values()), forward(*arguments, **keywords))
            if self.repeated is not None and len(arguments) == 1 and not keywords:
                return self._perturb(layer, self.repeated.once(forward, arguments[0]))
            if not self._with_graphs:
                return self._perturb(layer, forward(*arguments, **keywords))
            with torch.enable_grad():  # of the layer alone, since nothing else has a graph
                output = forward(*arguments, **keywords)
            self._kept.graphs.append(output)
            return self._perturb(layer, output)

        return visited

    def _perturb(self, layer: nn.Module, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.dtype not in (torch.float32, torch.float64):
            got = f"a tensor of {output.dtype}" if isinstance(output, Tensor) else type(output).__name__
            raise Unsupported(
                f"layer {name_of(self._model, layer)} returns {got}; perturbation needs one float32 or float64 tensor "
                "(half precision rounds a small perturbation away)."
            )
        noise = self._noise_for(layer, output)
        self._kept.layers.append(layer)
        self._kept.shapes.append(output.shape)
        if self.keep == "tangent":
            self._kept.nodes.append(noise)
            return with_tangent(output, noise.expand_as(output))
        in_place = is_plain_linear(layer) and not self._with_graphs  # which returns a tensor that nothing else holds
        noisy = torch.add(output, noise, alpha=self.sigma, out=output if in_place else None)
        if self.keep != "activity":
            self._kept.nodes.append(noise)
            return noisy
        self._kept.nodes.append(noisy)
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
        if self.parameters.reached(*arguments) is not None:
            raise Unsupported(
                f"the input of layer {name_of(self._model, layer)} depends on trainable parameters that no layer owns "
                "or that are used outside the forward of their owner; perturbation cannot assign credit to them."
            )
        self._kept.layers.append(layer)
        self._kept.nodes.append(output)
        self._kept.shapes.append(output.shape)
        detached = output.detach()
        return detached.clone() if self.keep == "activity" else detached
