"""Methods of settling, and the checks that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged, InvalidValue
from neuro_decorr.rate.settling import limits
from neuro_decorr.rate.settling.weights import LateralWeights


@dataclass(frozen=True, kw_only=True)
class Settling(ABC):
    """Method by which a circuit settles."""

    name: ClassVar[str]

    def settle(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None = None) -> Tensor:
        """Compute the activity under a drive; arguments and errors as of the function `settle`."""
        check_drive(weights, drive)
        return self._settle(weights, drive if weights.gain == 1 else drive * weights.gain, initial)

    @abstractmethod
    def _settle(self, weights: LateralWeights, drive: Tensor, initial: Tensor | None) -> Tensor:
        """Compute the activity under a drive that has been checked."""


def check_drive(weights: LateralWeights, drive: Tensor) -> None:
    """Raise InvalidValue for a drive that lateral weights cannot act on."""
    if drive.dtype not in (torch.float32, torch.float64):
        raise InvalidValue(f"the drive must be float32 or float64, got {drive.dtype}: use drive.float().")
    if drive.shape[-1:] != (weights.features,):
        raise InvalidValue(
            f"lateral weights of {weights.features} units got a drive of shape {tuple(drive.shape)}: "
            f"its last dimension must be {weights.features}."
        )


def check_stable(weights: LateralWeights) -> None:
    """Raise Diverged for a circuit that settles at no step, however small."""
    slowest = limits.slowest_rate(weights)
    if slowest <= 0:
        raise Diverged(
            f"the circuit does not settle: an eigenvalue of I + M has the real part {slowest:.4g}, and all must be "
            "positive: bound the lateral weights from below (the floor of the rule), or lower the plasticity rate."
        )


def check_reachable(tolerance: float, drive: Tensor) -> None:
    """Raise InvalidValue for a tolerance that the dtype of the drive cannot hold."""
    precision = torch.finfo(drive.dtype).eps
    if not precision <= tolerance < 1:
        raise InvalidValue(
            f"settling: tolerance must be in [{precision:.1e}, 1) for a drive of {drive.dtype}, got {tolerance!r}."
        )


def start(drive: Tensor, initial: Tensor | None) -> Tensor:
    """Activity at the start, in the shape of the drive."""
    if initial is None:
        return torch.zeros_like(drive)
    try:
        return initial.to(drive.dtype).expand(drive.shape)
    except RuntimeError as error:
        raise InvalidValue(
            f"initial activity of shape {tuple(initial.shape)} must broadcast to the shape of the drive, "
            f"{tuple(drive.shape)}."
        ) from error
