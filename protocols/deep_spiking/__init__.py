"""Does decorrelation carry credit through deep spiking networks, in place of batch normalisation?

Question. Deep spiking networks are trained with batch normalisation, whose statistics of a batch no neuron has, and by
backpropagation through time. How deep do local ways of assigning credit reach, and which lateral circuit, or which
conditioning of the gradient, makes up for batch normalisation? Ma and Yu (2026) train more than ten layers by node
perturbation whose updates are projected; Liu, Ding and Yu (2026) replace batch normalisation by lateral inhibition.

Data. 6,000 images of Fashion-MNIST that come with the package; all of it, or MNIST, from files. Pixels are currents,
constant in time; their mean is not removed.

Network. 2, 5 or 10 layers of 64 leaky integrate-and-fire neurons and a linear readout, 3 steps. Initial gain and slope
of the surrogate derivative keep the size of the exact gradient in an untrained network.

Conditions. Credit x arm x depth. Credits: e-prop (symmetric), feedback alignment, node perturbation (one current a
neuron, held over the trial), and local forward gradients (every layer has a loss of its own, neurons in 8 groups); on
request backpropagation through time. Arms: nothing; centring of what every layer receives; batch normalisation of
currents; with centred inputs neurons that inhibit each other and keep their rates, or the projector of recursive least
squares on the gradient; decorrelation by 16 interneurons a layer.

Budget. Adam; every credit and arm gets the same number of selection runs, on a grid of learning rates around the middle
of the credit and arm, at the middle of the depths. The choice is made on the validation split, with a seed that is not
measured, and holds for all depths. Then all arms run with the same paired seeds, and the test split is touched once, at
the end of each.

Measured. Test accuracy by depth; before and after training the cosine of what a credit gives each layer with the exact
gradient of the same network, on 200 training images; the rate of every layer.

Sources. Ma and Yu (2026), arXiv:2602.22259; Liu, Ding and Yu (2026), arXiv:2509.23253.

Does not say. Some forty updates of small networks: what wins is what learns fastest. Learning rates were chosen at the
middle depth and hold for all; where a choice is an end of its grid the arm may gain beyond it. Damping, strength of
the projector and rate of the inhibition are single values. The projector is that of recursive least squares over the
rows of a batch, not the clusters of Ma and Yu. Backpropagation through time and the full size are no part of the
default.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import deep_spiking as analysis
from neuro_decorr import study
from neuro_decorr.credit import Credit
from neuro_decorr.data import Split
from neuro_decorr.learning import accuracy, train
from protocols._arms import condition_gradients
from protocols._images import dataset, evaluated
from protocols.deep_spiking.alignment import record
from protocols.deep_spiking.configuration import FULL, RATES, SHIFTS, SPAN, Configuration
from protocols.deep_spiking.local_forward_gradient import LocalForwardGradient
from protocols.deep_spiking.network import DeepSpiking, deep_spiking

ROWS = 32
"""Rows of a pass, evenly spaced over steps and samples, that condition a gradient."""


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Credit x arm, at the middle of the depths: what has a learning rate of its own."""
    depth = sorted(configuration.depths)[len(configuration.depths) // 2]
    return [
        {"credit": credit, "arm": arm, "depth": depth} for credit in configuration.credits for arm in configuration.arms
    ]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: learning rates around the middle of the credit, shifted for some arms."""
    middle, runs = RATES[levels["credit"]] * SHIFTS.get(levels["arm"], 1.0), configuration.selection_runs
    rates = study.logarithmic_grid(middle / SPAN, middle * SPAN, runs) if runs > 1 else [middle]
    return [{"learning_rate": rate} for rate in rates]


SELECTION = study.Selection(conditions=conditions, grid=grid, kind="curves", column="validation_accuracy", diverged=0.0)


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare every depth with every paired seed, at the rate that was chosen for its credit and arm."""
    return [
        study.Condition(chosen.stage, chosen.seed, {**chosen.factors, "depth": depth})
        for chosen in SELECTION.measured_runs(configuration, seeds, tables)
        for depth in configuration.depths
    ]


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    c, level, seed, measured = configuration, condition.factors, condition.seed, condition.stage == "measure"
    images = evaluated(dataset(c.images, c.data_dir, c.training, seed), c.evaluated)
    sizes = [images.features, *[c.width] * level["depth"], images.classes]
    model, plasticity = network_of(c, level["arm"], sizes, seed)
    credit = credit_of(c, level["credit"], model, seed)
    optimiser = torch.optim.Adam([*model.parameters(), *credit.parameters()], lr=level["learning_rate"])
    samples = Split(*(part[: c.aligned] for part in images.train))
    if measured:
        record(recorder, model, credit, samples, when="before")
    finished = train(
        model, credit, optimiser, images, recorder, plasticity=plasticity, conditioned=conditioning(c, level, model),
        batch_size=c.batch_size, epochs=c.epochs if measured else c.selection_epochs or c.epochs, seed=seed,
    )  # fmt: skip
    if not measured:
        return
    if finished:
        record(recorder, model, credit, samples, when="after")
    right = accuracy(model, images.test) if finished else None
    recorder.row("tests", test_accuracy=right, chance=1 / images.classes)


def network_of(
    configuration: Configuration, arm: str, sizes: list[int], seed: int
) -> tuple[DeepSpiking, list[torch.optim.Optimizer]]:
    """Make the network of an arm, with equal weights for all arms of a seed, and its plasticity."""
    c = configuration
    inhibiting = arm.startswith("lateral_inhibition")
    model = deep_spiking(
        sizes, c.steps, normalised=arm == "batch_normalisation", inhibition=c.inhibition if inhibiting else None,
        gain=c.gain, seed=seed,
    )  # fmt: skip
    plasticity: list[torch.optim.Optimizer] = []
    rules: dict[str, tuple[str, dict[str, Any]]] = {
        **dict.fromkeys(("center", "lateral_inhibition_centered", "orthogonal_projector", "foof"), ("center", {})),
        "interneuron": ("interneuron", {"interneurons": c.interneurons, "damping": c.damping}),
        "whitening": ("whitening", {"damping": c.damping}),
        "norm_preserving": ("norm_preserving", {"form": "published", "rate": 5e-3}),
    }
    if arm in rules:
        model = nd.decorrelate(model, signal="spikes")
        name, parameters = rules[arm]
        plasticity.append(nd.Plasticity(model, nd.rules.get(name, **parameters)))
    return model, [*plasticity, *([nd.norse.NeuronPlasticity(model)] if inhibiting else [])]


def credit_of(configuration: Configuration, name: str, model: DeepSpiking, seed: int) -> Credit:
    """Make the credit of a condition."""
    if name == "local_forward_gradient":
        return LocalForwardGradient(model, groups=configuration.groups, seed=seed)
    # One current a trial and neuron: noise of every step would have T times as many nodes to tell apart.
    options = {"time_first": True, "hold": "pass", "sigma": configuration.sigma} if name == "node_perturbation" else {}
    return nd.credit.get(name, model, seed=seed, **options)


def conditioning(configuration: Configuration, levels: study.Levels, model: nn.Module) -> Callable[[], None] | None:
    """Conditioning of the gradients of an arm, between the credit and the optimiser."""
    if levels["arm"] == "foof":
        return partial(condition_gradients, nd.conditioning.Signals(model, rows=ROWS), configuration.damping)
    if levels["arm"] == "orthogonal_projector":
        return partial(project, nd.conditioning.Signals(model, rows=ROWS), {}, configuration.projector_passes)
    return None


def project(signals: nd.conditioning.Signals, projectors: dict[str, tuple[Tensor, float]], passes: float) -> None:
    r"""Keep the gradient of every layer from what the layer has received so far.

    $$\tilde G_t = G_t P_t, \qquad P_t = a \Big(a I + \sum_{s \le t} X_s^T X_s\Big)^{-1}, \qquad
    a = \text{passes} \; \frac{\operatorname{tr} X_1^T X_1}{d}$$

    Args:
        signals: Signals that reached the layers.
        projectors: P and a by layer, empty at the start; changed.
        passes: After how many passes with the power of the first P halves a direction of mean power.
    """
    for layer in signals:
        rows = layer.inputs
        before, strength = projectors.get(layer.name, (None, 0.0))
        if before is None:
            # Layers that begin in silence get a strength that does not matter: of silent inputs P is the identity.
            strength = passes * float(rows.square().sum()) / rows.shape[1] or 1.0
        projector = nd.conditioning.orthogonal_projector(rows, before, strength=strength)
        projectors[layer.name] = projector, strength
        layer.gradient = layer.gradient @ projector


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Table, figures and the finding in words."""
    analysis.draw(tables, directory)


PROTOCOL = study.Protocol(
    name="deep_spiking",
    question="Does decorrelation carry credit through deep spiking networks, in place of batch normalisation?",
    configuration=Configuration,
    full=FULL,
    seeds=5,
    stages=(SELECTION.selection_runs, measured_runs),
    run=run,
    report=report,
)
