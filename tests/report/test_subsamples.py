"""The growth of dimensionality is of sub-samples from all of the recording."""

from __future__ import annotations

import numpy as np

from neuro_decorr import metrics
from neuro_decorr.report import subsamples


def test_sub_samples_are_blocks_from_everywhere_without_repetition() -> None:
    generator = np.random.default_rng(0)
    firsts = []
    for _ in range(50):
        rows = subsamples._rows(1000, 31, 200, generator)
        assert len(set(rows.tolist())) == 200
        assert (np.diff(rows) == 1).sum() >= 200 - 8  # seven blocks, and one that is cut
        firsts.append(rows[0])
    assert np.mean(firsts) > 300 and max(firsts) > 700  # not the first samples: those would begin at 0
    short = [subsamples._rows(1000, 31, 10, generator) for _ in range(50)]
    assert all((np.diff(rows) == 1).all() for rows in short) and np.mean([rows[0] for rows in short]) > 300


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
