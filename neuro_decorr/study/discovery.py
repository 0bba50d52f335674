"""Discovery of the protocols of the study directory, which is the current directory or one above it.

A study directory has a folder `protocols` with Python files: `protocols/NAME.py`, or `protocols/NAME/__init__.py`, is
the protocol NAME. A folder `protocols` without Python, such as a laboratory's, does not count.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

from neuro_decorr.errors import (
    InvalidValue,
    NeuroDecorrError,
    StateMismatch,
    UnknownName,
    brief,
    missing_extra,
    unknown_name,
)
from neuro_decorr.study.configuration import Configuration
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.protocol import Protocol

FOLDER = "protocols"
_EXTRAS = ("study", "recordings", "brian", "norse", "optimisers", "sweeps", "cluster", "tensorboard")
_IMPORTED_AS = {"sklearn": "scikit-learn", "pytorch_optimizer": "pytorch-optimizer", "dask_jobqueue": "dask-jobqueue"}
"""Packages that are installed under another name than they are imported by."""


def find_root(*starts: Path) -> Path:
    """Find the study directory: the first one, from each start upwards, whose folder `protocols` holds Python.

    Args:
        *starts: Directories to begin with; the current directory when none is given.

    Returns:
        The study directory.

    Raises:
        UnknownName: Neither a start nor a directory above it is a study directory.
    """
    for start in starts or (Path.cwd(),):
        here = start.resolve()
        for directory in (here, *here.parents):
            if _has_python(directory / FOLDER):
                return directory
    places = " nor ".join(map(str, starts or (Path.cwd(),)))
    raise UnknownName(
        f"neither {places} nor a directory above is a study directory (with protocols in a folder '{FOLDER}'); "
        "make one with: neuro-decorr init DIR"
    )


def names(root: Path) -> list[str]:
    """List the names of the protocols of a study directory.

    Args:
        root: The study directory.

    Returns:
        The names, sorted. Files and folders with a leading underscore are helpers and no protocols.
    """
    folder = root / FOLDER
    # Regular files only: reading a named pipe would wait for its writer.
    single = {path.stem for path in folder.glob("*.py") if path.is_file()}
    folders = {path.parent.name for path in folder.glob("*/__init__.py") if path.is_file()}
    return sorted(name for name in single | folders if not name.startswith("_"))


def location(root: Path, name: str) -> Path:
    """Return the file of a protocol. A folder goes before a file of the same name, as in Python's import.

    Args:
        root: The study directory.
        name: Name of one of its protocols.

    Returns:
        `protocols/NAME/__init__.py` or `protocols/NAME.py`, below the root.
    """
    inside = root / FOLDER / name / "__init__.py"
    return inside if inside.is_file() else root / FOLDER / f"{name}.py"


def load(root: Path, name: str) -> Protocol:
    """Import a protocol.

    Args:
        root: The study directory; it is added to Python's import path, so that `models` and `analysis` are found.
        name: Name of the protocol.

    Returns:
        The module's `PROTOCOL`.

    Raises:
        UnknownName: There is no such protocol; the message names the nearest one.
        InvalidValue: The file cannot be imported, or declares no protocol of this name.
    """
    root = root.resolve()
    if name not in names(root):
        raise unknown_name("protocol", name, names(root))
    if sys.path[0] != str(root):
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    where = location(root, name).relative_to(root).as_posix()
    try:
        # Text that a file prints during its import is no result.
        with contextlib.redirect_stdout(sys.stderr), contextlib.chdir("."):
            _anchor(root)
            module = importlib.import_module(f"{FOLDER}.{name}")
    except NeuroDecorrError as error:
        raise type(error)(f"{where}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a file that ends the program cannot be imported
        raise InvalidValue(f"{where} cannot be imported: {brief(error)}{_remedy(error)}") from error
    protocol = getattr(module, "PROTOCOL", None)
    if not isinstance(protocol, Protocol) or protocol.name != name:
        got = protocol.name if isinstance(protocol, Protocol) else protocol
        raise InvalidValue(f"{where}: PROTOCOL is {got!r}; it must be a study.Protocol with name='{name}'.")
    return protocol


def restore(root: Path, stored: Identity, directory: Path) -> tuple[Protocol, Configuration]:
    """Load the protocol of a stored study, and its configuration.

    Args:
        root: The study directory.
        stored: Identity of the stored study.
        directory: Directory of the stored study, for the message.

    Returns:
        The present protocol, and the stored configuration as its model has it.

    Raises:
        UnknownName: The protocol does not exist any more.
        InvalidValue: The protocol cannot be imported.
        StateMismatch: The stored configuration does not fit the protocol any more.
    """
    protocol = load(root, stored.protocol)
    try:
        return protocol, protocol.configure(stored.configuration)
    except InvalidValue as error:
        raise StateMismatch(
            f"{directory} was made by another version of protocol '{protocol.name}', whose configuration no longer "
            f"fits: {error}"
        ) from error


def _has_python(folder: Path) -> bool:
    try:
        return any(True for pattern in ("*.py", "*/__init__.py") for _ in folder.glob(pattern))
    except OSError:  # a folder that this user may not read is not the user's study directory
        return False


def _remedy(error: BaseException) -> str:
    """Name the extra that brings a package which the protocol imports and which is not installed."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return "."
    package = error.name.split(".")[0]
    package = _IMPORTED_AS.get(package, package)
    try:
        requirements = metadata.requires("neuro-decorr") or []
    except metadata.PackageNotFoundError:  # the library runs from its sources without an installation
        return "."
    for extra in _EXTRAS:
        if any(re.fullmatch(rf"{re.escape(package)}\b.*extra == ['\"]{extra}['\"]", line) for line in requirements):
            return f"; {missing_extra(package, extra)}"
    return "."


def _anchor(root: Path) -> None:
    # Bind `protocols` to this folder: a package of that name elsewhere on the import path would go before a folder
    # without __init__.py, and a second study directory would get the protocols of the first.
    folder = root / FOLDER
    package = sys.modules.get(FOLDER)
    if package is not None and [Path(place).resolve() for place in package.__path__] == [folder]:
        return
    for name in [name for name in sys.modules if name.split(".")[0] == FOLDER]:
        del sys.modules[name]
    start = folder / "__init__.py"
    if start.is_file():
        spec = importlib.util.spec_from_file_location(FOLDER, start, submodule_search_locations=[str(folder)])
    else:
        spec = ModuleSpec(FOLDER, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    assert spec is not None  # None only for a file without a known ending
    module = importlib.util.module_from_spec(spec)
    sys.modules[FOLDER] = module
    if spec.loader is not None:
        spec.loader.exec_module(module)
