"""The measurement behind the figure of the size of the noise, and the code that its page shows."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from analysis import perturbation_sigma

PAGE = Path(perturbation_sigma.__file__).parent.parent / "docs" / "spiking_credit.md"


def test_too_small_a_noise_teaches_a_spiking_network_less(tmp_path: Path, monkeypatch) -> None:
    kept = {key: value for key, value in perturbation_sigma.CONDITIONS.items() if key[1:] == ("drawn", "pass")}
    monkeypatch.setattr(perturbation_sigma, "CONDITIONS", kept)
    rows = perturbation_sigma.measure(seeds=1, samples=64, sigmas=(0.003, 0.1)).set_index("sigma")
    assert rows.loc[0.1, "agreement"] > 0.02 + 2 * rows.loc[0.003, "agreement"]
    assert rows.loc[0.003, "unchanged"] > 0.2 > rows.loc[0.1, "unchanged"]
    perturbation_sigma.draw(rows.reset_index(), tmp_path)
    assert (tmp_path / "figures" / "perturbation_sigma.png").stat().st_size > 10_000


def test_the_page_runs(capsys) -> None:
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert names["model"].network[0].weight.grad.abs().sum() > 0
    assert capsys.readouterr().out.count("exponent") == 4


def test_the_page_names_tests_that_exist() -> None:
    tests = "".join(
        path.read_text(encoding="utf-8") for path in (PAGE.parent.parent / "tests" / "credit").glob("test_*.py")
    )
    named = re.findall(r"`(?:test_\w+\.py::)?(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) >= 10
    assert [name for name in named if f"def {name}(" not in tests] == []
