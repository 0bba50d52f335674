from pathlib import Path
from xml.etree import ElementTree

from matplotlib.figure import Figure

from neuro_decorr.report import save_figure


def draw() -> Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 2], label="a & b")
    axes.legend()
    return figure


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for place in ("one", "two"):
        save_figure(draw(), str(tmp_path / place), "curve", "Loss < chance & falling.")
    for ending, start in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        content = (tmp_path / "one" / "figures" / f"curve.{ending}").read_bytes()
        assert content.startswith(start)
        assert content == (tmp_path / "two" / "figures" / f"curve.{ending}").read_bytes()
    assert len(list((tmp_path / "one").rglob("*.*"))) == 2


def test_the_caption_is_in_the_drawing(tmp_path: Path) -> None:
    save_figure(draw(), tmp_path, "curve", "Loss < chance & falling.")
    document = ElementTree.parse(tmp_path / "figures" / "curve.svg")
    found = [element.text for element in document.iter("{http://purl.org/dc/elements/1.1/}description")]
    assert found == ["Loss < chance & falling."]
