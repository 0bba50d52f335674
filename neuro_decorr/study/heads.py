"""Check of the file of a stored run, whichever program wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuro_decorr.study import files
from neuro_decorr.study.files import Damaged

_KINDS: dict[str, tuple[type, ...]] = {
    "study": (str,),
    "stage": (str,),
    "seed": (int,),
    "factors": (dict,),
    "diverged": (bool,),
    "step": (int, type(None)),
    "reason": (str, type(None)),
    "weights": (str, type(None)),
    "wall_seconds": (float, int),
    "cpu_seconds": (float, int),
    "rows": (dict,),
}
_LATER = {"origin": (dict,), "parquet": (dict,)}
"""Entries that the first versions did not write; another check reports them."""
_SCALARS = (str, int, float, bool, type(None))


def checked(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check that every part of a run's file has the right type.

    Args:
        payload: Content of the file, whose checksum fits.

    Returns:
        The same content.

    Raises:
        Damaged: The file is of another program or version.
        InvalidValue: A kind of rows cannot name a file.
    """
    wrong = next((name for name, kinds in _KINDS.items() if type(payload.get(name, ...)) not in kinds), None)
    wrong = wrong or next((name for name, kinds in _LATER.items() if type(payload.get(name, {})) not in kinds), None)
    if wrong is None and any(type(level) not in _SCALARS for level in payload["factors"].values()):
        wrong = "factors"
    if wrong is None and not all(_is_few(groups) for groups in payload["rows"].values()):
        wrong = "rows"
    if wrong is None and not all(_is_beside(told) for told in payload.get("parquet", {}).values()):
        wrong = "parquet"
    if wrong is not None:
        raise Damaged(f"of another program or version (see '{wrong}')")
    for kind in payload.get("parquet", {}):
        files.plain("kind", kind)
    return payload


def _is_few(groups: Any) -> bool:
    """True if these are consecutive rows, grouped by their columns."""
    return isinstance(groups, list) and all(
        isinstance(group, dict)
        and group.keys() == {"columns", "values"}
        and _are(group["columns"], (str,))
        and isinstance(group["values"], list)
        and all(_are(row, _SCALARS) and len(row) == len(group["columns"]) for row in group["values"])
        for group in groups
    )


def _is_beside(told: Any) -> bool:
    """True if this describes rows in a separate file."""
    if not isinstance(told, dict) or [type(told.get(name)) for name in ("checksum", "count", "columns")] != [
        str,
        int,
        list,
    ]:
        return False
    return all(
        isinstance(column, list) and [type(part) for part in column] == [str, list] and _are(column[1], (str,))
        for column in told["columns"]
    )


def _are(values: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(values, list) and all(type(value) in kinds for value in values)
