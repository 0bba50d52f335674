import enum
import shlex
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from pydantic import Field

from neuro_decorr.study import Configuration, DataPath, Protocol
from neuro_decorr.study.options import (
    Kind,
    command,
    empty,
    kind,
    parameters,
    quoted,
    unknown,
    values,
    whole,
    whole_number,
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, Kind("INTEGER")),
        (float, Kind("NUMBER")),
        (bool, Kind("", flag=True)),
        (float | None, Kind("NUMBER|none", optional=True)),
        (tuple[float, ...], Kind("NUMBER,...", many=True)),
        (Literal["a", "b"], Kind("a|b")),
        (tuple[Literal["a", "b"], ...], Kind("a|b,...", many=True)),
        (Colour, Kind("red|blue")),
    ],
)
def test_kind_of_a_type(annotation: Any, expected: Kind) -> None:
    assert kind(annotation) == expected


class Example(Configuration):
    rates: tuple[float, ...] = Field((0.1, 0.5), description="Rates.")
    colours: tuple[Colour, ...] = Field((Colour.RED,), description="Colours.")
    damping: float | None = Field(None, description="Damping.")
    fast_mode: bool = Field(True, description="Fast.")


def nothing(*arguments: Any) -> Any: ...


def test_every_field_is_an_option_with_its_help_and_default() -> None:
    protocol = Protocol(
        name="x", question="?", configuration=Example, stages=(nothing,), run=nothing, report=nothing,
        full={"rates": (1.0, 2.0), "colours": (Colour.RED,), "damping": None},
    )  # fmt: skip
    options = {option.name: option for option in parameters(protocol)}
    assert options["rates"].help == "Rates.  [default: 0.1,0.5; --full: 1.0,2.0]"
    assert options["colours"].help == "Colours.  [default: red]"
    assert options["damping"].help == "Damping.  [default: none]"
    assert (options["fast_mode"].opts, options["fast_mode"].secondary_opts) == (["--fast-mode"], ["--no-fast-mode"])
    assert options["fast_mode"].help == "Fast.  [default: on]"


def test_values_of_the_command_line_become_a_configuration() -> None:
    given = {"rates": "1, 2.5,3", "colours": "blue,red", "damping": "None", "fast_mode": False}
    found = Example.model_validate(values(Example, given))
    assert found == Example(rates=(1, 2.5, 3), colours=(Colour.BLUE, Colour.RED), damping=None, fast_mode=False)
    assert values(Example, {"rates": None, "damping": None}) == {}
    assert values(Example, {"rates": ""}) == {"rates": []}


def test_unknown_options_are_told_one_by_one_without_their_values() -> None:
    assert unknown(["--rate", "3", "--zzz=1", "stray"], ["--rates", "--damping"]) == [
        "--rate: there is no such option; did you mean '--rates'?",
        "--zzz: there is no such option",
        "'stray': unexpected argument; separate the values of a list by commas, without blanks",
    ]


def test_whole_numbers() -> None:
    problems: list[str] = []
    assert whole_number("--seeds", "7", problems, 9) == 7
    assert whole_number("--seeds", "9", problems, 9) == 9
    assert problems == []
    for text in ("0", "-1", "1.5", "many", "10", "9" * 5000):
        whole_number("--seeds", text, problems, 9)
    assert len(problems) == 6
    assert problems[4] == "--seeds: got '10'; should be a whole number from 1 to 9"
    assert len(problems[5]) < 120


def test_an_empty_text_is_told_where_a_text_or_none_is_allowed() -> None:
    class Files(Configuration):
        file: DataPath | None = Field(None, description="File.")
        label: str = Field("a", description="Label.")
        rates: tuple[float, ...] = Field((0.1,), description="Rates.")
        damping: float | None = Field(None, description="Damping.")

    given = {"file": " ", "label": "", "rates": "", "damping": ""}
    (line,) = empty(Files, given)
    assert line.startswith("--file: got an empty text")
    assert empty(Files, {"file": "none", "label": None}) == empty(Files, {"file": None}) == []


@pytest.mark.parametrize("text", ['["a", "b"]', "('a',)", "{a,b}", "'a','b'", '"a"'])
def test_a_list_as_in_a_program_is_refused(text: str) -> None:
    class Lists(Configuration):
        names: tuple[str, ...] = Field(("a",), description="Names.")
        word: str = Field("a", description="A text may have quotes.")

    (line,) = quoted(Lists, {"names": text, "word": text}).values()
    assert line.startswith("--names: got ") and line.endswith("separate the values by commas only: --names a,b,c")
    assert quoted(Lists, {"names": "a, b", "word": text}) == {}


EXAMPLE = Protocol(
    name="example", question="Is it?", configuration=Example, stages=(lambda *_: [],), run=unknown, report=unknown,
    full={"rates": (1.0, 2.0, 3.0), "fast_mode": False}, seeds=5,
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "full", "seeds", "expected"),
    [
        ({}, False, 5, ""),
        ({}, True, 5, "--full"),
        ({"damping": 1e-5}, True, 6, "--full --damping 1e-05 --seeds 6"),
        ({"rates": (1.0, 2.0, 3.0)}, False, 5, "--rates 1.0,2.0,3.0"),
        ({"fast_mode": False, "colours": (Colour.RED, Colour.BLUE)}, False, 5, "--colours red,blue --no-fast-mode"),
        ({"damping": 0.5, "rates": (), "fast_mode": True}, False, 5, "--rates '' --damping 0.5"),
    ],
)
def test_the_command_that_goes_on_says_what_differs_from_the_defaults(
    given: dict[str, Any], full: bool, seeds: int, expected: str
) -> None:
    configuration = EXAMPLE.configure(given, full)
    words = command(EXAMPLE, configuration, seeds, ["--workers", "2"])
    line = whole(words, Path("a b"))
    assert line == " ".join(["neuro-decorr run example --out 'a b'", *([expected] if expected else []), "--workers 2"])
    # Pasted into a shell and read as the command reads it, it is the same study.
    reader = click.Command(
        "example", params=[*parameters(EXAMPLE), *(click.Option([f"--{n}"]) for n in ("out", "seeds", "workers"))]
    )
    reader.params.append(click.Option(["--full"], is_flag=True))
    read = reader.make_context("example", shlex.split(line)[3:]).params
    assert EXAMPLE.configure(values(Example, read), read["full"]) == configuration
    assert (read["out"], int(read["seeds"] or 5)) == ("a b", seeds)
