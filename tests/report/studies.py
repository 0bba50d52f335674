"""Directories of studies as the machinery leaves them, of any size and with any names, and readers of their pages."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from neuro_decorr.report import save_figure, save_table
from neuro_decorr.study import Condition, files
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.provenance import Provenance
from neuro_decorr.study.reporting import RECORD
from neuro_decorr.study.store import StoredRun
from neuro_decorr.study.tables import tabulate, write_tables

VOID = ("meta", "img", "link", "wbr", "input", "br")


class Reader(HTMLParser):
    """Collects the text, the links and the blocks of data, and checks that what opens closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, Any] = {}
        self._block = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.text += [] if tag in ("code", "wbr") else [" "]
        if tag not in VOID:
            self.open.append(tag)
        self.tags.append((tag, values))
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.images += [values["src"] or ""] if tag == "img" else []
        self._block = (values.get("id") or "") if values.get("type") == "application/json" else ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._block:
            self.blocks[self._block] = json.loads(data)
            self._block = ""
        elif not {"script", "style"} & set(self.open):
            self.text.append(data)

    @property
    def said(self) -> str:
        """The text, with one blank where it has any."""
        return " ".join("".join(self.text).split())

    def headings(self) -> list[str]:
        """What the contents link to, in their order."""
        return [link[1:] for link in self.links if link.startswith("#") and link != "#content"]


def run(
    stage: str, seed: int, factors: Mapping[str, Any], rows: Mapping[str, Sequence[Mapping[str, Any]]], **ended: Any
) -> StoredRun:
    """A run; `step` marks one that diverged."""
    step = ended.get("step")
    reason = "loss is nan" if step is not None else None
    kinds: Any = {kind: list(map(dict, found)) for kind, found in rows.items()}
    return StoredRun(Condition(stage, seed, factors), kinds, step is not None, step, reason, 2.0, 1.5)


def curves(levels: Mapping[str, Sequence[Any]], seeds: int, epochs: int = 4, stage: str = "measure") -> list[StoredRun]:
    """Runs of every combination of levels, with a course of accuracies and correlations that all differ."""
    made = []
    for number, combination in enumerate(itertools.product(*levels.values())):
        for seed in range(seeds):
            value = [0.5 + 0.4 * math.sin(number + seed / 7 + epoch) for epoch in range(epochs)]
            course = [{"epoch": k, "updates": 10 * k, "loss": 3 * v, "accuracy": v} for k, v in enumerate(value)]
            layers = [
                {"epoch": k, "layer": layer, "mean_squared_correlation": v / 2} for k, v in enumerate(value)
                for layer in ("hidden 1", "output")
            ]  # fmt: skip
            factors = dict(zip(levels, combination, strict=True))
            made.append(run(stage, seed, factors, {"curves": course, "layers": layers}))
    return made


def written(
    directory: Path,
    runs: Iterable[StoredRun],
    protocol: str = "tiny",
    names: Sequence[str] = ("main", "after"),
    **configuration: Any,
) -> Path:
    """A study as `neuro-decorr run` leaves it: tables, figures in this order, finding, record."""
    Identity(protocol, configuration, 3).write(directory)
    with files.together(directory, RECORD):
        write_tables(tabulate(runs), directory, protocol, "Does it help?")
        for name in names:
            figure = Figure(figsize=(2, 2))
            figure.add_subplot().plot([1, 2])
            save_figure(figure, directory, name, f"Caption of {name[:80]}: loss & `gain`, n = 3.")
        means = pd.DataFrame({"arm": ["`none`", "<b>"], "gain": [0.123456, 2.22e-17], "n": [5, 6]})
        save_table(means, directory, "means", "The means of `gain`.")
        files.write(directory / "finding.txt", "It helps by 3 < 4.\n")
    record = Provenance(directory)
    for session in (1, 2):
        record.begin(
            ["neuro-decorr", "run", f"session{session}"], [0, 1], "1 process", {"data": {"file": "0123abcd"}}, directory
        )
        record.end("complete", 2)
    return directory
