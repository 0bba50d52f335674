import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("20min", 1200), ("2h", 7200), ("1.5h", 5400), (" 2 h ", 7200), ("0.5 s", 0.5), ("1d", 86400)],
)
def test_a_time_with_its_unit(text: str, expected: float) -> None:
    assert duration.seconds("--timeout", text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "h", "0s", "-1s", "1e3s", "nans", "2 hours", "1h30min", "1,5h", "9" * 400 + "d"]
)
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"--timeout: got .*; should be a time with its unit, such as 90s"):
        duration.seconds("--timeout", text)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0.1234, "0.12 s"), (12.34, "12.3 s"), (59.7, "1 min"), (90, "1 min 30 s"), (1200, "20 min"),
        (3599.7, "1 h"), (5400, "1 h 30 min"), (12_345, "3 h 26 min"), (86_400, "1 d"), (100_000, "1 d 4 h"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_its_two_largest_units(length: float, expected: str) -> None:
    assert duration.told(length) == expected


@given(st.floats(1, 10**7))
def test_what_is_told_is_read_as_the_same_time_but_for_its_rounding(length: float) -> None:
    numbers = duration.told(length).split()
    parts = [" ".join(numbers[place : place + 2]) for place in range(0, len(numbers), 2)]
    rounding = 0.05 if length < 60 else 0.5 if length < 3600 else 30 if length < 86_400 else 1800
    assert abs(sum(duration.seconds("x", part) for part in parts) - length) <= rounding + 1e-6
