import enum
from typing import Any, Literal

import pytest
from pydantic import Field

from neuro_decorr.study import Configuration, Protocol
from neuro_decorr.study.options import Kind, kind, parameters, unknown, values, whole_number


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
        full={"rates": (1.0, 2.0)},
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
        "'stray': an argument too many; a list of values is separated by commas only",
    ]


def test_whole_numbers() -> None:
    problems: list[str] = []
    assert whole_number("--seeds", "7", problems) == 7
    assert problems == []
    for text in ("0", "-1", "1.5", "many"):
        whole_number("--seeds", text, problems)
    assert len(problems) == 4
