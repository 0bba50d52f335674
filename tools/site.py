"""Hook of MkDocs, named in mkdocs.yml: what the site needs at build time beyond its plugins."""

from __future__ import annotations

import html
import json
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.plugins import event_priority

ROW = re.compile(r'<tr>\s*<td>(?P<names>.*?)</td>\s*<td>.*?href="\.\./(?P<location>[^"]+)".*?</td>\s*</tr>', re.DOTALL)


def on_startup(**_: object) -> None:
    """Show the warnings that Python itself shows, so that the output of an example is what a user sees.

    MkDocs asks for every DeprecationWarning, also those of other libraries with their paths on this machine.
    """
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")


def on_page_content(content: str, **_: object) -> str:
    """Keep the source of formulas out of the search, whose results show text only."""
    return content.replace(' class="arithmatex"', ' class="arithmatex" data-search-exclude')


def common_names(page: str) -> dict[str, list[str]]:
    """The common names of every place that the built page of names links to."""
    rows = {unquote(row["location"]): html.unescape(re.sub(r"<.*?>", "", row["names"])) for row in ROW.finditer(page)}
    return {location: names.split(", ") for location, names in rows.items()}


@event_priority(-100)  # after the search has written its index
def on_post_build(config: Any, **_: object) -> None:
    """Add the common names to the titles in the index of the search, so that the search finds them."""
    site = Path(config.site_dir)
    index = site / "search" / "search_index.json"
    found = json.loads(index.read_text(encoding="utf-8"))
    names = common_names((site / "names" / "index.html").read_text(encoding="utf-8"))
    for entry in found["docs"]:
        if entry["location"] in names:
            entry["boost"] = 3.0  # above pages that use the words in passing
            entry["title"] += " (" + ", ".join(map(html.escape, names.pop(entry["location"]))) + ")"
    if names:
        raise ValueError(f"docs/names.md leads to places that the search does not know: {', '.join(names)}")
    index.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
