"""The tables of a study, one for each kind of row, the same whatever the order in which its runs ended.

Every table begins with the columns `stage`, `seed`, the factors of its runs, and `diverged`. Of every study there are
`runs`, one row a run, and `timings`, the only ones that a second study does not give again.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, final

from neuro_decorr.errors import InvalidValue, require, unknown_name
from neuro_decorr.study import files
from neuro_decorr.study.conditions import Scalar
from neuro_decorr.study.recorder import TIMINGS
from neuro_decorr.study.store import StoredRun

if TYPE_CHECKING:
    import pandas as pd

FOLDER, RUNS, README = "rows", "runs", "README.md"
Records: TypeAlias = list[dict[str, Scalar]]


@final
class Tables(dict[str, "pd.DataFrame"]):
    """Tables by the kind of their rows: what `recorder.row(kind=...)` named, `runs` and `timings`."""

    def __missing__(self, kind: str) -> pd.DataFrame:
        raise unknown_name("kind of rows", kind, self)

    def of(self, stage: str) -> Tables:
        """The same tables with the rows of one stage only.

        Args:
            stage: Name of the stage; kinds that it has no row of are left out, but for `runs` and `timings`.
        """
        chosen = {kind: table[table["stage"] == stage] for kind, table in self.items()}
        return Tables({kind: table for kind, table in chosen.items() if len(table) or kind in (RUNS, TIMINGS)})


def tabulate(runs: Iterable[StoredRun]) -> Tables:
    """The tables of some runs.

    Args:
        runs: The runs of all stages, stage after stage.

    Returns:
        `runs`, with diverged, diverged_step and reason; `timings`; and the kinds of rows in alphabetical order.
    """
    given = list(runs)
    factors, known = _factors(given), _sorted(given)
    kinds = sorted({kind for run in known for kind in run.rows} - {TIMINGS})
    made = Tables({kind: _table(known, kind, factors) for kind in (TIMINGS, *kinds)})
    heads = [{"diverged": run.diverged, "diverged_step": run.step, "reason": run.reason} for run in known]
    overview = [{**_head(run), **head} for run, head in zip(known, heads, strict=True)]
    made[RUNS] = _frame(overview, ["stage", "seed", *factors, "diverged", "diverged_step", "reason"])
    # Whole numbers with gaps: as floats, step 12 would be read as 12.0.
    made[RUNS]["diverged_step"] = made[RUNS]["diverged_step"].astype("Int64")
    return made


def write_tables(found: Tables, directory: Path, protocol: str, question: str, *, csv: bool = False) -> None:
    """Write `DIR/rows/KIND.parquet` for every kind, and the README of the directory, which names them.

    Args:
        found: The tables.
        directory: Directory of the study.
        protocol: Name of its protocol.
        question: What the study answers.
        csv: Write `DIR/rows/KIND.csv` too: floats have the digits that give the same float again, what is missing is
            empty.

    Raises:
        MissingExtra: pyarrow is not installed.
        Unwritable: The directory cannot be written.
    """
    lines = []
    for kind in sorted(found):
        files.write(directory / FOLDER / f"{kind}.parquet", _parquet(found[kind]))
        text = directory / FOLDER / f"{kind}.csv"
        if csv or text.exists():  # an older one would tell another story
            files.write(text, found[kind].to_csv(index=False, lineterminator="\n"))
        lines.append(f"| `{FOLDER}/{kind}.parquet` | {len(found[kind])} | {', '.join(found[kind].columns)} |")
    page = _README.format(question=question, protocol=protocol, tables="\n".join(lines), folder=FOLDER)
    files.write(directory / README, page)


def read_tables(directory: Path) -> Tables:
    """The tables of a finished study.

    Args:
        directory: Directory of the study.

    Returns:
        Its tables. Levels of one factor that are numbers and texts in one study are all texts here.

    Raises:
        InvalidValue: There are none.
    """
    pandas = require("pandas", "study")
    found = Tables({path.stem: pandas.read_parquet(path) for path in sorted((directory / FOLDER).glob("*.parquet"))})
    if RUNS not in found:
        raise InvalidValue(f"{directory} holds no {FOLDER}/{RUNS}.parquet: is it the directory of a finished study?")
    return found


_README = """# {question}

The protocol `{protocol}` of neuro_decorr made this directory. `index.html` shows what came out; `tables/` and
`figures/` hold its tables and figures, `finding.txt` what it says. What was measured, one tidy table a kind of row:

| table | rows | columns |
| --- | ---: | --- |
{tables}

`pandas.read_parquet("{folder}/runs.parquet")` reads one; `neuro-decorr report DIR --csv` writes them as CSV too.
`runs/` and `weights/` hold the runs themselves, with checksums; `provenance.json` says what made them.
"""


def _table(runs: list[StoredRun], kind: str, factors: list[str]) -> pd.DataFrame:
    having = [run for run in runs if run.rows.get(kind)]
    records = [{**_head(run), "diverged": run.diverged, **row} for run in having for row in run.rows[kind]]
    own = set(_factors(having))
    return _frame(records, ["stage", "seed", *(name for name in factors if name in own), "diverged"])


def _head(run: StoredRun) -> dict[str, Scalar]:
    return {"stage": run.condition.stage, "seed": run.condition.seed, **run.condition.factors}


def _factors(runs: list[StoredRun]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.condition.factors))


def _frame(records: Records, head: list[str]) -> pd.DataFrame:
    columns = list(dict.fromkeys([*head, *(name for record in records for name in record)]))
    made: pd.DataFrame = require("pandas", "study").DataFrame.from_records(records, columns=columns)
    return made


def _parquet(table: pd.DataFrame) -> bytes:
    require("pyarrow", "study")
    objects = [str(name) for name in table if table[name].dtype == object]
    mixed = [name for name in objects if len({type(value) for value in table[name].dropna()}) > 1]
    # A column of Parquet has one type: levels such as 10 and "all" become texts.
    texts = {name: table[name].map(str, na_action="ignore") for name in mixed}
    content = io.BytesIO()
    table.assign(**texts).to_parquet(content, index=False)
    return content.getvalue()


def _sorted(runs: list[StoredRun]) -> list[StoredRun]:
    stages, factors = list(dict.fromkeys(run.condition.stage for run in runs)), _factors(runs)

    def order(run: StoredRun) -> tuple[Any, ...]:
        levels = run.condition.factors
        ranks = [_rank(levels[name]) if name in levels else (0, 0) for name in factors]
        return stages.index(run.condition.stage), ranks, run.condition.seed

    return sorted(runs, key=order)


def _rank(value: Scalar) -> tuple[int, Any]:
    # Levels of different types are not comparable: types first, values within a type.
    if value is None:
        return 1, 0
    if isinstance(value, bool):
        return 2, value
    return (4, value) if isinstance(value, str) else (3, value)
