"""The page of a study, as a parser of HTML finds it: what stands on it, in which order, and what it may do."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import downloads, html, page, save_table
from neuro_decorr.report.contents import Drawing, read
from neuro_decorr.report.palette import COLOURS
from neuro_decorr.study import declared, failures, files, mixed
from neuro_decorr.study.identity import Identity
from tests.report.studies import Reader, curves, run, written

LEVELS = {"credit": ["backprop", "eprop"], "arm": ["none", "center"]}
ORDER = [
    "conditions", "main-figure", "finding", "curves-to-explore", "achieved-decorrelation", "further-figures", "tables",
    "runs-that-diverged", "cost", "provenance", "data",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [*curves(LEVELS, seeds=3), run("select", 1000, {"arm": "none", "rate": 0.1}, {}, step=3)]
    place = tmp_path_factory.mktemp("made") / "study"
    return written(place, runs, names=("zebra", "ant", "bee"), epochs=4, note="<script>", file=None)


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "study")


def shown(directory: Path) -> Reader:
    return Reader(page.write(directory, "Does <it> help?").read_text(encoding="utf-8"))


def test_one_page_has_everything_in_the_order_of_a_readers_questions(study: Path) -> None:
    reader = shown(study)
    assert reader.headings()[: len(ORDER)] == ORDER
    assert set(reader.headings()) == {*ORDER, downloads.place(read(study))}
    for part in (
        "Does <it> help?", "12 runs, 3 paired seeds (0 to 2), each up to 3 epochs and 30 updates; every combination of",
        "2: backprop, eprop", "It helps by 3 < 4.", "The means of gain.", "<b>", "0.1235", "note <script>", "file none",
        "Stage select: 1 of 1 run: none 1 of 1.", "loss is nan",
        "All 13 runs together took 26 s of wall time, one after the other, and 19.5 s of CPU time.",
    ):  # fmt: skip
        assert part in reader.said, part
    assert len(reader.images) == 3 and all(one.startswith("data:image/svg+xml;base64,") for one in reader.images)
    captions = [values["alt"] for tag, values in reader.tags if tag == "img"]
    assert captions == [f"Caption of {name}: loss & `gain`, n = 3." for name in ("zebra", "ant", "bee")], "as saved"


def test_it_may_ask_for_nothing_and_run_only_its_own_scripts(study: Path) -> None:
    text = page.write(study, "?").read_text(encoding="utf-8")
    reader = Reader(text)
    name = "Content-Security-Policy"
    (policy,) = [values["content"] or "" for _, values in reader.tags if values.get("http-equiv") == name]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data: blob:"
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests] and len(digests) == 3
    assert sum("plotly.js v" in script[:200] for script in scripts) == 1
    assert all(link.startswith(("data:", "#")) for link in reader.links)
    assert len(text) < 6_000_000


def test_what_is_missing_comes_before_everything(study: Path) -> None:
    lost = failures.Failure("measure", 7, {"arm": "<i>"}, "ValueError: only here", "failures/x.txt")
    failures.Incomplete(20, 13, [lost], 6, ["stage 3 could not be declared"]).write(study)
    text = page.write(study, "?").read_text(encoding="utf-8")
    assert "This study is incomplete" in text
    assert text.index("7 of 20 runs missing") < text.index("ValueError: only here") < text.index("<nav")
    assert "arm=&lt;i&gt; seed=7" in text and "stage 3 could not be declared" in text


def test_runs_of_several_origins_are_told_before_everything(study: Path) -> None:
    mixed.Mixed([8, 5], ["torch: <2.9> in 8 runs, 2.8 in 5 runs"]).write(study)
    text = page.write(study, "?").read_text(encoding="utf-8")
    assert "The runs were made from different data, code or versions" in text
    assert text.index("13 stored runs were made from 2 combinations of data") < text.index("<nav")
    assert text.index("torch: &lt;2.9&gt; in 8 runs") < text.index("<nav")


def test_arms_are_in_the_order_of_the_stage_with_their_own_colours(tmp_path: Path) -> None:
    arms = ["none", "mine", "whitening", "center", "another"]  # neither alphabetical nor a list of the configuration
    runs = curves({"arm": arms}, seeds=2)
    directory = written(tmp_path / "study", reversed(runs))
    conditions = [one.condition for one in runs]
    declared.Declared("?", 1).with_stage(0, conditions).write(directory)
    for one in conditions:
        content = files.seal({"factors": dict(one.factors)})
        files.write(directory / "runs" / one.stage / f"{one.key}.json", content)
    reader = shown(directory)
    assert "5: none, mine, whitening, center, another" in reader.said
    (courses,) = reader.blocks.values()
    assert courses[0]["arms"] == arms
    colours = dict(zip(arms, courses[0]["colours"], strict=True))
    assert all(colours[arm] == COLOURS[arm] for arm in ("none", "whitening", "center"))
    assert len(set(colours.values())) == 5
    files.write(directory / declared.NAME, b"damaged")  # the tables' own order then
    assert "5: another, center, mine, none, whitening" in shown(directory).said


@pytest.mark.parametrize(("width", "scrolls"), [("290.3pt", False), ("459pt", True), ("590", False), ("20cm", True),
                                                ("100%", False)])  # fmt: skip
def test_only_a_wide_figure_scrolls_on_a_telephone(width: str, scrolls: bool) -> None:
    svg = f'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"\n width="{width}" height="99pt"/>'.encode()
    classes = [values.get("class") for _, values in Reader(html.figure(svg, "c")).tags]
    assert ("scroll" in classes) == scrolls


def test_every_session_is_on_record(study: Path) -> None:
    said = shown(study).said
    for part in ("session1", "session2", "data: file: 0123abcd", "processor", "torch: "):
        assert part in said


def test_the_data_of_the_figures_is_inside(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_PLAIN", 2_000)
    monkeypatch.setattr(downloads, "ROWS", 90)
    reader = shown(study)
    held = {values["download"]: values["href"] or "" for tag, values in reader.tags if "download" in values}
    assert set(held) == {"means.csv", "runs.csv", "costs.csv", "curves.csv.gz"}
    content = {name: base64.b64decode(link.split(",")[1]) for name, link in held.items()}
    assert content["means.csv"] == (study / "tables" / "means.csv").read_bytes()
    found = pd.read_csv(io.BytesIO(gzip.decompress(content["curves.csv.gz"])))
    expected = pd.read_parquet(study / "rows" / "curves.parquet")
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)
    assert "rows/layers.parquet (96 rows) is too large for a page" in reader.said


def test_a_long_table_is_cut_and_says_so(study: Path) -> None:
    save_table(pd.DataFrame({"x": range(250)}), study, "long")
    assert "50 more rows are in long.csv." in shown(study).said


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (2.22e-17, '<td class="number" title="2.22e-17: within the rounding error of 0">&lt; 1e-12</td>'),
        (-1e-13, '<td class="number" title="-1e-13: within the rounding error of 0">&gt; -1e-12</td>'),
        (0.0, '<td class="number">0</td>'), (1e-11, '<td class="number">1e-11</td>'), (7, '<td class="number">7</td>'),
        (float("nan"), '<td class="short"></td>'), (1234567.0, '<td class="number">1.235e+06</td>'),
        ("`none`_x", '<td class="short"><code>none</code>_<wbr>x</td>'),
        ("<b>|\u202egnp", '<td class="short">&lt;b&gt;|gnp</td>'),
    ],
)  # fmt: skip
def test_cells(value: object, cell: str) -> None:
    assert f"<tr>{cell}</tr>" in html.table(["x"], [[value]])


def test_places_of_parts_differ_and_the_contents_lead_to_them() -> None:
    reader = Reader(
        html.document("t", "h", [("神経", "a"), ("経", "b"), ("x y", "c"), ("x-y", "d"), ("none", "")], "g")
    )
    places = [values["id"] for tag, values in reader.tags if tag == "h2"]
    assert len(set(places)) == 4 and reader.headings() == places


def test_a_foreign_file_that_cannot_be_shown_is_named(study: Path) -> None:
    foreign = {"figures/half.svg": b"<svg", "figures/latin.svg": b"\xff", "tables/latin.csv": b"a\n\xff\n"}
    foreign |= {"tables/ragged.csv": b"a,b\n1,2,3\n", "tables/empty.csv": b"", "tables/long.csv": b"x" * 200_000}
    foreign |= {"tables/means.md": b"\xff", "rows/curves.parquet": b"PAR1"}
    for name, content in foreign.items():
        (study / name).write_bytes(content)
    (study / "tables" / "folder.csv").mkdir()
    said = shown(study).said
    for name in ("half.svg", "latin.svg", "latin.csv", "ragged.csv", "long.csv", "folder.csv"):
        assert f"{name} cannot be shown" in said
    assert "curves.parquet is missing or damaged" in said and "0.1235" in said


def test_a_study_without_a_report_still_has_a_page(tmp_path: Path) -> None:
    Identity("tiny", {}, 1).write(tmp_path)
    reader = shown(tmp_path)
    assert "provenance.json, is missing" in reader.said
    assert reader.headings() == ["conditions", "provenance"]
    with pytest.raises(InvalidValue, match="holds no study"):
        page.write(tmp_path / "absent", "?")


def test_two_studies_of_one_protocol_are_side_by_side(study: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other" / "study", curves(LEVELS, seeds=2), names=("zebra",), epochs=9, file=None)
    page.compare({study: "Does it help?", other: "Does it help?"}, tmp_path / "both.html")
    reader = Reader((tmp_path / "both.html").read_text(encoding="utf-8"))
    said = reader.said
    assert reader.headings()[:3] == ["what-differs", "conditions", "main-figure"]
    first = f"{tmp_path.name}/study"
    assert f"Compared: {first}, other/study" in said
    assert "epochs 4 9" in said and "note <script> none" in said and "numpy" not in said.split("Conditions")[1][:300]
    (courses,) = reader.blocks.values()
    assert courses[0]["studies"] == [first, "other/study"]
    page.compare({study: "?", other: "?"}, tmp_path / "both.html")  # its own page is written anew
    (tmp_path / "thesis.tex").write_text("mine")
    for path, why in ((tmp_path / "thesis.tex", "is no page of this command"), (tmp_path, "is a directory")):
        with pytest.raises(InvalidValue, match=why):
            page.compare({study: "?", other: "?"}, path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_studies_of_two_protocols_have_a_section_each(study: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other", curves({"rule": ["x"]}, seeds=2), protocol="another_one")
    page.compare({study: "First?", other: "Second?"}, tmp_path / "both.html")
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    reader = Reader(text)
    assert reader.headings()[:2] == ["tiny", "another-one"]
    assert text.count("plotly.js v") == 1 and len(reader.blocks) == 2
    assert text.index("First?") < text.index("Second?")
    Identity("tiny", {}, 1).write(tmp_path / "begun")
    with pytest.raises(InvalidValue, match="has no tables yet"):
        page.compare({study: "?", tmp_path / "begun": "?"}, tmp_path / "new.html")
    assert not (tmp_path / "new.html").exists()


def test_a_caption_says_how_many_seeds_unless_it_gives_an_n(study: Path) -> None:
    contents = read(study)
    assert contents.caption(Drawing("loss", b"", "Loss.")) == "Loss. n = 3 paired seeds."
    assert contents.caption(Drawing("units", b"", "Rates (n = 40 units).")) == "Rates (n = 40 units)."


def test_a_finding_is_paragraphs_and_tables_by_part() -> None:
    shown = html.words("It helps by 3 < 4.\nIt does.\n\narm   mean\nnone   0.1\n \nThe end.\n")
    assert shown.count("<pre>") == 1 and "<pre>arm   mean\nnone   0.1</pre>" in shown
    assert re.findall("<p>(.*?)</p>", shown) == ["It helps by 3 &lt; 4.", "It does.", "The end."]
    assert html.words(" \n\n ") == html.words("") == ""
