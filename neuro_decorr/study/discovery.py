"""Finding protocols: those of the study directory, which is the current directory or a parent.

A study directory is one whose folder `protocols` holds Python: `protocols/NAME.py`, or `protocols/NAME/__init__.py`, is
the protocol NAME. A folder of that name with other files in it, such as a laboratory's, marks none.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

from neuro_decorr.errors import InvalidValue, NeuroDecorrError, UnknownName, unknown_name
from neuro_decorr.study.protocol import Protocol

FOLDER = "protocols"


def find_root(*starts: Path) -> Path:
    """The study directory: the first directory whose folder `protocols` holds Python, from each start upwards.

    Args:
        *starts: Where to begin; the current directory when none is given.

    Returns:
        The study directory.

    Raises:
        UnknownName: No directory upwards of the starts is one.
    """
    for start in starts or (Path.cwd(),):
        here = start.resolve()
        for directory in (here, *here.parents):
            if _has_python(directory / FOLDER):
                return directory
    places = " nor ".join(map(str, starts or (Path.cwd(),)))
    raise UnknownName(
        f"neither {places} nor a directory above is a study directory, which has protocols in a folder '{FOLDER}'; "
        "make one with: neuro-decorr init DIR"
    )


def names(root: Path) -> list[str]:
    """The names of the protocols of a study directory, sorted.

    Args:
        root: The study directory.

    Returns:
        The names of its protocols; files and folders with a leading underscore are helpers.
    """
    folder = root / FOLDER
    found = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return sorted(name for name in found if not name.startswith("_"))


def location(root: Path, name: str) -> Path:
    """The file of a protocol; where there is a folder of its name too, the folder's, as Python's import has it.

    Args:
        root: The study directory.
        name: One of its protocols.

    Returns:
        `protocols/NAME/__init__.py` or `protocols/NAME.py`, below the root.
    """
    inside = root / FOLDER / name / "__init__.py"
    return inside if inside.is_file() else root / FOLDER / f"{name}.py"


def load(root: Path, name: str) -> Protocol:
    """Import a protocol.

    Args:
        root: The study directory; it is put on the path of imports, so that `models` and `analysis` are found.
        name: Name of the protocol.

    Returns:
        The module's `PROTOCOL`.

    Raises:
        UnknownName: There is no such protocol; the nearest one is named.
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
        _anchor(root)
        module = importlib.import_module(f"{FOLDER}.{name}")
    except NeuroDecorrError as error:
        raise type(error)(f"{where}: {error}") from error
    except Exception as error:
        told = f"{where} cannot be imported: {type(error).__name__}: {error}"
        raise InvalidValue(f"{told}{_remedy(error)}.") from error
    protocol = getattr(module, "PROTOCOL", None)
    if not isinstance(protocol, Protocol) or protocol.name != name:
        got = protocol.name if isinstance(protocol, Protocol) else protocol
        raise InvalidValue(f"{where}: PROTOCOL is {got!r}; it must be a study.Protocol with name='{name}'.")
    return protocol


def _has_python(folder: Path) -> bool:
    try:
        return any(True for pattern in ("*.py", "*/__init__.py") for _ in folder.glob(pattern))
    except OSError:  # A folder above that this user may not read is none of ours.
        return False


def _remedy(error: Exception) -> str:
    """The extra that brings what a protocol imports and what is not installed; nothing where there is none."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    package = error.name.split(".")[0]
    requirements = metadata.requires("neuro-decorr") or []
    for extra in ("study", "brian", "norse", "recordings"):
        if any(re.fullmatch(rf"{re.escape(package)}\b.*extra == ['\"]{extra}['\"]", line) for line in requirements):
            return f": pip install 'neuro-decorr[{extra}]'"
    return ""


def _anchor(root: Path) -> None:
    # `protocols` is made to be this folder and no other: a package of that name elsewhere on the path of imports
    # would win over a folder without __init__.py, and a second study directory would get the protocols of the first.
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
    assert spec is not None  # It is None for a file without a known ending only.
    module = importlib.util.module_from_spec(spec)
    sys.modules[FOLDER] = module
    if spec.loader is not None:
        spec.loader.exec_module(module)
