"""Files of a study directory that a protocol reaches by its imports, also by imports inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from neuro_decorr.study import files
from neuro_decorr.study.discovery import FOLDER, location

PARTS = ("models", FOLDER, "analysis")
"""The folders of a study directory that hold Python."""
_BY_NAME = ("import_module", "__import__")


def reached(root: Path, protocol: str) -> tuple[list[Path], set[str]]:
    """Find the files that a protocol imports, from its text; nothing is imported.

    The text does not show a module that is imported by a computed name. Where a file does that, every Python file of
    `protocols`, `models` and `analysis` counts.

    Args:
        root: The study directory.
        protocol: Name of the protocol.

    Returns:
        The files below the root, sorted, with the protocol's own and the `__init__.py` above it; and every name that
        occurs in their imports or attributes, such as `torch` or `brian`.
    """
    found: set[Path] = set()
    names: set[str] = set()
    waiting = [*_files(root, f"{FOLDER}.{protocol}"), location(root, protocol)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        try:
            tree = ast.parse(files.read(path))
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply
            continue  # the file counts, as a module that imports nothing: it is imported late, or never
        package = path.relative_to(root).parts[:-1]
        for node in ast.walk(tree):
            for dotted in _imported(node, package):
                names.update(dotted.split("."))
                waiting += _folder(root, dotted[:-2]) if dotted.endswith(".*") else _files(root, dotted)
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            if _computed(node):
                waiting += [path for part in PARTS for path in (root / part).rglob("*.py")]
    return sorted(found), names


def _imported(node: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        start = [*above, *([node.module] if node.module else [])]
        # A name imported from a package is either a module of the package or a name in it.
        yield from (".".join([*start, alias.name]) for alias in node.names)
    elif isinstance(node, ast.Call) and _is_import(node) and not _computed(node):
        argument = node.args[0]
        assert isinstance(argument, ast.Constant)
        yield str(argument.value)


def _is_import(node: ast.Call) -> bool:
    return getattr(node.func, "id", getattr(node.func, "attr", None)) in _BY_NAME


def _computed(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not _is_import(node):
        return False
    constant = bool(node.args) and isinstance(node.args[0], ast.Constant)
    return not constant or str(getattr(node.args[0], "value", ".")).startswith(".")


def _files(root: Path, dotted: str) -> list[Path]:
    """Files that the import of a module runs: its own, and the `__init__.py` of every package above it."""
    found: list[Path] = []
    place = root
    for part in dotted.split("."):
        place = place / part
        if place == root / "neuro_decorr":  # the library has its own digest, wherever it is
            break
        if (place / "__init__.py").is_file():
            found.append(place / "__init__.py")
        elif place.with_name(f"{part}.py").is_file():
            return [*found, place.with_name(f"{part}.py")]
        elif not place.is_dir():
            break
    return found


def _folder(root: Path, dotted: str) -> list[Path]:
    return [*_files(root, dotted), *root.joinpath(*dotted.split(".")).glob("*.py")]
