"""Geometry of gradients in a training run: angles from the update to the gradient and to the natural gradient."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuro_decorr import checks, metrics
from neuro_decorr.conditioning import Signals
from neuro_decorr.credit import Credit
from neuro_decorr.data import Split
from neuro_decorr.errors import Diverged, InvalidValue, Unsupported
from neuro_decorr.rate import fold
from neuro_decorr.study.recorder import Recorder

Gradients = dict[str, Tensor]
"""Gradients by the qualified name of the parameter."""

Recorded: TypeAlias = Literal["none", "backprop", "natural"]
"""Values of a protocol's option `--geometry`: record nothing, all but the natural gradient, or all."""

_RECEIVED_SAMPLES = 1024
"""Number of training samples on which the inputs of the layers are measured; with fewer samples than units the
condition number would be infinite."""
_RECEIVED_ROWS = 4096
"""Largest number of rows of a layer that are measured: a convolution has one row for every patch."""
ALL = "all"
"""Name in the column `layer` for all parameters together."""


@final
@dataclass(frozen=True, kw_only=True)
class Geometry:
    r"""Geometry of the update, which `train` records before the first epoch and after every `every` epochs.

    `train` records one row of the kind `geometry` for the whole network (layer `all`) and one for each weight layer:

    - `cosine`, `norm_ratio`: cosine and ratio of norms of the estimated gradient and the gradient of backpropagation,
      in the parameters of the network, before any conditioning. It is one estimate: the estimate of a credit that
      perturbs the network holds the noise of its perturbations.
    - `plain_cosine`: cosine of the update and the gradient of the plain network that computes the same (`nd.fold`).
    - `update_norm`: norm of the update of the plain network, at learning rate 1.
    - `feedback_angle` (degrees): angle of the feedback weights of a credit and the weights that they replace. Feedback
      weights of the shape of a layer's weights are compared with W D, since the default `feedback_site` sends the error
      past W and D. Feedback weights that broadcast the error are compared with the mean Jacobian of the outputs with
      respect to the input of the layer.
    - `condition_number`, `effective_rank`, `mean_power`: of the second moment about zero of the inputs of the weights,
      in the first 1,024 training samples; silent units are left out.

    It records rows of the kind `natural` for every `natural_damping`, again for the whole network and for each layer:
    `cosine` of the update and the natural gradient, and for the whole network `relative_decrease`, see
    `neuro_decorr.metrics.GaussNewton`.

    A step G of the weights W becomes, through the decorrelation matrix D, the step G D of the weights of the plain
    network, $W \leftarrow W D,\; b \leftarrow b - W D \mu$. The updates of all arms are compared in these coordinates.

    Other quantities are measured on the first `samples` training samples. The network is in eval mode, and the state of
    the credit is restored, so that a measurement does not change the run. Conditioning acts as in training.

    Cost: two passes; with dampings also that of `neuro_decorr.metrics.gauss_newton`.

    Source: Amari (1998), Natural gradient works efficiently in learning, doi:10.1162/089976698300017746 (natural
    gradient).

    Attributes:
        samples: Number of training samples to measure on.
        dampings: Dampings of the natural gradient, relative to the mean power of the Gauss-Newton matrix; an empty
            tuple records no natural gradient, for networks that are too large for it.
        every: Number of epochs between two measurements.
    """

    samples: int = 64
    dampings: tuple[float, ...] = (1.0, 10.0, 100.0)
    every: int = 1

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A parameter is out of range.
        """
        checks.refuse(
            "Geometry",
            checks.whole_number("samples", self.samples, least=1),
            checks.whole_number("every", self.every, least=1),
            *(checks.number("dampings", damping, above=0) for damping in self.dampings),
        )

    @classmethod
    def of(cls, recorded: Recorded) -> Geometry | None:
        """Geometry with default parameters for the option `--geometry` of a protocol; None for `none`."""
        return {"none": None, "backprop": cls(dampings=()), "natural": cls()}[recorded]


def measure(
    geometry: Geometry,
    model: nn.Module,
    credit: Credit,
    conditioned: Callable[[], None] | None,
    split: Split,
    epoch: int,
    recorder: Recorder,
) -> None:
    """Record the geometry of one update; see `Geometry`.

    Args:
        geometry: Settings of the measurement.
        model: The network.
        credit: Credit assignment of the weights.
        conditioned: Function that changes the gradients before the optimiser takes them; None: no such function.
        split: The training split.
        epoch: Epoch that the rows name.
        recorder: Recorder of the rows.

    Raises:
        Unsupported: A layer has parametrized weights, so that the update of the plain network is not linear in the
            gradient.
        InvalidValue: The network is too large for an exact natural gradient; see `neuro_decorr.metrics.gauss_newton`.
        Diverged: Gradients are not finite.
    """
    if any(parametrize.is_parametrized(module) for module in model.modules()):
        raise Unsupported(
            "geometry: the weight of a layer is computed from other parameters (torch's parametrizations), so that the "
            "update of the plain network is not linear in the gradient; train without geometry, or without the "
            "parametrization."
        )
    inputs, targets = (part[: geometry.samples] for part in split)
    with _at_rest(model, credit):
        F.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        exact = _taken(model)
        with Signals(model, rows=_RECEIVED_ROWS) as signals, torch.no_grad():
            model(split.inputs[:_RECEIVED_SAMPLES])
            received = {layer.name: layer.inputs for layer in signals}
        _forget(model, credit)
        credit.backward(F.cross_entropy, inputs, targets)
        estimate = _taken(model)
        if conditioned is not None:
            conditioned()
        update = _taken(model)
        plain = fold(model)
        plain_update = _plain(model, update)
        angles = _feedback_angles(plain, credit, inputs)
    gradient = _gradient(plain, inputs, targets)
    if not all(bool(part.isfinite().all()) for part in (*estimate.values(), *update.values(), *gradient.values())):
        raise Diverged("the gradients are not finite")
    steps = {name: plain_update.get(name, torch.zeros_like(value)) for name, value in gradient.items()}
    for layer in (ALL, *received):
        own = metrics.alignment(*_of(layer, estimate, exact))
        plainly = metrics.alignment(*_of(layer, steps, gradient))
        length = torch.stack([part.norm() for part in _of(layer, steps, gradient)[0]]).norm()
        recorder.row(
            "geometry", epoch=epoch, layer=layer, cosine=own.cosine, norm_ratio=own.norm_ratio,
            plain_cosine=plainly.cosine, update_norm=length, feedback_angle=angles.get(layer),
            **_conditioning(received.get(layer)),
        )  # fmt: skip
    if not geometry.dampings:
        return
    curvature = metrics.gauss_newton(plain, inputs)
    for damping in geometry.dampings:
        solved = curvature.natural_gradient(list(gradient.values()), damping)
        natural = dict(zip(gradient, solved, strict=True))
        whole = curvature.relative_decrease(list(steps.values()), list(gradient.values()), damping)
        for layer in (ALL, *received):
            recorder.row(
                "natural", epoch=epoch, layer=layer, natural_damping=damping,
                cosine=metrics.alignment(*_of(layer, steps, natural)).cosine,
                relative_decrease=whole if layer == ALL else None,
            )  # fmt: skip


@contextmanager
def _at_rest(model: nn.Module, credit: Credit) -> Iterator[None]:
    """Put a network into eval mode and delete its gradients; restore modes and the state of the credit afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    state = copy.deepcopy(credit.state_dict())
    model.eval()
    _forget(model, credit)
    try:
        yield
    finally:
        _forget(model, credit)
        # Not strict: feedback weights that the first pass has drawn are kept.
        credit.load_state_dict(state, strict=False)
        for module, training in modes:
            module.training = training


def _forget(*modules: nn.Module) -> None:
    for module in modules:
        module.zero_grad(set_to_none=True)


def _taken(model: nn.Module) -> Gradients:
    """Copy the gradients; a trained parameter without a gradient gets zero."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.detach().clone()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


@torch.no_grad()
def _plain(model: nn.Module, update: Gradients) -> Gradients:
    """Update of the plain network's parameters, which are linear in those of the model."""
    held = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        for name, parameter in model.named_parameters():
            parameter.copy_(update[name]) if name in update else parameter.zero_()
        return {name: p.detach() for name, p in fold(model).named_parameters()}
    finally:
        for name, parameter in model.named_parameters():
            parameter.copy_(held[name])


def _gradient(plain: nn.Module, inputs: Tensor, targets: Tensor) -> Gradients:
    parameters = {name: p for name, p in plain.named_parameters() if p.requires_grad}
    loss = F.cross_entropy(plain(inputs), targets)
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def _of(layer: str, *gradients: Mapping[str, Tensor]) -> list[list[Tensor]]:
    """Select the tensors of one layer, or all."""
    return [
        [part for name, part in found.items() if layer == ALL or name.rpartition(".")[0] == layer]
        for found in gradients
    ]


def _conditioning(received: Tensor | None) -> dict[str, float | None]:
    """Conditioning of the inputs of a layer, averaged over its groups."""
    names = ("condition_number", "effective_rank", "mean_power")
    if received is None:
        return dict.fromkeys(names)
    groups = received if received.dim() == 3 else received.unsqueeze(0)
    found = []
    for rows in groups:
        population = metrics.moments(rows, silent="drop", center=False)
        power = float(population.covariance.diagonal().mean())
        found.append((population.condition_number(), population.participation_ratio(), power))
    return dict(zip(names, (math.fsum(values) / len(found) for values in zip(*found, strict=True)), strict=True))


def _feedback_angles(plain: nn.Module, credit: Credit, inputs: Tensor) -> dict[str, float]:
    """Angles of the feedback weights (degrees) by layer; the first layer sends no error back and has none."""
    weights_of: Callable[[], dict[str, Tensor]] | None = getattr(credit, "feedback_weights", None)
    if weights_of is None:
        return {}
    feedback = weights_of()
    heard: dict[str, Tensor] = {}

    def listener(name: str) -> Any:
        def listen(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if arguments[0].requires_grad:
                heard[name] = arguments[0]

        return listen

    handles = [plain.get_submodule(name).register_forward_pre_hook(listener(name)) for name in feedback]
    try:
        outputs = plain(inputs)
    finally:
        for handle in handles:
            handle.remove()
    angles = {}
    for name, signal in heard.items():
        weight = plain.get_submodule(name).weight
        if not isinstance(weight, Tensor):
            raise InvalidValue(
                f"geometry: layer '{name}' has feedback weights but no tensor `weight` to compare them with; train "
                "without geometry."
            )
        stands_for = weight if weight.shape == feedback[name].shape else _mean_jacobian(outputs, signal)
        angles[name] = metrics.alignment([feedback[name]], [stands_for]).angle
    return angles


def _mean_jacobian(outputs: Tensor, signal: Tensor) -> Tensor:
    """Derivatives of every output with respect to an inner signal, averaged over the samples: (outputs, *units)."""
    rows = [torch.autograd.grad(output.sum(), signal, retain_graph=True)[0].mean(0) for output in outputs.unbind(1)]
    return torch.stack(rows)
