"""Training run that protocols share: it records accuracy, achieved decorrelation and time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import metrics
from neuro_decorr.conditioning._rows import centred_rows, one_row_of_each
from neuro_decorr.credit import Credit
from neuro_decorr.data import Dataset, Split, batches, stream
from neuro_decorr.errors import Diverged
from neuro_decorr.learning.geometry import Geometry, measure
from neuro_decorr.metrics.layers import flat_rows, recorded
from neuro_decorr.rate import Decorrelation
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.row_choice import Convolution, TransposedConvolution
from neuro_decorr.study.recorder import Recorder

Plasticities: TypeAlias = torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None
"""Optimisers of local plasticity: `nd.Plasticity`, `nd.norse.NeuronPlasticity`, or both; None for no plasticity."""

_MEASURED_SAMPLES = 256
"""Number of samples of the validation split on which the achieved decorrelation is measured."""
_CHECKED_SAMPLES = 64
"""Number of samples for the test of collapse: a collapse divides the rank by a factor, which few samples show."""
_COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Components of the spectrum that are recorded, about evenly spaced on the logarithmic axis of its figure."""
_COLLAPSE = 0.5
"""Share of the effective rank of its input below which the output of a transform counts as collapsed."""


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
    """Train a classifier by cross-entropy and record the course of training.

    The run records rows of these kinds, the first before the first update:

    - `curves`: epoch, updates, loss (nats), validation_accuracy, and test_accuracy with `test`;
    - `layers`, with `layers`: epoch, layer, and correlation, effective rank and whiteness of the second moment about
      zero of the inputs of the weight layer;
    - `spectra`, with `layers`: epoch, layer, component, and its share of the power;
    - timing rows: wall and processor seconds of training since the start, without the measurements.

    In a study the run saves checkpoints between epochs. A run whose process was killed goes on from the last
    checkpoint and records the same rows to the last bit; see `Recorder.checkpoints`, also for the cost of checkpoints.

    Args:
        model: The network.
        credit: Credit assignment of the weights.
        optimiser: Optimiser of the weights.
        data: Data set; the run trains on the training split and measures on the validation split. It reads the test
            split only with `test`.
        recorder: Recorder of the rows and of a divergence.
        epochs: Number of passes over the training split.
        batch_size: Number of samples per step; a pass leaves out an incomplete last batch.
        seed: Seed of the order of the samples.
        plasticity: Optimiser of the lateral weights, or several for different kinds of plasticity; None: none.
        conditioned: Function that changes the gradients of every step before the optimiser takes them, see
            `neuro_decorr.conditioning`; None: none. A checkpoint must see all that it remembers between steps: give a
            function without enclosing variables, an object that has `state_dict`, or `functools.partial` of a function
            with numbers, dicts and such objects.
        layers: True measures the layers too.
        geometry: Settings of the rows `geometry` and `natural`, which compare the update with the gradient of
            backpropagation and with the natural gradient; None: no such rows.
        test: True measures the test split too at every epoch, for comparisons at equal time. Choose nothing by it.

    Returns:
        True if the run was completed; False if it diverged: the loss or an activity is not finite, or a transform lost
        rank.

    Raises:
        InvalidValue: `conditioned` remembers something that no checkpoint sees, or a parameter is out of range.
    """
    generator = stream(seed, "order")
    order = batches(*data.train, batch_size, generator, last="drop")
    total = epochs * len(order)
    loss = torch.tensor(math.nan)
    clocks = {"wall_seconds": 0.0, "processor_seconds": 0.0}
    checkpoints = recorder.checkpoints(
        model=model, credit=credit, optimiser=optimiser, plasticity=plasticity, conditioned=conditioned,
        order=generator, clocks=clocks,
    )  # fmt: skip
    for epoch in checkpoints.steps(epochs + 1):
        updates = max(0, epoch - 1) * len(order)
        if epoch > 0:
            clocks["wall_seconds"] -= time.perf_counter()
            clocks["processor_seconds"] -= time.process_time()
            model.train()
            for inputs, targets in order:
                try:
                    loss = _step(credit, conditioned, optimiser, plasticity, inputs, targets)
                except Diverged as error:
                    recorder.diverged(updates, str(error))
                    return False
                updates += 1
            clocks["wall_seconds"] += time.perf_counter()
            clocks["processor_seconds"] += time.process_time()
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
        recorder.time(epoch=epoch, updates=updates, **clocks)
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
    """Fraction of the samples of a split that the model classifies correctly, from 0 to 1, in eval mode."""
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
    """Reason to count a run with finite numbers as diverged; None if there is none."""
    # A convolution never calls its Decorrelation, since D is folded into its kernel.
    kinds: Any = DecorrelationCell | Decorrelation | Convolution | TransposedConvolution
    places = {name: m for name, m in model.named_modules() if isinstance(m, kinds) and _held_by(m) is not None}
    if not places:
        return None
    generator = torch.Generator().manual_seed(0)  # patches of one image are similar, so that one of each is enough

    def centred(place: Any, activity: Tensor) -> Tensor:
        held: Any = _held_by(place)
        if isinstance(place, Convolution | TransposedConvolution):
            rows = one_row_of_each(place, activity, generator, decorrelated=False)
        else:
            rows = flat_rows(place, activity)
            rows = rows if held.groups == 1 else rows.reshape(len(rows), held.groups, -1).transpose(0, 1)
        return centred_rows(held, rows)

    for name, before in recorded(model, inputs, places, centred).items():
        held: Any = _held_by(places[name])
        with torch.no_grad():
            after = held.transform_centred(before)
        if not bool(torch.isfinite(after).all()):
            return f"the activity of '{name}' is not finite"
        for group in zip(before, after, strict=True) if held.groups > 1 else [(before, after)]:
            rank, kept = (metrics.participation_ratio(activity, silent="drop") for activity in group)
            if kept < _COLLAPSE * rank:
                return f"the transform of '{name}' lowered the effective rank from {rank:.1f} to {kept:.1f}"
    return None


def _held_by(place: nn.Module) -> Decorrelation | None:
    held = place if isinstance(place, Decorrelation) else place._modules.get("decorrelation")
    return held if isinstance(held, Decorrelation) else None


def _measure_layers(model: nn.Module, inputs: Tensor, epoch: int, recorder: Recorder) -> None:
    for name, activity in metrics.layer_inputs(model, inputs, nn.Linear).items():
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
