"""The options of the command, each on its own: what they become, and one clear line where they are wrong."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.report import options
from neuro_decorr.report.options import Options

HERE = Path("x.npz")


@given(st.floats(1e-6, 1e6), st.sampled_from(["us", "ms", "s", "min", "h"]))
def test_a_duration_is_its_number_times_its_unit(number: float, unit: str) -> None:
    expected = number * {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}[unit]
    assert math.isclose(options.positive(f" {number!r} {unit} ", "--bin", "50ms"), expected, rel_tol=1e-12)


@given(st.text(max_size=12))
def test_any_other_text_is_one_line_that_names_the_option(text: str) -> None:
    known = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(us|ms|s|min|h)\s*", text)
    if known is not None and float(known[1]) > 0:
        return
    with pytest.raises(InvalidValue, match=r"^--bin: got .* 50ms\.$") as told:
        options.positive(text, "--bin", "50ms")
    assert len(str(told.value).splitlines()) == 1


def test_what_is_read_is_told_to_the_reader_in_its_own_units() -> None:
    given = Options(
        HERE, sampling_rate="30kHz", step="40ms", units="a, b", quality="good", layout="units_time", sort=True
    )
    assert given.reading((1.0, 2.0)) == {
        "period": (1.0, 2.0), "sampling_rate": 30_000.0, "step": pytest.approx(0.04), "units": ["a", "b"],
        "quality": ["good"], "layout": "units_time", "sort": True, "duplicates": "error", "outside": "error",
        "durations": "error",
    }  # fmt: skip
    assert "sampling_rate" not in Options(HERE).reading(None)


def test_a_label_with_a_comma_is_one_label_where_it_is_known() -> None:
    assert options.listed("left, up", ["left, up", "down"]) == ["left, up"]
    assert options.listed("left, up", ["left", "up"]) == ["left", "up"]


def test_a_label_with_a_comma_stands_in_double_quotes() -> None:
    assert Options(HERE, units='"left, up",b').reading(None)["units"] == ["left, up", "b"]
    assert options.two('"a,b",c', ["a,b", "c", "a", "b,c"]) == ("a,b", "c")


@pytest.mark.parametrize(
    ("argument", "option"),
    [
        ("ask for that with sort=True.", "ask for that with --sort."),
        ('durations="common" for the time', "--durations common for the time"),
        ("variable='NAME' (a cell), or variable='TIMES,UNITS'", "--variable NAME (a cell), or --variable TIMES,UNITS"),
        ("Then sampling_rate=1000 reads them", "Then --sampling-rate 1000Hz reads them"),
        ("give step (s) or sampling_rate (Hz).", "give --step, such as 30ms, or --sampling-rate, such as 30Hz."),
        ("these are samples; give sampling_rate (Hz).", "these are samples; give --sampling-rate, such as 30kHz."),
        ("slow changes first (high_pass, detrended)", "slow changes first (--high-pass)"),
        ("allowed are 'time_units' and 'units_time'", "allowed are 'time_units' and 'units_time'"),
    ],
)
def test_arguments_in_messages_are_options(argument: str, option: str) -> None:
    assert options.as_options(argument) == option


def test_the_commands_are_known_before_what_measures_is_imported() -> None:
    code = "import sys, neuro_decorr.commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_period_has_two_ends_in_order() -> None:
    assert options.period("500ms:2min") == (0.5, 120.0)
    for text in ("5s", "5s:1s", "1:2", "a:b", "1s:2s:3s"):
        with pytest.raises(InvalidValue, match=r"^--period: got "):
            options.period(text)


def test_how_chance_is_found() -> None:
    method = Options(HERE, surrogate="local-shift", high_pass="5s", block="2s", surrogates=19, seed=3).method()
    assert (method.kind, method.cutoff, method.block, method.surrogates, method.seed) == (
        "local_shift",
        5.0,
        2.0,
        19,
        3,
    )
    assert (Options(HERE).method().cutoff, Options(HERE).method().block) == ("auto", None)


def test_two_labels_may_hold_commas() -> None:
    assert options.two("a,b", ["a", "b", "c"]) == ("a", "b")
    assert options.two("x,y,b", ["x,y", "b"]) == ("x,y", "b")
    assert options.two("b, x,y", ["x,y", "b"]) == ("b", "x,y")
    for text, known in (("a", ["a", "b"]), ("a,a", ["a", "b"]), ("a,b,c", ["a,b", "c", "a", "b,c"])):
        with pytest.raises(InvalidValue, match=r"^--pair: got .*two different units"):
            options.two(text, known)
    with pytest.raises(UnknownName, match="there is no unit 'z'"):
        options.two("a,z", ["a", "b"])


def test_the_units_that_messages_name_are_taken() -> None:
    given = Options(HERE, sampling_rate="30kHz", step="30ms").reading(None)
    assert (given["sampling_rate"], given["step"]) == (30_000, 0.03)
