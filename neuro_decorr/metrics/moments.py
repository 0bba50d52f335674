"""Second moments of a population, validated once and shared by every measure.

Shapes: samples are rows, units are columns, `(samples, units)`, throughout the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr.errors import InvalidValue

Silent: TypeAlias = Literal["nan", "drop", "error"]
"""What to do with units that never vary.

`"nan"` keeps them: their correlations, which do not exist, are NaN (and so is every mean over pairs), and they enter
the spectrum as zero eigenvalues. `"drop"` removes them first. `"error"` refuses the data. Dead units lower a
correlation trivially, so their number is always reported beside it.
"""

Samples: TypeAlias = Tensor | NDArray[Any]
"""Activity, shape `(samples, units)`: a tensor on any device, or a numpy array; any real dtype, spike counts too."""

Kind = TypeVar("Kind", Tensor, NDArray[Any])
"""Array functions return the kind of array that they are given."""

_ROUNDING_STEPS = 4  # a range of so many rounding steps of the unit's own magnitude cannot be told from a constant


@dataclass(frozen=True, eq=False)
class Moments:
    r"""Covariance of a population and what follows from it.

    $$
    C = \frac{1}{P - 1} \sum_p (x_p - \bar x)(x_p - \bar x)^T, \qquad
    M = \frac{1}{P} \sum_p x_p x_p^T \text{ (without centering)}
    $$

    Cost: $P N^2$ multiply-adds once; the eigenvalues another $\tfrac43 N^3$, only when first asked for.
    """

    samples: int  # P, rows
    units: int  # columns of the data, silent ones included
    silent: int  # units that never vary
    center: bool  # whether the mean over samples was removed
    covariance: Tensor  # (kept, kept), float64; silent units: exact zeros
    constant: Tensor  # (kept,), bool: the silent units among the kept ones
    mean: Tensor  # (kept,), float64: mean over samples of each unit, removed or not
    fourth: Tensor  # (), float64: sum over the samples of the fourth power of the row's length
    unit_fourth: Tensor  # (), float64: sum over samples and units of the fourth power of the (centered) activity

    @property
    def kept(self) -> int:
        """Units that entered the covariance."""
        return int(self.covariance.shape[0])

    @property
    def degrees(self) -> int:
        """Degrees of freedom: samples - 1 with centering, samples without."""
        return self.samples - 1 if self.center else self.samples

    @cached_property
    def trace(self) -> float:
        """Sum of the variances."""
        return float(self.covariance.diagonal().sum())

    @cached_property
    def squared(self) -> float:
        """Trace of the squared covariance: the sum of its squared entries."""
        return float(self.covariance.square().sum())

    @cached_property
    def correlation(self) -> Tensor:
        """Correlation matrix, shape (kept, kept), within [-1, 1], diagonal 1; NaN for silent units."""
        deviation = self.covariance.diagonal().sqrt()
        matrix = (self.covariance / deviation / deviation[:, None]).clamp_(-1.0, 1.0)  # 0 / 0 is the wanted NaN
        matrix.diagonal()[~self.constant] = 1.0
        return matrix

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Eigenvalues in descending order, shape (kept,), not negative."""
        # Rounding may put the zeros of a singular covariance below zero.
        spectrum: Tensor = torch.linalg.eigvalsh(self.covariance)
        return spectrum.flip(0).clamp_(min=0.0)


def moments(samples: Samples, *, silent: Silent = "nan", center: bool = True) -> Moments:
    """Validate activity and compute its second moments in float64, on the device of the tensor.

    A unit is silent when its range is at most four rounding steps of its own magnitude in the dtype given (without
    centering: when it is zero throughout), so that a constant which went through float32 arithmetic counts as silent.

    Args:
        samples: Activity, shape `(samples, units)`, at least two samples and one unit.
        silent: What to do with units that never vary, see `Silent`.
        center: Remove the mean over samples. Without, the second moment about zero: what a weight layer sees.

    Returns:
        The moments.

    Raises:
        InvalidValue: Not two-dimensional, not real numbers, fewer than two samples, no unit, NaN or infinity, an
            unknown policy, or silent units under `"error"`.
    """
    check_policy(silent)
    values, resolution = real(samples)
    if values.ndim != 2:
        raise InvalidValue(
            f"samples: got shape {tuple(values.shape)}; allowed is (samples, units): reshape or transpose the array."
        )
    count, units = values.shape
    if count < 2 or units < 1:
        raise InvalidValue(f"samples: got {count} samples of {units} units; at least 2 samples of 1 unit are needed.")
    low, high = values.amin(dim=0), values.amax(dim=0)  # torch.aminmax is several times slower
    if not bool((torch.isfinite(low) & torch.isfinite(high)).all()):
        raise not_finite(int((~torch.isfinite(values)).sum()))
    constant = unvarying(low, high, resolution, center)
    still = int(constant.sum())
    if still and silent == "error":
        raise silent_units(constant)
    mean = values.mean(dim=0)
    if center:
        values = values - mean
    if still and silent == "drop":
        values, mean, constant = values[:, ~constant], mean[~constant], constant[~constant]
    elif still:
        values = values.masked_fill(constant, 0.0)
    degrees = count - 1 if center else count
    squares = values.square()
    return Moments(
        samples=count,
        units=units,
        silent=still,
        center=center,
        covariance=(values.T @ values).div_(degrees),
        constant=constant,
        mean=mean,
        fourth=squares.sum(dim=1).square().sum(),
        unit_fourth=squares.square().sum(),
    )


def like(result: Tensor, samples: Kind) -> Kind:
    """The result as the kind of array that the caller gave: a tensor, or a numpy array."""
    if isinstance(samples, Tensor):
        return result
    return result.numpy()


def unvarying(low: Tensor, high: Tensor, resolution: float, center: bool) -> Tensor:
    """Which units are silent, from their extreme values and the relative rounding step of their dtype."""
    size = torch.maximum(low.abs(), high.abs())
    return high - low <= _ROUNDING_STEPS * resolution * size if center else size == 0


def not_finite(count: int) -> InvalidValue:
    """The error for values that are no numbers."""
    return InvalidValue(f"samples: got {count} values that are NaN or infinite; remove or repair them first.")


def check_policy(silent: Silent) -> None:
    """Refuse an unknown policy for silent units."""
    if silent not in get_args(Silent):
        raise InvalidValue(f"silent: got {silent!r}; allowed are {', '.join(map(repr, get_args(Silent)))}.")


def silent_units(constant: Tensor) -> InvalidValue:
    """The error of the policy `"error"`, from the mask of the silent units."""
    first = constant.nonzero().flatten()[:5].tolist()
    return InvalidValue(
        f"samples: {int(constant.sum())} of {len(constant)} units never vary (first: {first}); leave them out, or "
        "choose silent='drop' or silent='nan'."
    )


def real(samples: Samples) -> tuple[Tensor, float]:
    """The samples as a float64 tensor without history, and the relative rounding step of their own dtype."""
    if isinstance(samples, Tensor):
        tensor = samples.detach()
    else:
        array = np.asarray(samples)
        if array.dtype.kind not in "fiub":
            raise InvalidValue(f"samples: got an array of dtype {array.dtype}; allowed are real numbers.")
        # float64 here already: torch knows neither every numpy dtype nor foreign byte orders nor negative strides.
        resolution = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
        contiguous = np.ascontiguousarray(array, dtype=np.float64)
        return torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy()), resolution
    if tensor.is_complex():
        raise InvalidValue(f"samples: got a tensor of dtype {tensor.dtype}; allowed are real numbers.")
    resolution = torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0
    return tensor.to(torch.float64), resolution
