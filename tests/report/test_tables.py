from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import save_figure, save_table, table_text
from neuro_decorr.report.tables import markdown


def test_csv_has_all_digits_and_markdown_is_for_people(tmp_path: Path) -> None:
    table = pd.DataFrame({"arm": ["a|b", "c"], "mean": [0.1 + 0.2, float("nan")], "n": [5, 6]})
    save_table(table, tmp_path, "means", "The means.")
    assert (tmp_path / "tables" / "means.csv").read_text() == "arm,mean,n\na|b,0.30000000000000004,5\nc,,6\n"
    assert (tmp_path / "tables" / "means.md").read_text() == (
        "The means.\n\n| arm | mean | n |\n| --- | ---: | ---: |\n| a\\|b | 0.3 | 5 |\n| c |  | 6 |\n"
    )


def test_a_named_index_becomes_columns(tmp_path: Path) -> None:
    table = pd.DataFrame({"arm": ["a", "b", "a"], "x": [1.0, 2.0, 3.0]}).groupby("arm").mean()
    save_table(table, str(tmp_path), "means")
    assert (tmp_path / "tables" / "means.csv").read_text() == "arm,x\na,2.0\nb,2.0\n"


@pytest.mark.parametrize("name", ["../../x", "a/b", "/x", ".x", "", "a\0b", "a\\b"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "study").mkdir()
    with pytest.raises(InvalidValue, match="it names a file"):
        save_table(pd.DataFrame({"x": [1]}), tmp_path / "study", name)
    with pytest.raises(InvalidValue, match="it names a file"):
        save_figure(Figure(), tmp_path / "study", name)
    assert [path.name for path in tmp_path.rglob("*")] == ["study"]


def test_missing_whole_numbers_and_line_feeds() -> None:
    table = pd.DataFrame({"step": pd.array([1, None], dtype="Int64"), "text": ["a\nb", None]})
    assert markdown(table) == "| step | text |\n| ---: | --- |\n| 1 | a b |\n|  |  |\n"


def test_a_table_for_a_terminal_has_columns_of_one_width() -> None:
    table = pd.DataFrame({
        "arm": ["none", "a longer\nname"], "mean of": [0.12345, float("nan")], "n": pd.array([5, None], dtype="Int64"),
    })  # fmt: skip
    assert table_text(table) == (
        "arm            mean of  n\n"
        "none             0.123  5\n"
        "a longer name"
    )  # fmt: skip
    assert table_text(table, 4).splitlines()[1] == "none            0.1235  5"
    assert table_text(table[[]]) == ""
    assert table_text(table.head(0)) == "arm  mean of  n"
