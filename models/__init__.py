"""Networks that the protocols study, one file a network; part of the repository, not of the wheel."""

from models.dense import dense

__all__ = ["dense"]
