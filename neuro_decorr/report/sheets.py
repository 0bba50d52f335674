"""Figures of several panels with letters, each with a caption that says what every panel shows, of how much."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, final

from neuro_decorr.errors import require
from neuro_decorr.report.figures import rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Panel(NamedTuple):
    """One panel."""

    caption: str  # what it shows, what a band or a bar is; a sentence without its end
    draw: Callable[[Axes], None]


@final
@dataclass(frozen=True, eq=False)
class Sheet:
    """A figure, drawn, with its caption."""

    name: str  # of its files, without ending
    figure: Figure
    caption: str

    @cached_property
    def svg(self) -> bytes:
        """The figure for print and for the page."""
        return rendered(self.figure, self.name, self.caption, "svg", tight=False)

    @property
    def png(self) -> bytes:
        """The figure for slides."""
        return rendered(self.figure, self.name, self.caption, "png", tight=False)


def sheet(
    name: str, title: str, panels: Sequence[Panel], n: str, layout: str, size: tuple[float, float], note: str = ""
) -> Sheet:
    """Draw the panels of a figure, and compose its caption.

    Args:
        name: Of its files, without ending.
        title: What the figure is of: the caption begins with it.
        panels: In the order of their letters.
        n: What was counted, as in `30 units (435 pairs), 2000 bins of 50 ms`.
        layout: Places of the panels: letters as `Figure.subplot_mosaic` of matplotlib takes them, such as `AB;AC`.
        size: Width and height (inches).
        note: What else the caption has to say.

    Returns:
        The figure and its caption.
    """
    require("matplotlib", "recordings")
    from matplotlib.figure import Figure  # not pyplot: no window, no global state, nothing to close

    figure = Figure(figsize=size, layout="constrained")
    places: dict[Any, Axes] = figure.subplot_mosaic(layout)
    said = [f"{title} (n = {n})."]
    for letter, panel in zip(string.ascii_uppercase, panels, strict=False):
        axes: Any = places[letter]
        axes.spines[["top", "right"]].set_visible(False)
        panel.draw(axes)
        axes.set_title(letter, loc="left", fontweight="bold")
        said.append(f"{letter}: {panel.caption}.")
    engine: Any = figure.get_layout_engine()
    engine.execute(figure)
    figure.set_layout_engine("none")  # once: it costs more than the drawing of every format
    return Sheet(name, figure, " ".join([*said, *filter(None, [note])]))
