"""What several protocols are tested with."""

from __future__ import annotations

import pytest

from neuro_decorr import data
from neuro_decorr.data import Split
from protocols import _images


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ninety images a split in the place of those that come with the package."""
    images = data.fashion(0)
    few = {name: Split(*(part[:90] for part in getattr(images, name))) for name in ("train", "validation", "test")}
    small = data.Dataset(**few, classes=10, source="clothes", image_shape=(28, 28))
    monkeypatch.setattr(data, "fashion", lambda _: small)
    _images._embedded.cache_clear()
