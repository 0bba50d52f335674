"""Configuration of a protocol: the user's choices, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args

from neuro_decorr.errors import InvalidValue, did_you_mean, missing_extra

try:
    from pydantic import BaseModel, ConfigDict, ValidationError
except ImportError as missing:
    raise missing_extra("pydantic", "study") from missing

_DATA = "neuro_decorr.study: data"
DataPath: TypeAlias = Annotated[str, _DATA]
"""Type of a field that names a file or a folder of data; every stored run carries a digest of its content."""


class Configuration(BaseModel):
    """Base of every protocol's configuration: frozen, without unknown fields, finite numbers only.

    Every field has a default and a description, which become the command's option and its help. Its type is a scalar,
    a Literal, an enumeration, any of these or None, or a tuple of them. A field that names data is a `DataPath`. A text
    that names an existing file counts as data too; one that names a folder does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


def option(field: str) -> str:
    """Return the option of the command line for a field: `--learning-rates` for `learning_rates`."""
    return "--" + field.replace("_", "-")


def validate(model: type[Configuration], values: Mapping[str, Any]) -> Configuration:
    """Make a configuration from values; all problems are reported at once.

    Args:
        model: The protocol's configuration.
        values: Values by field; texts are converted.

    Returns:
        The configuration.

    Raises:
        InvalidValue: Values are wrong; one line for each: the option, the value, the allowed values.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [_line(model, problem) for problem in problems if not _follows(problem, problems)]
        raise InvalidValue("\n".join(lines)) from error


def data_paths(configuration: Configuration) -> dict[str, list[Path]]:
    """Find the data that a configuration names.

    Args:
        configuration: The configuration; its paths are relative to the current directory.

    Returns:
        The existing files and folders by field.
    """
    found: dict[str, list[Path]] = {}
    for field, info in type(configuration).model_fields.items():
        value = getattr(configuration, field)
        kinds = [*info.metadata, *_parts(info.annotation)]
        named = _DATA in kinds or Path in kinds
        for text in value if isinstance(value, tuple | list) else (value,):
            # The values of a Literal or an enumeration are fixed in the program; none of them is a file.
            if isinstance(text, str | Path) and (named or str in kinds) and _exists(Path(text), folder=named):
                found.setdefault(field, []).append(Path(text).absolute())
    return found


def missing_data(configuration: Configuration) -> list[str]:
    """List the data files that a configuration names and that do not exist.

    A path without an ending may be a folder that the protocol makes, and is not listed.

    Args:
        configuration: The configuration; its paths are relative to the current directory.

    Returns:
        One line for each file.
    """
    lines = []
    for field, info in type(configuration).model_fields.items():
        value = getattr(configuration, field)
        kinds = [*info.metadata, *_parts(info.annotation)]
        for path in value if isinstance(value, tuple | list) else (value,):
            named = isinstance(path, str | Path) and (_DATA in kinds or Path in kinds)
            if named and Path(path).suffix and not _exists(Path(path), folder=True):
                lines.append(f"{option(field)}: got {str(path)!r:.80}; there is no such file")
    return lines


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in (*get_args(annotation), *getattr(annotation, "__metadata__", ())):
        yield from _parts(part)


def _exists(path: Path, folder: bool) -> bool:
    try:
        return path.is_file() or (folder and path.is_dir())
    except (OSError, ValueError):  # the text cannot be a path: too long, or with a null character
        return False


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the differences of two configurations.

    Args:
        old: Stored values by field.
        new: Values by field that were asked for.

    Returns:
        One line `field: stored OLD, asked for NEW` for each field that differs.
    """
    fields = [*old, *(field for field in new if field not in old)]
    return [
        f"{field}: stored {_shown(old, field)}, asked for {_shown(new, field)}"
        for field in fields
        if _shown(old, field) != _shown(new, field)
    ]


def _shown(values: Mapping[str, Any], field: str) -> str:
    if field not in values:
        return "(no such field)"
    value = values[field]
    return "[" + ", ".join(map(repr, value)) + "]" if isinstance(value, list | tuple) else repr(value)


def _follows(problem: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]) -> bool:
    """True if a list counts as too short only because its items are refused, which has a line already."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in problems
    )


def _line(model: type[Configuration], problem: Mapping[str, Any]) -> str:
    location = problem["loc"]
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ").split(", unable to parse")[0]
    if not location:
        return message
    name = str(location[0])
    if problem["type"] == "extra_forbidden":
        return f"{option(name)}: there is no such option{did_you_mean(name, list(model.model_fields))}"
    got = problem["input"]
    hint = ""
    if problem["type"] in ("literal_error", "enum"):
        allowed = str(problem.get("ctx", {}).get("expected", ""))
        hint = did_you_mean(str(got), [choice.strip(" '") for choice in allowed.replace(" or ", ",").split(",")])
    return f"{option(name)}: got {got!r}; {message}{hint}"
