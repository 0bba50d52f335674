"""Does decorrelation help spiking networks to learn, with and without backpropagation through time?

Question. How much does decorrelating the spikes that every layer receives help credit assignment through time, how much
of that is mere centring, and how strong must a shared nuisance be for the one or the other to win?

Sources. The question is this package's own; Ahmad, Schrader, van Gerven (2023), arXiv:2203.13203, and Ahmad (2024),
arXiv:2407.10780, for the rules.

Data. Handwritten digits, MNIST or Fashion-MNIST as constant currents or Poisson spikes, as they are and with a nuisance
that all inputs share: common modes of random amplitudes added to every image.

Conditions. Credit assignment x arm x strength of the nuisance. Arms: nothing; centring; norm-preserving decorrelation
driven by spikes or by their traces; low-rank damped inhibition by interneurons, plain and compensated; the rule of
constrained parameter inference; lateral inhibition between the hidden neurons, with centred inputs or without, and the
homeostasis of that alone.

Budget. Every arm gets the same number of selection runs: the controls spend them on learning rates, the others on fewer
learning rates x settings. The choice is made on the validation split, with seeds that are not measured. Then all arms
run with the same paired seeds, and the test split is touched once, at the end of each.

Measured. Accuracy by updates and by wall clock, test accuracy against `center` paired by seed, correlation, effective
rank and spectrum of what every weight layer receives, and the spikes that the network needs for one image.

Does not say. Three seeds and 64 updates: differences below 0.05 mean little under node perturbation, which has not
ended by then. Where a chosen rate is an end of its grid the arm may gain beyond it. Size of the noise, optimiser and
settings of the rules were tuned by hand on the validation split of the first seed, which is also measured. Poisson
inputs, MNIST and the other credits are options that the default does not run.
"""

from __future__ import annotations

from pathlib import Path

import torch

from analysis import achieved_decorrelation, comparison, dose_response, learning_curves, spikes_per_inference
from neuro_decorr import study
from protocols import _arms
from protocols.spiking_credit_assignment.configuration import ARMS, CREDITS, Configuration, dataset, network


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    level, seed = condition.factors, condition.seed
    images = dataset(configuration, level["strength"], seed)
    units = [images.features, *configuration.hidden, images.classes]
    model, plasticity = network(configuration, ARMS[level["arm"]], level["setting"], units, seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=level["learning_rate"])
    options = CREDITS[level["credit"]]
    if _arms.learn(configuration, condition, recorder, images, model, optimiser, plasticity, **options):
        for layer, spikes in model.spikes_per_inference(images.test.inputs).items():
            recorder.row("spikes", layer=layer, spikes=spikes)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Tables and figures, and the finding in words."""
    measured = tables.of("measure")
    dose_response.draw(measured, directory)
    learning_curves.draw(measured, directory)
    achieved_decorrelation.draw(measured, directory, configuration.credits[-1])
    spikes_per_inference.draw(measured, directory)
    comparison.draw(measured, directory)
    _arms.save_search(configuration, tables, directory)


PROTOCOL = study.Protocol(
    name="spiking_credit_assignment",
    question="Does decorrelation help spiking networks to learn, and how strong must a nuisance be for that?",
    configuration=Configuration,
    full={
        "credits": tuple(CREDITS),
        "arms": tuple(ARMS),
        "dose": (0.1, 0.25, 1.0),
        "dose_arms": tuple(ARMS),
        "epochs": 12,
        "selection_runs": 8,
        "selection_seeds": 3,
    },
    stages=_arms.SELECTION.stages,
    run=run,
    report=report,
    seeds=3,
)
