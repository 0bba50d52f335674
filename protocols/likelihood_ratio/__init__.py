r"""What do noisy copies of a network need to learn by, and what do decorrelated inputs save them?

Question. The likelihood ratio multiplies the noise of every node with the loss of the noisy network: no backward pass.
Zhang et al. (2024) store the sign of the noise alone, one bit a node, and average over many copies. How noisy is each
form, how much do copies help, and how much does decorrelating the inputs of the layers?

Theory. With N nodes and the gradient g at them the variance of one copy is $(N + 1) |g|^2$ for the score of Gaussian
noise, $((\pi/2) N - 1) |g|^2$ for its sign, $(N - 1) |g|^2$ for noise that is itself +1 or -1, which needs one bit as
well. The cosine to the gradient G of a batch therefore goes as $(1 + V / (R |G|^2))^{-1/2}$ with R copies, V the
variance of one.

Data. Digits with common modes of strength 1; on request digits as they are, or Fashion-MNIST.

Conditions. Estimator x copies x arm. Estimators: `gaussian`, likelihood ratio with the loss without noise as baseline
and the inputs of the noisy copy; `sign`, the same with stored signs; `node_perturbation`, with the inputs of the pass
without noise; `rademacher`, node perturbation by noise of +1 and -1. Arms: centring, foof, interneurons; with the first
estimator nothing and batch normalisation too.

Budget. As many learning rates for every condition, on one grid, chosen on the validation split with a seed that is not
measured. Then paired seeds.

Measured. Test accuracy; before learning the cosine between estimate and gradient by copies; and on copies of one sample
the variances of every estimator, with other baselines too.

Sources. Zhang, Jiang, Liu et al. (2024), Approximated likelihood ratio: a forward-only and parallel framework for
boosting neural network training, arXiv:2403.12320; the factor of the sign and the variances are derived here.

Does not say. Three passes: with one copy nothing has converged, and the controls are at chance or little above. Where
a chosen rate is an end of its grid the condition may gain beyond it; a rate that is best on the selection seed can
fail on measured ones. The damping was not tuned. The sign of the noise is stored; whether the publication also signs
the inputs could not be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from pydantic import Field, model_validator

import neuro_decorr as nd
from analysis import likelihood_ratio as analysis
from neuro_decorr import study
from protocols import _controls as controls
from protocols._controls import DAMPINGS, ArmName, TaskName
from protocols.likelihood_ratio import batch_estimates, nodes
from protocols.likelihood_ratio.nodes import Form

EstimatorName: TypeAlias = Literal["gaussian", "sign", "node_perturbation", "rademacher"]
ESTIMATORS: dict[EstimatorName, tuple[str, Form, dict[str, Any]]] = {
    "gaussian": ("likelihood_ratio", "gaussian", {}),
    "sign": ("likelihood_ratio", "sign", {"stored": "sign"}),
    "node_perturbation": ("node_perturbation", "gaussian", {}),
    "rademacher": ("node_perturbation", "rademacher", {"noise": "rademacher"}),
}
"""The credit, whose law its variance follows, and the options of the credit."""
BASELINES: dict[str, dict[str, Any]] = {
    "no baseline": {"baseline": "none"},
    "antithetic, no baseline": {"baseline": "none", "antithetic": True},
    "antithetic, no baseline, clean inputs": {"baseline": "none", "antithetic": True, "presynaptic": "clean"},
    "antithetic, baseline": {"antithetic": True},
    "two copies, each the other's baseline": {"baseline": "others", "directions": 2},
}
"""Other options of the likelihood ratio, whose variance is measured beside the laws; one sigma for all."""
ONCE: tuple[ArmName, ...] = ("none", "batch_normalisation")
"""Arms that run with the first estimator alone."""
SMALL = (8, 10, 10, 4)
"""Units of the network of the variances: 24 nodes."""
SIGMA = 1e-2
"""Of the variances: without a baseline they contain (L / sigma)^2."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    task: TaskName = Field("modes", description="modes: digits with common modes; digits; clothes: Fashion-MNIST")
    estimators: tuple[EstimatorName, ...] = Field(
        ("gaussian", "sign", "node_perturbation", "rademacher"), min_length=1, description="estimators"
    )
    copies: tuple[int, ...] = Field(
        (1, 4), min_length=1, description="numbers of copies for the estimators gaussian and sign"
    )
    arms: tuple[ArmName, ...] = Field(
        ("none", "center", "batch_normalisation", "foof", "interneuron"), description="arms; whitening is available too"
    )
    hidden: tuple[int, ...] = Field((100, 100), min_length=1, description="units of the hidden layers")
    interneurons: int = Field(16, ge=1, description="number of interneurons of every layer")
    learning_rates: tuple[float, float] = Field((0.005, 0.16), description="ends of the grid of learning rates")
    selection_runs: int = Field(6, ge=2, description="number of learning rates that are tried for every condition")
    epochs: int = Field(3, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per step")
    draws: int = Field(20_000, ge=2, description="number of copies of one sample for the measured variances")
    compared: tuple[int, ...] = Field(
        (1, 4, 16, 64, 256), min_length=1, description="numbers of copies for the measured cosines"
    )

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Numbers of copies that are some."""
        for name, given in (("--copies", self.copies), ("--compared", self.compared)):
            if min(given) < 1:
                raise ValueError(f"{name}: got {given}, allowed are numbers >= 1")
        return self


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Estimator x copies x arm; some controls with the first estimator alone, node perturbation with one copy."""
    first = configuration.estimators[0]
    return [
        {"estimator": name, "copies": copies, "arm": arm}
        for name in configuration.estimators
        for copies in (configuration.copies if ESTIMATORS[name][0] == "likelihood_ratio" else (1,))
        for arm in configuration.arms
        if name == first or arm not in ONCE
    ]


SELECTION = study.Selection(
    conditions=conditions, grid=controls.grid, kind="curves", column="validation_accuracy", diverged=0.0
)


def variances(configuration: Configuration, seeds: list[int], _tables: study.Tables) -> list[study.Condition]:
    """Declare the small network, once per seed."""
    return [study.Condition("variances", seed, {}) for seed in seeds]


def cosines(configuration: Configuration, seeds: list[int], _tables: study.Tables) -> list[study.Condition]:
    """Declare the cosines of one batch before learning, for the first estimators and the arms with the same network."""
    arms = [arm for arm in configuration.arms if arm not in ("none", "batch_normalisation", "foof")]
    return [study.Condition("cosines", seed, {"arm": arm}) for seed in seeds for arm in arms]


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Measure the estimated gradient of one network, or train it with that estimate."""
    if condition.stage == "variances":
        return spread(configuration, condition.seed, recorder)
    c, level, seed = configuration, condition.factors, condition.seed
    images = controls.images(c.task, seed)
    arm = controls.equip_dense(
        level["arm"], [images.features, *c.hidden, images.classes], damping=DAMPINGS[c.task],
        interneurons=c.interneurons, row_fraction=0.5, rows=c.batch_size // 2, seed=seed,
    )  # fmt: skip
    if condition.stage == "cosines":
        batch = controls.settle(arm, images, c.batch_size, seed)
        for name in (name for name in c.estimators if ESTIMATORS[name][0] == "likelihood_ratio"):
            _, form, options = ESTIMATORS[name]
            for copies in c.compared:
                cosine, predicted = batch_estimates.cosine(arm.model, batch, form, copies, options, seed)
                recorder.row("cosines", estimator=name, copies=copies, cosine=cosine, predicted=predicted)
        return None
    credit_name, _, options = ESTIMATORS[level["estimator"]]
    credit = nd.credit.get(credit_name, arm.model, directions=level["copies"], seed=seed, **options)
    optimiser = torch.optim.SGD(arm.model.parameters(), lr=level["learning_rate"])
    controls.learn(
        arm, credit, optimiser, images, recorder, measured=condition.stage == "measure",
        epochs=c.epochs, batch_size=c.batch_size, seed=seed,
    )  # fmt: skip
    return None


def spread(configuration: Configuration, seed: int, recorder: study.Recorder) -> None:
    """Record the variance of every estimator at the nodes and at the weights, over the squared gradient."""
    copied = nodes.Copied(SMALL, configuration.draws, seed)
    errors, powers, _ = copied.exact()
    exact = copied.estimates("backprop")
    laws: dict[str, tuple[str, Form | None, dict[str, Any]]] = {
        **{str(name): found for name, found in ESTIMATORS.items()},
        **{name: ("likelihood_ratio", None, options) for name, options in BASELINES.items()},
    }
    for name, (credit, form, options) in laws.items():
        found = copied.estimates(credit, sigma=SIGMA, seed=seed, **options)
        at_nodes = at_weights = None
        if form is not None:
            at_nodes = nodes.node_variance(form, sum(SMALL[1:]))
            at_weights = nodes.weight_variance(form, errors, powers)
        for side, estimated, gradient, predicted in (
            ("nodes", found.nodes, exact.nodes, at_nodes),
            ("weights", found.weights, exact.weights, at_weights),
        ):
            recorder.row(
                "variances",
                estimator=name,
                side=side,
                variance=(estimated - gradient).square().sum(1).mean() / gradient[0].square().sum(),
                predicted=predicted,
                cosine=torch.cosine_similarity(estimated.mean(0), gradient[0], dim=0),
            )


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Tables, figure and the finding in words."""
    print(analysis.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="likelihood_ratio",
    question="What do noisy copies of a network need to learn by, and what do decorrelated inputs save them?",
    configuration=Configuration,
    full={"copies": (1, 4, 16), "learning_rates": (0.005, 0.32), "selection_runs": 7},
    seeds=5,
    stages=(*SELECTION.stages, variances, cosines),
    run=run,
    report=report,
)
