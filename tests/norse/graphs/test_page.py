"""The page on NIR keeps its word: its examples run, one after the other, and its promises name tests."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import neuro_decorr as nd

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "nir.md").read_text(encoding="utf-8")


def test_the_examples_run_in_order() -> None:
    names: dict[str, object] = {}
    torch.manual_seed(0)
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "docs/nir.md", "exec"), names)
    read = nd.norse.from_nir(names["folder"] / "ours.nir")  # type: ignore[operator]  # a path
    spikes = (torch.rand(25, 8, 12) < 0.4).float()
    network = names["network"]
    assert isinstance(network, nd.norse.Graph)
    with torch.no_grad():
        assert not any(m.is_identity() for m in network.modules() if isinstance(m, nd.Decorrelation))
        outputs, expected = read(spikes)[0], network(spikes)[0]
    assert expected.sum() > 0
    assert (outputs != expected).float().mean() < 1e-3  # folded in double precision, run in single


def test_every_promise_names_tests_that_exist() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/norse/graphs/test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", sources, flags=re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 15 and named <= defined, f"missing: {named - defined}"
