"""Frozen descriptions found by name: what the registries of rules share, here and in the backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Generic, TypeVar, final

from neuro_decorr.errors import InvalidValue, shown, unknown_name

COLUMNS: Mapping[str, str] = {
    "name": "name",
    "what it does": "title",
    "update": "equation",
    "fixed point": "fixed_point_text",
    "local to": "locality",
    "cost of an update": "cost",
    "source": "reference",
}
"""Columns of a table of rules, and the class attribute of a rule that each one shows."""

Described = TypeVar("Described")
Registered = TypeVar("Registered", bound=type[Any])


@final
class Registry(Generic[Described]):
    """Classes of frozen dataclasses by their `name`; each class describes itself in the attributes of `COLUMNS`.

    Args:
        kind: What is registered, for the messages, such as `rule`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._classes: dict[str, type[Described]] = {}

    def register(self, described: Registered) -> Registered:
        """Make a class known by its name; used as a class decorator.

        Raises:
            InvalidValue: Another class has the name.
        """
        known = self._classes.get(described.name)
        if known is not None and known is not described:
            raise InvalidValue(
                f"a {self._kind} named '{described.name}' exists already ({known.__qualname__}); choose another name."
            )
        self._classes[described.name] = described
        return described

    def get(self, name: str, parameters: Mapping[str, object]) -> Described:
        """An instance of the class of a name.

        Raises:
            UnknownName: No class has the name; the nearest one is named.
            InvalidValue: The name is no string; a parameter is unknown; its value is checked by the class itself.
        """
        if not isinstance(name, str):
            raise InvalidValue(f"the name of a {self._kind} is a string, got {shown(name)}: {', '.join(self.names())}.")
        if name not in self._classes:
            raise unknown_name(self._kind, name, self._classes)
        described = self._classes[name]
        allowed = [entry.name for entry in fields(described)]  # type: ignore[arg-type]  # all are dataclasses
        unknown = [parameter for parameter in parameters if parameter not in allowed]
        if unknown:
            raise InvalidValue(
                f"{self._kind} '{name}' has no parameter {', '.join(map(repr, unknown))}; it has: {', '.join(allowed)}."
            )
        return described(**parameters)

    def names(self) -> list[str]:
        """Names of all registered classes, sorted."""
        return sorted(self._classes)

    def table(self) -> list[dict[str, str]]:
        """The registered classes as a table: one dictionary a class, the columns of `COLUMNS`."""
        return [
            {column: getattr(self._classes[name], attribute) for column, attribute in COLUMNS.items()}
            for name in self.names()
        ]
