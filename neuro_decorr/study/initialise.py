"""Laying out a study directory: the models, protocols and analysis of the repository, to run and to edit.

An installed library carries them as data, in the folder `_template` beside this file (pyproject.toml puts them there
when the wheel is built); in a checkout of the repository they are the repository's own.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import files
from neuro_decorr.study.provenance import versions

PARTS = ("models", "protocols", "analysis")
"""The folders of a study directory."""
TUTORIAL = "tutorial.md"
"""The page on a protocol of one's own, which a study directory gets too."""

_CARRIED = Path(__file__).parent / "_template"
_REPOSITORY = Path(__file__).parents[2]

_README = f"""\
# A study directory

Laid out by neuro-decorr {{version}}. Everything in it is yours to run and to edit:

    neuro-decorr list                   # the protocols of this directory and their questions
    neuro-decorr run PROTOCOL           # run one, or go on with it; with --help: its options
    neuro-decorr report results/NAME    # tables, figures and page once more, from the stored runs

They work here and in every folder below.

| place | what is there |
| --- | --- |
| `protocols/` | the experiments: `protocols/NAME.py`, or `protocols/NAME/__init__.py`, is the protocol NAME, and what \
begins with `_` helps them |
| `models/` | the networks that they study |
| `analysis/` | their figures and tables |
| `results/` | made by the first run: one directory a study, with its `index.html`, tables, figures and runs |
| `{TUTORIAL}` | a protocol of your own in 15 minutes |

The folder `protocols` marks this directory: keep its name and its `__init__.py`. The library itself is not here;
`pip install 'neuro-decorr[study,brian,norse]'` brings what all protocols need.
"""


def initialise(directory: Path) -> None:
    """Lay out a study directory.

    Args:
        directory: An absent or empty directory.

    Raises:
        InvalidValue: The directory has something in it, or is a file.
        Unwritable: It cannot be made or written; what was begun is removed.
    """
    made: list[Path] = []
    try:
        made = _make(directory)
        for source, place in _contents():
            (directory / place).parent.mkdir(parents=True, exist_ok=True)
            (directory / place).write_bytes(source.read_bytes())
        version = versions().get("neuro-decorr", "not installed, from a checkout")
        (directory / "README.md").write_text(_README.format(version=version), encoding="utf-8")
    except InvalidValue:
        raise
    except BaseException as error:
        _remove(directory, made)
        if isinstance(error, OSError):
            raise files.unwritable(directory, error) from error
        raise


def _make(directory: Path) -> list[Path]:
    """Make the directory and those above it; which of them were not there, innermost first."""
    absent = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        entries = sorted(entry.name for entry in directory.iterdir())
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidValue(f"{directory} cannot be made: a file is in the way; name another directory.") from error
    if entries:
        raise InvalidValue(f"{directory} is not empty (it has {entries[0]}); name a directory that is new or empty.")
    return absent


def _remove(directory: Path, made: list[Path]) -> None:
    # It was empty; half a study directory would be refused the next time, for not being so.
    with contextlib.suppress(OSError):
        for entry in directory.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()
        for path in made:
            path.rmdir()


def _contents() -> Iterator[tuple[Path, Path]]:
    """Every file of a study directory: where it is taken from, and its place there."""
    carried = _CARRIED.is_dir()
    for part in PARTS:
        folder = (_CARRIED if carried else _REPOSITORY) / part
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder.parent)
            # What Python compiled, and what editors and systems hide, is none of the experiment's.
            if path.is_file() and not any(name == "__pycache__" or name.startswith(".") for name in place.parts):
                yield path, place
    page = _CARRIED / TUTORIAL if carried else _REPOSITORY / "docs" / "tutorial_protocol.md"
    yield page, Path(TUTORIAL)
