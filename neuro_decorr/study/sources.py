"""Tables that are read on request: from a file, or from the function that makes them."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from neuro_decorr.errors import require
from neuro_decorr.study import files

if TYPE_CHECKING:
    import pandas as pd

_BROKEN = (ValueError, LookupError, OSError)
"""Errors of pyarrow where a file is no table."""


class Source(ABC):
    """Table that is read on request."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Names of the columns."""

    @abstractmethod
    def count(self) -> int:
        """Number of rows."""

    @abstractmethod
    def stages(self) -> set[str]:
        """Stages that have rows in the table."""

    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """Read the table."""

    @abstractmethod
    def parquet(self) -> bytes:
        """Encode the table as a Parquet file."""


@final
class Frame(Source):
    """A table in memory, or one that is made on request."""

    def __init__(self, make: Callable[[], pd.DataFrame]) -> None:
        self._make = make

    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(map(str, self.frame()))

    def count(self) -> int:
        """Number of rows."""
        return len(self.frame())

    def stages(self) -> set[str]:
        """Stages that have rows in the table."""
        return set(self.frame()["stage"])

    def frame(self) -> pd.DataFrame:
        """Return the table."""
        return self._make()

    def parquet(self) -> bytes:
        """Encode the table as a Parquet file."""
        require("pyarrow", "study")
        table = self.frame()
        objects = [str(name) for name in table if table[name].dtype == object]
        mixed = [name for name in objects if len({type(value) for value in table[name].dropna()}) > 1]
        # A column of Parquet has one type, so levels such as 10 and "all" become texts.
        content = io.BytesIO()
        table.assign(**{name: table[name].map(str, na_action="ignore") for name in mixed}).to_parquet(
            content, index=False
        )
        return content.getvalue()


@final
class File(Source):
    """Table of a finished study, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._read("read_schema").names)

    def count(self) -> int:
        """Number of rows."""
        return int(self._read("read_metadata").num_rows)

    def stages(self) -> set[str]:
        """Stages that have rows in the table."""
        return set(self._read("read_table", columns=["stage"])["stage"].unique().to_pylist())

    def frame(self) -> pd.DataFrame:
        """Read the table."""
        file = self._read("ParquetFile")
        try:
            # Column by column, so that a large table is in memory once. Metadata of pandas restores its types.
            if file.schema_arrow.pandas_metadata:
                made: pd.DataFrame = file.read(use_threads=False).to_pandas()
            else:
                names = file.schema_arrow.names
                columns = {name: file.read([name], use_threads=False)[name].to_pandas() for name in names}
                made = require("pandas", "study").DataFrame(columns, copy=False)
        except _BROKEN as error:
            raise self._damaged() from error
        return made

    def parquet(self) -> bytes:
        """Return the bytes of the file."""
        return files.read(self._path)

    def _read(self, what: str, **options: Any) -> Any:
        arrow, parquet = require("pyarrow", "study"), require("pyarrow.parquet", "study")
        try:
            return getattr(parquet, what)(arrow.BufferReader(files.read(self._path)), **options)
        except _BROKEN as error:
            raise self._damaged() from error

    def _damaged(self) -> files.Damaged:
        folder = self._path.parents[1]
        return files.Damaged(f"{self._path} is missing or damaged; to make it again: neuro-decorr report {folder}")
