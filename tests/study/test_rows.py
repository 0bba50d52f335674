"""What is stored is what was recorded: compared with the plain lists of dicts that went in."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from neuro_decorr.study.conditions import Scalar
from neuro_decorr.study.rows import Block, decoded, encoded, grouped

Row = dict[str, Scalar]

CELLS: dict[str, st.SearchStrategy[Scalar]] = {
    "float": st.floats() | st.sampled_from([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1.0]),
    "int": st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
    "large": st.integers(),
    "bool": st.booleans(),
    "str": st.text(max_size=4) | st.sampled_from(["", "None", "nan", "1", "\0", "ä", "a,b\n"]),
    "unencodable": st.text(st.characters(categories=["Cs", "L"]), max_size=3),  # names of files that are no UTF-8
    "none": st.none(),
}


@st.composite
def recorded(draw: st.DrawFn) -> list[Row]:
    """Rows whose columns are of one type, of several, and there or not."""
    names = draw(
        st.lists(st.text(max_size=3) | st.sampled_from(["a", "a.b", "b", "__index_level_0__"]), max_size=4, unique=True)
    )
    columns = {
        name: st.one_of([CELLS[kind] for kind in draw(st.sets(st.sampled_from(sorted(CELLS)), min_size=1))])
        for name in names
    }
    row = (
        st.permutations(names).flatmap(
            lambda order: st.integers(0, len(order)).flatmap(
                lambda count: st.fixed_dictionaries({name: columns[name] for name in order[:count]})
            )
        )
        if draw(st.booleans())
        else st.fixed_dictionaries(columns)
    )
    return draw(st.lists(row, min_size=1, max_size=8))


@given(recorded())
@settings(max_examples=80)
@example([{"a": 0.0}, {"a": -0.0}, {"a": float("nan")}])
@example([{"a": 1}, {"a": 1.0}, {"a": True}, {"a": None}, {}])
@example([{}, {"b": "x", "a": 2**64}, {"a": 1, "b": "y"}, {}])
@example([{"a": 1, "b": 2}, {"b": 1, "a": 2}] * 3)
@example([{"\ud800": 1}])
def test_rows_come_back_with_every_digit_type_and_the_order_of_their_columns(given: list[Row]) -> None:
    block = Block.of(grouped(given))
    assert repr(block.rows()) == repr(given)  # 1, 1.0 and True are equal, nan is not nan: their texts tell
    parquet = encoded(block)
    if parquet is None:
        names = "".join(name for row in given for name in row)
        assert not any(given) or names != names.encode(errors="replace").decode(), "only names can be in the way"
        return
    again = decoded(parquet[0])
    assert repr(again.rows()) == repr(given)
    assert again.types() == block.types() == parquet[1]
