"""Every registry finds, refuses and describes in the same way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from neuro_decorr import brian, credit, rules
from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.registry import Registry


@dataclass(frozen=True)
class Shape:
    """What the registry of this test holds."""

    name = "shape"
    title = "anything with sides"

    sides: int = 3


def shapes() -> Registry[Shape]:
    registry: Registry[Shape] = Registry("shape", ("name", "title"), Shape)
    registry.register(Shape)
    return registry


def test_a_class_is_found_by_its_name_and_described_by_its_attributes() -> None:
    assert shapes().names() == ["shape"]
    assert shapes().get("shape", sides=4) == shapes().get("shape", 4) == Shape(4)
    assert shapes().table() == [{"name": "shape", "title": "anything with sides"}]


def test_what_cannot_be_registered() -> None:
    registry = shapes()
    assert registry.register(Shape) is Shape

    class Other(Shape):
        pass

    class Untitled(Shape):
        name = "untitled"
        title = ""

    with pytest.raises(InvalidValue, match=r"a shape named 'shape' exists already \(Shape\); choose another name"):
        registry.register(Other)
    with pytest.raises(InvalidValue, match="Untitled needs text as its class attribute title; a shape is described by"):
        registry.register(Untitled)
    with pytest.raises(
        InvalidValue, match="only a concrete subclass of Shape can be registered as a shape, got the cl"
    ):
        registry.register(int)
    assert registry.names() == ["shape"]


def test_a_class_that_is_made_anew_takes_the_place_of_the_first() -> None:
    """As when the cell of a notebook that defines it runs again."""
    registry = shapes()

    def cell(sides: int) -> type[Shape]:
        class Drawn(Shape):
            name = "drawn"
            title = f"{sides} sides"

        return registry.register(Drawn)

    first, second = cell(3), cell(4)
    assert first is not second
    assert type(registry.get("drawn")) is second and registry.table()[0]["title"] == "4 sides"


@pytest.mark.parametrize("name", [None, 3, Shape, ["shape"]])
def test_a_name_is_text_in_every_registry(name) -> None:
    for get in (shapes().get, rules.get, lambda name: credit.get(name, nn.Linear(2, 2))):
        with pytest.raises(InvalidValue, match=r"the name of a \w+ is a string, got .*: \w+"):
            get(name)


def test_an_unknown_name_or_parameter_gets_what_is_known() -> None:
    with pytest.raises(UnknownName, match="there is no shape 'shap'; did you mean 'shape'"):
        shapes().get("shap")
    with pytest.raises(InvalidValue, match="shape 'shape' has no parameter 'side', 'size'; allowed: sides"):
        shapes().get("shape", side=1, size=2)
    with pytest.raises(InvalidValue, match="has no parameter 'sides'; allowed: none"):
        shapes().get("shape", 3, sides=3)  # taken by position already


def test_all_tables_describe_in_the_same_words() -> None:
    for registry in (rules, credit):
        for row in registry.table():
            assert {"name", "locality", "cost", "source"} <= set(row)
            assert all(column.isidentifier() and word for column, word in row.items())


def test_a_rule_tells_all_its_problems_at_once() -> None:
    with pytest.raises(
        InvalidValue, match=r"^whitening: rate must be .* <= 1, got 2; damping .*; power_rate .*got '1'\.$"
    ):
        rules.get("whitening", rate=2, damping=-1, power_rate="1")
    with pytest.raises(InvalidValue, match=r"interneurons must be a whole number >= 1, got 2\.0; fewest .*; seed"):
        rules.get("interneuron", interneurons=2.0, fewest=-1, seed=None)
    with pytest.raises(InvalidValue, match="fewest must not be more than interneurons, here 2, got 3"):
        rules.get("interneuron", interneurons=2, fewest=3)


def test_a_common_name_leads_to_the_name_as_in_the_page_of_names() -> None:
    page = (Path(__file__).parents[1] / "docs" / "names.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \| .*\]\[neuro_decorr\.(rules|credit|brian)\.(\w+)\] \|$", page, re.MULTILINE)
    told = 0
    for names, package, kind in rows:
        registry = {"rules": rules, "credit": credit, "brian": brian}[package]
        here = getattr(getattr(registry, kind), "name", None)
        if here not in registry.names():
            continue
        for name in names.split(", "):
            for spelt in (name.upper(), name):
                if spelt == here:
                    continue
                with pytest.raises(UnknownName, match=f"did you mean '{here}'"):
                    registry.get(spelt, *([nn.Linear(2, 2)] if registry is credit else []))
                told += 1
    assert told > 200
