"""Errors of the library: each derives from a builtin and from `NeuroDecorrError`.

A message says what was wrong, what was got, what is allowed and how to mend it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class NeuroDecorrError(Exception):
    """Base of every error that the library raises on purpose."""


class InvalidValue(NeuroDecorrError, ValueError):
    """A value outside what is allowed."""


class UnknownName(NeuroDecorrError, LookupError):
    """A name that no registry knows."""


class Unsupported(NeuroDecorrError, TypeError):
    """A layer, a model or a combination that the library refuses, with the reason."""


class StateMismatch(NeuroDecorrError, RuntimeError):
    """A saved or attached state that does not fit the object it meets."""


class Diverged(NeuroDecorrError, ArithmeticError):
    """A computation that left the finite numbers, or whose representation collapsed."""


class MissingExtra(NeuroDecorrError, ImportError):
    """An optional dependency that is not installed."""


def shown(value: object) -> str:
    """What messages call a value that was got: short, whatever it is, and in one line.

    Args:
        value: Anything; a tensor or an array goes by its shape, a model by its class.
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


def unknown_name(kind: str, got: str, known: Iterable[str]) -> UnknownName:
    """The error for an unknown name: names the nearest known one, then all of them.

    Args:
        kind: What the name stands for, such as `rule`.
        got: The name that was not found.
        known: Every name that would have been found.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else "."
    return UnknownName(f"there is no {kind} '{got}'{hint} Known: {', '.join(names)}.")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Dotted name of the module to import.
        extra: The extra of this project that installs it.

    Returns:
        The imported module.

    Raises:
        MissingExtra: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise MissingExtra(
            f"{module} is needed here and is not installed: pip install 'neuro-decorr[{extra}]'."
        ) from error
