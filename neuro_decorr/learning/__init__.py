"""Training loop that protocols share, and the measurements that it records in every epoch."""

from neuro_decorr.learning.geometry import Geometry, Recorded
from neuro_decorr.learning.training import Plasticities, accuracy, train

__all__ = ["Geometry", "Plasticities", "Recorded", "accuracy", "train"]
