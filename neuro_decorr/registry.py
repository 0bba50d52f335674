"""Registry of classes by name (rules, rules in Brian2, credits), each described by its own class attributes."""

from __future__ import annotations

import inspect
from typing import Any, Generic, TypeVar, final

from neuro_decorr.common_names import COMMON
from neuro_decorr.errors import InvalidValue, shown, unknown_name

Described = TypeVar("Described")
Registered = TypeVar("Registered", bound=type[Any])


@final
class Registry(Generic[Described]):
    """Classes of one kind by their `name`.

    Args:
        kind: Kind of the registered classes for messages, such as `rule`.
        columns: Class attributes, all of them text, by which each class describes itself: the columns of the table.
            The first is `name`.
        base: Common base class.
    """

    def __init__(self, kind: str, columns: tuple[str, ...], base: type[Any] = object) -> None:
        self._kind = kind
        self._columns = columns
        self._base = base
        self._classes: dict[str, type[Described]] = {}

    def register(self, described: Registered) -> Registered:
        """Register a class by its name; use it as a class decorator.

        Args:
            described: A concrete class with every column of the table as a class attribute. A class of the same module
                and the same qualified name replaces the one before.

        Returns:
            The same class.

        Raises:
            InvalidValue: The argument is no such class, or another class has the name.
        """
        candidate: object = described  # checked at run time too: a decorator is easily put on the wrong thing
        if not (isinstance(candidate, type) and issubclass(candidate, self._base)) or inspect.isabstract(candidate):
            of = "class" if self._base is object else f"subclass of {self._base.__name__}"
            raise InvalidValue(f"only a concrete {of} can be registered as a {self._kind}, got {shown(described)}.")
        words = {column: getattr(described, column, None) for column in self._columns}
        missing = [column for column, word in words.items() if not (isinstance(word, str) and word)]
        if missing:
            raise InvalidValue(
                f"{described.__name__} needs text as its class attribute {', '.join(missing)}; a {self._kind} is "
                f"described by its {', '.join(self._columns)}."
            )
        known = self._classes.get(described.name, described)
        # The same class made anew, by a cell of a notebook that runs again, takes the place of the first.
        if (known.__module__, known.__qualname__) != (described.__module__, described.__qualname__):
            raise InvalidValue(
                f"a {self._kind} named '{described.name}' exists already ({known.__qualname__}); choose another name."
            )
        self._classes[described.name] = described
        return described

    def get(self, name: str, /, *arguments: Any, **parameters: Any) -> Described:
        """Make an object of the class that has a name.

        Args:
            name: One of `names()`.
            *arguments: Positional arguments of the class, such as the model of a credit.
            **parameters: Keyword arguments of the class; missing ones take their defaults.

        Returns:
            The object.

        Raises:
            UnknownName: No class has the name; the message gives the nearest one.
            InvalidValue: The name is no text, a parameter is unknown, or the class refuses a value.
        """
        if not isinstance(name, str):
            raise InvalidValue(f"the name of a {self._kind} is a string, got {shown(name)}: {', '.join(self.names())}.")
        if name not in self._classes:
            raise unknown_name(self._kind, name, self._classes, COMMON)
        described = self._classes[name]
        allowed = list(inspect.signature(described).parameters)[len(arguments) :]
        unknown = [repr(parameter) for parameter in parameters if parameter not in allowed]
        if unknown:
            raise InvalidValue(
                f"{self._kind} '{name}' has no parameter {', '.join(unknown)}; allowed: {', '.join(allowed) or 'none'}."
            )
        return described(*arguments, **parameters)

    def names(self) -> list[str]:
        """Names of the registered classes, sorted."""
        return sorted(self._classes)

    def table(self) -> list[dict[str, str]]:
        """Table of the registered classes, sorted by name: one row per class, its class attributes by column."""
        return [{column: getattr(self._classes[name], column) for column in self._columns} for name in self.names()]
