import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import describe, outcomes, paired_difference

values = st.floats(-100, 100)


@given(st.lists(st.tuples(values, values), min_size=2, max_size=20), st.floats(0.5, 0.99))
def test_the_interval_is_that_of_scipy(pairs: list[tuple[float, float]], confidence: float) -> None:
    a, b = map(list, zip(*pairs, strict=True))
    difference = np.subtract(a, b)
    got = paired_difference(a, b, confidence)
    scale = stats.sem(difference)
    half = scale * stats.t.ppf((1 + confidence) / 2, len(pairs) - 1)
    assert got.mean == pytest.approx(difference.mean())
    assert got.high - got.mean == pytest.approx(half, abs=1e-12)
    assert got.mean - got.low == pytest.approx(half, abs=1e-12)
    assert got.n == len(pairs)


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 7))
    expected = stats.ttest_rel(a, b).confidence_interval(0.9)
    got = paired_difference(list(a), list(b), 0.9)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))


def test_closed_form_for_two_pairs() -> None:
    # With one degree of freedom Student's distribution is Cauchy's: the quantile is tan(pi confidence / 2).
    got = paired_difference([1.0, 3.0], [0.0, 0.0], 0.95)
    assert got.mean == 2.0
    assert got.high == pytest.approx(2.0 + math.tan(math.pi * 0.95 / 2))


def test_one_pair_tells_nothing_of_the_spread() -> None:
    got = paired_difference([1.0], [0.5])
    assert (got.mean, got.low, got.high, got.n) == (0.5, -math.inf, math.inf, 1)


def test_the_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    samples = generator.normal(0.3, 1.0, size=(4000, 5))
    covered = [(found := paired_difference(list(row), [0.0] * 5, 0.9)).low < 0.3 < found.high for row in samples]
    # Three standard errors of a proportion of 0.9 over 4000 draws.
    assert np.mean(covered) == pytest.approx(0.9, abs=3 * math.sqrt(0.9 * 0.1 / 4000))


def test_a_diverged_run_counts_with_its_last_value_or_with_chance() -> None:
    a, diverged = [0.9, 0.3, None], [False, True, True]
    assert list(outcomes(a, diverged, "last", 0.1)) == [0.9, 0.3, 0.1]
    assert list(outcomes(a, diverged, "chance", 0.1)) == [0.9, 0.1, 0.1]
    got = paired_difference(a, [0.5, 0.5, 0.5], diverged_a=diverged, policy="chance", chance=0.1)
    assert (got.n, got.diverged) == (3, 2)
    assert got.mean == pytest.approx((0.4 - 0.4 - 0.4) / 3)


def test_no_run_is_dropped_in_silence() -> None:
    with pytest.raises(InvalidValue, match="not marked as diverged"):
        describe([0.9, math.nan])
    with pytest.raises(InvalidValue, match="chance level"):
        describe([0.9, None], [False, True])


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(InvalidValue, match="between 0 and 1"):
        paired_difference([1.0, 2.0], [1.0, 2.0], confidence)


def test_wrong_lengths_and_policies_are_refused() -> None:
    with pytest.raises(InvalidValue, match="2 values of a and 1 of b"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(InvalidValue, match="at least one"):
        describe([])
    with pytest.raises(InvalidValue, match="one mark per value"):
        describe([1.0, 2.0], [True])
    with pytest.raises(InvalidValue, match="'last', 'chance'"):
        describe([1.0], policy="drop")  # type: ignore[arg-type]


@given(st.lists(values, min_size=2, max_size=20))
def test_the_description_is_that_of_numpy(sample: list[float]) -> None:
    got = describe(sample)
    assert got.mean == pytest.approx(np.mean(sample))
    assert got.standard_deviation == pytest.approx(np.std(sample, ddof=1))
    assert (got.n, got.minimum, got.maximum, got.diverged) == (len(sample), min(sample), max(sample), 0)


def test_one_value_has_no_spread() -> None:
    assert math.isnan(describe([2.0]).standard_deviation)
