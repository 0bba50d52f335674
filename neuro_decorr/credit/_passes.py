"""Perturbed and clean passes through a model, with the noise at its nodes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit._forward_mode import derivative, with_tangent
from neuro_decorr.credit._layers import (
    Forward,
    ParameterUses,
    check_differentiated,
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
from neuro_decorr.credit._run import EarlierGraphs, output_of, tensors_in
from neuro_decorr.credit._side_effects import RandomState, SideEffects, last_pass
from neuro_decorr.credit._time import Hold, Layout, is_time_first
from neuro_decorr.errors import StateMismatch, Unsupported

Kept = Literal["noise", "sign", "activity", "tangent"]
"""Quantity kept of a perturbed pass: noise, its sign, activities, or the direction of a pass with derivatives."""


@final
class Passes:
    """Passes of a model with noise at its nodes, followed by one without.

    A node is one element of the output of a layer that directly owns trainable parameters (linear, convolution,
    normalisation with an affine map, any module of the user). A layer that is called twice has its nodes twice.

    Every pass is a separate forward call, so that perturbed and clean samples never share statistics of the batch. All
    passes see the same random numbers (dropout). Changes that a perturbed pass makes to buffers and attributes are
    undone. Modules that remember their input for a plasticity remember the clean pass only, which comes last.

    Args:
        model: The network.
        sigma: Standard deviation of the noise, in units of the nodes.
        noise: Stream of the noise.
        time_first: True if layers run over sequences. None: as declared by the neurons of the model.
        hold: Time for which noise is held.
        side_by_side: True runs the perturbed passes as one, over a batch that repeats the samples.
        tells: True warns if no noise of the first passes changes a loss.
    """

    def __init__(
        self,
        model: nn.Module,
        sigma: float,
        noise: Noise,
        time_first: bool | None,
        hold: Hold,
        side_by_side: bool = False,
        tells: bool = False,
    ) -> None:
        self.side_by_side = side_by_side
        self.sigma = sigma
        self.noise = noise
        self.layout = Layout(bool(time_first), hold)
        self._time_first = time_first
        self._model = (model,)
        self._modules = walk(model)
        self._layers = owners(model)
        self._side_effects = SideEffects()
        self._tells = tells

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
            inputs: Inputs of the model.
            losses: Losses to evaluate.
            directions: Number of perturbed passes, each with its own noise.
            keep: Quantity to keep of the nodes of a perturbed pass.
            antithetic: True runs every perturbed pass again with the negative of its noise.
            graphs: True keeps the outputs of the layers in perturbed passes, with their graphs.

        Returns:
            The perturbed passes and the clean pass.

        Raises:
            Unsupported: The model has nothing to perturb, or does something that perturbation cannot treat.
            StateMismatch: The passes did not visit the same nodes, or two clean passes give different results.
        """
        model = self._model[0]
        layers, devices = self._learning()
        if not layers:
            raise Unsupported("perturbation needs a model with trainable parameters; this one has none.")
        if isinstance(inputs, Tensor) and inputs.requires_grad:
            inputs = inputs.detach()
        version = inputs._version if graphs and isinstance(inputs, Tensor) else None
        random_state = RandomState(devices)
        # Read for this pass, since neurons may have been switched since the last.
        self.layout = self.layout._replace(time_first=is_time_first(model, self._time_first))
        visits = _Visits(model, self.sigma, self.noise, keep, graphs, self.layout)
        stand_ins = replaced_forwards((layer, visits.stand_in(layer)) for layer in layers)
        with stand_ins, self._shared(inputs):
            known = self._side_effects.are_known(self._modules)
            if self.side_by_side:
                passes = self._together(inputs, directions, visits, random_state)
            else:
                passes = self._in_turn(inputs, directions, antithetic, visits, random_state)
            visits.perturbing = False
            earlier = EarlierGraphs(model)
            with torch.enable_grad():
                outputs = last_pass(
                    model, inputs, self._modules, self._side_effects, random_state, known, between=visits.take
                )
        if version is not None and inputs._version != version:
            raise Unsupported(
                "the model works in place on its inputs, which the layers of the noisy passes keep: give it a copy, or "
                "use presynaptic='clean'."
            )
        clean = self._clean(outputs, losses, visits, [visited for _, visited in passes])
        earlier.refuse(*clean.nodes)

        def losses_of(result: Tensor) -> Tensor:
            if keep != "tangent":
                return losses.of(result)
            return derivative(lambda: losses.of(with_tangent(outputs.detach(), result)))

        found = [Perturbed(losses_of(result), visited.nodes, visited.graphs) for result, visited in passes]
        if keep != "tangent" and self._tells:
            self._tell_no_change([one.losses for one in found], clean.losses)
        self._tells = False
        return found, clean

    def _tell_no_change(self, perturbed: list[Tensor], clean: Tensor) -> None:
        """Warn if no noise changed any loss, since the gradient is then zero.

        This concerns the first passes only: a network that falls silent later has diverged, which no sigma mends.
        """
        if all(torch.equal(losses, clean) for losses in perturbed):
            warnings.warn(
                f"no perturbed pass changed the loss of any sample, so that the gradient is zero: noise of "
                f"sigma={self.sigma:g} moves no spike, or does not reach the loss. Spiking units need more noise: set "
                "sigma=, see nd.credit.linearity.",
                stacklevel=4,
            )

    def _clean(self, outputs: Any, losses: SampleLosses, visits: _Visits, perturbed: list[Visited]) -> Clean:
        """Results of the clean pass, after a check that the noise reached all that learns and the same nodes."""
        model = self._model[0]
        if visits.parameters.reached(outputs) is not None:
            raise Unsupported(
                "the model uses trainable parameters outside the forward of the layer that owns them, so that "
                "perturbing the outputs of its layers misses them: call the layers, or freeze these parameters."
            )
        clean_visited = visits.take()
        if any(visited.shapes != clean_visited.shapes for visited in perturbed):
            raise StateMismatch(
                "the perturbed and the clean pass did not visit the same nodes, since the path of the model depends on "
                "its values: use backprop or weight_perturbation."
            )
        clean = Clean(*losses.attribute(outputs, self.layout), clean_visited.nodes, clean_visited.layers)
        samples = len(clean.losses)
        for layer, node in zip(clean.layers, clean.nodes, strict=True):
            layout = self.layout.of(layer)
            if layout.samples(node) != samples:
                place = "second (time first)" if layout.is_sequence(node) else "first"
                raise Unsupported(
                    f"the output of layer {name_of(model, layer)} has shape {tuple(node.shape)}, but there are "
                    f"{samples} losses: its {place} dimension must be the sample. Set time_first=True for layers that "
                    "run over (time, samples, units); call convolutions, which have no dimension of time, once per "
                    "time step."
                )
        return clean

    @contextmanager
    def _shared(self, inputs: Any) -> Iterator[None]:
        """Let modules with `share_passes` apply their lateral weights once to the input of the model.

        The input is the same in every pass, since noise is added after these modules.
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
        """Run the perturbed passes as one that leaves no trace in the model; return their outputs and visits."""
        model = self._model[0]
        with torch.no_grad(), self._side_effects.restored(model, self._modules):
            visits.repeated = Repeated(inputs, directions, self.layout)
            together = passes_side_by_side(model, visits.repeated, self.layout, visits.take)
        if random_state.was_used():
            random_state.restore()
            raise Unsupported(
                "the model draws random numbers (dropout?), which directions side by side cannot share: use "
                "vectorised=False."
            )
        return together

    def _in_turn(
        self, inputs: Any, directions: int, antithetic: bool, visits: _Visits, random_state: RandomState
    ) -> list[tuple[Tensor, Visited]]:
        """Run the perturbed passes one after the other; the results are derivatives if the nodes got tangents."""
        model = self._model[0]

        def compute() -> Any:
            return output_of(model(inputs))

        passes = []
        for _ in range(directions):
            start = self.noise.get_extra_state() if antithetic else None
            for sign in (1, -1) if antithetic else (1,):
                if sign < 0 and start is not None:
                    self.noise.set_extra_state(start)
                visits.sigma = sign * self.sigma
                with torch.no_grad(), self._side_effects.restored(model, self._modules):
                    result = derivative(compute) if visits.keep == "tangent" else compute()
                passes.append((result, visits.take()))
                random_state.restore()
        return passes

    def _learning(self) -> tuple[list[nn.Module], set[torch.device]]:
        """Layers that have trainable parameters now, and their devices."""
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
    """Visits of a pass to the nodes: noise in a perturbed pass, a cut of the graph in the clean pass."""

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
        self._of_others: dict[nn.Module, ParameterUses] = {}

    def take(self) -> Visited:
        """Return all that was kept since the last call."""
        kept, self._kept, self._held = self._kept, Visited([], [], [], []), {}
        if self.perturbing and self.keep == "sign":
            signs = {id(noise): noise > 0 for noise in kept.nodes}
            return kept._replace(nodes=[signs[id(noise)] for noise in kept.nodes])
        return kept

    def stand_in(self, layer: nn.Module) -> Forward:
        """Stand-in for the layer's forward, which also visits its output."""
        forward = layer.forward

        def visited(*arguments: Any, **keywords: Any) -> Any:
            if not self._with_graphs:
                check_differentiated(self._model, layer)
            if not self.perturbing:
                output, *state = _parts(forward(*arguments, **keywords))
                return _joined(self._cut(layer, (*arguments, *keywords.values()), output), state)
            if self.repeated is not None and len(arguments) == 1 and not keywords:
                output, *state = _parts(self.repeated.once(forward, arguments[0]))
                return _joined(self._perturb(layer, output), state)
            if not self._with_graphs:
                output, *state = _parts(forward(*arguments, **keywords))
                return _joined(self._perturb(layer, output), state)
            with torch.enable_grad():  # for the layer alone, since nothing else has a graph
                output, *state = _parts(forward(*arguments, **keywords))
            self._kept.graphs.append(output)
            return _joined(self._perturb(layer, output), state)

        return visited

    def _perturb(self, layer: nn.Module, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.dtype not in (torch.float32, torch.float64):
            got = f"a tensor of {output.dtype}" if isinstance(output, Tensor) else type(output).__name__
            raise Unsupported(
                f"layer {name_of(self._model, layer)} returns {got}; perturbation needs one float32 or float64 tensor "
                "(half precision rounds a small perturbation away), or (tensor, state): change the layer, or use "
                "backprop."
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
        return noisy.clone()  # later modules may work in place

    def _noise_for(self, layer: nn.Module, output: Tensor) -> Tensor:
        like = self._layout.of(layer).drawn(output)
        if not self._layout.held:
            return self._noise.draw(like)
        noise = self._held.get(layer)
        if noise is None:
            noise = self._held[layer] = self._noise.draw(like)
        elif noise.shape != like.shape:
            raise Unsupported(
                f"the outputs of layer {name_of(self._model, layer)} change from shape {tuple(noise.shape)} to "
                f"{tuple(like.shape)} within a pass, so that its noise cannot be held: use hold='step'."
            )
        return noise

    def _cut(self, layer: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        if layer not in self._of_others:
            self._of_others[layer] = ParameterUses(self._model, own_parameters(layer))
        # A state that returns to its layer, after the input, may depend on the layer's own parameters.
        state = tensors_in(arguments[1:])
        if self.parameters.reached(*arguments[:1]) is not None or self._of_others[layer].reached(*state) is not None:
            raise Unsupported(
                f"the input of layer {name_of(self._model, layer)} depends on trainable parameters that no layer owns "
                "or that are used outside the forward of their owner, to which perturbation cannot assign credit: call "
                "the layers, or freeze these parameters."
            )
        if isinstance(layer, nn.RNNBase) and output.dim() < 3:
            raise Unsupported(
                f"layer {name_of(self._model, layer)} runs over one sequence without a dimension of samples: add one "
                "with unsqueeze."
            )
        self._kept.layers.append(layer)
        self._kept.nodes.append(output)
        self._kept.shapes.append(output.shape)
        detached = output.detach()
        return detached.clone() if self.keep == "activity" else detached


def _parts(returned: Any) -> tuple[Any, ...]:
    """Output of a layer and its other results: the state of a cell, to which no noise is added."""
    is_tuple = type(returned) is tuple and len(returned) > 0 and isinstance(returned[0], Tensor)
    return returned if is_tuple else (returned,)


def _joined(output: Tensor, state: list[Any]) -> Any:
    return (output, *state) if state else output
