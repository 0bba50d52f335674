"""Handwritten digits: a small real data set that scikit-learn contains, so that nothing has to be downloaded."""

from __future__ import annotations

from neuro_decorr.data.arrays import from_arrays
from neuro_decorr.data.dataset import Dataset
from neuro_decorr.errors import require

TRAINING_DIGITS = 1_079
"""Number of training images of the digits in the default split."""


def digits(seed: int = 0, *, validation: float = 0.2, test: float = 0.2) -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels in 10 classes.

    Every grey level, 0 to 16, is divided by 16: inputs lie in [0, 1]. The mean is not removed and single pixels are not
    standardised, since an experiment on decorrelation compares both. Three pixels at the border never vary; they are
    kept, since silent inputs are part of real data.

    Source: Alpaydin and Kaynak (1998), Optical recognition of handwritten digits, UCI Machine Learning Repository,
    doi:10.24432/C50P49; its test part, as scikit-learn contains it.

    Args:
        seed: Seed of the split.
        validation: Fraction of the samples for validation.
        test: Fraction of the samples for the test.

    Returns:
        The data set: float32 inputs of 64 features, with `image_shape` (8, 8).

    Raises:
        MissingExtra: scikit-learn is not installed.
        InvalidValue: The fractions leave no sample to train on, or the seed is no integer from 0 on.
    """
    images, labels = require("sklearn.datasets", "study").load_digits(return_X_y=True)
    return from_arrays(
        images.reshape(-1, 8, 8) / 16,
        labels,
        seed=seed,
        validation=validation,
        test=test,
        constant_features="allow",
        source="handwritten digits (scikit-learn; Alpaydin and Kaynak 1998)",
    )
