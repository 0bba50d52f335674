"""The training run that protocols share: learn, and record accuracy, achieved decorrelation and time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import metrics
from neuro_decorr.credit import Credit
from neuro_decorr.data import Dataset, Split, batches, stream
from neuro_decorr.errors import Diverged
from neuro_decorr.learning.geometry import Geometry, measure
from neuro_decorr.rate import Decorrelation
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.study.recorder import Recorder

Plasticities: TypeAlias = torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None
"""Whatever learns besides the weights: `nd.Plasticity`, `nd.norse.NeuronPlasticity`, or both."""

_MEASURED_SAMPLES = 256
"""Samples of the validation split on which the achieved decorrelation is measured."""
_CHECKED_SAMPLES = 64
"""Samples on which a collapse is looked for: rank is lost by factors, which few samples show."""
_COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Components of the spectrum that are recorded: about evenly spaced on the logarithmic axis that it is drawn on."""
_COLLAPSE = 0.5
"""A transform that leaves less than this part of its input's effective rank has collapsed."""


def train(
    model: nn.Module,
    credit: Credit,
    optimiser: torch.optim.Optimizer,
    data: Dataset,
    recorder: Recorder,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    plasticity: Plasticities = None,
    conditioned: Callable[[], None] | None = None,
    layers: bool = False,
    geometry: Geometry | None = None,
    test: bool = False,
) -> bool:
    """Train a classifier by cross-entropy and record its course.

    Rows by kind: `curves` (epoch, updates, loss, validation_accuracy, and test_accuracy
    if asked for), from before the first update on; with `layers`, `layers` (epoch, layer, and of what the weight layer
    receives: correlation, effective rank, whiteness of its second moment about zero) and `spectra` (epoch, layer,
    component, its share of the power). Timing rows: seconds of training since the start, wall and processor, without
    the measurements.

    Args:
        model: The network.
        credit: How its weights get their gradients.
        optimiser: Of its weights.
        data: Trained on the training split; measured on the validation split. The test split is not touched
            unless `test`.
        recorder: Takes the rows; a divergence is recorded there.
        epochs: Passes over the training split.
        batch_size: Samples a step; an incomplete last batch is left out of the pass.
        seed: Of the order of the samples.
        plasticity: Of the lateral weights, if any; several where different things learn by themselves.
        conditioned: Changes the gradients of every step before the optimiser takes them; `neuro_decorr.conditioning`.
        layers: Measure the layers too.
        geometry: Record how the update lies to backpropagation's and to the natural gradient, in rows of the kinds
            `geometry` and `natural`.
        test: Measure the test split at every epoch too, for comparisons at equal time. Nothing may be chosen by it.

    Returns:
        Whether the run came to its end; False when it diverged: the loss or an activity is not finite, or a transform
        lost rank.
    """
    order = batches(*data.train, batch_size, stream(seed, "order"), last="drop")
    total = epochs * len(order)
    updates, wall, processor, loss = 0, 0.0, 0.0, torch.tensor(math.nan)
    for epoch in range(epochs + 1):
        if epoch > 0:
            wall -= time.perf_counter()
            processor -= time.process_time()
            model.train()
            for inputs, targets in order:
                try:
                    loss = _step(credit, conditioned, optimiser, plasticity, inputs, targets)
                except Diverged as error:
                    recorder.diverged(updates, str(error))
                    return False
                updates += 1
            wall += time.perf_counter()
            processor += time.process_time()
            recorder.progress(updates, total)
            if not math.isfinite(float(loss)):
                recorder.diverged(updates, "the loss is not finite")
                return False
        reason = _collapse(model, data.validation.inputs[:_CHECKED_SAMPLES])
        if reason is not None:
            recorder.diverged(updates, reason)
            return False
        shown = None if epoch == 0 else float(loss)
        right = accuracy(model, data.validation)
        tested = {"test_accuracy": accuracy(model, data.test)} if test else {}
        recorder.row("curves", epoch=epoch, updates=updates, loss=shown, validation_accuracy=right, **tested)
        recorder.time(epoch=epoch, updates=updates, wall_seconds=wall, processor_seconds=processor)
        if layers:
            _measure_layers(model, data.validation.inputs[:_MEASURED_SAMPLES], epoch, recorder)
        if geometry is not None and epoch % geometry.every == 0:
            try:
                measure(geometry, model, credit, conditioned, data.train, epoch, recorder)
            except Diverged as error:
                recorder.diverged(updates, str(error))
                return False
    return True


@torch.no_grad()
def accuracy(model: nn.Module, split: Split) -> float:
    """Fraction of a split that the model classifies correctly, in eval mode."""
    training = model.training
    outputs: Tensor = model.eval()(split.inputs)
    model.train(training)
    return float((outputs.argmax(dim=1) == split.targets).double().mean())


def _step(
    credit: Credit,
    conditioned: Callable[[], None] | None,
    optimiser: torch.optim.Optimizer,
    plasticity: Plasticities,
    inputs: Tensor,
    targets: Tensor,
) -> Tensor:
    optimiser.zero_grad()
    loss = credit.backward(F.cross_entropy, inputs, targets)
    if conditioned is not None:
        conditioned()
    optimiser.step()
    if plasticity is None:
        return loss
    for one in [plasticity] if isinstance(plasticity, torch.optim.Optimizer) else plasticity:
        one.step()
    return loss


def _collapse(model: nn.Module, inputs: Tensor) -> str | None:
    """Why the run counts as diverged although its numbers are finite, or None."""
    kinds: tuple[type[nn.Module], ...] = (Decorrelation, DecorrelationCell)
    received: dict[str, Tensor] = {}
    for kind in kinds:
        if any(isinstance(module, kind) for module in model.modules()):
            received |= metrics.layer_inputs(model, inputs, kind)
    for name, before in received.items():
        place = model.get_submodule(name)
        module = place.decorrelation if isinstance(place, DecorrelationCell) else place
        assert isinstance(module, Decorrelation)
        with torch.no_grad():
            after = module.transform_centred(before - module.subtracted())
        if not bool(torch.isfinite(after).all()):
            return f"the activity of '{name}' is not finite"
        rank, kept = (metrics.participation_ratio(activity, silent="drop") for activity in (before, after))
        if kept < _COLLAPSE * rank:
            return f"the transform of '{name}' lowered the effective rank from {rank:.1f} to {kept:.1f}"
    return None


def _measure_layers(model: nn.Module, inputs: Tensor, epoch: int, recorder: Recorder) -> None:
    for name, activity in metrics.layer_inputs(model, inputs).items():
        population = metrics.moments(activity, silent="drop", center=False)
        recorder.row(
            "layers",
            epoch=epoch,
            layer=name,
            mean_squared_correlation=population.pairs.mean_squared,
            mean_absolute_correlation=population.pairs.mean_absolute,
            effective_rank=population.participation_ratio(),
            whiteness=population.whiteness(),
            mean_power=float(population.covariance.diagonal().mean()),
            silent_units=population.silent,
        )
        shares = (population.eigenvalues / population.eigenvalues.sum()).tolist()
        for component in (component for component in _COMPONENTS if component <= len(shares)):
            recorder.row("spectra", epoch=epoch, layer=name, component=component, share=shares[component - 1])
