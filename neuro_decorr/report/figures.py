"""Figures in files: PNG for people's slides, SVG for print and for the page."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neuro_decorr.errors import require
from neuro_decorr.study import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"


def save_figure(figure: Figure, directory: Path, name: str, caption: str = "", *, dots_per_inch: int = 150) -> None:
    """Write `DIR/figures/NAME.svg` and `.png`, each whole or not at all; the same figure gives the same bytes.

    Args:
        figure: The figure of matplotlib; one of pyplot is closed.
        directory: Directory of the study.
        name: Name of the files, without ending.
        caption: What the figure shows, in words; it is written into both files, and the page prints it.
        dots_per_inch: Resolution of the PNG.

    Raises:
        Unwritable: The directory cannot be written.
    """
    for ending in ("svg", "png"):
        content = rendered(figure, name, caption, ending, dots_per_inch=dots_per_inch)
        files.write(directory / FOLDER / f"{name}.{ending}", content)
    if "matplotlib.pyplot" in sys.modules:  # which would keep it in memory
        sys.modules["matplotlib.pyplot"].close(figure)


def rendered(
    figure: Figure, name: str, caption: str, ending: str, *, dots_per_inch: int = 150, tight: bool = True
) -> bytes:
    """A figure as a file: the same figure gives the same bytes.

    Args:
        figure: The figure of matplotlib.
        name: Its title in the file.
        caption: What it shows, in words; it is written into the file.
        ending: `svg` or `png`.
        dots_per_inch: Resolution, also of what an SVG has in pixels.
        tight: Whether it is cut to what is drawn, which costs a second drawing.

    Returns:
        The content of the file.
    """
    matplotlib = require("matplotlib", "study")
    # No date, no version, and a fixed salt for the identifiers: the bytes tell whether a figure has changed.
    own: dict[str, str | None] = {"Date": None, "Creator": None} if ending == "svg" else {"Software": None}
    metadata = {**own, "Title": name, "Description": caption}
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            content, format=ending, dpi=dots_per_inch, bbox_inches="tight" if tight else None, metadata=metadata
        )
    return content.getvalue()
