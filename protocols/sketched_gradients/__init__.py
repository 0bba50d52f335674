r"""How many random projections does a gradient need, and what does decorrelation change about it?

Question. Louboutin et al. (2021) keep r random projections of what a layer receives in the place of the input, and get
an unbiased gradient of the weights with far less memory. Its noise is the same in all directions of the input, while
the gradient itself is strong along strong modes: weak modes drown. Decorrelated inputs have no such modes. Does that
show in learning, and does the same conditioning on the side of the gradient, `foof`, do as well?

Theory. For a Linear layer with gradient G and Gaussian probes, whatever the inputs,
$E |\hat G - G|^2 = (d + 1) / r |G|^2$, and along a unit vector v the signal to noise ratio is r q / (1 + q) with
$q = |G v|^2 / |G|^2$. Behind a decorrelation D the effective weights W D move along v as W does along D v, so that q is
that of the decorrelated layer. A matrix on the side of the gradient scales signal and noise alike: `foof` leaves q, and
makes the noise of weak directions as large as that of strong ones.

Data. Digits with common modes of strength 1; on request digits as they are, or 6,000 images of Fashion-MNIST.

Conditions. Probes (8, 32, 128, or exact backpropagation) x arm: nothing, centring, batch normalisation, foof,
interneurons; on request whitening. D and foof have the same damping; foof takes the second moments of the whole batch,
the rules see a tenth of it.

Budget. As many learning rates for every condition, on one grid, chosen on the validation split with a seed that is not
measured. Then paired seeds.

Measured. Test accuracy. Before learning, for arms with a rule or foof: the variance over its closed form; signal and
noise along principal directions of the input, of the effective weights; bytes alive when the loss is known.

Sources. Louboutin, Siahkoohi, Wang and Herrmann (2021), Low-memory stochastic backpropagation with multi-channel
randomized trace estimation, arXiv:2106.06998.

Does not say. Real images are an option that the default does not run, and convolutions, for which the method was made,
are tested but not trained here. `foof` has the damping of D, and was not tuned; a larger one brings it nearer to
centring. 128 probes are more than the first layer has inputs, and are there to show the limit. Memory is that of a
dense ReLU network.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field, model_validator

import neuro_decorr as nd
from analysis import sketched_gradients as analysis
from neuro_decorr import study
from protocols import _controls as controls
from protocols._controls import ArmName, TaskName
from protocols.sketched_gradients import estimates

EXACT = 0
"""Probes of the runs with exact gradients."""
ESTIMATED: tuple[ArmName, ...] = ("center", "foof", "interneuron", "whitening")
"""Arms whose gradients are looked at; the others have no directions that could be compared."""
DAMPING: dict[TaskName, float] = {"modes": 1.0, "digits": 3.0, "clothes": 10.0}
"""Relative to the mean power of what a layer receives."""
SIDE = 1e-6
"""Principal directions with less power than this part of the strongest are left out: pixels that are always white."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    task: TaskName = Field("modes", description="modes: digits with common modes; digits; clothes: Fashion-MNIST")
    probes: tuple[int, ...] = Field(
        (8, 32, 128), min_length=1, description="numbers of probes; exact gradients run too"
    )
    arms: tuple[ArmName, ...] = Field(
        ("none", "center", "batch_normalisation", "foof", "interneuron"), description="arms; whitening is available too"
    )
    hidden: tuple[int, ...] = Field((100, 100), min_length=1, description="units of the hidden layers")
    interneurons: int = Field(16, ge=1, description="number of interneurons of every layer")
    learning_rates: tuple[float, float] = Field((0.01, 1.0), description="ends of the grid of learning rates")
    selection_runs: int = Field(5, ge=2, description="number of learning rates that are tried for every condition")
    epochs: int = Field(3, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per step")
    draws: int = Field(
        100, ge=2, description="number of sketched gradients of one batch that are compared with the exact gradient"
    )

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Numbers of probes that are some."""
        if min(self.probes) < 1 or len(set(self.probes)) < len(self.probes):
            raise ValueError(f"--probes: got {self.probes}, allowed are different numbers >= 1")
        return self


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Probes x arm."""
    probes = (*configuration.probes, EXACT)
    return [{"probes": count, "arm": arm} for count in probes for arm in configuration.arms]


SELECTION = study.Selection(
    conditions=conditions, grid=controls.grid, kind="curves", column="validation_accuracy", diverged=0.0
)


def looked_at(configuration: Configuration, seeds: list[int], _tables: study.Tables) -> list[study.Condition]:
    """Declare the measurements of one batch before learning, for every number of probes and the selected arms."""
    arms = [arm for arm in configuration.arms if arm in ESTIMATED]
    probes = (*configuration.probes, EXACT)
    return [
        study.Condition("estimate", seed, {"probes": count, "arm": arm})
        for seed in seeds
        for count in probes
        for arm in arms
    ]


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Measure the sketched gradients of one network, or train it with them."""
    c, level, seed = configuration, condition.factors, condition.seed
    images = controls.images(c.task, seed)
    arm = controls.equip_dense(
        level["arm"], [images.features, *c.hidden, images.classes], damping=DAMPING[c.task],
        interneurons=c.interneurons, row_fraction=0.1, rows=c.batch_size, seed=seed,
    )  # fmt: skip
    options = {} if level["probes"] == EXACT else {"probes": level["probes"]}
    credit = nd.credit.get("sketched_backprop" if options else "backprop", arm.model, seed=seed, **options)
    if condition.stage == "estimate":
        batch = controls.settle(arm, images, c.batch_size, seed)
        for name, count in estimates.alive_bytes(arm, credit, batch).items():
            recorder.row("memory", what=name, bytes_a_sample=count / c.batch_size)
        if options:
            look(c, level["probes"], arm, credit, batch, recorder)
        return
    optimiser = torch.optim.SGD(arm.model.parameters(), lr=level["learning_rate"])
    controls.learn(
        arm, credit, optimiser, images, recorder, measured=condition.stage == "measure",
        epochs=c.epochs, batch_size=c.batch_size, seed=seed,
    )  # fmt: skip


def look(
    configuration: Configuration,
    probes: int,
    arm: controls.Equipped,
    credit: nd.credit.Credit,
    batch: controls.Batch,
    recorder: study.Recorder,
) -> None:
    """Record the variance of every layer, and signal to noise along the principal directions of the images."""
    exact, drawn = estimates.gradients(arm.model, credit, batch, configuration.draws)
    for name, estimated in drawn.items():
        variance = estimates.relative_variance(estimated, exact[name])
        predicted = (exact[name].shape[1] + 1) / probes
        recorder.row("variances", layer=name, variance=variance, predicted=predicted)
    name = next(iter(drawn))
    directions, power = estimates.principal_directions(batch.inputs)
    moved = estimates.as_seen(arm, name, batch, directions, DAMPING[configuration.task])
    ratio = estimates.signal_to_noise(drawn[name], exact[name], moved)
    law = estimates.predicted_signal_to_noise(exact[name], moved, probes)
    for component in estimates.shown(int((power > SIDE * power[0]).sum())):
        recorder.row(
            "directions",
            component=component,
            power=power[component - 1] / power.sum(),
            signal_to_noise=ratio[component - 1],
            predicted=law[component - 1],
        )


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Tables, figure and the finding in words."""
    print(analysis.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="sketched_gradients",
    question="How many random projections does a gradient need, and what does decorrelation change about it?",
    configuration=Configuration,
    full={"task": "clothes", "epochs": 6, "learning_rates": (0.003, 1.0), "selection_runs": 6},
    seeds=5,
    stages=(*SELECTION.stages, looked_at),
    run=run,
    report=report,
)
