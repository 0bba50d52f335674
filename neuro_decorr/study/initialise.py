"""Making of a study directory with the models, protocols and analysis of the repository, to run and to edit.

An installed library carries them as data in the folder `_template` beside this file (the build of the wheel puts them
there, see pyproject.toml). In a checkout they are taken from the repository.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from neuro_decorr.errors import InvalidValue, install
from neuro_decorr.study import files
from neuro_decorr.study.provenance import versions

PARTS = ("models", "protocols", "analysis")
"""The folders of a study directory."""
TUTORIAL = "tutorial.py"
"""Tutorial on a protocol of your own, a script that opens as a notebook; a study directory gets it too."""

EXTRAS = ("study", "brian", "norse", "optimisers")
"""Extras of the library that the protocols of a study directory need."""

_CARRIED = Path(__file__).parent / "_template"
_REPOSITORY = Path(__file__).parents[2]

_README = f"""\
# A study directory

Made by neuro-decorr {{version}}. Everything in it is yours to run and to edit:

    neuro-decorr list                   # list the protocols of this directory with their questions
    neuro-decorr run PROTOCOL           # run or resume a protocol; --help shows its options
    neuro-decorr report results/NAME    # write tables, figures and page again from the stored runs

These commands work here and in every folder below.

| place | content |
| --- | --- |
| `protocols/` | the experiments: `protocols/NAME.py`, or `protocols/NAME/__init__.py`, is the protocol NAME; files \
that begin with `_` are helpers |
| `models/` | the networks that the protocols study |
| `analysis/` | the figures and tables of the protocols |
| `results/` | one directory per study, with its `index.html`, tables, figures and runs; made by the first run |
| `{TUTORIAL}` | a protocol of your own, from an empty directory to its finding; runs as a script or a notebook |

The folder `protocols` marks this directory: keep its name and its `__init__.py`. The library is not in here.
This command installs everything that the protocols need:

    {{install}}
"""


def initialise(directory: Path) -> None:
    """Make a study directory.

    Args:
        directory: An absent or empty directory.

    Raises:
        InvalidValue: The directory is not empty, or is a file.
        Unwritable: The directory cannot be made or written; a part that was written is removed.
    """
    made: list[Path] = []
    try:
        made = _make(directory)
        for source, place in _contents():
            (directory / place).parent.mkdir(parents=True, exist_ok=True)
            (directory / place).write_bytes(source.read_bytes())
        version = versions().get("neuro-decorr", "not installed, from a checkout")
        bring = install(*EXTRAS)
        if " @ " not in bring:  # a path of this machine, which another reader of the directory does not have
            wanted = f"[{','.join(EXTRAS)}]"
            file = f"neuro_decorr-{versions().get('neuro-decorr', 'VERSION')}-py3-none-any.whl"
            bring = f"pip install '{file}{wanted}'  # or, in a checkout of the library: pip install '.{wanted}'"
        (directory / "README.md").write_text(_README.format(version=version, install=bring), encoding="utf-8")
    except InvalidValue:
        raise
    except BaseException as error:
        _remove(directory, made)
        if isinstance(error, OSError):
            raise files.unwritable(directory, error) from error
        raise


def _make(directory: Path) -> list[Path]:
    """Make the directory and those above it. Returns the new ones, innermost first."""
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
    # The directory was empty before; a part of a study directory would be refused the next time.
    with contextlib.suppress(OSError):
        for entry in directory.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()
        for path in made:
            path.rmdir()


def _contents() -> Iterator[tuple[Path, Path]]:
    """Yield every file of a study directory: its source, and its place in the directory."""
    carried = _CARRIED.is_dir()
    for part in PARTS:
        folder = (_CARRIED if carried else _REPOSITORY) / part
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder.parent)
            # Compiled files and hidden files of editors and systems are left out.
            if path.is_file() and not any(name == "__pycache__" or name.startswith(".") for name in place.parts):
                yield path, place
    script = _CARRIED / TUTORIAL if carried else _REPOSITORY / "examples" / "tutorials" / "5_protocol.py"
    yield script, Path(TUTORIAL)
