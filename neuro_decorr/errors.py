"""Errors of the library: each derives from a builtin exception and from `NeuroDecorrError`.

A message says what was wrong, what the user gave, what is allowed and how to mend it.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).absolute().parent


class NeuroDecorrError(Exception):
    """Base of every error that the library raises on purpose."""


class InvalidValue(NeuroDecorrError, ValueError):
    """A value that is not allowed."""


class UnknownName(NeuroDecorrError, LookupError):
    """A name that no registry knows."""


class Unsupported(NeuroDecorrError, TypeError):
    """A layer, a model or a combination that the library refuses, with the reason."""


class StateMismatch(NeuroDecorrError, RuntimeError):
    """A saved or attached state that does not fit the object that is to take it."""


class Diverged(NeuroDecorrError, ArithmeticError):
    """A computation that gave infinity or NaN, or whose representation collapsed."""


class MissingExtra(NeuroDecorrError, ImportError):
    """An optional dependency that is not installed."""


def shown(value: object) -> str:
    """Short name of any value for a message, in one line.

    Args:
        value: Anything; a tensor or an array is named by its shape, a model by its class.

    Returns:
        The name, of 60 characters at most for a plain value.
    """
    kind = type(value).__name__
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, list | tuple | set | frozenset | dict):
        return f"a {kind} of {len(value)}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"a {kind} of shape {tuple(shape)}"
    single = shape == () or value is None or isinstance(value, str | bytes | int | float | complex)
    text = repr(value) if single else f"a {kind}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def brief(error: BaseException) -> str:
    """An error in one line: its type and its message.

    Args:
        error: The error; computing its message may fail.

    Returns:
        The line, of 300 characters at most.
    """
    try:
        message = str(error)
    except Exception:  # whoever wrote the error wrote this, and it may raise anything
        message = "(its message fails)"
    lines = message.splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines and lines[0] else type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """Return the question for the nearest known word, such as `; did you mean 'arms'?`; empty where none is near.

    Args:
        got: The unknown word.
        known: The known words.
    """
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_name(
    kind: str, got: str, known: Iterable[str], common: Mapping[str, Iterable[str]] | None = None
) -> UnknownName:
    """Error for an unknown name: its message has the nearest known name, then all known names.

    Case, blanks and hyphens do not count for the nearest name.

    Args:
        kind: Kind of thing that the name stands for, such as `rule`.
        got: The name that was not found.
        known: All known names.
        common: Other names of the things by their known name, such as `DFA`.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(known)
    spelled = {_folded(other): name for name in names for other in (*(common or {}).get(name, ()), name)}
    exact = spelled.get(_folded(got))
    hint = did_you_mean(got.casefold(), names) if exact is None else f"; did you mean '{exact}'?"
    hint = hint or "."
    return UnknownName(f"there is no {kind} '{got}'{hint} Known: {', '.join(names)}.")


def _folded(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Dotted name of the module to import.
        extra: The extra of this project that installs it.

    Returns:
        The imported module.

    Raises:
        MissingExtra: The module is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise missing_extra(module, extra) from error


def missing_extra(what: str, extra: str) -> MissingExtra:
    """Error for a module that is not installed and that an extra of this library installs.

    Args:
        what: Name of the module, or of several.
        extra: Name of the extra.

    Returns:
        The error, to be raised by the caller.
    """
    return MissingExtra(f"this needs {what}, in the extra '{extra}', which is not installed here: {install(extra)}")


def install(*extras: str) -> str:
    """Command that installs extras of this library from the place that the library was installed from.

    The library is not registered on the package index, so its name alone may install another project. The command
    therefore names the checkout, the release file or the address that this library was installed from.

    Args:
        *extras: Names of extras, such as `norse`.

    Returns:
        A command for the shell; two to choose from if the origin of the library is not known.
    """
    from importlib import metadata

    wanted = f"[{','.join(extras)}]"
    if _is_checkout(_PACKAGE.parent):
        return f"pip install --editable {shlex.quote(_seen(_PACKAGE.parent) + wanted)}"
    beside = next(iter(metadata.distributions(name="neuro-decorr", path=[str(_PACKAGE.parent)])), None)
    source = _source(beside.read_text("direct_url.json") if beside is not None else None, wanted)
    if source is not None:
        return f"pip install {shlex.quote(source)}"
    file = f"neuro_decorr-{beside.version if beside is not None else 'VERSION'}-py3-none-any.whl"
    return f"pip install '.{wanted}' in a checkout, or pip install '{file}{wanted}' beside a release file"


def _source(direct_url: str | None, wanted: str) -> str | None:
    """Source of a package as pip recorded it (PEP 610), with extras; None if it is gone or unknown."""
    import json
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        found = json.loads(direct_url or "")
        address = str(found["url"])
        vcs = found.get("vcs_info")
        inside = found.get("subdirectory")
        if vcs is not None:
            address = f"{vcs['vcs']}+{address}@{vcs['commit_id']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    parts = urlsplit(address)
    if parts.scheme != "file":
        return f"neuro-decorr{wanted} @ {address}{f'#subdirectory={inside}' if inside else ''}"
    path = Path(url2pathname(parts.path), inside or "")
    return _seen(path) + wanted if path.exists() else None


def _is_checkout(folder: Path) -> bool:
    try:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(r'^name = "neuro-decorr"', text, re.MULTILINE) is not None


def _seen(path: Path) -> str:
    """Path for the user's shell: relative to the current directory for a path in it, absolute otherwise."""
    here = Path.cwd()
    if not path.is_relative_to(here):
        return str(path)
    below = path.relative_to(here)
    return str(below) if below == Path() or path.is_file() else f".{os.sep}{below}"
