"""Images of clothes that come with the package: real images with natural correlations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from neuro_decorr.data.dataset import Dataset
from neuro_decorr.data.mnist import FASHION_MNIST, from_folder

_FOLDER = Path(__file__).with_name("fashion_mnist")


def fashion(seed: int = 0, *, training: int | None = None) -> Dataset:
    """6,000 images of Fashion-MNIST, 28 x 28 pixels in 10 classes: 4,200 to train, 600 to validate, 1,200 to test.

    They come with the package, under their own licence (Expat, in `neuro_decorr/data/fashion_mnist/LICENSE`): the first
    480 images of the training file and the first 120 of the test file of every class, in their order, so that the test
    images are test images of the full data set too. The seed draws the validation split, and every class has the same
    share in each split. Every pixel, 0 to 255, is divided by 255; the mean is not removed.

    Source: Xiao, Rasul and Vollgraf (2017), Fashion-MNIST, arXiv:1708.07747. `fashion_mnist` reads all of it.

    Example:
        >>> import neuro_decorr as nd
        >>> images = nd.data.fashion(seed=0)
        >>> images.train.inputs.shape, images.image_shape
        (torch.Size([4200, 784]), (28, 28))

    Args:
        seed: Seed of the split.
        training: Number of training images to keep, every class in proportion; None: all.

    Returns:
        The data set: float32 inputs of 784 features, with `image_shape` (28, 28).

    Raises:
        InvalidValue: The seed is no integer from 0 on, or the number of images is not possible.
    """
    images = from_folder(FASHION_MNIST, _FOLDER, seed, validation=1 / 8, training=training)
    return replace(images, source="6,000 images of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017)")
