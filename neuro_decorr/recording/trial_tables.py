"""Tables of trials in a separate file, for recordings whose files hold no trials, such as the folders of a sorter."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import folders, text
from neuro_decorr.recording.trials import Trials, condition_column, of_table

if TYPE_CHECKING:
    import pandas as pd

_WINDOWS = (("start", "stop"), ("start_time", "stop_time"), ("onset", "duration"), ("onset", "offset"))
"""Pairs of columns of times: those of this library, of NWB, of the events of BIDS, and of onsets with offsets."""
_EMPTY = ("", "NA", "N/A", "n/a", "None", "NaN", "nan", "null", "<NA>")
"""Cells of text without a value, as pandas, R and BIDS write them."""
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def read(path: str | PathLike[str], condition: str | None, notes: list[str]) -> Trials | None:
    """Read the trials of a table, one row per trial.

    Args:
        path: Text with commas, semicolons or tabs between the cells and decimal points or commas, or Parquet. Its
            columns are `start` and `stop`, `start_time` and `stop_time`, `onset` and `duration`, or `onset` and
            `offset`, all in seconds on the clock of the spikes.
        condition: Column of the condition; `""` takes all trials as one condition; None: see
            `trials.condition_column`, but of several columns one must be named.
        notes: List that gets notes about trials without a start, an end or a condition, which are left out; see
            `trials.of_table`.

    Returns:
        The trials; None if no trial can be used.

    Raises:
        InvalidValue: There is no such file, the file is no table, it has none of these columns, or several columns may
            be the condition.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidValue(f"trial_table: {file}: there is no such file.")
    try:
        table = _table(file)
    except InvalidValue as error:
        raise InvalidValue(f"trial_table: {file.name}: {error}") from error
    names = [str(name) for name in table.columns]
    pair = next((pair for pair in _WINDOWS if set(pair) <= set(names)), None)
    if pair is None:
        between = _SEPARATORS.get(table.attrs.get("separator", ""))
        read_as = f", read with {between} between them" if between else ""
        raise InvalidValue(
            f"trial_table: {file.name} has the columns {', '.join(names[:8])}{read_as}; rename those of the times, one "
            f"row per trial, to {', or '.join(f'{first} and {second}' for first, second in _WINDOWS)} (s)."
        )
    others = {name: table[name] for name in names if name and name not in pair}  # pandas' index has no name
    unnamed: list[str] = []
    column = condition_column(others, condition, unnamed)
    if unnamed and len(others) > 1:
        raise InvalidValue(
            f'trial_table: {file.name} has several columns; name that of the condition by condition="COLUMN": '
            f'{", ".join(others)}; condition="" takes all trials as one condition.'
        )
    notes.extend(unnamed)
    try:
        start, stop = (text.numbers(table, name) for name in pair)
    except InvalidValue as error:
        raise InvalidValue(f"trial_table: {file.name}: {error}") from error
    labels = None if column is None else [None if cell in _EMPTY else cell for cell in table[column].tolist()]
    return of_table(start, start + stop if pair[1] == "duration" else stop, labels, notes)


def _table(file: Path) -> pd.DataFrame:
    if file.suffix in (".pqt", ".parquet"):
        return folders.table(file)
    held, _ = text.table(text.decode(file))
    for name in held.columns:
        cells = held[name].str.strip()
        held[name] = cells.mask(cells.isin(_EMPTY), "")
    return held
