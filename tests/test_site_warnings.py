"""The output of examples on the site has the warnings that a user sees, not those that MkDocs asks for."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import pytest
from mkdocs import __main__ as mkdocs

from tools import site as hook


def shown() -> list[tuple[str, str]]:
    """Category and module of the warnings that are shown, of a library's and of an example's (`__main__`)."""
    found = []
    for category in (DeprecationWarning, FutureWarning):
        for module in ("pyparsing.util", "__main__"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.warn_explicit("old name", category, f"{module}.py", 1, module=module, registry={})
            found += [(entry.category.__name__, module) for entry in caught]
    return found


def test_deprecations_of_libraries_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings():
        warnings.resetwarnings()  # and then as Python does by itself
        warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
        warnings.filterwarnings("ignore", category=DeprecationWarning, append=True)
        expected = shown()
        asked: Callable[[], None] = mkdocs._enable_warnings
        asked()
        assert ("DeprecationWarning", "pyparsing.util") in shown()
        hook.on_startup(command="build", dirty=False)
        assert shown() == expected
        assert ("DeprecationWarning", "__main__") in expected and ("FutureWarning", "pyparsing.util") in expected
