import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.analyse import options
from neuro_decorr.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50ms", 0.05), ("0.05 s", 0.05), (".5S", 0.5), ("2min", 120), ("1e3us", 1e-3), ("1h", 3600), (" 7 s ", 7)],
)
def test_durations(text: str, seconds: float) -> None:
    assert options.duration(text, "--bin") == pytest.approx(seconds, rel=1e-12)


@given(st.floats(1e-3, 1e6), st.sampled_from(["ms", "s"]))
def test_every_number_keeps_its_value(value: float, unit: str) -> None:
    assert options.duration(f"{value!r}{unit}", "--bin") == value * {"ms": 1e-3, "s": 1.0}[unit]


@pytest.mark.parametrize("text", ["50", "ms", "", "50 parsec", "nan s", "1e999s", "5ms3", "0x5s"])
def test_a_time_without_number_or_unit(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"^--bin: got .*; a time is a number with its unit \(us, ms, s, min, h\)"):
        options.duration(text, "--bin")


@pytest.mark.parametrize("text", ["0ms", "-5ms"])
def test_a_duration_is_positive(text: str) -> None:
    with pytest.raises(InvalidValue, match="durations above zero"):
        options.duration(text, "--bin")


def test_periods() -> None:
    assert options.period("0s:1min", "--period") == (0.0, 60.0)
    assert options.period("-100ms:2s", "--period") == (-0.1, 2.0)
    for text in ("5s", "1s:2s:3s", ""):
        with pytest.raises(InvalidValue, match="a period is START:END"):
            options.period(text, "--period")
    with pytest.raises(InvalidValue, match="the end must follow the start"):
        options.period("2s:2000ms", "--period")
