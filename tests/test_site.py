"""The site shows what its sources say: every formula typeset, every figure there, nothing asked of another server."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import neuro_decorr as nd
from tests import _chromium
from tools import site as hook

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MADE = ("gallery", "tutorials")
"""Folders of docs that a build makes from examples."""
SOURCES = [path for path in sorted(DOCS.rglob("*.md")) if path.relative_to(DOCS).parts[0] not in MADE]
PAGES = {
    package: path.stem
    for path in sorted((DOCS / "reference").glob("*.md"))
    for package in re.findall(r"^::: (\S+)$", path.read_text(), re.MULTILINE)
}

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$]+?)(?<!\s)\$", re.DOTALL)
RAW = re.compile(r"\\[a-zA-Z]{2,}|\.\. math::|:math:|\$|\\\(|\\\[")
# The HTML that Markdown makes of the sources; anything else in angle brackets is a formula that the reader misses.
ELEMENTS = set(
    re.findall(
        r"\w+",
        "a article autoref blockquote br button code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr img input label "
        "li nav ol p path pre small span strong sub summary sup svg table tbody td th thead tr ul",
    )
)
BARE = {"hidden", "checked", "open", "data-search-exclude"}  # attributes without a value


def spaced(formula: str) -> str:
    """A formula with one space where it has any, and around what separates its equations."""
    return " ".join(formula.replace(r"\qquad", r" \qquad ").split())


def formulas(text: str, indented_is_code: bool = True) -> list[str]:
    """The sources of the formulas of Markdown, without what stands in code."""
    text = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]+`", "", text)
    if indented_is_code:
        text = re.sub(r"\n\n( {4,}.*\n)+(?=\n)", "\n\n", text)
    return [spaced(a or b) for a, b in FORMULA.findall(text)]


def raw_latex(text: str) -> list[str]:
    """What of a text the reader was not meant to see, with its surroundings."""
    return [text[max(0, raw.start() - 60) : raw.end() + 60] for raw in RAW.finditer(text)]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Every docstring of a source, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


class Page(HTMLParser):
    """What a page shows outside its code, and what stands there in angle brackets that is no HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.odd, self.sources, self.addresses, self.headings = "", [], [], [], []
        self._hidden: list[str] = []
        self._article = self._formula = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._article |= tag == "article"
        if self._article and re.fullmatch("h[1-6]", tag):
            self.headings.append(tag[1])
        odd = tag not in ELEMENTS or (tag in "abipqsu" and not values and tag != "p")
        if self._article and (odd or any(value is None and name not in BARE for name, value in attrs)):
            self.odd.append(self.get_starttag_text())
        if tag in ("code", "pre", "script", "style"):
            self._hidden.append(tag)
        self._formula = "arithmatex" in (values.get("class") or "").split()
        if self._formula:
            self.sources.append("")
        if tag != "a":  # the reader may follow a link to elsewhere; nothing else may lead there
            self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset") and value]

    def handle_endtag(self, tag: str) -> None:
        self._article &= tag != "article"
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()
        self._formula = False

    def handle_data(self, data: str) -> None:
        if self._formula:
            self.sources[-1] += data
        elif not self._hidden:
            self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does, of a copy and without running the examples; other tests run these."""
    copy = tmp_path_factory.mktemp("site")
    for name in ("docs", "examples", "tools"):
        ignored = shutil.ignore_patterns("__pycache__", *(MADE if name == "docs" else ()))
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    shutil.copy(ROOT / "mkdocs.yml", copy)
    (copy / "neuro_decorr").symlink_to(ROOT / "neuro_decorr")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "GALLERY": "false"}
    built = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return copy / "site"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of the folder on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def offered(package: str) -> list[Any]:
    """The functions and classes that a package offers, but for those that have the page of a package within."""
    module = importlib.import_module(package)
    within = ("LateralWeights", "Recurrent", "settle", "settling_course") if package == "neuro_decorr.rate" else ()
    values = [getattr(module, name) for name in getattr(module, "__all__", []) if name not in within]
    return [value for value in values if inspect.isfunction(value) or inspect.isclass(value)]


# Sources


def test_docstrings_write_mathematics_as_pages_do() -> None:
    folders = ("neuro_decorr", "models", "protocols", "analysis", "benchmarks", "examples", "tests")
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in docstrings(path)
        if re.search(r"\.\. math::|:math:`", text)
    ]
    assert found == [], "write $...$ in a line and $$...$$ displayed"


def test_formulas_are_found_in_markdown_and_not_in_code() -> None:
    code = "`$no$`\n\n```python\n'$no$'\n```\n\n    echo $no$\n    echo $no $no\n\n"
    text = "Both $a_1$ and\n\n$$\nx\n= 1\n$$\n\n" + code + "and $b$, $ 5 or 6 $"
    assert formulas(text) == ["a_1", "x = 1", "b"]


def test_every_package_has_its_page() -> None:
    packages = {path.parent.name for path in (ROOT / "neuro_decorr").glob("*/__init__.py")} - {"commands"}
    modules = {"checks", "errors", "rate.settling", "rules.connectivity", "whitener"}
    assert packages | modules == {name.removeprefix("neuro_decorr.") for name in PAGES}


def test_every_rule_credit_and_measure_has_common_names() -> None:
    page = (DOCS / "names.md").read_text(encoding="utf-8")
    here = {name.split(".")[-1] for name in re.findall(r"\]\[(neuro_decorr[\w.]+)\]", page)}
    expected = {
        value.__name__
        for package in (nd.rules, nd.credit, nd.brian)
        for value in offered(package.__name__)
        if getattr(value, "name", None) in package.names()
    }
    assert len(expected) >= 30
    for package in (nd.metrics, nd.conditioning):
        expected |= {value.__name__ for value in offered(package.__name__) if inspect.isfunction(value)}
    assert expected - here == set()


# The built site, as text


def test_the_site_marks_every_formula_and_swallows_nothing(site: Path) -> None:
    """One test, one build: where tests are spread over processes each would build its own."""
    pages = {path.parent.relative_to(site).as_posix(): Page(path.read_text()) for path in site.rglob("index.html")}
    assert len(pages) >= 30
    tags = [(name, odd) for name, page in pages.items() for odd in page.odd]
    assert tags == [], "an average <...> is no tag: write $\\langle ... \\rangle$"
    assert [(name, raw) for name, page in pages.items() for raw in raw_latex(page.text)] == []
    assert [(name, a) for name, page in pages.items() for a in page.addresses if urlsplit(a).netloc] == []
    missing = [
        (package, name)
        for package, value in ((package, value) for package in PAGES for value in offered(package))
        for name in [value.__name__]
        if not re.search(rf'id="[\w.]+\.{name}"', (site / "reference" / PAGES[package] / "index.html").read_text())
    ]
    assert missing == [], "not on the page of the package"
    for path in SOURCES:
        if path.parent == DOCS:
            name = path.stem if path.stem != "index" else "."
            marked = [spaced(source.strip()[2:-2]) for source in pages[name].sources]
            assert marked == formulas(path.read_text(encoding="utf-8")), name
    examples = (site / "reference" / "rate" / "index.html").read_text()
    assert "blockquote" not in examples and "&gt;&gt;&gt; " in examples, "an example is code, not a quotation"
    averages = [source for source in pages["compensation"].sources if "langle a x^T" in source]
    assert averages, "the page on compensation has lost its average"
    levels = {name: [int(level) for level in page.headings] for name, page in pages.items()}
    assert {name: found for name, found in levels.items() if found[0] != 1 or 1 in found[1:]} == {}, "one title a page"
    skipped = {name for name, found in levels.items() if any(b > a + 1 for a, b in itertools.pairwise(found))}
    assert skipped == set(), "a heading two levels below the one before"
    size = {name: (site / name / "index.html").stat().st_size for name in pages}
    assert max(size.values()) < 500_000, size  # one page for the whole reference had 1.2 MB
    assert "arithmatex" not in (search := (site / "search" / "search_index.json").read_text())
    assert "\\\\leftarrow" not in search
    style = (site / "assets" / "katex" / "katex.min.css").read_text()
    fonts = re.findall(r"url\(([^)]+)\)", style)
    assert fonts and all((site / "assets" / "katex" / font).is_file() for font in fonts)


# The built site, in a browser


def shown(name: str) -> list[str]:
    """The formulas of what a package offers: of its docstring, its classes, their public methods, its functions."""
    module = importlib.import_module(name)
    objects = offered(name)
    classes = [value for value in objects if inspect.isclass(value)]
    functions = [value for value in objects if inspect.isfunction(value)]
    members = [member for cls in classes for key, member in vars(cls).items() if not key.startswith("_")]
    methods = [m for m in members if inspect.isfunction(m) or isinstance(m, property | functools.cached_property)]
    texts = [inspect.getdoc(value) or "" for value in [module, *functions, *methods]]
    texts += [inspect.cleandoc(vars(cls).get("__doc__") or "") for cls in classes]
    return [formula for text in texts for formula in formulas(text, indented_is_code=False)]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(_chromium.PROGRAM is None, reason="needs Chromium (apt-get install chromium)")
def test_a_browser_shows_the_site(site: Path, tmp_path: Path) -> None:
    pages = sorted(path.parent.relative_to(site).as_posix() for path in site.rglob("index.html"))
    typeset: dict[str, list[str]] = {}
    with served(site) as address, _chromium.chromium(tmp_path / "profile") as tab:
        for page in pages:
            tab.open(address + ("" if page == "." else f"{page}/"))
            marked = Page((site / page / "index.html").read_text()).sources
            typeset[page] = tab.value(
                "[...document.querySelectorAll('.arithmatex')].map(place => [...place.querySelectorAll('annotation')]"
                ".map(part => part.textContent).join(' \\\\qquad '))"
            )
            assert list(map(spaced, typeset[page])) == [spaced(source.strip()[2:-2]) for source in marked], page
            assert tab.value("document.querySelectorAll('.katex-error').length") == 0, page
            broken = "[...document.images].filter(i => !i.complete || i.naturalWidth === 0).map(i => i.src)"
            assert tab.value(broken) == [], page
            assert tab.value("document.fonts.ready.then(() => [...document.fonts].every(f => f.status !== 'error'))")
            tab.value("document.querySelectorAll('.katex-mathml, code, pre').forEach(place => place.remove())")
            text = tab.value("document.body.innerText")
            assert (raw_latex(text), len(text) > 200) == ([], True), page
            assert tab.complaints() == [], page
            requests = [request for request in tab.requests() if not request.startswith("data:")]
            assert requests and all(request.startswith(address) for request in requests), requests
    for path in SOURCES:
        name = path.relative_to(DOCS).with_suffix("").as_posix().removesuffix("index").rstrip("/") or "."
        text = path.read_text(encoding="utf-8")
        expected = [f for package in re.findall(r"^::: (\S+)$", text, re.MULTILINE) for f in shown(package)]
        assert set(expected) | set(formulas(text)) <= set(map(spaced, typeset[name])), name
        figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
        html = (site / name / "index.html").read_text()
        assert all(Path(figure).name in html for figure in figures), name


# What is darker or lighter than its ground by less than 3 : 1, but for what shows only under the pointer.
WEAK = """(() => {
    const shade = text => text.match(/[\\d.]+/g).map(Number);
    const light = colour => colour.slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = place => {
        for (let at = place; at; at = at.parentElement) {
            const colour = shade(getComputedStyle(at).backgroundColor);
            if ((colour[3] ?? 1) > 0.99) return colour;
        }
        return [255, 255, 255];
    };
    return [...document.querySelectorAll(".md-content :is(h1, h2, h3, p, li, td, th, a, code, summary)")]
        .filter(place => place.innerText && place.offsetParent && !place.matches(".headerlink"))
        .filter(place => {
            const back = ground(place), colour = shade(getComputedStyle(place).color), part = colour[3] ?? 1;
            const front = colour.slice(0, 3).map((v, i) => v * part + back[i] * (1 - part));
            const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05) < 3;
        }).map(place => place.innerText.slice(0, 40));
})()"""


# The theme sets its scheme after the page has come to rest, at once or on a busy machine a little later.
SCHEME = """new Promise(answer => {
    const look = left => document.body.dataset.mdColorScheme === "%s" ? answer(true)
        : left ? setTimeout(look, 50, left - 1) : answer(false);
    look(200);
})"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(_chromium.PROGRAM is None, reason="needs Chromium (apt-get install chromium)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_a_desk_in_either_scheme(site: Path, tmp_path: Path, scheme: str) -> None:
    pages = sorted(path.parent.relative_to(site).as_posix() for path in site.rglob("index.html"))
    ground = {"light": "default", "dark": "slate"}[scheme]
    with served(site) as address, _chromium.chromium(tmp_path / "profile") as tab:
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for page in pages:
            for width in (1280, 360):
                phone = width < 600
                tab.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone
                )
                if not phone:  # the scheme is chosen on opening; a window may become narrow afterwards
                    tab.open(address + ("" if page == "." else f"{page}/"))
                assert tab.value(SCHEME % ground), page
                # Wider than the window is only what scrolls by itself.
                assert tab.value("document.documentElement.scrollWidth <= window.innerWidth"), (page, width)
                assert tab.value(WEAK) == [], (page, width)
            assert tab.complaints() == [], page


# The worker of the search, asked as the page asks it; of every page those links that stand before "more on this page".
SEARCH = """(async () => {
    const config = JSON.parse(document.querySelector("#__config").textContent);
    const worker = new Worker(new URL(config.search, location));
    const told = () => new Promise(answer => { worker.onmessage = message => answer(message.data); });
    const index = await (await fetch("search/search_index.json")).json();
    worker.postMessage({type: 0, data: {...index, options: {suggest: false}}});
    await told();
    const whole = entry => !entry.location.includes("#");
    window.ask = async words => {
        worker.postMessage({type: 2, data: words});
        return (await told()).data.items.flatMap(found => [
            ...found.filter(whole), ...found.filter(entry => !whole(entry) && entry.score >= found[0].score)
        ]).map(entry => entry.location);
    };
})()"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(_chromium.PROGRAM is None, reason="needs Chromium (apt-get install chromium)")
def test_the_search_finds_everything_by_its_common_names(site: Path, tmp_path: Path) -> None:
    names = hook.common_names((site / "names" / "index.html").read_text(encoding="utf-8"))
    asked = [(name, location) for location, common in names.items() for name in common]
    assert len(asked) > 200
    with served(site) as address, _chromium.chromium(tmp_path / "profile") as tab:
        tab.open(address)
        tab.value(SEARCH)
        found = {(name, location): tab.value(f"ask({json.dumps(name)})")[:5] for name, location in asked}
    assert {key: shown for key, shown in found.items() if key[1] not in shown} == {}


@pytest.mark.browser
@pytest.mark.skipif(_chromium.PROGRAM is None, reason="needs Chromium (apt-get install chromium)")
def test_the_browser_tells_what_is_wrong(tmp_path: Path) -> None:
    """What the test above must find: a script that fails, a picture and a host that are not there."""
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "index.html").write_text(
        "<title>wrong</title><link rel=icon href=data:,><img src=absent.png>"
        "<script src='http://elsewhere.example/x.js'></script><script>undefinedName()</script>"
    )
    with served(folder) as address, _chromium.chromium(tmp_path / "profile") as tab:
        tab.open(address)
        complaints = "\n".join(tab.complaints())
        for part in ("undefinedName", "absent.png", "ERR_NAME_NOT_RESOLVED"):
            assert part in complaints
        assert "http://elsewhere.example/x.js" in tab.requests()
        assert tab.value("[...document.images].filter(i => i.naturalWidth === 0).length") == 1
