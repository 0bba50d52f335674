"""Finding protocols: `protocols/NAME.py` of the study directory, which is the current directory or a parent."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from neuro_decorr.errors import InvalidValue, NeuroDecorrError, UnknownName, unknown_name
from neuro_decorr.study.protocol import Protocol

FOLDER = "protocols"


def find_root(*starts: Path) -> Path:
    """The study directory: the first directory that has `protocols/`, from each start upwards.

    Args:
        *starts: Where to begin; the current directory when none is given.

    Returns:
        The study directory.

    Raises:
        UnknownName: No directory upwards of the starts has `protocols/`.
    """
    for start in starts or (Path.cwd(),):
        here = start.resolve()
        for directory in (here, *here.parents):
            if (directory / FOLDER).is_dir():
                return directory
    places = ", ".join(map(str, starts or (Path.cwd(),)))
    raise UnknownName(
        f"neither {places} nor a directory above it has a folder '{FOLDER}'; change to the study directory first."
    )


def names(root: Path) -> list[str]:
    """The names of the protocols of a study directory, sorted.

    Args:
        root: The study directory.

    Returns:
        The names of its files `protocols/NAME.py`; those with a leading underscore are helpers.
    """
    return sorted(path.stem for path in (root / FOLDER).glob("*.py") if not path.stem.startswith("_"))


def load(root: Path, name: str) -> Protocol:
    """Import a protocol.

    Args:
        root: The study directory; it is put on the path of imports, so that `models` and `analysis` are found.
        name: Name of the protocol.

    Returns:
        The module's `PROTOCOL`.

    Raises:
        UnknownName: There is no such file; the nearest one is named.
        InvalidValue: The file cannot be imported, or declares no protocol of this name.
    """
    root = root.resolve()
    if name not in names(root):
        raise unknown_name("protocol", name, names(root))
    if sys.path[0] != str(root):
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    where = f"{FOLDER}/{name}.py"
    try:
        _anchor(root)
        module = importlib.import_module(f"{FOLDER}.{name}")
    except NeuroDecorrError as error:
        raise type(error)(f"{where}: {error}") from error
    except Exception as error:
        raise InvalidValue(f"{where} cannot be imported: {type(error).__name__}: {error}.") from error
    protocol = getattr(module, "PROTOCOL", None)
    if not isinstance(protocol, Protocol) or protocol.name != name:
        got = protocol.name if isinstance(protocol, Protocol) else protocol
        raise InvalidValue(f"{where}: PROTOCOL is {got!r}; it must be a study.Protocol with name='{name}'.")
    return protocol


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
