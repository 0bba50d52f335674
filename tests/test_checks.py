"""Checks of parameters: the verdict of each, and one error for all problems."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue

ANYTHING = st.one_of(st.none(), st.booleans(), st.text(), st.integers(), st.floats(), st.lists(st.integers()))


@given(ANYTHING, st.floats(-2, 2), st.floats(-2, 2))
def test_a_number_within_bounds(value: object, low: float, high: float) -> None:
    """Compared with exact fractions, in which every finite number of Python has its place."""
    plain = type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]  # a number by then
    place = Fraction(value) if plain else None  # type: ignore[arg-type]
    inside = place is not None and Fraction(low) < place < Fraction(high)
    assert (checks.number("x", value, above=low, below=high) is None) == inside
    closed = place is not None and Fraction(low) <= place <= Fraction(high)
    assert (checks.number("x", value, least=low, most=high) is None) == closed
    assert (checks.number("x", value) is None) == plain


def test_infinity_only_where_it_is_allowed() -> None:
    assert checks.number("saturation", math.inf, above=1, finite=False) is None
    assert checks.number("saturation", math.inf, above=1) == "saturation must be a finite number > 1, got inf"
    assert checks.number("saturation", math.nan, finite=False) == "saturation must be a number, got nan"
    assert checks.number("saturation", math.inf, most=2, finite=False) == "saturation must be a number <= 2, got inf"


@given(ANYTHING, st.integers(-3, 3))
def test_whole_numbers_flags_and_words(value: object, least: int) -> None:
    assert (checks.whole_number("n", value, least=least) is None) == (type(value) is int and value >= least)
    assert (checks.flag("f", value) is None) == (value is True or value is False)
    assert (checks.word("w", value, ("", "a")) is None) == (type(value) is str and value in ("", "a"))


def test_one_error_tells_all_problems() -> None:
    problems = (
        checks.number("rate", -1.0, above=0, most=1, hint="0 freezes"),
        None,
        checks.whole_number("every", 1.5, least=1),
        checks.flag("center", "no"),
        checks.word("form", None, ("free", "fixed")),
    )
    message = (
        "whitening: rate must be a finite number > 0 and <= 1, got -1.0 (0 freezes); every must be a whole number >= "
        "1, got 1.5; center must be True or False, got 'no'; form must be one of 'free', 'fixed', got None."
    )
    with pytest.raises(InvalidValue) as caught:
        checks.refuse("whitening", *problems)
    assert str(caught.value) == message
    checks.refuse("whitening", None)
