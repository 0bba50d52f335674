"""Tables of a study, one for each kind of row. They do not depend on the order in which the runs ended.

Every table begins with the columns `stage`, `seed`, the factors of its runs, and `diverged`. Every study has the tables
`runs`, with one row per run; `costs`, with the wall and CPU seconds of each run; and `timings`. A repetition of the
study gives the same tables except `costs` and `timings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from neuro_decorr.errors import InvalidValue, require, unknown_name
from neuro_decorr.study import files
from neuro_decorr.study.assembly import Assembly
from neuro_decorr.study.conditions import Scalar
from neuro_decorr.study.recorder import TIMINGS
from neuro_decorr.study.sources import File, Frame, Source
from neuro_decorr.study.store import StoredRun

if TYPE_CHECKING:
    import pandas as pd

FOLDER, RUNS, COSTS, README = "rows", "runs", "costs", "README.md"
_ENDS = {
    RUNS: {"diverged": "diverged", "diverged_step": "step", "reason": "reason"},
    COSTS: {"diverged": "diverged", "wall_seconds": "wall_seconds", "cpu_seconds": "cpu_seconds"},
}
"""Tables with one row per run: the attribute of the run for each column after the factors."""


@final
class Tables(MutableMapping[str, "pd.DataFrame"]):
    """Tables by the kind of their rows: the kinds of `recorder.row(kind=...)`, `runs`, `costs` and `timings`.

    A table of a study is read at its first access.

    Args:
        kinds: Tables by kind.
        **more: Further tables by kind.
    """

    def __init__(self, kinds: Mapping[str, pd.DataFrame | Source] | None = None, **more: pd.DataFrame) -> None:
        self._sources: dict[str, Source] = {}
        self._read: dict[str, pd.DataFrame] = {}
        for kind, table in {**(kinds or {}), **more}.items():
            if isinstance(table, Source):
                self._sources[kind] = table
            else:
                self[kind] = table

    def __getitem__(self, kind: str) -> pd.DataFrame:
        if kind not in self._sources:
            raise unknown_name("kind of rows", kind, self)
        if kind not in self._read:
            self._read[kind] = self._sources[kind].frame()
        return self._read[kind]

    def __setitem__(self, kind: str, table: pd.DataFrame) -> None:
        self._sources[kind], self._read[kind] = Frame(lambda: table), table

    def __delitem__(self, kind: str) -> None:
        del self._sources[kind]
        self._read.pop(kind, None)

    def get(self, kind: str, default: Any = None) -> Any:
        """Return the table of a kind, or `default` where there is none."""
        return self[kind] if kind in self._sources else default

    def __contains__(self, kind: object) -> bool:
        return kind in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def source(self, kind: str) -> Source:
        """Return the table of a kind, not yet read."""
        return self._sources[kind]

    def of(self, stage: str) -> Tables:
        """Return the tables with the rows of one stage only.

        Args:
            stage: Name of the stage. Kinds without rows of it are left out, except `runs`, `costs` and `timings`.
        """
        always = (RUNS, COSTS, TIMINGS)
        having = [kind for kind, one in self._sources.items() if kind in always or stage in one.stages()]
        return Tables({kind: _Stage(self, kind, stage) for kind in having})


@final
class _Stage(Source):
    """The rows of one stage."""

    def __init__(self, tables: Tables, kind: str, stage: str) -> None:
        self._tables, self._kind, self._stage = tables, kind, stage

    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._tables.source(self._kind).columns()

    def count(self) -> int:
        """Number of rows."""
        return len(self.frame())

    def stages(self) -> set[str]:
        """The stage, if the table has rows of it."""
        return {self._stage} & self._tables.source(self._kind).stages()

    def frame(self) -> pd.DataFrame:
        """Read the table and select the rows of the stage."""
        whole = self._tables[self._kind]
        return whole[whole["stage"] == self._stage]

    def parquet(self) -> bytes:
        """Encode the table as a Parquet file."""
        return Frame(self.frame).parquet()


def tabulate(runs: Iterable[StoredRun]) -> Tables:
    """Make the tables of runs.

    Args:
        runs: The runs of all stages, stage after stage.

    Returns:
        `runs`, with diverged, diverged_step and reason; `costs`; `timings`; and the kinds of rows in alphabetical
        order. The rows are read at the first access to their table.
    """
    given = list(runs)
    factors, known = _factors(given), _sorted(given)
    kinds = sorted({kind for run in known for kind in run.rows} - {TIMINGS})
    sources: dict[str, Source] = {kind: Assembly(kind, known, factors) for kind in (TIMINGS, *kinds)}
    for kind, ends in _ENDS.items():
        sources[kind] = Frame(cache(partial(_overview, known, factors, ends)))
    return Tables(sources)


def write_tables(
    found: Tables,
    directory: Path,
    protocol: str,
    question: str,
    *,
    csv: bool = False,
    notes: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write `DIR/rows/KIND.parquet` for every kind, and the README of the directory, which names them.

    Args:
        found: The tables.
        directory: Directory of the study.
        protocol: Name of its protocol.
        question: The question that the study answers.
        csv: True to write `DIR/rows/KIND.csv` too. Floats have all digits that are needed to read the same float again;
            missing cells are empty.
        notes: Warnings about the tables by heading, one line each; the README begins with them.

    Raises:
        MissingExtra: pyarrow is not installed.
        Damaged: The rows of a run have changed.
        Unwritable: The directory cannot be written.
    """
    lines = []
    for kind in sorted(found):
        table = found.source(kind)
        files.write(directory / FOLDER / f"{kind}.parquet", table.parquet())
        text = directory / FOLDER / f"{kind}.csv"
        if csv or text.exists():  # an older CSV file would differ from the Parquet file
            files.write(text, table.frame().to_csv(index=False, lineterminator="\n"))
        lines.append(f"| `{FOLDER}/{kind}.parquet` | {table.count()} | {', '.join(table.columns())} |")
    told = ""
    for heading, notes_of in (notes or {}).items():
        told += f"## {heading}\n\n" + "".join(f"- {note}\n" for note in notes_of) + "\n"
    missing = f"{told}## What is here\n\n" if told else ""
    page = _README.format(question=question, protocol=protocol, tables="\n".join(lines), folder=FOLDER, missing=missing)
    files.write(directory / README, page)


def read_tables(directory: str | PathLike[str]) -> Tables:
    """Open the tables of a finished study. Each table is read at its first access.

    Args:
        directory: Directory of the study.

    Returns:
        Its tables. If a factor has numbers and texts as levels, all of them are texts here; whole numbers beyond 64
        bits are texts too.

    Raises:
        InvalidValue: The directory has no tables.
        Damaged: A file is no table; raised here or at the first access to the table.
    """
    found = Tables({path.stem: File(path) for path in sorted((Path(directory) / FOLDER).glob("*.parquet"))})
    if RUNS not in found:
        raise InvalidValue(f"{directory} holds no {FOLDER}/{RUNS}.parquet; give the directory of a finished study.")
    return found


_README = """# {question}

{missing}The protocol `{protocol}` of neuro_decorr made this directory. Open `index.html` to see the results. `tables/`
and `figures/` hold the tables and figures of the report, `finding.txt` its text. The measurements are tidy tables, one
for each kind of row:

| table | rows | columns |
| --- | ---: | --- |
{tables}

`pandas.read_parquet("{folder}/runs.parquet")` reads a table; `neuro-decorr report DIR --csv` writes all of them as CSV
too. `runs/` (JSON, and Parquet where a run has many rows) and `weights/` hold the stored runs, with checksums.
`provenance.json` records the commands, versions and machines that made them, and `protocol/` holds the source of the
protocol, as its last session ran it, with the modules that it imports.
"""


def _overview(runs: list[StoredRun], factors: list[str], ends: Mapping[str, str]) -> pd.DataFrame:
    heads = [{"stage": run.condition.stage, "seed": run.condition.seed, **run.condition.factors} for run in runs]
    told = [{name: getattr(run, attribute) for name, attribute in ends.items()} for run in runs]
    records = [{**head, **end} for head, end in zip(heads, told, strict=True)]
    columns = ["stage", "seed", *factors, *ends]
    made: pd.DataFrame = require("pandas", "study").DataFrame.from_records(records, columns=columns)
    # A type for whole numbers with gaps: as a float, step 12 would be read as 12.0.
    return made.astype({"diverged_step": "Int64"}) if "diverged_step" in ends else made


def _factors(runs: list[StoredRun]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.condition.factors))


def _sorted(runs: list[StoredRun]) -> list[StoredRun]:
    stages, factors = list(dict.fromkeys(run.condition.stage for run in runs)), _factors(runs)

    def order(run: StoredRun) -> tuple[Any, ...]:
        levels = run.condition.factors
        ranks = [_rank(levels[name]) if name in levels else (0, 0) for name in factors]
        return stages.index(run.condition.stage), ranks, run.condition.seed

    return sorted(runs, key=order)


def _rank(value: Scalar) -> tuple[int, Any]:
    # Levels of different types cannot be compared, so the order is by type, then by value.
    if value is None:
        return 1, 0
    if isinstance(value, bool):
        return 2, value
    return (4, value) if isinstance(value, str) else (3, value)
