"""What the site needs at build time beyond its plugins; a hook of MkDocs, named in mkdocs.yml."""

from __future__ import annotations


def on_page_content(html: str, **_: object) -> str:
    """Keep the source of formulas out of the search, whose results show text only."""
    return html.replace(' class="arithmatex"', ' class="arithmatex" data-search-exclude')
