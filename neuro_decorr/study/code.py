"""Source text of the protocol and of the modules that it imports, kept with a study: `DIR/protocol/`."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from neuro_decorr.study import discovery, files

FOLDER = "protocol"


def keep(places: Iterable[str], root: Path, directory: Path) -> None:
    """Copy source files to `DIR/protocol/`, and remove the files of an earlier copy.

    Args:
        places: The files, relative to the root; see `Origin.protocol`.
        root: The study directory.
        directory: Directory of the study.

    Raises:
        Unreadable: A file cannot be read.
        Unwritable: The directory cannot be written.
    """
    kept = {directory / FOLDER / place: root / place for place in places}
    for old in set((directory / FOLDER).rglob("*.py")) - set(kept):
        old.unlink(missing_ok=True)
    for new, source in kept.items():
        content = files.read(source)
        if not new.is_file() or files.read(new) != content:
            files.write(new, content)


def told(directory: Path, protocol: str) -> tuple[str, dict[str, str]]:
    """Return the docstring of a protocol, and the source texts that are kept with a study.

    Args:
        directory: Directory of the study.
        protocol: Name of the protocol.

    Returns:
        The docstring, empty where there is none; and the text of every file by its place, the protocol first.
    """
    folder = directory / FOLDER
    texts = {
        path.relative_to(folder).as_posix(): files.read(path).decode(errors="replace")
        for path in sorted(folder.rglob("*.py"))
    }
    own = discovery.location(folder, protocol).relative_to(folder).as_posix()
    if own not in texts:
        return "", texts
    try:
        docstring = ast.get_docstring(ast.parse(texts[own]))
    except (SyntaxError, ValueError):  # changed by hand in the directory of the study
        docstring = None
    return docstring or "", {own: texts[own], **texts}
