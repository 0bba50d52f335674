"""Why does decorrelation help learning: the direction of its updates, the conditioning of its inputs, or norms?

Question. Three things change at once when every layer receives D z: the update of the weights behind turns towards the
natural gradient, what the layers receive is better conditioned, and norms change. Which of them helps?

Sources. The question is this package's own; Ahmad (2024), arXiv:2407.10780, argues by the natural gradient, and
Benzing (2022), arXiv:2201.12250, has the conditioning of the gradient that is the control (FOOF).

Data. Handwritten digits with common modes added to every image; on request images of clothes, averaged over 4 x 4
pixels, whose correlations are their own. The network is small, so that the natural gradient is exact.

Conditions. Data x credit assignment x arm. All arms centre, and start from the same weights:

- `center`: nothing else, the reference;
- `zca`: damped ZCA whitening of a running covariance, D = g (I + S / (damping c))^-1/2, c the mean power;
- `scalar_gain`: the power of every layer's input becomes one, by one number a layer: norms alone;
- `diagonal`: the same damped formula with the variances alone: conditioning of single units;
- `foof`: D^T D on the gradient alone; the network computes as in `center`: direction alone;
- `frozen_zca`: D of the untrained network, from the training images, never changed: conditioning without adaptation;
- `rotated_zca`: R D, R a random orthogonal matrix: the same conditioning, along other axes.

Budget. All damped arms have one and the same damping. The learning rate is chosen from as many values of the same grid
for every arm of a credit, on the validation split, with seeds that are not measured. Then all arms run with the same
paired seeds.

Measured. Test accuracy at the end, once. Every third epoch, of the update as a step of the plain network that computes
the same: cosine to the natural gradient for several dampings of it, relative decrease (see
`neuro_decorr.metrics.GaussNewton`), length; effective rank and condition of what every layer receives; the angle of
the feedback weights.

Predictions. Written before the first run. A difference is confirmed or refuted where its 95 % interval over paired
seeds says so; "no difference" is confirmed where the interval lies within 0.02 of accuracy, refuted where it lies
outside of that; all else is undecided.

1. `zca` is ahead of `center`, in every credit.
2. Norms do not do it: `scalar_gain` makes no difference to `center`, once the learning rates are chosen.
3. Nor do variances: `zca` is ahead of `diagonal`, since the modes are shared between the units.
4. Nor do axes: `rotated_zca` makes no difference to `zca`. Every credit here makes the update of W of errors times
   inputs, with Gaussian weights at the start, for which W and W R are the same network.
5. Conditioning without adaptation does much of it: `frozen_zca` is ahead of `center`.
6. Direction alone does much of it: `foof` is ahead of `center`.
7. For backprop, direction does all of it: `foof` makes no difference to `zca`, being the same step.
8. For the others it does not: `zca` is ahead of `foof`, in which the modes go on through the network and into the
   errors.
9. D turns the updates towards the natural gradient: both measures of alignment are larger in `zca` than in `center`.
10. Over the arms, accuracy goes with alignment (relative decrease) and with the effective rank of the inputs: their
    rank correlations are above zero.
11. It does not go with the length of the steps: this rank correlation is not above zero.

Does not say. Small networks, about a hundred updates, gradient descent without momentum, one damping for all arms.
Whether `foof` and D part later, deeper, or each at its own best damping is not measured. Alignment is taken at the
weights that each arm has reached, and arms that learn are elsewhere than those that do not. `foof` is the input half
of K-FAC; the other half is not an arm.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

import neuro_decorr as nd
from analysis import gradient_geometry
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.learning import Geometry, accuracy, train
from protocols._arms import condition_gradients
from protocols.gradient_geometry.configuration import RATES, Configuration, dataset
from protocols.gradient_geometry.controls import Part, PartName, freeze


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Data x credit x arm."""
    return [
        {"images": images, "credit": credit, "arm": arm}
        for images in configuration.images
        for credit in configuration.credits
        for arm in configuration.arms
    ]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Learning rates, the same for all arms of a credit."""
    rates = study.logarithmic_grid(*RATES[levels["credit"]], configuration.selection_runs)
    return [{"learning_rate": rate} for rate in rates]


SELECTION = study.Selection(
    conditions=conditions,
    grid=grid,
    seeds=lambda configuration: configuration.selection_seeds,
    kind="curves",
    column="validation_accuracy",
    diverged=0.0,
)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    c, level, seed = configuration, condition.factors, condition.seed
    images = dataset(level["images"], c.strength, seed)
    model = nd.decorrelate(dense([images.features, *c.hidden, images.classes], seed=seed))
    plasticity = nd.Plasticity(model, rule_of(level["arm"], c.damping, seed), row_fraction=1.0)
    if level["arm"] == "frozen_zca":
        freeze(model, images.train.inputs, c.damping)
        plasticity.param_groups[0]["lr"] = 0.0  # D stays, the mean goes on
    conditioned = None
    if level["arm"] == "foof":
        conditioned = partial(condition_gradients, nd.conditioning.Signals(model), c.damping)
    measured = condition.stage == "measure"
    finished = train(
        model, nd.credit.get(level["credit"], model, seed=seed),
        torch.optim.SGD(model.parameters(), lr=level["learning_rate"]), images, recorder,
        plasticity=plasticity, conditioned=conditioned, epochs=c.epochs, batch_size=c.batch_size, seed=seed,
        geometry=Geometry(samples=c.samples, dampings=c.natural_dampings, every=3) if measured else None,
    )  # fmt: skip
    if measured:
        right = accuracy(model, images.test) if finished else None
        recorder.row("tests", test_accuracy=right, chance=1 / images.classes)


def rule_of(arm: str, damping: float, seed: int) -> nd.rules.Rule:
    """Make the rule of the lateral weights of an arm."""
    if arm in ("center", "foof"):
        return nd.rules.get("center")
    if arm in ("zca", "frozen_zca"):
        return nd.rules.get("zca", damping=damping)
    part: PartName = "scalar" if arm == "scalar_gain" else "diagonal" if arm == "diagonal" else "rotated"
    return Part(damping=damping, part=part, seed=seed)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Table, figure, and a verdict on every prediction."""
    gradient_geometry.draw(tables, directory)


PROTOCOL = study.Protocol(
    name="gradient_geometry",
    question="Is it alignment with the natural gradient, conditioning, or norms by which decorrelation helps?",
    configuration=Configuration,
    full={"images": ("digits", "clothes"), "epochs": 12},
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
