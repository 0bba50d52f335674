"""What the folders of spike sorters and of suite2p hold: arrays and tables, one a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import arrays, checks, npz

if TYPE_CHECKING:
    import pandas as pd


def array(path: Path) -> NDArray[Any]:
    """An array.

    Args:
        path: The `.npy` file.

    Returns:
        The array.

    Raises:
        InvalidValue: It is not there, is damaged, or holds objects.
    """
    if not path.is_file():
        raise InvalidValue(f"{path.name} is not there.")
    with npz.readable(path.name):
        held: NDArray[Any] = np.load(path, allow_pickle=False)
    return held


def integers(path: Path) -> NDArray[Any]:
    """One row of whole numbers, such as the cluster of every spike.

    Args:
        path: The `.npy` file.

    Returns:
        The numbers, shape `(count,)`.

    Raises:
        InvalidValue: See `array`; or other things than whole numbers.
    """
    held = arrays.flat(array(path))
    if held.dtype.kind not in "iu":
        raise InvalidValue(f"{path.name}: got {held.dtype}; allowed are whole numbers.")
    return held


def table(path: Path, **how: Any) -> pd.DataFrame:
    """A table.

    Args:
        path: The file: Parquet, or text with commas, or with tabs where its name ends in `.tsv`.
        **how: How pandas reads text.

    Returns:
        The table.

    Raises:
        InvalidValue: It is no such table.
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
