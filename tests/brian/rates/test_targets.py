"""Rate rules: the same weights and activities on numpy, cython and cpp_standalone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.brian.on_target import Results, simulate
from tests.brian.rates.every_rule import RULES, run

pytestmark = pytest.mark.usefixtures("brian_on_numpy")


def check_phases(found: Results) -> None:
    """Weights learn, do not move by a bit while frozen, and learn again."""
    for rule in RULES:
        start, learnt, frozen, end = (found[f"{rule} {what}"] for what in ("start", "learnt", "frozen", "end"))
        assert np.array_equal(learnt, frozen), rule
        assert np.abs(learnt - start).max() > 1e-3 and np.abs(end[: len(frozen)] - frozen).max() > 1e-3, rule


def test_several_circuits_learn_by_a_rule_each_and_stop_where_frozen() -> None:
    check_phases(run()())


@pytest.mark.slow
@pytest.mark.standalone
@pytest.mark.parametrize("target", ["cython", "cpp_standalone"])
def test_every_target_gives_the_same_weights_and_activities(target: str, tmp_path: Path) -> None:
    expected, found = run()(), simulate("tests.brian.rates.every_rule:run", target, tmp_path)
    assert set(found) == set(expected)
    check_phases(found)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-12, err_msg=f"{key} on {target}")
