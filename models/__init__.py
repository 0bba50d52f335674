"""Networks that the protocols study, one file a network; part of a study directory, not of the library."""

from models.convolutional import convolutional
from models.dense import dense
from models.residual import residual

__all__ = ["convolutional", "dense", "residual"]
