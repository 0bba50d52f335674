"""Folders of spike sorters and of suite2p, with one array or table per file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import arrays, checks, npz

if TYPE_CHECKING:
    import pandas as pd


def array(path: Path) -> NDArray[Any]:
    """Read an array.

    Args:
        path: The `.npy` file.

    Returns:
        The array.

    Raises:
        InvalidValue: The file does not exist, is damaged, or holds objects.
    """
    if not path.is_file():
        raise InvalidValue(f"{path.name} is not there; give the folder with all of its files.")
    return npz.array(path)


def integers(path: Path) -> NDArray[Any]:
    """Read one row of whole numbers, such as the cluster of every spike.

    Args:
        path: The `.npy` file.

    Returns:
        The numbers, shape `(count,)`.

    Raises:
        InvalidValue: See `array`; or the values are no whole numbers.
    """
    held = arrays.flat(array(path))
    if held.dtype.kind not in "iu":
        raise InvalidValue(f"{path.name}: got {held.dtype}; allowed are whole numbers.")
    return held


def table(path: Path, **how: Any) -> pd.DataFrame:
    """Read a table.

    Args:
        path: The file: Parquet, or text with commas, or with tabs if its name ends in `.tsv`.
        **how: Options of pandas for reading text.

    Returns:
        The table.

    Raises:
        InvalidValue: The file is no such table.
    """
    pandas = require("pandas", "recordings")
    try:
        if path.suffix in (".pqt", ".parquet"):
            held: pd.DataFrame = pandas.read_parquet(path)
        else:
            held = pandas.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", **how)
    except (ValueError, OSError) as error:
        raise InvalidValue(f"{path.name}: no table ({checks.first_line(error)}).") from error
    return held
