"""Checks and errors for arrays of activity and for the policy for silent units."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue

Silent: TypeAlias = Literal["nan", "drop", "error"]
"""Policy for silent units, which never vary.

`"nan"` keeps them: their correlations, which do not exist, are NaN (and so is every mean over pairs), and they enter
the spectrum as zero eigenvalues. `"drop"` removes them first. `"error"` refuses the data. Silent units lower a
correlation trivially, so their number is always reported with it.
"""

Samples: TypeAlias = Tensor | NDArray[Any]
"""Activity, shape `(samples, units)`: a tensor on any device, or a NumPy array; any real dtype, also spike counts."""

Kind = TypeVar("Kind", Tensor, NDArray[Any])
"""Kind of array, tensor or NumPy array, that a function takes and returns."""

_ROUNDING_STEPS = 4  # a range of this many rounding steps of the unit's magnitude cannot be told from a constant


def like(result: Tensor, samples: Kind) -> Kind:
    """Convert a result to the kind of array that the caller gave: a tensor, or a NumPy array."""
    if isinstance(samples, Tensor):
        return result
    return result.numpy()


def unvarying(low: Tensor, high: Tensor, resolution: float, center: bool) -> Tensor:
    """Mask of the silent units, from their extreme values and the relative rounding step of their dtype."""
    size = torch.maximum(low.abs(), high.abs())
    return high - low <= _ROUNDING_STEPS * resolution * size if center else size == 0


def not_finite(count: int) -> InvalidValue:
    """Make the error for values that are NaN or infinite."""
    return InvalidValue(f"samples: got {count} values that are NaN or infinite; remove or repair them first.")


def finite(samples: Samples) -> Tensor:
    """Convert samples by `real`, and raise InvalidValue for NaN or infinity."""
    values, _ = real(samples)
    bad = int((~values.isfinite()).sum())
    if bad:
        raise not_finite(bad)
    return values


def check_policy(silent: Silent) -> None:
    """Check the policy for silent units; raise InvalidValue for an unknown one."""
    checks.refuse("samples", checks.word("silent", silent, get_args(Silent)))


def silent_units(constant: Tensor) -> InvalidValue:
    """Make the error of the policy `"error"`, from the mask of the silent units."""
    first = constant.nonzero().flatten()[:5].tolist()
    return InvalidValue(
        f"samples: {int(constant.sum())} of {len(constant)} units never vary (first: {first}); leave them out, or "
        "choose silent='drop' or silent='nan'."
    )


def correlations_are_nan(silent: int, units: int) -> str:
    """Warning under the policy `"nan"` about silent units, with the way to measure the others."""
    if silent == units:
        return f"all {units} units never vary: measures of correlation are NaN, since none is defined"
    return f"{silent} of {units} units never vary: measures of correlation are NaN; silent='drop' measures the others"


def real(samples: Samples) -> tuple[Tensor, float]:
    """Convert samples to a float64 tensor without gradients, and give the relative rounding step of their dtype."""
    if isinstance(samples, Tensor):
        tensor = samples.detach()
    else:
        array = np.asarray(samples)
        if array.dtype.kind not in "fiub":
            raise InvalidValue(f"samples: got an array of dtype {array.dtype}; allowed are real numbers.")
        # Converted to float64 in NumPy: torch lacks some NumPy dtypes, foreign byte orders and negative strides.
        resolution = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
        contiguous = np.ascontiguousarray(array, dtype=np.float64)
        # NumPy calls a single row contiguous, whatever its stride over rows.
        fit = contiguous.flags.writeable and min(contiguous.strides) >= 0
        return torch.from_numpy(contiguous if fit else contiguous.copy()), resolution
    if tensor.is_complex():
        raise InvalidValue(f"samples: got a tensor of dtype {tensor.dtype}; allowed are real numbers.")
    resolution = torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0
    return tensor.to(torch.float64), resolution
