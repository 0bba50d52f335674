"""Learning: the training loop that protocols share, with what it records of every epoch."""

from neuro_decorr.learning.geometry import Geometry, Recorded
from neuro_decorr.learning.training import Plasticities, accuracy, train

__all__ = ["Geometry", "Plasticities", "Recorded", "accuracy", "train"]
