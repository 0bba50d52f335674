"""Figures in files: PNG for slides, SVG for print and for pages."""

from __future__ import annotations

import io
import sys
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from neuro_decorr.errors import require
from neuro_decorr.report import sizes
from neuro_decorr.study import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"


def save_figure(
    figure: Figure, directory: str | PathLike[str], name: str, caption: str = "", *, dots_per_inch: int = sizes.DOTS
) -> None:
    """Write `DIR/figures/NAME.svg` and `.png`, each as a whole or not at all. The same figure gives the same bytes.

    Args:
        figure: The figure of matplotlib; a figure of pyplot is closed.
        directory: Directory of the study.
        name: Name of the files, without ending.
        caption: Caption of the figure; it is written into both files, and the page prints it.
        dots_per_inch: Resolution of the PNG.

    Raises:
        InvalidValue: The name cannot name a file.
        Unwritable: The directory cannot be written.
    """
    files.plain("name", name)
    for ending in ("svg", "png"):
        content = rendered(figure, name, caption, ending, dots_per_inch=dots_per_inch)
        files.write(Path(directory) / FOLDER / f"{name}.{ending}", content)
    if "matplotlib.pyplot" in sys.modules:  # pyplot would keep the figure in memory
        sys.modules["matplotlib.pyplot"].close(figure)


def rendered(
    figure: Figure, name: str, caption: str, ending: str, *, dots_per_inch: int = sizes.DOTS, tight: bool = True
) -> bytes:
    """Encode a figure as a file. The same figure gives the same bytes.

    Args:
        figure: The figure of matplotlib.
        name: Title in the file.
        caption: Caption, which is written into the file.
        ending: `svg` or `png`.
        dots_per_inch: Resolution, also of the pixel images in an SVG.
        tight: True to crop empty margins, which costs a second drawing.

    Returns:
        The content of the file.
    """
    matplotlib = require("matplotlib", "study")
    # No date, no version, and a fixed salt for the identifiers, so that the bytes change only with the figure.
    own: dict[str, str | None] = {"Date": None, "Creator": None} if ending == "svg" else {"Software": None}
    metadata = {**own, "Title": name, "Description": caption}
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            content, format=ending, dpi=dots_per_inch, bbox_inches="tight" if tight else None, metadata=metadata
        )
    return content.getvalue()
