"""The options of a protocol's command, made from the fields of its configuration."""

from __future__ import annotations

import difflib
import enum
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, final, get_args, get_origin

import click

from neuro_decorr.study.configuration import Configuration, option
from neuro_decorr.study.protocol import Protocol

_NAMES = {int: "INTEGER", float: "NUMBER", str: "TEXT", bool: "true|false"}


@final
@dataclass(frozen=True)
class Kind:
    """What a field holds, seen from the command line.

    Attributes:
        metavar: What stands for its value in the help.
        flag: A switch: `--name` or `--no-name`.
        many: Values separated by commas.
        optional: `none` is allowed.
    """

    metavar: str
    flag: bool = False
    many: bool = False
    optional: bool = False


def kind(annotation: Any) -> Kind:
    """What a type holds, seen from the command line.

    Args:
        annotation: Type of a field.

    Returns:
        Its kind.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        parts = [kind(argument) for argument in inner]
        optional = len(inner) < len(arguments)
        metavar = "|".join([part.metavar for part in parts] + ["none"] * optional)
        return Kind(metavar, many=any(part.many for part in parts), optional=optional)
    if origin in (tuple, list, set, frozenset):
        return Kind(f"{kind(arguments[0]).metavar if arguments else 'TEXT'},...", many=True)
    if origin is Literal:
        return Kind("|".join(map(str, arguments)))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return Kind("|".join(str(member.value) for member in annotation))
    if annotation is bool:
        return Kind("", flag=True)
    return Kind(_NAMES.get(annotation, "TEXT"))


def parameters(protocol: Protocol) -> list[click.Option]:
    """The options of a protocol, without checks: pydantic checks all of them at once.

    Args:
        protocol: The protocol.

    Returns:
        One option a field; its value is None when it is not given.
    """
    options = []
    for name, info in protocol.configuration.model_fields.items():
        kinds, default = kind(info.annotation), _text(info.get_default(call_default_factory=True))
        full = f"; --full: {_text(protocol.full[name])}" if name in protocol.full else ""
        text = f"{info.description}  [default: {default}{full}]"
        switch = option(name)
        if kinds.flag:
            both = f"{switch}/--no-{switch[2:]}"
            options.append(click.Option([both, name], default=None, help=text))
        else:
            options.append(click.Option([switch, name], type=str, metavar=kinds.metavar, default=None, help=text))
    return options


def values(model: type[Configuration], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were given, lists split at their commas.

    Args:
        model: The protocol's configuration.
        given: Value by field, None when not given.

    Returns:
        What pydantic is to check.
    """
    return {
        name: _parsed(kind(info.annotation), given[name])
        for name, info in model.model_fields.items()
        if given.get(name) is not None
    }


def unknown(leftover: Sequence[str], known: Sequence[str]) -> list[str]:
    """The problems of arguments that no option took, one line each.

    Args:
        leftover: The arguments.
        known: Every option that there is.

    Returns:
        The lines; the value of an unknown option gets none of its own.
    """
    lines = []
    after_option = False
    for argument in leftover:
        if argument.startswith("-"):
            name = argument.split("=", 1)[0]
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
            lines.append(f"{name}: there is no such option{hint}")
        elif not after_option:
            lines.append(f"'{argument}': an argument too many; a list of values is separated by commas only")
        after_option = argument.startswith("-") and "=" not in argument
    return lines


def whole_number(name: str, text: str, problems: list[str]) -> int:
    """A whole number of at least 1 from the command line.

    Args:
        name: The option.
        text: What was given.
        problems: Gets a line when it is something else.

    Returns:
        The number, or 1 with a problem.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        problems.append(f"{name}: got {text!r}; should be a whole number of at least 1")
        return 1
    return number


def _parsed(kinds: Kind, text: Any) -> Any:
    if kinds.flag:
        return text
    if kinds.optional and text.lower() == "none":
        return None
    if kinds.many:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _text(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list | set | frozenset):
        return ",".join(map(_text, value))
    return "none" if value is None else str(value)
