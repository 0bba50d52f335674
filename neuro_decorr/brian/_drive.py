"""Checks of the drive, the user's own statement of the effect of an inhibitory spike, before anything runs."""

from __future__ import annotations

import re
from typing import Any

from brian2 import DimensionMismatchError, Synapses, get_logger
from brian2.equations.equations import PARAMETER
from brian2.equations.unitcheck import check_units_statements
from brian2.parsing.statements import parse_statement
from brian2.utils.stringtools import get_identifiers

from neuro_decorr.brian._checks import whole_group
from neuro_decorr.errors import InvalidValue, unknown_name


def check_names(drive: str, source: Any, target: Any, weight: str, what: str) -> None:
    """Check that every line of a drive changes a variable of the target group, and that one line uses the weight.

    Args:
        drive: The statement.
        source: Presynaptic group.
        target: Postsynaptic group.
        weight: Name of the weight in the statement.
        what: Name of the argument for the message.

    Raises:
        InvalidValue: A line is no statement that changes `..._post`, or no line uses the weight.
        UnknownName: The group lacks a variable of the drive.
    """
    example = f"{what}='gi_post -= {weight}*mV'"
    lines = _lines(drive)
    if not lines:
        raise InvalidValue(
            f"{what} is missing: give the statement by which an inhibitory spike acts on your neurons, such as "
            f"{example}; or drive=None, to learn from spike trains alone."
        )
    if not any(weight in get_identifiers(line) for line in lines):
        raise InvalidValue(f"{what} must use the weight {weight}, got {drive!r}; write something like {example}.")
    for line in lines:
        try:
            changed = parse_statement(line)[0]
        except ValueError as error:
            raise InvalidValue(f"{what} is no statement: {line!r}; write something like {example}.") from error
        if not changed.endswith("_post"):
            raise InvalidValue(
                f"{what} must change a variable of the postsynaptic neurons, named with _post, and {line!r} changes "
                f"{changed!r}; write something like {example}."
            )
        for identifier in sorted(get_identifiers(line)):
            for ending, group in (("_post", target), ("_pre", source)):
                name = identifier.removesuffix(ending)
                if name != identifier and name not in group.variables:
                    known = [known for known in group.variables if not known.startswith("_")]
                    raise unknown_name(f"variable of group '{group.name}' for {what} {line!r}", name, known)


def _lines(drive: str) -> list[str]:
    """Statements of a drive, one per entry."""
    return [line.strip() for line in re.split(r"[\n;]", str(drive)) if line.strip()]


def _changed(drive: str) -> list[str]:
    """Names of the variables of the postsynaptic neurons that a drive changes."""
    return [parse_statement(line)[0].removesuffix("_post") for line in _lines(drive)]


def check_summed(drive: str, target: Any, what: str) -> None:
    """Raise InvalidValue if a drive changes a variable that other synapses set at every time step."""
    group = whole_group(target)
    for name in _changed(drive):
        for reference in Synapses.__instances__():
            updaters = getattr(reference(), "summed_updaters", {}).values()
            if any(updater.target_var is group.variables[name] for updater in updaters):
                raise InvalidValue(
                    f"{what} changes '{name}' of group '{group.name}', which the synapses '{reference().name}' "
                    "overwrite at every time step (summed), so that the drive would have no effect; declare another "
                    "variable with an equation, such as 'dinhibition/dt = -inhibition/(10*ms)', and add it where your "
                    f"equations use '{name}'."
                )


def tell_what_stays(drive: str, target: Any, what: str) -> None:
    """Warn if a drive changes a parameter of the neurons, where its changes do not decay."""
    group = whole_group(target)
    equations, resets = getattr(group, "equations", {}), " ".join(getattr(group, "event_codes", {}).values())
    for name in _changed(drive):
        if name in equations and equations[name].type == PARAMETER and name not in get_identifiers(resets):
            get_logger(__name__).warn(
                f"{what} changes '{name}' of group '{group.name}', which has no equation and no reset: every spike "
                f"adds to it for good. Declare it as 'd{name}/dt = -{name}/(10*ms) : ...', unless statements of your "
                "own bring it back.",
                "drive_that_stays",
                once=True,
            )


def check_units(drive: str, synapses: Synapses, what: str, weight: str) -> None:
    """Raise InvalidValue for a drive whose units do not match, if all its names are known already.

    Brian2 checks the units of constants that are not yet known when the run starts.
    """
    unitless = "bias" if what == "bias_drive" else weight
    checked = re.sub(rf"\b{unitless}\b", weight, drive)  # the bias has no units, as the weight has none
    identifiers = get_identifiers(checked)
    try:
        variables = synapses.resolve_all(identifiers, run_namespace={}, user_identifiers=identifiers)
    except KeyError:
        return
    try:
        check_units_statements(checked, variables)
    except DimensionMismatchError as error:
        raise InvalidValue(
            f"the units of {what} {drive!r} do not match ({' '.join(str(error).split())}); {unitless} has none, so "
            f"multiply it by the unit of the variable, such as {unitless}*mV or {unitless}*nS."
        ) from error


def with_bias(drive: str, weight: str) -> str:
    """Drive of a spike of weight -bias: excitation by the same variable, of the opposite sign."""
    return re.sub(rf"\b{weight}\b", "(-bias)", drive)
