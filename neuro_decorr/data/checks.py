"""Validation of labelled samples: every problem found is reported, in one error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from neuro_decorr.errors import InvalidValue

Constant: TypeAlias = Literal["error", "allow"]
"""Policy for features that never vary: `"error"` refuses them, `"allow"` keeps and reports them.

The default for a user's own data is `"error"`: such features carry no information, most often come from a mistake, and
are null directions of the covariance, which a whitening rule without damping amplifies. Handwritten digits allow them,
since the corners of an image are empty and a rule has to cope with them.
"""


@dataclass(frozen=True)
class Facts:
    """Facts about valid data."""

    samples: int
    features: int  # product of all dimensions after the first
    classes: int
    constant_features: tuple[int, ...]  # indices into the flattened features


def check(
    inputs: Tensor | ArrayLike,
    targets: Tensor | ArrayLike,
    *,
    classes: int | None = None,
    constant_features: Constant = "error",
) -> Facts:
    """Check labelled samples and return the facts about them. Cost: one pass over the samples.

    Args:
        inputs: Samples, shape `(samples, features)` or `(samples, ...)`, real numbers.
        targets: Labels, shape `(samples,)`, integers from 0 to `classes - 1`.
        classes: Number of classes; None: the largest label plus one.
        constant_features: Policy for features that never vary, see `Constant`.

    Returns:
        Numbers of samples, features and classes, and the features that never vary.

    Raises:
        InvalidValue: NaN or infinity, wrong shapes or types, different lengths, a single class, labels out of range,
            no samples, refused constant features. The message has one line per problem, all of them at once.
    """
    if constant_features not in get_args(Constant):
        raise InvalidValue(f"constant_features: got {constant_features!r}; allowed are 'error' and 'allow'.")
    values, labels = as_array(inputs), as_array(targets)
    problems, constant = _of_inputs(values)
    if constant and constant_features == "error":
        problems.append(
            f"inputs: {len(constant)} of {values[0].size} features never vary (first: {constant[:5]}); "
            "leave them out, or pass constant_features='allow'."
        )
    problems += _of_targets(labels, classes)
    if values.ndim and labels.ndim and len(values) != len(labels):
        problems.append(
            f"inputs and targets: got {len(values)} samples and {len(labels)} labels; give one label a sample."
        )
    if problems:
        raise InvalidValue("\n".join(problems))
    return Facts(
        samples=len(values),
        features=values[0].size,
        classes=int(labels.max()) + 1 if classes is None else classes,
        constant_features=tuple(constant),
    )


def as_array(data: Tensor | ArrayLike) -> NDArray[Any]:
    """Convert data to a NumPy array; ragged lists become an array of objects, which `check` refuses."""
    if isinstance(data, Tensor):
        return data.detach().cpu().numpy()
    try:
        return np.asarray(data)
    except ValueError:  # ragged lists
        return np.asarray(data, dtype=object)


def _of_inputs(values: NDArray[Any]) -> tuple[list[str], list[int]]:
    """Find the problems of the inputs and the features that never vary."""
    if values.dtype.kind not in "fiub":
        return [f"inputs: got dtype {values.dtype}; allowed are real numbers in rows of equal length."], []
    if values.ndim < 2:
        return [f"inputs: got shape {values.shape}; allowed is (samples, features) or (samples, ...)."], []
    if values.size == 0:
        return [f"inputs: got shape {values.shape}, which holds nothing; give at least one sample of one feature."], []
    flat = values.reshape(len(values), -1)
    with np.errstate(over="ignore"):
        usable = np.isfinite(flat.astype(np.float32))
    if not usable.all():
        sample, feature = np.argwhere(~usable)[0]
        return [
            f"inputs: {usable.size - usable.sum()} values are NaN, infinite or beyond float32 (first: sample {sample}, "
            f"feature {feature}, {flat[sample, feature]}); repair or remove these samples."
        ], []
    return [], np.flatnonzero(flat.max(axis=0) == flat.min(axis=0)).tolist() if len(flat) > 1 else []


def _of_targets(labels: NDArray[Any], classes: int | None) -> list[str]:
    """Find the problems of the labels."""
    if classes is not None and classes < 2:
        return [f"classes: got {classes}; a classification needs at least 2."]
    if labels.ndim != 1:
        return [f"targets: got shape {labels.shape}; allowed is (samples,), one label a sample."]
    if labels.size == 0:
        return ["targets: got no labels; give one per sample."]
    if labels.dtype.kind not in "iu":
        return [f"targets: got dtype {labels.dtype}; allowed are integers: labels 0 to classes - 1."]
    problems = []
    low, high = int(labels.min()), int(labels.max())
    if classes is None and low >= 0 and high >= labels.size:
        # The largest label sets the number of classes, which would exceed the number of samples.
        problems.append(
            f"targets: got labels up to {high} in {labels.size} samples; number the classes 0, 1, 2, ... without gaps, "
            "or give classes."
        )
    if low < 0 or (classes is not None and high >= classes):
        allowed = "0 on" if classes is None else f"0 to {classes - 1}"
        problems.append(f"targets: got labels from {low} to {high}; allowed are the integers from {allowed}.")
    if low == high:
        problems.append(f"targets: got a single class, {low}; at least 2 are needed.")
    return problems
