"""What the command leaves behind: a directory that is whole, and one page that needs nothing else."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import pytest

from neuro_decorr.cli import main
from neuro_decorr.report import figures, html
from neuro_decorr.report.analyse import analyse
from neuro_decorr.report.options import Options
from neuro_decorr.report.results import Analysis, check_page
from tests import _chromium
from tests.report.conftest import AWKWARD
from tests.report.studies import Reader

FAST = {"surrogates": 19, "bin": "100ms"}


@pytest.fixture(scope="module")
def analysis(awkward: Path) -> Analysis:
    return analyse(Options(awkward, trials="$x$", against="[b]", pair="e,f", **FAST), figures=True)


@pytest.fixture(scope="module")
def page(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(analysis.page(["neuro-decorr", "analyse", "<mine>"]), encoding="utf-8")
    return path


def captions(analysis: Analysis) -> Sequence[str]:
    return [drawn.caption for part in analysis.parts for drawn in part.sheets]


def test_every_caption_names_its_panels_how_much_was_counted_and_what_bands_are(analysis: Analysis) -> None:
    assert len(captions(analysis)) >= 8
    for part in analysis.parts:
        for drawn in part.sheets:
            letters = [axes.get_title(loc="left") for axes in drawn.figure.axes if axes.get_title(loc="left")]
            assert letters == re.findall(r"([A-E]): ", drawn.caption), drawn.name
            titled = [axes for axes in drawn.figure.axes if axes.get_title()]
            assert letters or len(titled) == 1, drawn.name  # a lone panel needs no letter
            assert all(axes.get_title() for axes in drawn.figure.axes if axes.get_title(loc="left")), drawn.name
            assert "(n = " in drawn.caption
            for panel in re.split(r"[A-E]: ", drawn.caption)[1:]:
                if "band" in panel or "bars" in panel:
                    assert "interval" in panel or "surrogates" in panel or "autocorrelations" in panel, panel


def test_a_comparison_has_one_scale_and_one_order(analysis: Analysis) -> None:
    sheets = {drawn.name: drawn.figure for part in analysis.parts for drawn in part.sheets}
    places = [sheets["comparison"].axes[0], sheets["comparison"].axes[1]]
    places += [sheets[f"{prefix}correlations"].axes[0] for prefix in ("", "against_")]
    assert len({axes.images[0].get_clim() for axes in places}) == 1
    assert len({tuple(label.get_text() for label in axes.get_yticklabels()) for axes in places}) == 1


def test_the_page_needs_no_other_file_and_shows_labels_as_they_are(analysis: Analysis, page: Path) -> None:
    reader = Reader(page.read_text())
    text = "".join(reader.text)
    assert len(reader.images) == len(captions(analysis))
    for link in reader.images:
        assert link.startswith("data:image/svg+xml;base64,")
        ElementTree.fromstring(base64.b64decode(link.split(",")[1]))  # whole, and valid XML
    for caption in captions(analysis):
        assert caption in text
    for label in AWKWARD[:5]:
        assert label in text
    for part in ("silent", "neuro-decorr analyse <mine>", "SHA-256", "numpy", "surrogates: 19", "mean_correlation"):
        assert part in text
    assert "://" not in re.sub(r"base64,[^\"]*", "", page.read_text())


def test_what_is_written_is_whole(analysis: Analysis, tmp_path: Path) -> None:
    analysis.save(tmp_path / "out", ["neuro-decorr"])
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"index.html", "analysis.json", "tables/summary.csv", "tables/comparison.csv"} <= names
    for part in analysis.parts:
        for drawn in part.sheets:
            assert matplotlib.image.imread(tmp_path / "out" / "figures" / f"{drawn.name}.png").std() > 0.01
            assert f"figures/{drawn.name}.svg" in names
    assert not list(tmp_path.glob(".*"))


def test_a_figure_that_fails_leaves_no_half_of_a_directory(
    analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, whole = [], figures.rendered

    def fails(*arguments: object, **options: object) -> bytes:
        drawn.append(arguments)
        if len(drawn) == 3:
            raise MemoryError
        return whole(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("neuro_decorr.report.sheets.rendered", fails)
    with pytest.raises(MemoryError):
        analysis.save(tmp_path / "out", ["neuro-decorr"])
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_with_hostile_labels(awkward: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(awkward), "--surrogates", "0", "--bin", "100ms"]) == 0
    said = capsys.readouterr().out
    assert "my [bold] $recording$.npz" in said and "Left out, since they never vary: silent." in said


def test_its_own_page_is_written_anew(page: Path) -> None:
    check_page(page)


def test_a_long_table_is_cut_and_says_so() -> None:
    shown = html.table(["x"], [[str(k)] for k in range(250)], file="pairs.csv")
    assert shown.count("<tr>") == 201 and "50 more rows are in pairs.csv." in shown


@pytest.mark.browser
@pytest.mark.skipif(_chromium.PROGRAM is None, reason="needs Chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_the_page_at_any_width(page: Path, width: int, tmp_path: Path) -> None:
    with _chromium.chromium(tmp_path / "profile") as tab:
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        tab.open(page.as_uri())
        assert tab.complaints() == []
        assert [request for request in tab.requests() if not request.startswith("data:")] == [page.as_uri()]
        assert tab.value("[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length") == 0
        # Wider than the window is only what scrolls by itself; letters of figures stay legible on a telephone.
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert tab.value("Math.min(...[...document.images].map(i => i.width / i.naturalWidth))") > 0.45
        assert len(base64.b64decode(tab.call("Page.printToPDF")["data"])) > 20_000
