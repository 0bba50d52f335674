"""Every protocol says what it asks, of what and what not; the page of each is what the script makes from its parts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from neuro_decorr.report.contents import Table
from neuro_decorr.study import discovery
from tools import experiment_pages as pages
from tools import experiment_tables as tables

ROOT = Path(__file__).resolve().parent.parent
NAMES = discovery.names(ROOT)


def cells(text: str) -> list[list[str]]:
    """The cells of the lines of a Markdown table."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]


def shown(frame: pd.DataFrame, caption: str = "") -> str:
    """A table as the page of a study shows it."""
    content = frame.to_csv(index=False)
    return tables.markdown(Table("name", caption, list(frame.columns), [], content.encode()))


@pytest.mark.parametrize("name", NAMES)
def test_every_protocol_says_what_it_asks_and_what_not(name: str) -> None:
    said = pages.described(name)
    assert [heading for heading in pages.REQUIRED if len(said.get(heading, "").split()) < 3] == []
    assert said["title"].endswith("?")
    assert len(re.findall(r"[.;:](\s|$)", said["Does not say"])) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_every_page_says_what_its_protocol_says(name: str) -> None:
    text = (pages.PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert pages.page(name, *pages.parts(text)) == text, "run: python -m tools.experiment_pages"
    results, lead, _ = pages.parts(text)
    assert results == pages.NOT_RUN.format(name) or (lead and "## How it was made" in results)
    plain = re.sub(r"\]\(https?://\S*?\)(?=[\s.,;)]|$)|[\[`\\]", "", text.replace("&lt;", "<"))
    for heading, said in pages.described(name).items():
        assert re.sub(r"[\[`\\]", "", said) in plain, heading


def test_the_list_has_every_protocol() -> None:
    text = (pages.PAGES / "index.md").read_text(encoding="utf-8")
    assert pages.index() == text, "run: python -m tools.experiment_pages"
    assert sorted(re.findall(r"\]\((\w+)\.md\)", text)) == NAMES
    assert sorted(path.stem for path in pages.PAGES.glob("*.md")) == sorted([*NAMES, "index"])


def test_pages_tell_no_path_and_no_host() -> None:
    for path in pages.PAGES.glob("*.md"):
        found = re.search(r"/(tmp|home|work|root|usr)/|localhost|Linux-", path.read_text(encoding="utf-8"))
        assert found is None, path.name


def test_figures_are_small() -> None:
    used = {name for path in pages.PAGES.glob("*.md") for name in re.findall(r"figures/(\w+\.png)", path.read_text())}
    large = {name for name in used if (pages.FIGURES / name).stat().st_size > 2 * pages.BYTES}
    assert large == set()


def test_sections_are_the_paragraphs_that_begin_with_a_heading() -> None:
    text = "Does it help?\n\nQuestion. Does it\nhelp?\n\nData. Some. Sources. None.\n\n- `a`: one\n\nDoes not say. All."
    assert pages.sections(text) == {
        "title": "Does it help?",
        "Question": "Does it\nhelp?",
        "Data": "Some. Sources. None.\n\n- `a`: one",
        "Does not say": "All.",
    }


def test_texts_become_markdown_that_shows_them() -> None:
    assert pages.prose("max |<x, y>| < 1, `a < b`, $a < b$") == "max |&lt;x, y>| &lt; 1, `a < b`, $a < b$"
    assert pages.prose("In arXiv:2407.10780.") == "In [arXiv:2407.10780](https://arxiv.org/abs/2407.10780)."
    assert (
        pages.prose("Old, doi:10.1007/BF02331346.")
        == "Old, [doi:10.1007/BF02331346](https://doi.org/10.1007/BF02331346)."
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.5, "0.5"), (0.7196218, "0.720"), (0.002, "0.002"), (0.000123456, "0.000123"), (3e-14, "3.0e-14"),
        (3079.2, "3,079"), (135562.5, "135,562"), (2e7, "2.0e+07"), (-1.0, "-1"), (100.0, "100"), (17.68, "17.7"),
        (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_numbers_have_sensible_digits(value: float, text: str) -> None:
    assert tables.number(value) == text


def test_a_table_has_its_intervals_beside_the_values_and_says_once_what_all_rows_share() -> None:
    frame = pd.DataFrame(
        {
            "arm": ["none", "batch_normalisation"], "accuracy": [0.8123456, 0.9], "deviation": [0.01, 0.02],
            "minus center": [-0.1, 0.0], "low": [-0.2, 0.0], "high": [0.0123, 0.0], "seeds": [5, 5],
            "steps": [1200.0, 7.0], "edge": [None, None],
        }
    )  # fmt: skip
    text = shown(frame, "What |x| < 1 is").replace("\N{NO-BREAK SPACE}", " ")
    assert text.startswith("What \\|x\\| &lt; 1 is\n\nThe same in every row: seeds 5.\n\n")
    head, rule, *rows = cells(text)
    assert head == ["arm", "accuracy ± deviation", "minus center [95 % interval]", "steps"]
    assert rule == ["---", "---:", "---:", "---:"]
    assert rows[0] == ["none", "0.812 ± 0.010", "-0.100 [-0.200, +0.012]", "1,200"]
    assert rows[1] == ["batch normalisation", "0.900 ± 0.020", "0", "7"]


def test_a_small_value_is_not_rounded_away_with_its_interval() -> None:
    text = shown(pd.DataFrame({"error": [9e-5, 0.97], "low": [2.5e-5, 0.89], "high": [1.56e-4, 1.05]}))
    assert cells(text.replace("\N{NO-BREAK SPACE}", " "))[2:] == [
        ["9.0e-05 [2.5e-05, 0.000156]"],
        ["0.970 [0.890, 1.050]"],
    ]


def test_a_long_table_is_folded() -> None:
    text = shown(pd.DataFrame({"step": range(50)}))
    assert "<summary>All 50 rows</summary>" in text and len(cells(text)) == 52


@pytest.mark.slow
def test_a_study_becomes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small study, run now: what its page states is what its files hold."""
    from neuro_decorr.cli import main

    out = tmp_path / "study"
    monkeypatch.chdir(ROOT)
    arguments = ["run", "one_matrix", "--seeds", "2", "--workers", "1", "--out", str(out)]
    assert main(arguments) in (0, None)
    for name in ("PAGES", "FIGURES"):
        monkeypatch.setattr(pages, name, tmp_path / name)
        (tmp_path / name).mkdir()
    page = tmp_path / "PAGES" / "one_matrix.md"
    further = f"{pages.FURTHER_STUDY}\n\n    neuro-decorr run one_matrix --seeds 9\n\nIts table."
    page.write_text(pages.page("one_matrix", f"## Results\n\nOld.\n\n{further}", "Lead.", "Talk."), encoding="utf-8")
    text = pages.pages([out])[page]
    assert further in text and "Old." not in text and "**Lead.**" in text and text.endswith("Talk.\n")
    assert f"\n\n{pages.FURTHER_STUDY}" in text and "\n\n\n" not in text.replace("```", "")
    assert "neuro-decorr run one_matrix --seeds 2\n" in text and "All settings are the defaults." in text
    assert str(tmp_path) not in text and str(out) not in text
    frame = pd.read_csv(out / "tables" / "one_matrix.csv")
    for line, row in zip(cells(text)[2:], frame.itertuples(), strict=True):
        assert line[0] == row.method.replace("_", " ")
        assert float(line[1]) == pytest.approx(row.distance, rel=0.05)
    assert (tmp_path / "FIGURES" / "one_matrix.png").stat().st_size <= 2 * pages.BYTES
    git = json.loads((out / "provenance.json").read_text())["sessions"][-1]["git"]
    assert git is None or git["commit"][:12] in text
