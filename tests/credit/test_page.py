"""The page on credit assignment: its example runs and learns, its count of nodes and parameters is right."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

PAGE = (Path(__file__).parents[2] / "docs" / "credit.md").read_text(encoding="utf-8")


def test_the_example_learns_with_every_credit_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Chance is 0.1."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(example, "credit.md", "exec"), {})
    found = dict(re.findall(r"^(\w+) (0\.\d\d)$", capsys.readouterr().out, re.MULTILINE))
    assert set(found) == {"backprop", "feedback_alignment", "node_perturbation"}
    assert min(map(float, found.values())) > 0.4


def test_the_price_of_weights_is_that_of_the_network_shown() -> None:
    layers = nn.Linear(784, 100), nn.Linear(100, 10)
    nodes = sum(layer.out_features for layer in layers)
    parameters = sum(torch.numel(each) for layer in layers for each in layer.parameters())
    said = re.search(r"with (\d+) nodes and ([\d,]+) parameters, takes (\d+) times", PAGE)
    assert said is not None
    assert [int(number.replace(",", "")) for number in said.groups()] == [
        nodes,
        parameters,
        round(parameters / nodes),
    ]


def test_the_tests_that_it_names_are_there() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"`(?:test_\w+\.py::)?(test_\w+)`", PAGE)
    assert len(named) >= 7
    assert [name for name in named if f"def {name}(" not in tests] == []


SPIKING = (Path(__file__).parents[2] / "docs" / "spiking_credit.md").read_text(encoding="utf-8")


def test_the_examples_on_spiking_networks_run_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", SPIKING, flags=re.DOTALL):
        exec(compile(example, "spiking_credit.md", "exec"), names)
    assert len(re.findall(r"exponent \d", capsys.readouterr().out)) >= 3


def test_the_tests_that_the_page_on_spiking_networks_names_are_there() -> None:
    root = Path(__file__).parents[2]
    tests = "\n".join(path.read_text(encoding="utf-8") for path in root.glob("tests/**/test_*.py"))
    named = re.findall(r"`(test_\w+)`", SPIKING)
    assert len(named) >= 10 and [name for name in named if f"def {name}(" not in tests] == []
    files = re.findall(r"`((?:tests/credit/)?test_\w+\.py)`", SPIKING)
    assert files and all((root / "tests" / "credit" / Path(name).name).is_file() for name in files)
