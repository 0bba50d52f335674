"""Sizes of figures and of their text, as journals print them."""

from __future__ import annotations

from typing import Any

SINGLE, MIDDLE, DOUBLE = 89 / 25.4, 120 / 25.4, 183 / 25.4
"""Widths of one column, of one and a half, and of two columns of a page (inches)."""
SMALLEST = 6.0
"""Smallest size of text in a printed figure (points)."""
DOTS = 220
"""Resolution of a printed figure as PNG (dots per inch): 1585 pixels over two columns."""
TEXT: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "axes.titlepad": 4,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "hatch.linewidth": 0.6,
}
"""Settings of matplotlib for a figure of one of these widths."""
