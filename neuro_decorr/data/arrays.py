"""Data sets made of a user's own arrays and files."""

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
    """Split labelled samples into training, validation and test, images flattened, every class in proportion.

    The samples are copied as float32 and not scaled: only the user knows which scale fits. Samples of two or three
    dimensions are taken for images, (height, width) or (channels, height, width), and flattened to rows of features: a
    network that begins with a convolution needs `nn.Unflatten(1, (channels, height, width))` before it, which the
    representation of the data set spells out.

    Args:
        inputs: Samples, shape `(samples, features)` or `(samples, ...)`, any units.
        targets: Labels, shape `(samples,)`, integers from 0 to `classes - 1`.
        seed: Seed of the split.
        validation: Fraction of the samples for validation.
        test: Fraction of the samples for the test.
        classes: Number of classes; None: the largest label plus one.
        constant_features: `"error"` refuses features that never vary, `"allow"` keeps them.
        source: Origin of the data, in words.

    Returns:
        The data set.

    Raises:
        InvalidValue: NaN or infinity, wrong shapes or types, different lengths, a single class, labels out of range,
            no samples, refused constant features, all named at once; or fractions that leave a split without a sample
            of some class.
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
    """Read labelled samples from a NumPy archive and split them as `from_arrays` does.

    Args:
        path: File `.npz` that holds the arrays `inputs` and `targets`, without pickled objects.
        seed: Seed of the split.
        validation: Fraction of the samples for validation.
        test: Fraction of the samples for the test.
        classes: Number of classes; None: the largest label plus one.
        constant_features: `"error"` refuses features that never vary, `"allow"` keeps them.

    Returns:
        The data set, with the path as its source.

    Raises:
        InvalidValue: The file does not exist, is no such archive, lacks an array, or holds data that `from_arrays`
            refuses.
    """
    file = Path(path)
    how = "write it with numpy.savez(path, inputs=..., targets=...)"
    if not file.is_file():
        raise InvalidValue(f"{file}: there is no such file; {how}.")
    if not zipfile.is_zipfile(file):  # NumPy would take it for a bare array or for a pickle
        raise InvalidValue(f"{file}: is not a NumPy archive; {how}.")
    try:
        with np.load(file, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive if name in ("inputs", "targets")}
            others = [name for name in archive if name not in held]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidValue(f"{file}: cannot be read as a NumPy archive without objects ({error}); {how}.") from error
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
