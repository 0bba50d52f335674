"""Figures of several panels with letters and titles, with a caption that explains every panel."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, final

from neuro_decorr.errors import require
from neuro_decorr.report import sizes
from neuro_decorr.report.figures import rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Panel(NamedTuple):
    """Panel of a figure."""

    caption: str  # content of the panel, meaning of bands and bars; a sentence without its full stop
    draw: Callable[[Axes], None]
    title: str = ""  # two or three words; empty where `draw` sets the title


@final
@dataclass(frozen=True, eq=False)
class Sheet:
    """Drawn figure with its caption."""

    name: str  # of its files, without ending
    figure: Figure
    caption: str

    @cached_property
    def svg(self) -> bytes:
        """Encode the figure for print and for pages."""
        return rendered(self.figure, self.name, self.caption, "svg", tight=False)

    @property
    def png(self) -> bytes:
        """Encode the figure for slides."""
        return rendered(self.figure, self.name, self.caption, "png", tight=False)


def sheet(
    name: str,
    title: str,
    panels: Sequence[Panel],
    n: str,
    layout: str,
    height: float,
    note: str = "",
    width: float = sizes.DOUBLE,
) -> Sheet:
    """Draw the panels of a figure, and compose its caption.

    Args:
        name: Name of the files, without ending.
        title: Title of the figure, with which the caption begins.
        panels: Panels in the order of their letters.
        n: Numbers for the caption, as in `30 units (435 pairs), 2000 bins of 50 ms`.
        layout: Layout of the panels by their letters, as for `Figure.subplot_mosaic` of matplotlib, such as `AB;AC`.
        height: Height (inches).
        note: Further sentences of the caption.
        width: Width (inches): of one column of a page, of one and a half, or of two.

    Returns:
        The figure and its caption.
    """
    matplotlib = require("matplotlib", "recordings")
    with matplotlib.rc_context(sizes.TEXT):
        return _sheet(name, title, panels, n, layout, (width, height), note)


def _sheet(
    name: str, title: str, panels: Sequence[Panel], n: str, layout: str, size: tuple[float, float], note: str
) -> Sheet:
    from matplotlib.figure import Figure  # not pyplot, which has windows and global state

    figure = Figure(figsize=size, layout="constrained")
    places: dict[Any, Axes] = figure.subplot_mosaic(layout)
    said = [f"{title} (n = {n})."]
    for letter, panel in zip(string.ascii_uppercase, panels, strict=False):
        axes: Any = places[letter]
        axes.spines[["top", "right"]].set_visible(False)
        panel.draw(axes)
        axes.set_title(letter if len(panels) > 1 else "", loc="left", fontweight="bold")
        if panel.title:
            axes.set_title(panel.title, fontsize="medium")
        said.append(
            f"{letter}: {panel.caption}." if len(panels) > 1 else f"{panel.caption[0].upper()}{panel.caption[1:]}."
        )
    engine: Any = figure.get_layout_engine()
    engine.execute(figure)
    figure.set_layout_engine("none")  # the layout is computed once, since it costs more than drawing
    return Sheet(name, figure, " ".join([*said, *filter(None, [note])]))
