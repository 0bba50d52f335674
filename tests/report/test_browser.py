"""The page of a study in a real browser: every curve drawn, filters at work, no request, hostile names harmless."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from neuro_decorr.report import page, save_figure
from tests import _chromium
from tests.report.studies import curves, written

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(_chromium.PROGRAM is None, reason="needs Chromium (apt-get install chromium)"),
]

HOSTILE = (
    "</script><img src=x onerror=harm()>", "<!--<script>", "x" * 10_000, "\u202eevil\u2066", "%{x}<b>$\\alpha$</b>",
    "javascript:harm()", "a\u2028b\x00c", '"; harm(); "', "&lt;&amp;", "{{harm()}}",
)  # fmt: skip
DRAWN = "[...document.querySelectorAll('.explorer')].map(place => place.dataset.drawn ? {traces: " + (
    "place.querySelector('.plot').data.map(trace => trace.name), lines: "
    "place.querySelectorAll('.js-line, .points path').length} : null)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_chromium.Tab]:
    with _chromium.chromium(tmp_path_factory.mktemp("profile") / "profile") as tab:
        yield tab


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A study of 1,000 runs."""
    levels = {"credit": ["backprop", "eprop", "node", "weight"], "arm": [f"arm_{k}" for k in range(10)]}
    runs = curves({**levels, "strength": [0.0, 0.5, 1.0, 2.0, 4.0]}, seeds=5)
    assert len(runs) == 1000
    directory = written(tmp_path_factory.mktemp("large") / "study", runs, arms=levels["arm"])
    return page.write(directory, "Does it help?").as_uri()


def shown(tab: _chromium.Tab, address: str, width: int = 1280) -> list[Any]:
    """Open a page, go through it as a reader does, and tell what is drawn."""
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    tab.open(address)
    tab.value("document.querySelectorAll('.explorer').forEach(place => place.scrollIntoView())")
    end = time.monotonic() + _chromium.SECONDS
    while None in (found := tab.value(f"scrollTo(0, scrollY + 200), {DRAWN}")) and time.monotonic() < end:
        time.sleep(0.05)
        tab.value(
            "{const rest = document.querySelector('.explorer:not([data-drawn])'); if (rest) rest.scrollIntoView()}"
        )
    return found


def harmless(tab: _chromium.Tab, address: str) -> None:
    assert tab.complaints() == []
    assert [request for request in tab.requests() if not request.startswith(("data:", "blob:"))] == [address]


@pytest.mark.parametrize("width", [360, 1280])
def test_every_figure_is_drawn_at_any_width(browser: _chromium.Tab, address: str, width: int) -> None:
    found = shown(browser, address, width)
    assert len(found) == 2 and all(len(one["traces"]) == 20 and one["lines"] >= 20 for one in found), found
    assert browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("[...document.images, ...document.querySelectorAll('.plot')].every(one => "
                         "(one.alt || one.ariaLabel || one.getAttribute('aria-label')).length > 20)")  # fmt: skip
    harmless(browser, address)


def test_a_figure_fits_a_telephone_and_one_of_many_panels_scrolls(browser: _chromium.Tab, tmp_path: Path) -> None:
    directory = written(tmp_path / "study", curves({"arm": ["a", "b"]}, seeds=2), names=())
    for name, inches in (("single", 4.5), ("many", 12)):
        figure = Figure(figsize=(inches, 3))
        figure.add_subplot().plot([1, 2])
        save_figure(figure, directory, name, f"{name} panels of a figure")
    address = page.write(directory, "?").as_uri()
    shown(browser, address, 380)
    placed = "[...document.images].map(i => [i.alt.split(' ')[0], i.clientWidth, !!i.closest('.overflows')])"
    images = {name: (width, scrolls) for name, width, scrolls in browser.value(placed)}
    assert 300 < images["single"][0] <= 380 and not images["single"][1]
    assert images["many"][0] > 600 and images["many"][1]
    assert browser.value("document.documentElement.scrollWidth") == 380


@pytest.mark.parametrize("mobile", [False, True])
def test_curves_follow_a_window_that_is_made_narrower(browser: _chromium.Tab, address: str, mobile: bool) -> None:
    shown(browser, address, 1280)
    browser.value("window.widest = 0; new ResizeObserver(() => requestAnimationFrame(() => { widest = Math.max(widest, "
                  "document.documentElement.scrollWidth - document.documentElement.clientWidth) }))"
                  ".observe(document.body)")  # fmt: skip
    drawn = (
        "[...document.querySelectorAll('.plot')].map(p => [p.clientWidth, p.querySelector('.main-svg').clientWidth])"
    )
    for width in (380, 800):
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=mobile)
        end = time.monotonic() + _chromium.SECONDS
        while any(place != svg or place > width for place, svg in browser.value(drawn)) and time.monotonic() < end:
            time.sleep(0.05)
        assert all(place == svg and width - 100 < place < width for place, svg in browser.value(drawn))
        assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("widest") == 0, "not even for a moment"


def test_epochs_are_counted(browser: _chromium.Tab, tmp_path: Path) -> None:
    directory = written(tmp_path / "study", curves({"arm": ["a", "b"]}, seeds=2, epochs=3), names=())
    shown(browser, page.write(directory, "?").as_uri())
    ticks = browser.value("[...document.querySelectorAll('.plot .xtick text')].map(t => t.textContent)")
    assert len(ticks) >= 6 and set(ticks) == {"0", "1", "2"}


def test_filters_and_buttons_change_what_is_drawn(browser: _chromium.Tab, address: str) -> None:
    shown(browser, address)
    browser.value("window.first = document.querySelector('.explorer'); window.plot = first.querySelector('.plot'); 0")
    values = "JSON.stringify(plot.data.filter(t => t.text).map(t => t.y))"
    names = "plot.data.filter(t => t.text).map(t => t.name)"
    before = browser.value(values)
    assert browser.value(names) == [f"arm {k}" for k in range(10)]
    box = "[...first.querySelectorAll('fieldset input')]"
    browser.value(f"{box}[0].click()")
    assert browser.value(names) == [f"arm {k}" for k in range(1, 10)]
    browser.value("[...first.querySelectorAll('button')].find(b => b.textContent === 'None').click()")
    assert browser.value(names) == [] and browser.value("plot.layout.annotations[0].text").startswith("nothing was")
    browser.value("[...first.querySelectorAll('button')].find(b => b.textContent === 'All').click()")
    assert browser.value(values) == before
    for label, option in (("credit", 2), ("strength", 1), ("Quantity", 0), ("Measured", 1)):
        select = (
            f"[...first.querySelectorAll('label')].find(l => l.firstChild.data === '{label}').querySelector('select')"
        )
        last = browser.value(values)
        browser.value(f"{{const s = {select}; s.selectedIndex = {option}; s.dispatchEvent(new Event('change'))}}")
        assert browser.value(values) != last, label
        if label == "credit":
            assert "credit node" in browser.value("first.querySelector('figcaption').textContent")
    width = "plot.layout.xaxis.range[1] - plot.layout.xaxis.range[0]"
    wide = browser.value(width)
    browser.value("[...first.querySelectorAll('button')].find(b => b.textContent === 'Zoom in').click()")
    assert browser.value(width) == pytest.approx(wide / 2)
    browser.value("first.querySelector('summary').click()")
    browser.value("new Promise(done => setTimeout(done, 100))")
    assert browser.value("first.querySelectorAll('details tbody tr').length") == 40
    assert "n = 5 seeds" in browser.value("first.querySelector('figcaption').textContent")
    harmless(browser, address)


def test_hovering_tells_mean_interval_and_n(browser: _chromium.Tab, address: str) -> None:
    shown(browser, address)
    browser.value("document.querySelector('.explorer').scrollIntoView({behavior: 'instant'})")
    browser.value("Plotly.Fx.hover(document.querySelector('.plot'), [{curveNumber: 1, pointNumber: 2}])")
    text = browser.value("document.querySelector('.hoverlayer').textContent")
    assert "arm 0" in text and "epoch 2" in text and "95 %" in text and "n = 5" in text


def test_a_keyboard_reaches_everything_and_the_dark_is_dark(browser: _chromium.Tab, address: str) -> None:
    shown(browser, address)
    assert browser.value("[...document.querySelectorAll('select, input')].every(one => one.labels.length === 1)")
    browser.open(address)  # anew, since Chromium goes on from where the page was scrolled to
    for kind in ("rawKeyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert browser.value("document.activeElement.className") == "skip"
    assert browser.value("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
    shown(browser, address)
    try:
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        browser.call("Emulation.setEmulatedMedia", features=features)
        assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
        assert browser.value("document.querySelector('.plot').layout.font.color") == "#e6edf3"
    finally:
        browser.call("Emulation.setEmulatedMedia", features=[])


def test_it_is_printed_with_its_curves(browser: _chromium.Tab, address: str) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
    browser.open(address)
    browser.value("addEventListener('beforeprint', () => { window.printed = [...document.querySelectorAll('.plot')]"
                  ".map(plot => [plot.layout.width, plot.querySelectorAll('.js-line').length]) })")  # fmt: skip
    assert len(base64.b64decode(browser.call("Page.printToPDF")["data"])) > 30_000
    printed = browser.value("window.printed")
    assert len(printed) == 2 and all(width == 660 and lines >= 10 for width, lines in printed), printed
    assert browser.value("document.querySelector('.plot').layout.width ?? null") is None, "as before, afterwards"
    try:  # a sheet of paper 17 cm wide: nothing is cut off, nothing to click is there
        browser.call("Emulation.setDeviceMetricsOverride", width=650, height=900, deviceScaleFactor=1, mobile=False)
        browser.value("dispatchEvent(new Event('beforeprint'))")
        browser.call("Emulation.setEmulatedMedia", media="print")
        assert browser.value("Math.max(...[...document.querySelectorAll('table, pre')].map(t => t.scrollWidth))") <= 650
        controls = "[...document.querySelectorAll('button, select, input')].filter(one => one.offsetWidth).length"
        assert browser.value(controls) == 0
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_hostile_names_do_no_harm(browser: _chromium.Tab, tmp_path: Path) -> None:
    runs = curves({"arm": HOSTILE, HOSTILE[0]: [HOSTILE[3], HOSTILE[0]]}, seeds=2)
    directory = written(
        tmp_path / "<img src=x onerror=harm()>", runs, names=("<script>harm()<", "b" * 200), **{"</dd>": HOSTILE[0]}
    )
    (directory / "finding.txt").write_text("\n".join(HOSTILE).replace("\x00", ""), encoding="utf-8")
    address = page.write(directory, HOSTILE[0]).as_uri()
    found = shown(browser, address, 360)
    assert len(found) == 2 and all(len(one["traces"]) == 2 * len(HOSTILE) for one in found)
    assert browser.value(
        "typeof harm + document.querySelectorAll('img:not([alt]), main script:not([type]), .plot a').length"
    ) == ("undefined0")
    assert browser.value("document.documentElement.scrollWidth") <= 360
    harmless(browser, address)
    # What would run in spite of all that is refused by the page's own policy.
    injected = (
        "{const s = document.createElement('script'); s.textContent = 'window.harmed = 1'; document.body.append(s)}"
    )
    browser.value(injected)
    assert browser.value("typeof window.harmed") == "undefined"


def test_two_studies_share_a_figure(browser: _chromium.Tab, tmp_path: Path) -> None:
    levels = {"arm": ["none", "center"]}
    studies = {written(tmp_path / name, curves(levels, seeds=k), names=("f",)): "?" for name, k in (("x", 2), ("y", 3))}
    page.compare(studies, tmp_path / "both.html")
    address = (tmp_path / "both.html").as_uri()
    shown(browser, address)
    lines = "document.querySelector('.plot').data.filter(t => t.text).map(t => [t.name, t.line.dash])"
    assert json.loads(json.dumps(browser.value(lines))) == [
        ["center, x", "solid"], ["none, x", "solid"], ["center, y", "dash"], ["none, y", "dash"],
    ]  # fmt: skip
    browser.value("document.querySelectorAll('fieldset')[1].querySelector('input').click()")
    assert [name for name, _ in browser.value(lines)] == ["center, y", "none, y"]
    harmless(browser, address)
