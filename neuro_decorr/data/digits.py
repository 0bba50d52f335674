"""Handwritten digits: small, real, and part of scikit-learn, so that nothing has to be downloaded."""

from __future__ import annotations

from neuro_decorr.data.arrays import from_arrays
from neuro_decorr.data.dataset import Dataset
from neuro_decorr.errors import require

TRAINING_DIGITS = 1_079
"""Training images of the digits, in the split that is the default."""


def digits(seed: int = 0, *, validation: float = 0.2, test: float = 0.2) -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels in 10 classes.

    Grey levels 0 to 16 are divided by 16, the same for every pixel: inputs lie in [0, 1], the mean is not removed
    and the pixels are not standardised one by one, since both are conditions of an experiment on decorrelation.
    Three pixels at the border never vary; they stay, since silent inputs are part of real data.

    Source: Alpaydin and Kaynak (1998), Optical recognition of handwritten digits, UCI Machine Learning Repository,
    doi:10.24432/C50P49; the test part of it, as scikit-learn carries it.

    Args:
        seed: Seed of the split.
        validation: Fraction of the samples for validation.
        test: Fraction of the samples for the test.

    Returns:
        The data set: float32 inputs of 64 features, with `image_shape` (8, 8).

    Raises:
        MissingExtra: scikit-learn is not installed.
        InvalidValue: Fractions that leave nothing to train on.
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
