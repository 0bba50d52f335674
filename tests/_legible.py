"""Faults of a printed figure: small text, panels without letters, texts on top of each other."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

SMALLEST = 6.0
"""Smallest text that journals print (points)."""
WIDTHS = (89, 120, 183)
"""Widths of one column, of one and a half, and of two (mm)."""


def faults(figure: Figure) -> list[str]:
    """List the faults of a figure at the size it is made for, in words."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    found = []
    width = 25.4 * figure.get_figwidth()
    if min(abs(width - one) for one in WIDTHS) > 0.5:
        found.append(f"{width:.0f} mm wide")
    panels = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    letters = [axes.get_title(loc="left") for axes in panels]
    if len(panels) > 1 and sorted(letters) != list(string.ascii_uppercase[: len(panels)]):
        found.append(f"letters {letters}")
    shown = list(texts(figure))
    sized = [(float(one.get_fontsize()), one.get_text()) for one in shown]
    found += [f"{size:.1f} pt: {words!r}" for size, words in sized if size < SMALLEST]
    whole = figure.bbox.padded(1)
    for one in shown:
        box = one.get_window_extent()
        if not (whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1):
            found.append(f"{one.get_text()!r} outside")
    # A turned text fills its box only partly, so that boxes meet where texts do not.
    upright = [(one.get_text(), one.get_window_extent()) for one in shown if one.get_rotation() % 90 == 0]
    for (words, box), (other, beside) in itertools.combinations(upright, 2):
        wide = min(box.x1, beside.x1) - max(box.x0, beside.x0)
        high = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        if wide > 1 and high > 1.5:  # pixels; the boxes of lines include their descenders
            found.append(f"{words!r} on {other!r}")
    return found


def texts(figure: Figure) -> Iterator[Text]:
    """Yield the texts that a figure shows."""
    yield from _shown(*figure.texts, *(text for legend in figure.legends for text in legend.findobj(Text)))
    for axes in figure.axes:
        if axes.get_visible():
            yield from _of(axes)


def _of(axes: Axes) -> Iterator[Text]:
    titles = [one for one in axes.get_children() if isinstance(one, Text)]  # the three titles, and texts
    legend = axes.get_legend()
    yield from _shown(*titles, *(legend.findobj(Text) if legend else ()))
    for axis in (axes.xaxis, axes.yaxis):
        yield from _shown(axis.label, axis.get_offset_text())
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if low <= tick.get_loc() <= high:
                yield from _shown(tick.label1, tick.label2)


def _shown(*some: object) -> Iterator[Text]:
    for one in some:
        if isinstance(one, Text) and one.get_visible() and one.get_text().strip():
            yield one
