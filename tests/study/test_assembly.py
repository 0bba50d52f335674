"""Tables put together from runs, compared with what pandas makes of all rows at once as plain dicts."""

import io
from collections.abc import Callable

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr.study.assembly import Assembly
from neuro_decorr.study.conditions import Condition, Scalar
from neuro_decorr.study.rows import Block, Few, Many, Rows, encoded, grouped
from neuro_decorr.study.store import Kinds, StoredRun

Row = dict[str, Scalar]
Run = tuple[Condition, list[Row], bool]
Way = Callable[[list[Row]], Rows]
CELLS: list[st.SearchStrategy[Scalar]] = [
    st.floats(),
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(),
    st.booleans(),
    st.text(max_size=3),
    st.none(),
]


@st.composite
def measured(draw: st.DrawFn) -> list[Run]:
    """Runs with rows; a column or a factor is of one type or of several, in some runs, in some rows."""

    def kinds(name: str) -> st.SearchStrategy[Scalar]:
        return st.one_of(draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=2)))

    columns = {name: kinds(name) for name in "abcd"[: draw(st.integers(1, 4))]}
    rate = (
        st.integers(-3, 3) | st.floats(-1, 1)
        if draw(st.booleans())
        else st.none() | st.text(max_size=2) | st.booleans()
    )
    runs = []
    for seed in range(draw(st.integers(1, 4))):
        names = draw(st.permutations(list(columns)))[: draw(st.integers(0, len(columns)))]
        row = st.fixed_dictionaries(
            {name: columns[name] for name in names},
            optional={name: columns[name] for name in columns if name not in names and draw(st.booleans())},
        )
        factors = {"rate": draw(rate)} if draw(st.booleans()) else {}
        runs.append((Condition("measure", seed, factors), draw(st.lists(row, max_size=4)), draw(st.booleans())))
    return runs


def in_memory(rows: list[Row]) -> Rows:
    return Few(grouped(rows))


def in_parquet(rows: list[Row]) -> Rows:
    made = encoded(Block.of(grouped(rows)))
    if made is None:
        return in_memory(rows)
    return Many(lambda: made[0], len(rows), [(name, sorted(found)) for name, found in made[1].items()])


def stored(runs: list[Run], *ways: Way) -> list[StoredRun]:
    return [
        StoredRun(condition, Kinds({"k": ways[number % len(ways)](rows)}), diverged, None, None, 0.0, 0.0)
        for number, (condition, rows, diverged) in enumerate(runs)
    ]


def reference(runs: list[Run]) -> pd.DataFrame:
    """All rows at once as plain dicts, as pandas reads them."""
    having = [run for run in runs if run[1]]
    factors = list(dict.fromkeys(name for condition, _, _ in having for name in condition.factors))
    records = [
        {"stage": condition.stage, "seed": condition.seed, **condition.factors, "diverged": diverged, **row}
        for condition, rows, diverged in having
        for row in rows
    ]
    head = ["stage", "seed", *factors, "diverged"]
    return pd.DataFrame.from_records(
        records, columns=[*dict.fromkeys([*head, *(name for row in records for name in row)])]
    )


WAYS = [(in_memory,), (in_parquet,), (in_parquet, in_memory), (in_memory, in_memory, in_parquet)]


@given(measured(), st.sampled_from(WAYS))
@settings(max_examples=80)
def test_a_table_is_what_pandas_makes_of_all_rows_at_once(runs: list[Run], ways: tuple[Way, ...]) -> None:
    made = Assembly("k", stored(runs, *ways), ["rate"]).frame()
    expected = reference(runs)
    pd.testing.assert_frame_equal(made, expected)
    for name in expected:  # the types of Python objects, which assert_frame_equal does not look at
        assert list(map(repr, made[name])) == list(map(repr, expected[name]))


@given(measured())
@settings(max_examples=40)
def test_the_file_of_a_table_holds_its_cells(runs: list[Run]) -> None:
    made = Assembly("k", stored(runs, in_parquet, in_memory), ["rate"])
    frame = made.frame()
    again = pd.read_parquet(io.BytesIO(made.parquet()))
    assert list(again) == list(frame) == made.columns()
    assert len(again) == len(frame) == made.count()
    for name in frame:
        ours, theirs = frame[name], again[name]
        if ours.dtype == object and not theirs.isna().all() and isinstance(theirs.dropna().iloc[0], str):
            ours = ours.map(str, na_action="ignore")
        assert list(map(repr, ours.where(ours.notna(), None).tolist())) == list(
            map(repr, theirs.where(theirs.notna(), None).tolist())
        )
