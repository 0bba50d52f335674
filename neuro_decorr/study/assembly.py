"""Assembly of the table of one kind of rows, run after run, so that only a part of it is Python objects at a time."""

from __future__ import annotations

import io
import math
from collections.abc import Container, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

from neuro_decorr.errors import require
from neuro_decorr.study.conditions import Scalar
from neuro_decorr.study.rows import Few, Many, Rows, types
from neuro_decorr.study.sources import Source
from neuro_decorr.study.store import StoredRun

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Kind: TypeAlias = Literal["int64", "double", "bool", "string", "null", "mixed"]
Part: TypeAlias = dict[str, Any]
"""Some rows of the table: the cells by column, as a list or as an array of pyarrow."""

_PART = 65_536
"""Number of rows that are Python objects at a time."""


@final
class Assembly(Source):
    """Table of the rows of one kind.

    Args:
        kind: Kind of the rows.
        runs: Runs that have such rows, in order.
        factors: Factors of the study, in order; those of these runs become columns.
    """

    def __init__(self, kind: str, runs: list[StoredRun], factors: list[str]) -> None:
        self._kind, self._runs, self._factors = kind, runs, factors

    @cached_property
    def _parts(self) -> list[tuple[StoredRun, Rows]]:
        return [(run, rows) for run in self._runs if (rows := run.unread(self._kind)) is not None and rows.count]

    @cached_property
    def _types(self) -> dict[str, set[str]]:
        own = {name for run, _ in self._parts for name in run.condition.factors}
        return self._found(["stage", "seed", *(name for name in self._factors if name in own), "diverged"])

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        return {name: _settled(found) for name, found in self._types.items()}

    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._types)

    def count(self) -> int:
        """Number of rows."""
        return sum(rows.count for _, rows in self._parts)

    def stages(self) -> set[str]:
        """Stages that have rows in the table."""
        return {run.condition.stage for run, _ in self._parts}

    def frame(self) -> pd.DataFrame:
        """Return the table, with the cells that pandas makes of Python objects, column by column."""
        arrow, pandas = require("pyarrow", "study"), require("pandas", "study")
        # Columns that pyarrow and pandas would convert differently.
        own = {name for name, kind in self._kinds.items() if kind == "mixed" or (kind == "bool" and self._gaps(name))}
        objects: dict[str, list[Any]] = {name: [] for name in self._types if name in own}
        arrays: dict[str, list[Any]] = {name: [] for name in self._types if name not in own}
        for part in self._read(objects):
            for name, cells in part.items():
                if name in own:
                    objects[name] += cells
                else:
                    arrays[name].append(_array(cells, self._kinds[name]))
        columns = {}
        for name in self._types:
            if name in own:
                series = pandas.Series(objects.pop(name), dtype=object)
                columns[name] = series if "unencodable" in self._types[name] else series.infer_objects()
            else:  # one column at a time, so that pyarrow frees its memory
                columns[name] = arrow.chunked_array(arrays.pop(name), _type(self._kinds[name])).to_pandas()
        made: pd.DataFrame = pandas.DataFrame(columns, copy=False)
        return made

    def parquet(self) -> bytes:
        """Encode the table as a Parquet file, in which a column of several types holds its cells as texts."""
        arrow, parquet = require("pyarrow", "study"), require("pyarrow.parquet", "study")
        kinds: dict[str, Kind] = {name: "string" if kind == "mixed" else kind for name, kind in self._kinds.items()}
        schema = arrow.schema([(name, _type(kind)) for name, kind in kinds.items()])
        strings = [name for name, kind in kinds.items() if kind == "string"]
        texts = [name for name, kind in self._kinds.items() if kind == "mixed"]
        file = io.BytesIO()
        with parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=strings) as writer:
            for part in self._read(texts):
                cells = {name: list(map(_text, part[name])) if name in texts else part[name] for name in kinds}
                writer.write_table(arrow.table({name: _array(cells[name], kinds[name]) for name in kinds}, schema))
        return file.getvalue()

    def _stretches(self) -> Iterator[tuple[Rows, dict[str, Scalar]]]:
        """Yield the rows run by run with the levels of the run; the rows of small runs are joined, levels included."""
        joined: list[dict[str, Any]] = []
        count = 0
        for run, rows in self._parts:
            levels = _levels(run)
            if joined and (isinstance(rows, Many) or count >= _PART):
                yield Few(joined), {}
                joined, count = [], 0
            if isinstance(rows, Few):
                head = list(levels.values())
                for group in rows.groups:
                    names = [*levels, *group["columns"]]
                    if not joined or joined[-1]["columns"] != names:
                        joined.append({"columns": names, "values": []})
                    joined[-1]["values"] += [head + row for row in group["values"]]
                count += rows.count
            else:
                yield rows, levels
        if joined:
            yield Few(joined), {}

    def _found(self, head: list[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {name: set() for name in head}
        having, count = dict.fromkeys(head, 0), 0
        for rows, levels in self._stretches():
            count += 1
            for name, kinds in ({name: types([level]) for name, level in levels.items()} | rows.types()).items():
                found.setdefault(name, set()).update(kinds)
                having[name] = having.get(name, 0) + 1
        return {name: kinds | ({"missing"} if having[name] < count else set()) for name, kinds in found.items()}

    def _gaps(self, name: str) -> bool:
        return not self._types[name].isdisjoint(("none", "missing"))

    def _read(self, objects: Container[str]) -> Iterator[Part]:
        """Yield the rows in parts. A missing cell is None, or NaN in the columns of `objects`."""
        for rows, levels in self._stretches():
            block, part = rows.block(), {}
            for name in self._types:
                gap = math.nan if name in objects else None
                if name not in block.cells:
                    part[name] = [levels.get(name, gap)] * rows.count
                else:
                    part[name] = block.column(name, gap) if name in objects else block.cells[name]
            yield part


def _levels(run: StoredRun) -> dict[str, Scalar]:
    condition = run.condition
    return {"stage": condition.stage, "seed": condition.seed, **condition.factors, "diverged": run.diverged}


def _settled(found: set[str]) -> Kind:
    base = found - {"none", "missing"}
    if not base:
        return "double" if "missing" in found else "null"
    if base <= {"int", "float"}:
        return "int64" if base == {"int"} else "double"
    return "bool" if base == {"bool"} else "string" if base == {"str"} else "mixed"


def _type(kind: Kind) -> pa.DataType:
    arrow = require("pyarrow", "study")
    return {
        "int64": arrow.int64(), "double": arrow.float64(), "bool": arrow.bool_(), "string": arrow.string(),
        "null": arrow.null(),
    }[kind]  # fmt: skip


def _array(cells: Any, kind: Kind) -> Any:
    if not isinstance(cells, list):
        return cells.cast(_type(kind), safe=False)
    if kind == "double":  # pyarrow refuses whole numbers beyond 2^53, which pandas rounds
        cells = [None if cell is None else float(cell) for cell in cells]
    return require("pyarrow", "study").array(cells, type=_type(kind))


def _text(cell: Scalar) -> str | None:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    return str(cell).encode(errors="backslashreplace").decode()
