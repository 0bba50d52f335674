"""The protocol behind the figure of the size of the noise, and the code that its page shows."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from neuro_decorr import study
from neuro_decorr.study.tables import tabulate
from protocols import perturbation_sigma as protocol
from tests.protocols.execution import run

PAGE = Path(protocol.__file__).parent.parent / "docs" / "spiking_credit.md"


def test_too_small_a_noise_teaches_a_spiking_network_less(tmp_path: Path) -> None:
    configuration = protocol.PROTOCOL.configure({"samples": 64, "sigmas": (0.003, 0.1)})
    conditions = protocol.measured_runs(configuration, [0], study.Tables())
    drawn = [one for one in conditions if (one.factors["state"], one.factors["hold"]) == ("drawn", "pass")]
    tables = tabulate(run(protocol.PROTOCOL, configuration, drawn))
    rows = tables["responses"].set_index("sigma")
    assert rows.loc[0.1, "agreement"] > 0.02 + 2 * rows.loc[0.003, "agreement"]
    assert rows.loc[0.003, "unchanged"] > 0.2 > rows.loc[0.1, "unchanged"]
    protocol.report(configuration, tables, tmp_path)
    assert (tmp_path / "figures" / "perturbation_sigma.png").stat().st_size > 10_000


def test_the_page_runs(capsys) -> None:
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert names["network"][0].weight.grad.abs().sum() > 0
    assert capsys.readouterr().out.count("exponent") == 4


def test_the_page_names_tests_that_exist() -> None:
    tests = "".join(
        path.read_text(encoding="utf-8") for path in (PAGE.parent.parent / "tests" / "credit").glob("test_*.py")
    )
    named = re.findall(r"`(?:test_\w+\.py::)?(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) >= 10
    assert [name for name in named if f"def {name}(" not in tests] == []
