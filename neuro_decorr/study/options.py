"""Options of a protocol's command, made from the fields of its configuration."""

from __future__ import annotations

import enum
import shlex
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, final, get_args, get_origin

import click

from neuro_decorr.errors import InvalidValue, did_you_mean
from neuro_decorr.study import duration
from neuro_decorr.study.configuration import Configuration, option
from neuro_decorr.study.protocol import Protocol

_NAMES = {int: "INTEGER", float: "NUMBER", str: "TEXT", bool: "true|false"}


@final
@dataclass(frozen=True)
class Kind:
    """Kind of a field on the command line.

    Attributes:
        metavar: Word for its value in the help.
        flag: True for a switch: `--name` or `--no-name`.
        many: True for a list, whose values are separated by commas.
        optional: True if `none` is allowed.
    """

    metavar: str
    flag: bool = False
    many: bool = False
    optional: bool = False


def kind(annotation: Any) -> Kind:
    """Find the kind of a type on the command line.

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
    """Make the options of a protocol, without checks: pydantic checks all values at once.

    Args:
        protocol: The protocol.

    Returns:
        One option per field; its value is None when it is not given.
    """
    options = []
    for name, info in protocol.configuration.model_fields.items():
        kinds, default = kind(info.annotation), _text(info.get_default(call_default_factory=True))
        fuller = _text(protocol.full[name]) if name in protocol.full else default
        full = f"; --full: {fuller}" if fuller != default else ""
        text = f"{info.description}  [default: {default}{full}]"
        switch = option(name)
        if kinds.flag:
            both = f"{switch}/--no-{switch[2:]}"
            options.append(click.Option([both, name], default=None, help=text))
        else:
            options.append(click.Option([switch, name], type=str, metavar=kinds.metavar, default=None, help=text))
    return options


def values(model: type[Configuration], given: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the given values, with lists split at their commas.

    Args:
        model: The protocol's configuration.
        given: Value by field; None where the option is not given.

    Returns:
        The values for pydantic to check.
    """
    return {
        name: _parsed(kind(info.annotation), given[name])
        for name, info in model.model_fields.items()
        if given.get(name) is not None
    }


def quoted(model: type[Configuration], given: Mapping[str, Any]) -> dict[str, str]:
    """Find lists that are written as in a program: their brackets and quotes would become parts of the values.

    Args:
        model: The protocol's configuration.
        given: Value by field; None where the option is not given.

    Returns:
        One message by field.
    """
    return {
        name: f"{option(name)}: got {given[name]!r:.60}; separate the values by commas only: {option(name)} a,b,c"
        for name, info in model.model_fields.items()
        if given.get(name) is not None and kind(info.annotation).many and _is_quoted(given[name])
    }


def empty(model: type[Configuration], given: Mapping[str, Any]) -> list[str]:
    """Find options that got an empty text where a text or none is allowed, as from an unset variable of the shell.

    Args:
        model: The protocol's configuration.
        given: Value by field; None where the option is not given.

    Returns:
        One message for each.
    """
    return [
        f"{option(name)}: got an empty text (perhaps from an unset variable of the shell); give a text, or none"
        for name, info in model.model_fields.items()
        if kind(info.annotation).metavar == "TEXT|none" and given.get(name) is not None and not given[name].strip()
    ]


def unknown(leftover: Sequence[str], known: Sequence[str]) -> list[str]:
    """Describe arguments that belong to no option.

    Args:
        leftover: The arguments.
        known: All options of the command.

    Returns:
        One message for each; the value of an unknown option gets no separate message.
    """
    lines = []
    after_option = False
    for argument in leftover:
        if argument.startswith("-"):
            name = argument.split("=", 1)[0]
            lines.append(f"{name}: there is no such option{did_you_mean(name, known)}")
        elif not after_option:
            lines.append(f"'{argument}': unexpected argument; separate the values of a list by commas, without blanks")
        after_option = argument.startswith("-") and "=" not in argument
    return lines


def whole_number(name: str, text: str, problems: list[str], most: int) -> int:
    """Read a whole number of at least 1 from the command line.

    Args:
        name: The option.
        text: The given text.
        problems: List of messages; it gets one more when the text is no such number.
        most: Largest allowed number.

    Returns:
        The number; 1 when the text is wrong.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        problems.append(f"{name}: got {text!r:.40}; should be a whole number from 1 to {most}")
        return 1
    return number


def seconds(name: str, text: str | None, problems: list[str]) -> float | None:
    """Read a duration from the command line.

    Args:
        name: The option.
        text: The given text, or None.
        problems: List of messages; it gets one more when the text is no duration.

    Returns:
        The duration (s); None when the option is not given, or the text is wrong.
    """
    try:
        return None if text is None else duration.seconds(name, text)
    except InvalidValue as error:
        problems.append(str(error))
        return None


def _is_quoted(text: str) -> bool:
    stripped = text.strip()
    return (stripped[:1], stripped[-1:]) in {("[", "]"), ("(", ")"), ("{", "}")} or stripped[:1] in {"'", '"'}


def command(protocol: Protocol, configuration: Configuration, seeds: int, more: Sequence[str] = ()) -> list[str]:
    """Make the command that resumes a study, without its directory; see `whole`.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        seeds: Number of paired seeds.
        more: Other options, such as `--workers 4`.

    Returns:
        Its words, with the options that differ from the defaults, or `--full` and those that differ from the full size
        where these are fewer.
    """
    own = configuration.model_dump(mode="json", warnings=False)
    found = []
    for full in (False, True) if protocol.full else (False,):
        # Without another check of the values, since a check may read data.
        made = protocol.configuration.model_construct(**protocol.values(full=full))
        default = made.model_dump(mode="json", warnings=False)
        words = ["--full"] if full else []
        for name, info in protocol.configuration.model_fields.items():
            if repr(own[name]) != repr(default[name]):  # the record of a study distinguishes 1 and 1.0
                words += _words(option(name), kind(info.annotation), getattr(configuration, name))
        found.append(words)
    count = ["--seeds", str(seeds)] if seeds != protocol.seeds else []
    return ["neuro-decorr", "run", protocol.name, *min(found, key=len), *count, *more]


def whole(words: Sequence[str], directory: Path) -> str:
    """Complete the words of `command` with the directory of the study, as a text to paste into a shell."""
    return shlex.join([*words[:3], "--out", str(directory), *words[3:]])


def _words(switch: str, kinds: Kind, value: Any) -> list[str]:
    if kinds.flag:
        return [switch if value else f"--no-{switch[2:]}"]
    return [switch, _text(value)]


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
