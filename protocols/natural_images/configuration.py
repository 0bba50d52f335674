"""Options of the protocol `natural_images`, and how they must fit together."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from neuro_decorr import study
from neuro_decorr.learning import Recorded
from protocols._images import ImagesName, batch_problems

CreditName = Literal[
    "backprop",
    "feedback_alignment",
    "direct_feedback_alignment",
    "node_perturbation",
    "local_forward_gradient",
    "activity_perturbation",
    "weight_perturbation",
    "semi_implicit",
]
ArmName = Literal["none", "center", "batch_normalisation", "foof", "norm_preserving", "interneuron", "whitening"]
NetworkName = Literal["dense", "convolutional", "residual"]

REFERENCE: ArmName = "center"
"""Arm to which all differences are taken."""
DAMPED = ("foof", "interneuron", "whitening")
"""Arms with a damping, relative to the mean power of a layer's input."""

DEMONSTRATED = get_args(CreditName)[:5]

RATES: dict[str, dict[str, float]] = {
    "sgd": {
        "backprop": 0.15,
        "feedback_alignment": 0.15,
        "direct_feedback_alignment": 0.15,
        "node_perturbation": 0.015,
        "local_forward_gradient": 0.12,
        "activity_perturbation": 0.015,
        "weight_perturbation": 0.005,
        "semi_implicit": 0.15,
    },
    "adam": {**dict.fromkeys(get_args(CreditName), 5e-4), "semi_implicit": 0.15},
}
"""Middle of the grid of learning rates of every credit; of the semi-implicit one its eta."""
SHIFTS = {"none": 0.4, "batch_normalisation": 0.6, "norm_preserving": 2.5}
"""Arms whose best rates lie elsewhere: by how much the middle of their grid differs. Both tables come from selection
runs with other seeds than those that are measured."""
SPAN = 4.0
"""Ratio of the ends of the grid to its middle."""

FULL = {
    "training": 10_000,
    "evaluated": 4_000,
    "credits": get_args(CreditName),
    "arms": get_args(ArmName),
    "hidden": (1_000,) * 4,
    "optimiser": "adam",
    "interneurons": 64,
    "groups": 100,
    "dampings": (10.0, 30.0),
    "selection_runs": 8,
    "row_fraction": 0.1,
    "epochs": 10,
    "selection_epochs": 2,
    "batch_size": 256,
}
"""The full size, meant for CIFAR-10: `neuro-decorr run natural_images --full --images cifar10 --data-dir DIR`."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    images: ImagesName = Field("embedded", description="embedded: 6,000 images of Fashion-MNIST; the others need files")
    data_dir: study.DataPath | None = Field(
        None, description="folder of the files; missing files are downloaded into it"
    )
    training: int | None = Field(
        None, ge=10, description="number of training images, where they come from files; all if not given"
    )
    evaluated: int = Field(4_000, ge=10, description="largest number of validation images, and of test images")
    network: NetworkName = Field("dense", description="kind of network")
    hidden: tuple[int, ...] = Field((100, 100), description="units of the hidden layers of the dense network")
    channels: tuple[int, ...] = Field((32, 32, 64, 64), description="channels of the convolutions")
    residual_channels: tuple[int, ...] = Field((16, 32, 64), description="channels of the groups of residual blocks")
    residual_blocks: int = Field(1, ge=1, description="number of residual blocks of every group")
    hidden_convolutional: int = Field(1_000, ge=1, description="units of the dense layer behind the convolutions")
    credits: tuple[CreditName, ...] = Field(DEMONSTRATED, description="credit assignments")
    arms: tuple[ArmName, ...] = Field(get_args(ArmName)[:6], description="arms; 'center' is the reference")
    optimiser: Literal["sgd", "adam"] = Field("sgd", description="optimiser of the weights")
    interneurons: int = Field(16, ge=1, description="number of interneurons of every layer")
    groups: int = Field(10, ge=1, description="number of groups of units in the local forward gradient")
    dampings: tuple[float, ...] = Field((10.0,), min_length=1, description="dampings to choose from")
    published_rate: float = Field(5e-3, gt=0, description="plasticity rate of norm_preserving, as published")
    row_fraction: float = Field(0.5, gt=0, le=1, description="fraction of a batch that drives the plasticity")
    epochs: int = Field(6, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per step")
    selection_runs: int = Field(
        6, ge=2, description="number of selection runs of every arm: learning rates times dampings"
    )
    layers: bool = Field(False, description="record correlations, rank and spectrum of the inputs of every layer")
    geometry: Recorded = Field(
        "none",
        description="measured runs record the alignment of updates with the gradient, and with the natural gradient",
    )
    selection_epochs: int | None = Field(None, ge=1, description="passes of a selection run; --epochs if not given")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Check combinations of values, and the data; all problems are reported at once."""
        problems = []
        if REFERENCE not in self.arms:
            problems.append(f"--arms: needs '{REFERENCE}', the reference of all differences")
        if self.selection_runs % len(self.dampings):
            problems.append(
                f"--selection-runs: got {self.selection_runs}, allowed are multiples of the {len(self.dampings)} "
                "dampings, so that every arm has as many"
            )
        if min(self.dampings) <= 0:
            problems.append(f"--dampings: got {self.dampings}, allowed is > 0")
        if min(self.hidden, default=0) < self.interneurons and "interneuron" in self.arms and self.network == "dense":
            problems.append(f"--hidden: got {self.hidden}, allowed is layers of at least --interneurons units")
        problems += batch_problems(self.images, self.data_dir, self.training, self.batch_size)
        if problems:
            raise ValueError("\n".join(problems))
        return self
