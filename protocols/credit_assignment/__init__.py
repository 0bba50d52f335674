"""Does decorrelating every layer help, and beyond centring?

Question. How much does decorrelating the input of every layer help backpropagation, feedback alignment and
perturbation learning, and how much of that is mere centring?

Sources. Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780, whose claim is put beside
controls here; Dalm, Offergeld, Ahmad, van Gerven (2025), arXiv:2405.02385.

Data. Handwritten digits, as they are and with common modes added to every image.

Conditions. Credit assignment x arm x strength of the common modes. Arms: nothing; centring; batch normalisation; four
plasticity rules, plain and compensated; centring compensated, which shows what compensation does by itself.

Budget. Every arm gets the same number of selection runs: the controls spend them on learning rates, the rules on fewer
learning rates x settings of the rule. The choice is made on the validation split, with seeds that are not measured.
Then all arms run with the same paired seeds, and the test split is touched once, at the end of each.

Measured. Accuracy by updates and by wall clock, test accuracy against `center` paired by seed, correlation, effective
rank and spectrum of what every weight layer receives, and the gain over `center` against the strength of the modes.

Does not say. Digits of 8 x 8 pixels and networks of a few layers: differences between arms, not records. The common
modes are added by hand; on digits as they are centring does nearly all. The grid of the rules is coarser in the
learning rate than that of the controls, at equal budgets. FOOF, the same conditioning on the side of the gradient, is
not an arm here; `natural_images` has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

import neuro_decorr as nd
from analysis import achieved_decorrelation, comparison, dose_response, learning_curves
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.learning import Geometry
from protocols import _arms
from protocols.credit_assignment.configuration import ARMS, RULES, Configuration, dataset


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    level, seed = condition.factors, condition.seed
    images = dataset(configuration.file, configuration.constant_features, level["strength"], seed)
    normalisation: Literal["batch", "none"] = "batch" if level["arm"] == "batch_normalisation" else "none"
    network = dense([images.features, *configuration.hidden, images.classes], normalisation=normalisation, seed=seed)
    plasticity = None
    if level["arm"] not in ("none", "batch_normalisation"):
        network = nd.decorrelate(network)
        name, settings = RULES.get(level["arm"].removesuffix("_compensated"), ("center", [{}]))
        rule = nd.rules.get(name, **settings[level["setting"]])
        plasticity = nd.Plasticity(network, rule, compensate=level["arm"].endswith("_compensated"), row_fraction=0.5)
    optimiser = torch.optim.SGD(network.parameters(), lr=level["learning_rate"])
    geometry = Geometry.of(configuration.geometry)
    _arms.learn(configuration, condition, recorder, images, network, optimiser, plasticity, geometry)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Tables and figures, and the finding in words."""
    measured = tables.of("measure")
    dose_response.draw(measured, directory)
    learning_curves.draw(measured, directory)
    achieved_decorrelation.draw(measured, directory)
    comparison.draw(measured, directory)
    _arms.save_search(configuration, tables, directory)


PROTOCOL = study.Protocol(
    name="credit_assignment",
    question="Does decorrelating every layer help, and how much of that is mere centring?",
    configuration=Configuration,
    full={
        "arms": ARMS,
        "dose_arms": ARMS,
        "epochs": 30,
        "hidden": (128, 128, 128),
        "selection_runs": 16,
        "selection_seeds": 3,
    },
    stages=_arms.SELECTION.stages,
    run=run,
    report=report,
)
