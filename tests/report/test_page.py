import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import page, save_figure, save_table
from neuro_decorr.study import Condition
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.store import StoredRun
from neuro_decorr.study.tables import tabulate, write_tables


class Reader(HTMLParser):
    """Collects the text and the links, and checks that what opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    Identity("tiny", {"rates": [0.1, 0.5], "note": "<script>"}, 3).write(tmp_path)
    figure = Figure(figsize=(2, 2))
    figure.add_subplot().plot([1, 2])
    save_figure(figure, tmp_path, "curve", "Loss & gain.")
    save_table(pd.DataFrame({"arm": ["<b>", "c"], "x": [0.123456, 2.0]}), tmp_path, "means", "The means.")
    runs = [
        StoredRun(Condition("a", 0, {}), {}, True, 3, "loss is nan", 1.0, 1.0),
        StoredRun(Condition("a", 1, {}), {}, False, None, None, 1.0, 1.0),
    ]
    write_tables(tabulate(runs), tmp_path, "tiny", "Does it help?")
    (tmp_path / "finding.txt").write_text("It helps by 3 < 4.\n")
    session = {"command": ["neuro-decorr"], "runs_computed": 2, "git": {"commit": "abc", "dirty": True}, "ended": None}
    (tmp_path / "provenance.json").write_text(json.dumps({"sessions": [session]}))
    return tmp_path


def read(directory: Path) -> tuple[str, Reader]:
    reader = Reader()
    reader.feed(page.write(directory, "Does <it> help?").read_text())
    return "\n".join(reader.text), reader


def test_one_page_has_everything_and_needs_no_other_file(study: Path) -> None:
    text, reader = read(study)
    assert reader.open == []
    for part in (
        "Does <it> help?", "It helps by 3 < 4.", "Loss & gain.", "The means.", "<b>", "0.1235", "rates", "0.1, 0.5",
        "<script>", "loss is nan", "commit: abc, dirty: True", "seeds",
    ):  # fmt: skip
        assert part in text
    assert len(reader.links) == 1
    assert all(link.startswith("data:image/svg+xml;base64,") for link in reader.links)


def test_a_long_table_is_cut_and_says_so(study: Path) -> None:
    save_table(pd.DataFrame({"x": range(250)}), study, "long")
    text, _ = read(study)
    assert "50 more rows are in long.csv." in text


def test_a_study_without_a_report_still_has_a_page(tmp_path: Path) -> None:
    Identity("tiny", {}, 1).write(tmp_path)
    text, _ = read(tmp_path)
    assert "provenance.json is missing" in text
    with pytest.raises(InvalidValue, match="holds no study"):
        page.write(tmp_path / "absent", "?")
