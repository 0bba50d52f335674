"""Rows of one kind of one run: few rows are stored in the run's file, many in a Parquet file.

Both keep every cell exactly: str, int, float, bool or None, the order of the columns, and the gaps of each row. In
Parquet a column with cells of one type has that type; any other column holds the JSON text of each cell.
"""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, final

from neuro_decorr.errors import require
from neuro_decorr.study.conditions import Scalar, scalar

if TYPE_CHECKING:
    import pyarrow as pa

Row: TypeAlias = dict[str, Scalar]
Types: TypeAlias = dict[str, frozenset[str]]
"""Types of the cells of each column: `str`, `int`, `float`, `bool`, `none`; `missing` where rows lack the column;
`large` for ints beyond 64 bits and `unencodable` for texts that UTF-8 cannot encode."""
Cells: TypeAlias = "list[Scalar] | pa.ChunkedArray"
FEW = 200
"""Largest number of rows of one kind in the run's file: for so few, a Parquet file is slower and no smaller."""

_NAMES = {str: "str", int: "int", float: "float", bool: "bool", type(None): "none"}
_KEY = b"neuro_decorr"


@final
class Block:
    """Rows as columns.

    Args:
        layouts: Columns of consecutive rows, in order, and the number of these rows.
        cells: Cells by column, one for every row; None where the row lacks the column.
    """

    def __init__(
        self, layouts: list[tuple[list[str], int]], cells: Mapping[str, list[Scalar] | pa.ChunkedArray]
    ) -> None:
        self.layouts = layouts
        self.cells = cells

    @staticmethod
    def of(groups: Iterable[Mapping[str, Any]]) -> Block:
        """Make a block from the result of `grouped`."""
        cells: dict[str, list[Scalar]] = {}
        layouts, before = [], 0
        for group in groups:
            names, values = group["columns"], group["values"]
            for name, column in zip(names, zip(*values, strict=True), strict=True):
                own = cells.setdefault(name, [])
                own.extend([None] * (before - len(own)))
                own.extend(column)
            layouts.append((names, len(values)))
            before += len(values)
        for own in cells.values():
            own.extend([None] * (before - len(own)))
        return Block(layouts, cells)

    def column(self, name: str, gap: Any = None) -> list[Any]:
        """Return the cells of a column as Python objects.

        Args:
            name: The column.
            gap: Value for a row that lacks the column.
        """
        found = self.cells[name]
        cells = found if isinstance(found, list) else found.to_pylist()
        if gap is None or all(name in names for names, _ in self.layouts):
            return cells
        has = [name in names for names, count in self.layouts for _ in range(count)]
        return [cell if there else gap for cell, there in zip(cells, has, strict=True)]

    def rows(self) -> list[Row]:
        """Return the rows as dicts."""
        columns = {name: self.column(name) for name in self.cells}
        made: list[Row] = []
        for names, count in self.layouts:
            part = slice(len(made), len(made) + count)
            if names:
                cells = zip(*(columns[name][part] for name in names), strict=True)
                made += [dict(zip(names, row, strict=True)) for row in cells]
            else:
                made += [{} for _ in range(count)]
        return made

    def types(self) -> Types:
        """Return the types of the cells of each column."""
        found = {}
        for name in self.cells:
            own = [layout for layout in self.layouts if name in layout[0]]
            if len(own) == len(self.layouts):
                found[name] = types(self.column(name))
            else:
                gap = object()
                found[name] = types([cell for cell in self.column(name, gap) if cell is not gap]) | {"missing"}
        return found


class Rows(ABC):
    """Rows of one kind of one run, decoded on request."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of rows."""

    @abstractmethod
    def types(self) -> Types:
        """Return the types of the cells of each column; columns in order of their first appearance."""

    @abstractmethod
    def block(self) -> Block:
        """Read the rows."""


@final
class Few(Rows):
    """Rows that are in memory.

    Attributes:
        groups: Result of `grouped`.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.groups = groups

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(len(group["values"]) for group in self.groups)

    def types(self) -> Types:
        """Return the types of the cells of each column."""
        return self.block().types()

    def block(self) -> Block:
        """Return the rows."""
        return Block.of(self.groups)


@final
class Many(Rows):
    """Rows in a Parquet file.

    Args:
        content: Function that returns the checked bytes of the file.
        count: Number of rows.
        columns: Names of the columns and types of their cells.
    """

    def __init__(self, content: Callable[[], bytes], count: int, columns: list[tuple[str, list[str]]]) -> None:
        self._content = content
        self._count = count
        self._types = {name: frozenset(found) for name, found in columns}

    @property
    def count(self) -> int:
        """Number of rows."""
        return self._count

    def types(self) -> Types:
        """Return the types of the cells of each column."""
        return self._types

    def block(self) -> Block:
        """Read the rows now."""
        return decoded(self._content())


def grouped(rows: Iterable[Mapping[str, Scalar]]) -> list[dict[str, Any]]:
    """Group rows for a JSON text: consecutive rows with the same columns name the columns once, in their order."""
    groups: list[dict[str, Any]] = []
    for row in rows:
        names = list(row)
        if not groups or groups[-1]["columns"] != names:
            groups.append({"columns": names, "values": []})
        groups[-1]["values"].append(list(row.values()))
    return groups


def encoded(block: Block) -> tuple[bytes, Types] | None:
    """Encode rows as a Parquet file.

    Args:
        block: The rows.

    Returns:
        The file, which is the same for the same rows and version of pyarrow, and the types of the cells. None where
        Parquet cannot hold the names of the columns, or there is no column.
    """
    arrow, parquet = require("pyarrow", "study"), require("pyarrow.parquet", "study")
    found = block.types()
    try:
        "".join(found).encode()
    except UnicodeEncodeError:
        return None
    if not found:
        return None
    plain = {"str": arrow.string(), "int": arrow.int64(), "float": arrow.float64(), "bool": arrow.bool_()}
    arrays, texts = {}, []
    for name, kinds in found.items():
        cells, (*base,) = block.column(name), kinds - {"none", "missing"}
        if len(base) > 1:
            texts.append(name)
            cells = [None if cell is None else json.dumps(cell) for cell in cells]
        one = plain[base[0]] if len(base) == 1 else arrow.string() if base else arrow.null()
        arrays[name] = arrow.array(cells, type=one)
    layouts = list(dict.fromkeys(tuple(names) for names, _ in block.layouts))
    order = {names: number for number, names in enumerate(layouts)}
    told = {"layouts": layouts, "rows": [[order[tuple(names)], count] for names, count in block.layouts], "json": texts}
    table = arrow.table(arrays).replace_schema_metadata({_KEY: json.dumps(told)})
    file = io.BytesIO()
    strings = [name for name, array in arrays.items() if array.type == arrow.string()]
    parquet.write_table(table, file, compression="zstd", use_dictionary=strings)
    return file.getvalue(), found


def decoded(content: bytes) -> Block:
    """Read the rows of a Parquet file made by `encoded`."""
    arrow, parquet = require("pyarrow", "study"), require("pyarrow.parquet", "study")
    table = parquet.read_table(arrow.BufferReader(content), use_threads=False)
    told = json.loads(table.schema.metadata[_KEY])
    cells: dict[str, Any] = dict(zip(table.column_names, table.columns, strict=True))
    for name in told["json"]:
        cells[name] = [None if text is None else json.loads(text) for text in cells[name].to_pylist()]
    return Block([(told["layouts"][number], count) for number, count in told["rows"]], cells)


def types(cells: list[Any]) -> frozenset[str]:
    """Find the types of some cells; see `Types`."""
    kinds = set(map(type, cells))
    if not kinds <= _NAMES.keys():
        cells = [scalar("cell", cell) for cell in cells]
        kinds = set(map(type, cells))
    found = {_NAMES[kind] for kind in kinds}
    if int in kinds:
        whole = cells if kinds == {int} else [cell for cell in cells if type(cell) is int]
        if min(whole) < -(2**63) or max(whole) >= 2**63:
            found.add("large")
    if str in kinds:
        try:
            "".join(cells if kinds == {str} else [cell for cell in cells if type(cell) is str]).encode()
        except UnicodeEncodeError:
            found.add("unencodable")
    return frozenset(found)
