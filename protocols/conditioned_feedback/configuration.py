"""Options of the protocol `conditioned_feedback`, and how they must fit together."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from neuro_decorr import study
from neuro_decorr.errors import NeuroDecorrError
from protocols._images import dataset

PublishedName = Literal["published_dfa", "published_ndfa", "published_error_ndfa", "published_k_ndfa"]
TunedName = Literal[
    "none", "center", "batch_normalisation", "interneuron", "whitening", "ndfa", "ndfa_running", "error_ndfa", "k_ndfa"
]  # fmt: skip
ImagesName = Literal["embedded", "fashion_mnist", "mnist"]

COMPARED: tuple[TunedName, ...] = ("center", "ndfa")
"""Arms to which all differences are taken."""
UNDAMPED = ("none", "center", "batch_normalisation")
MEAN_LEFT = ("none", "error_ndfa")
"""Arms that leave the mean of the inputs in, the strongest direction, which bounds the learning rate."""
MEAN_LEFT_RATES = 0.2

SLOW = ("whitening", "ndfa_running")
"""Arms with a decomposition of a matrix of all pixels at every step: several times the time of the others."""

FULL = {
    "published": get_args(PublishedName),
    "tuned": tuple(arm for arm in get_args(TunedName) if arm not in SLOW),
    "dampings": (3.0, 10.0),
    "selection_runs": 6,
}
"""All arms except the slow ones; for the whole of Fashion-MNIST: `--full --images fashion_mnist --data-dir DIR`."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    images: ImagesName = Field("embedded", description="embedded: 6,000 images of Fashion-MNIST; the others need files")
    data_dir: study.DataPath | None = Field(
        None, description="folder of the files; missing files are downloaded into it"
    )
    published: tuple[PublishedName, ...] = Field(
        get_args(PublishedName)[:2], description="arms with the published learning rate and dampings"
    )
    tuned: tuple[TunedName, ...] = Field(
        ("none", "center", "interneuron", "ndfa"),
        description="arms whose learning rate and damping are chosen",
    )
    hidden: tuple[int, ...] = Field((300, 300, 300), min_length=1, description="units of the hidden layers")
    steps: int = Field(1_000, ge=1, description="training steps")
    batch_size: int = Field(128, ge=2, description="images per step, drawn with replacement")
    learning_rates: tuple[float, float] = Field(
        (0.05, 0.8), description="ends of the grid of learning rates; a fifth of these where the inputs keep their mean"
    )
    dampings: tuple[float, ...] = Field((10.0,), min_length=1, description="dampings to choose from")
    selection_runs: int = Field(4, ge=2, description="number of selection runs of every tuned arm")
    interneurons: int = Field(16, ge=1, description="number of interneurons of every layer")
    row_fraction: float = Field(0.2, gt=0, le=1, description="fraction of a batch that drives the plasticity")
    decay: float = Field(0.9, gt=0, lt=1, description="weight of earlier batches in the moment of ndfa_running")
    evaluated: int = Field(
        2_000, ge=1, description="largest number of validation images on which the learning curve is measured"
    )
    measure_every: int = Field(200, ge=1, description="steps between two measurements of the course")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Check combinations of values, and the data; all problems are reported at once."""
        problems = []
        if missing := [arm for arm in COMPARED if arm not in self.tuned]:
            problems.append(f"--tuned: needs {' and '.join(missing)}, to which differences are taken")
        if self.selection_runs % len(self.dampings):
            problems.append(
                f"--selection-runs: got {self.selection_runs}, allowed are multiples of the {len(self.dampings)} "
                "dampings, so that every arm has as many"
            )
        if min(*self.dampings, *self.learning_rates) <= 0:
            problems.append(
                f"--dampings and --learning-rates: got {self.dampings}, {self.learning_rates}, allowed is > 0"
            )
        if min(self.hidden) < self.interneurons and "interneuron" in self.tuned:
            problems.append(f"--hidden: got {self.hidden}, allowed is layers of at least --interneurons units")
        try:
            dataset(self.images, self.data_dir, None, 0)
        except NeuroDecorrError as error:
            problems.append(f"--images: {error}")
        if problems:
            raise ValueError("\n".join(problems))
        return self
