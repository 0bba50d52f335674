"""Options of the protocol `deep_spiking`: credits, arms, depths, and the network."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from neuro_decorr import study
from protocols._images import ImagesName, batch_problems

CreditName = Literal["eprop", "feedback_alignment", "node_perturbation", "local_forward_gradient", "backprop"]
ArmName = Literal[
    "none",
    "center",
    "batch_normalisation",
    "lateral_inhibition_centered",
    "orthogonal_projector",
    "interneuron",
    "lateral_inhibition",
    "foof",
    "norm_preserving",
    "whitening",
]
REFERENCE: ArmName = "center"
"""Arm to which all differences are taken."""

RATES: dict[str, float] = {
    "eprop": 1.5e-2,
    "feedback_alignment": 3e-2,
    "node_perturbation": 3e-2,
    "local_forward_gradient": 3e-2,
    "backprop": 1.5e-2,
}
"""Middle of the grid of learning rates of every credit, of Adam."""
SHIFTS = {"none": 1 / 3, "orthogonal_projector": 3.0, "interneuron": 3.0}
"""Arms whose best rates lie elsewhere: by how much the middle of their grid differs. Both tables come from pilot runs
with the selection seed."""
SPAN = 3.0
"""Ratio of the ends of the grid to its middle."""

FULL = {
    "training": 20_000,
    "credits": get_args(CreditName),
    "arms": get_args(ArmName),
    "depths": (1, 3, 5, 8, 12),
    "width": 128,
    "steps": 10,
    "epochs": 10,
    "selection_runs": 5,
    "selection_epochs": None,
}
"""The full size, meant for files: `neuro-decorr run deep_spiking --full --images fashion_mnist --data-dir DIR`."""


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
    credits: tuple[CreditName, ...] = Field(get_args(CreditName)[:4], description="credit assignments")
    arms: tuple[ArmName, ...] = Field(get_args(ArmName)[:6], description="arms; 'center' is the reference")
    depths: tuple[int, ...] = Field((2, 5, 10), min_length=1, description="numbers of spiking layers")
    width: int = Field(64, ge=1, description="neurons of every layer")
    steps: int = Field(3, ge=1, description="number of time steps of an image, 1 ms each")
    gain: float = Field(
        3.0, gt=0, description="gain of the initial weights: root of their variance times the number of inputs"
    )
    sigma: float = Field(0.2, gt=0, description="standard deviation of the perturbing currents of node perturbation")
    groups: int = Field(8, ge=1, description="number of groups of neurons in the local forward gradient")
    interneurons: int = Field(16, ge=1, description="number of interneurons of every layer")
    damping: float = Field(3.0, gt=0, description="damping of interneurons, whitening and foof")
    projector_passes: float = Field(10.0, gt=0, description="passes after which the projector halves the mean power")
    inhibition: float = Field(1e-2, gt=0, description="rate of lateral inhibition")
    epochs: int = Field(2, ge=1, description="passes over the training images")
    batch_size: int = Field(200, ge=2, description="images per step")
    selection_runs: int = Field(3, ge=1, description="number of learning rates to choose from")
    selection_epochs: int | None = Field(1, ge=1, description="passes of a selection run; --epochs if not given")
    aligned: int = Field(
        200, ge=1, description="number of training images on which updates are compared with the gradient"
    )

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Check combinations of values, and the data; all problems are reported at once."""
        problems = []
        if REFERENCE not in self.arms:
            problems.append(f"--arms: needs '{REFERENCE}', the reference of all differences")
        if min(self.depths) < 1 or len(set(self.depths)) < len(self.depths):
            problems.append(f"--depths: got {self.depths}, allowed are different numbers >= 1")
        if self.width < self.interneurons and "interneuron" in self.arms:
            problems.append(f"--width: got {self.width}, allowed is at least --interneurons, {self.interneurons}")
        if self.width % self.groups and "local_forward_gradient" in self.credits:
            problems.append(f"--width: got {self.width}, allowed are multiples of --groups, {self.groups}")
        problems += batch_problems(self.images, self.data_dir, self.training, self.batch_size)
        if problems:
            raise ValueError("\n".join(problems))
        return self
