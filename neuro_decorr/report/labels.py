"""Labels of units on figures: drawn as the file has them, or as numbers that the caption explains."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from neuro_decorr.errors import require

_LONGEST = 18


class Labels(NamedTuple):
    """Labels of an axis."""

    texts: list[str]  # one per unit
    fonts: list[str]  # font families to draw them with; the first is matplotlib's own
    note: str  # for the caption: the meaning of the numbers; empty where every label is drawn


def printable(text: str) -> str:
    """Write a text in one line; characters that cannot be printed (line feeds, terminal escapes) become Python escapes.

    Args:
        text: The text, such as a label from a file.
    """
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def drawn(units: Sequence[str]) -> Labels:
    """Make labels for an axis: short, without control characters, in a font that has their letters.

    matplotlib's own font has no Chinese, Japanese or Korean letters. If an installed font has the letters, it is used.
    Otherwise the axis shows the number of the unit, such as `#3`, and the note for the caption gives the label.

    Args:
        units: The labels, in the order of the axis.

    Returns:
        Texts, fonts and the note. Draw the texts with `parse_math=False`, so that `$` is an ordinary character.
    """
    whole = [printable(unit) for unit in units]
    short = [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in whole]
    own = _letters(_own_font())
    missing = {letter for text in short for letter in text} - own
    if not missing:
        return Labels(short, [_OWN], "")
    family, known = _family(frozenset(missing))
    fonts = [_OWN, family] if family else [_OWN]
    texts, numbered = [], []
    for number, (text, full) in enumerate(zip(short, whole, strict=True), start=1):
        if set(text) <= own | known:
            texts.append(text)
        else:
            texts.append(f"#{number}")
            numbered.append(f"#{number} is {full}")
    note = f"No installed font has the letters of some labels: {', '.join(numbered)}." if numbered else ""
    return Labels(texts, fonts, note)


_OWN = "DejaVu Sans"  # which matplotlib brings
_BOXES = "Last Resort"  # which it brings too: a box in place of any letter


def _own_font() -> str:
    return str(require("matplotlib.font_manager", "recordings").findfont(_OWN))


@functools.cache
def _letters(path: str) -> frozenset[str]:
    """Return the characters of a font."""
    font = require("matplotlib.ft2font", "recordings").FT2Font(path)
    return frozenset(map(chr, font.get_charmap()))


@functools.cache
def _family(missing: frozenset[str]) -> tuple[str, frozenset[str]]:
    """Find the installed font with most of the missing characters, and its characters; no name where none has any."""
    best: tuple[str, frozenset[str]] = ("", frozenset())
    for entry in require("matplotlib.font_manager", "recordings").fontManager.ttflist:
        if not Path(entry.fname).is_file() or entry.name.startswith(_BOXES):
            continue
        try:
            known = _letters(entry.fname)
        except (OSError, RuntimeError):  # no font, or a kind of font that matplotlib cannot read
            continue
        if len(missing & known) > len(missing & best[1]):
            best = (entry.name, known)
        if missing <= known:
            break
    return best
