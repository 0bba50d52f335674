"""Networks that the protocols study, one file a network; part of the repository, not of the wheel."""

from models.convolutional import convolutional
from models.dense import dense
from models.residual import residual

__all__ = ["convolutional", "dense", "residual"]
