"""The configuration of a protocol: what its user may choose, checked before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from neuro_decorr.errors import InvalidValue, MissingExtra

try:
    from pydantic import BaseModel, ConfigDict, ValidationError
except ImportError as missing:
    raise MissingExtra(
        "pydantic is needed for studies and is not installed: pip install 'neuro-decorr[study]'."
    ) from missing


class Configuration(BaseModel):
    """Base of every protocol's configuration: frozen, without unknown fields, finite numbers only.

    A field has a default and a description, which become the command's option and its help. Its type is a scalar,
    a Literal, an enumeration, any of these or None, or a tuple of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


def option(field: str) -> str:
    """The option of the command line for a field: `learning_rates` gives `--learning-rates`."""
    return "--" + field.replace("_", "-")


def validate(model: type[Configuration], values: Mapping[str, Any]) -> Configuration:
    """A configuration from values, with every problem told at once.

    Args:
        model: The protocol's configuration.
        values: Values by field; texts are converted.

    Returns:
        The configuration.

    Raises:
        InvalidValue: One line for each problem: the option, what it got, what is allowed.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [_line(model, problem) for problem in error.errors(include_url=False)]
        raise InvalidValue("\n".join(lines)) from error


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Where two configurations differ, one line a field.

    Args:
        old: Values by field, as stored.
        new: Values by field, as asked for.

    Returns:
        Lines `field: stored OLD, asked for NEW`.
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


def _line(model: type[Configuration], problem: Mapping[str, Any]) -> str:
    location = problem["loc"]
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ").split(", unable to parse")[0]
    if not location:
        return message
    name = str(location[0])
    if problem["type"] == "extra_forbidden":
        return f"{option(name)}: there is no such option{_nearest(name, list(model.model_fields))}"
    got = problem["input"]
    hint = ""
    if problem["type"] in ("literal_error", "enum"):
        allowed = str(problem.get("ctx", {}).get("expected", ""))
        hint = _nearest(str(got), [choice.strip(" '") for choice in allowed.replace(" or ", ",").split(",")])
    return f"{option(name)}: got {got!r}; {message}{hint}"


def _nearest(got: str, known: list[str]) -> str:
    found = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""
