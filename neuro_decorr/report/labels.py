"""Labels of units on figures: drawn as they are, whatever a file calls them, or as a number that is explained."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from neuro_decorr.errors import require

_LONGEST = 18


class Labels(NamedTuple):
    """What stands on an axis."""

    texts: list[str]  # one a unit
    fonts: list[str]  # families to draw them with, the first of them matplotlib's own
    note: str  # for the caption: what the numbers stand for; empty where every label is drawn


def printable(text: str) -> str:
    """A text in one line, with what cannot be printed (line feeds, escapes of terminals) as Python writes it.

    Args:
        text: Such as a label from a file.
    """
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def drawn(units: Sequence[str]) -> Labels:
    """Labels for an axis: short, without control characters, in a font that has their letters.

    matplotlib's own font has no Chinese, Japanese or Korean. Where an installed font has the letters it is used; where
    none has, the unit's number stands on the axis as `#3`, and the note for the caption says which label that is.

    Args:
        units: The labels, in the order of the axis.

    Returns:
        Texts, fonts and the note. Draw the texts with `parse_math=False`: `$` is a character like any other.
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
    """The characters that a font has."""
    font = require("matplotlib.ft2font", "recordings").FT2Font(path)
    return frozenset(map(chr, font.get_charmap()))


@functools.cache
def _family(missing: frozenset[str]) -> tuple[str, frozenset[str]]:
    """The installed font with most of the missing characters, and all that it has; no name where none has any."""
    best: tuple[str, frozenset[str]] = ("", frozenset())
    for entry in require("matplotlib.font_manager", "recordings").fontManager.ttflist:
        if not Path(entry.fname).is_file() or entry.name.startswith(_BOXES):
            continue
        try:
            known = _letters(entry.fname)
        except (OSError, RuntimeError):  # a file that is no font, or of a kind that matplotlib cannot read
            continue
        if len(missing & known) > len(missing & best[1]):
            best = (entry.name, known)
        if missing <= known:
            break
    return best
