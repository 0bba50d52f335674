"""Interactive curves that show their values: the data are in the page, and plotly.js draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neuro_decorr.errors import require
from neuro_decorr.report import html
from neuro_decorr.report.courses import Course
from neuro_decorr.report.palette import looks


def data(courses: Sequence[Course], identifier: str) -> str:
    """Make a block with the data of curves, which a browser does not run as a script.

    Args:
        courses: The curves.
        identifier: Identifier of the block in the page.
    """
    return html.json_block([_described(course) for course in courses], identifier)


def place(identifier: str, only: str = "") -> str:
    """Make the element in which the curves of a block are drawn.

    Args:
        identifier: Identifier of the block.
        only: `achieved` to draw only the quantities that measure how far units are decorrelated.
    """
    note = "<p class='note'>A script in this page draws these curves; the figures below need no script.</p>"
    return f'<div class="explorer" data-source="{identifier}" data-only="{only}">{note}</div>\n'


def scripts() -> list[str]:
    """Return the scripts that draw the curves: plotly.js, and that of this package."""
    return [require("plotly.offline", "study").get_plotlyjs(), html.asset("explorer.js")]


def _described(course: Course) -> dict[str, Any]:
    own = looks([arm.replace(" ", "_") for arm in course.arms])
    described = {name: getattr(course, name) for name in course.__dataclass_fields__}
    return {**described, "colours": [look.colour for look in own], "dashes": [look.dash for look in own]}
