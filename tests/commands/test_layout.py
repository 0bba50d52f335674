"""Layout of the help: every line is short, and no word is broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from neuro_decorr.commands.layout import wrapped
from tests.study.conftest import Said

LIST = ",".join(f"method_number_{number}" for number in range(30))


@pytest.mark.parametrize("width", [20, 36, 80])
@pytest.mark.parametrize(
    "text", [f"Methods.  [default: {LIST}; --full: {LIST},a]", "--arms " + LIST.replace(",", "|"), "a  b", ""]
)
def test_lines_are_short_and_no_word_is_broken(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(len(line) <= width for line in lines)
    # Without blanks nothing is added and nothing lost; every part of the list stays whole.
    assert "".join("".join(lines).split()) == "".join(text.split())
    words = {word for line in lines for word in re.split(r"[\s,|]+", line)}
    assert words - {""} == set(re.split(r"[\s,|]+", text)) - {""}


def test_a_part_that_is_longer_than_a_line_stays_whole() -> None:
    assert wrapped("to results/a_folder_with_a_long_name here", 12) == [
        "to",
        "results/a_folder_with_a_long_name",
        "here",
    ]


def test_help_of_a_protocol_breaks_long_lists_after_commas(
    root: Path, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = root / "protocols" / "tiny.py"
    numbers = ", ".join(f"{number}.25" for number in range(40))
    path.write_text(path.read_text().replace("(0.1, 0.5)", f"({numbers})").replace('"items": 5', '"items": 2'))
    out = command("run", "tiny", "--help").out
    assert max(map(len, out.splitlines())) <= 80
    listed = out.split("Rates to choose from.")[1].split("]")[0]
    assert len(listed.splitlines()) > 3
    assert re.findall(r"[\d.]+", listed) == numbers.split(", ")
    assert "--full: 2" not in out and "[default: 2]" in out
