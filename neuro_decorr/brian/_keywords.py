"""Unknown keywords of the parts of a rule: the part that has the keyword, or the nearest keyword."""

from __future__ import annotations

import difflib
import functools
from dataclasses import fields
from typing import Any, TypeVar

from neuro_decorr.errors import InvalidValue

Part = TypeVar("Part", bound=type[Any])
_PARTS: list[type[Any]] = []


def known_keywords(part: Part) -> Part:
    """Decorate a dataclass so that an unknown keyword raises InvalidValue; the message names the part that has it."""
    make, known = part.__init__, [entry.name for entry in fields(part)]
    _PARTS.append(part)

    @functools.wraps(make)
    def checked(self: Any, *arguments: Any, **given: Any) -> None:
        for name in given:
            if name not in known:
                raise InvalidValue(f"{part.__name__} has no {name!r}: {_mend(name, known)}.")
        make(self, *arguments, **given)

    part.__init__ = checked
    return part


def _mend(name: str, known: list[str]) -> str:
    """Place to which a keyword belongs."""
    owners = [f"{part.__name__}({name}=...)" for part in _PARTS if name in {entry.name for entry in fields(part)}]
    if owners:
        return f"{name} belongs to {' or '.join(owners)}"
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return (f"did you mean {nearest[0]}? " if nearest else "") + f"allowed: {', '.join(known)}"
