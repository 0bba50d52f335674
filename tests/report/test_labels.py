"""Labels are drawn as they are or as a number that the caption explains; nothing in them is a command."""

from __future__ import annotations

import io
import warnings

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure

from neuro_decorr.report import labels, panels

HOSTILE = ["$\\bad{$", "a_b^{2", "[/x] [bold]", "b\x1b[31m", "line\nfeed", "%s {0}", "<b>&amp;", "\\", "é µ ≥"]


def test_letters_of_math_and_markup_are_letters() -> None:
    found = labels.drawn(HOSTILE)
    assert found.texts == [labels.printable(label) for label in HOSTILE] and found.note == ""
    assert found.texts[3] == "b\\x1b[31m" and found.texts[4] == "line\\nfeed"


def test_a_matrix_with_hostile_labels_is_drawn_with_them() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    panels.matrix(axes, [[1.0] * len(HOSTILE)] * len(HOSTILE), labels.drawn(HOSTILE), 1.0, title="$\\bad{$")
    figure.savefig(io.BytesIO(), format="svg")
    figure.savefig(io.BytesIO(), format="png")
    assert [text.get_text() for text in axes.get_xticklabels()] == labels.drawn(HOSTILE).texts


@pytest.mark.parametrize("every", [False, True])
def test_a_letter_that_no_font_has_becomes_a_number_that_is_explained(
    every: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fonts that matplotlib brings have no such letter: one of them draws a box for it, which nobody can read."""
    folder = matplotlib.get_data_path()
    brought = [entry for entry in font_manager.fontManager.ttflist if entry.fname.startswith(folder)]
    text = [entry for entry in brought if entry.fname == labels._own_font()]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", brought if every else text)
    labels._family.cache_clear()
    found = labels.drawn(["a", "神経細胞", "b"])
    assert found.texts == ["a", "#2", "b"]
    assert found.note.endswith("#2 is 神経細胞.")
    labels._family.cache_clear()


def test_an_installed_font_with_the_letter_is_taken() -> None:
    """matplotlib brings fonts of symbols that its own text font lacks: one of them stands for a Chinese font."""
    own = labels._letters(labels._own_font())
    other = next(
        e
        for e in font_manager.fontManager.ttflist
        if not e.name.startswith("Last Resort") and labels._letters(e.fname) - own
    )
    letter = min(c for c in labels._letters(other.fname) - own if c.isprintable() and not c.isspace())
    found = labels.drawn([letter])
    assert found.texts == [letter] and found.note == "" and len(found.fonts) == 2
    figure = Figure()
    figure.text(0.5, 0.5, letter, fontfamily=found.fonts, parse_math=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a letter that none of the fonts has
        figure.savefig(io.BytesIO(), format="png")


def test_long_labels_are_cut_and_say_so() -> None:
    assert labels.drawn(["x" * 40]).texts == ["x" * 17 + "…"]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
@settings(max_examples=15, deadline=None)
def test_any_label_can_be_drawn(units: list[str]) -> None:
    found = labels.drawn(units)
    assert len(found.texts) == len(units)
    figure = Figure(figsize=(1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in found.texts:
            figure.text(0, 0, text, fontfamily=found.fonts, parse_math=False)
        figure.savefig(io.BytesIO(), format="svg", dpi=20)
