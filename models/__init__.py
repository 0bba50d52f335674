"""Networks that the protocols study, one file per network; they are part of a study directory, not of the library."""

from models.convolutional import convolutional
from models.dense import dense
from models.residual import residual

__all__ = ["convolutional", "dense", "residual"]
