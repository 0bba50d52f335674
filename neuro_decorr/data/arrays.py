"""A user's own data as a data set."""

from __future__ import annotations

import zipfile
import zlib
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from neuro_decorr.data.checks import Constant, as_array, check
from neuro_decorr.data.dataset import Dataset, Split, stratified
from neuro_decorr.errors import InvalidValue


def from_arrays(
    inputs: Tensor | ArrayLike,
    targets: Tensor | ArrayLike,
    *,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    classes: int | None = None,
    constant_features: Constant = "error",
    source: str = "arrays",
) -> Dataset:
    """Split labelled samples into training, validation and test, every class in proportion.

    The samples are copied as float32 and not scaled: how to scale is the user's knowledge. Samples of two or three
    dimensions are taken as images, (height, width) or (channels, height, width), and flattened.

    Args:
        inputs: Samples, shape `(samples, features)` or `(samples, ...)`.
        targets: Labels, shape `(samples,)`, integers from 0 to `classes - 1`.
        seed: Seed of the split.
        validation: Fraction of the samples for validation.
        test: Fraction of the samples for the test.
        classes: Number of classes; the largest label plus one when not given.
        constant_features: What to do with features that never vary, see `checks.Constant`.
        source: Where the data come from, in words.

    Returns:
        The data set.

    Raises:
        InvalidValue: Whatever `check` finds, all at once; or fractions and classes that cannot be split.
    """
    facts = check(inputs, targets, classes=classes, constant_features=constant_features)
    values = as_array(inputs)
    samples = torch.from_numpy(values.reshape(facts.samples, -1).astype(np.float32, order="C"))
    labels = torch.from_numpy(as_array(targets).astype(np.int64))
    train, validate, hold = (
        Split(samples[index], labels[index]) for index in stratified(labels, (validation, test), seed)
    )
    return Dataset(
        train=train,
        validation=validate,
        test=hold,
        classes=facts.classes,
        source=source,
        image_shape=values.shape[1:] if values.ndim in (3, 4) else None,
    )


def from_file(
    path: str | PathLike[str],
    *,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    classes: int | None = None,
    constant_features: Constant = "error",
) -> Dataset:
    """Read labelled samples from a numpy archive and split them, see `from_arrays`.

    Args:
        path: File `.npz` that holds the arrays `inputs` and `targets`, without pickled objects.
        seed: Seed of the split.
        validation: Fraction of the samples for validation.
        test: Fraction of the samples for the test.
        classes: Number of classes; the largest label plus one when not given.
        constant_features: What to do with features that never vary, see `checks.Constant`.

    Returns:
        The data set.

    Raises:
        InvalidValue: No such file, not such an archive, a missing array, or whatever `from_arrays` finds.
    """
    file = Path(path)
    how = "write it with numpy.savez(path, inputs=..., targets=...)"
    if not file.is_file():
        raise InvalidValue(f"{file}: there is no such file; {how}.")
    if not zipfile.is_zipfile(file):  # numpy would take it for a bare array or for a pickle
        raise InvalidValue(f"{file}: is not a numpy archive; {how}.")
    try:
        with np.load(file, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive if name in ("inputs", "targets")}
            others = [name for name in archive if name not in held]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidValue(f"{file}: cannot be read as a numpy archive without objects ({error}); {how}.") from error
    missing = [name for name in ("inputs", "targets") if name not in held]
    if missing:
        found = ", ".join([*held, *others]) or "nothing"
        raise InvalidValue(f"{file}: lacks {' and '.join(missing)}; it holds {found}; {how}.")
    return from_arrays(
        held["inputs"],
        held["targets"],
        seed=seed,
        validation=validation,
        test=test,
        classes=classes,
        constant_features=constant_features,
        source=str(file),
    )
