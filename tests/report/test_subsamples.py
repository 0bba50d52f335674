"""The growth of dimensionality is of sub-samples from all of the recording."""

from __future__ import annotations

import numpy as np

from neuro_decorr import metrics
from neuro_decorr.report import subsamples


def test_sub_samples_are_whole_blocks_from_everywhere_without_repetition() -> None:
    """Each block has a direction of its own, which no two blocks share: the ratio counts the blocks that were drawn."""
    values = np.zeros((3200, 32))
    values[np.arange(3200), np.arange(3200) // 100] = np.tile([1.0, -1.0], 1600)
    found = subsamples.growth(values, np.zeros(3200, dtype=int), seed=0)
    assert found.block == 100
    for size, ratios in zip(found.samples.tolist(), found.naive, strict=True):
        if size >= 200:
            assert size % 100 == 0
            np.testing.assert_allclose(ratios, size // 100)
    assert (found.naive[found.samples < 100] <= 2).all()


def test_a_recording_that_begins_otherwise_is_not_judged_by_its_beginning() -> None:
    """The first tenth has one dimension, the rest eight: ten random samples have more than one."""
    generator = np.random.default_rng(1)
    values = generator.normal(size=(4000, 8))
    values[:400] = generator.normal(size=(400, 1))
    found = subsamples.growth(values, np.zeros(4000, dtype=int), seed=0)
    assert np.median(found.corrected[1]) > 4
    assert found.samples[-1] == 4000
    whole = metrics.moments(values)
    np.testing.assert_allclose(found.naive[-1], whole.participation_ratio())
    np.testing.assert_allclose(found.corrected[-1], whole.participation_ratio("samples"))


def test_trials_are_the_blocks_of_a_recording_with_trials() -> None:
    values = np.random.default_rng(0).normal(size=(200, 3))
    assert subsamples.growth(values, np.repeat(np.arange(20), 10), seed=0).block == 10
    assert set(np.diff(subsamples.growth(values, np.repeat(np.arange(40), 5), seed=0).samples) % 5) == {0}
