"""The same spikes and the same weights on numpy, cython and cpp_standalone, for every rule; what a target cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from brian2 import NetworkOperation

from tests.brian import every_rule, sweep
from tests.brian.every_rule import circuits, run, spiking_rules
from tests.brian.on_target import Results, simulate

pytestmark = pytest.mark.usefixtures("brian_on_numpy")


def check_phases(found: Results) -> None:
    """Weights learn, do not move by a bit while frozen, and learn again; the neurons spike throughout."""
    for name in [key.removesuffix(" course") for key in found if key.endswith(" course")]:
        start, frozen, thawed = found[f"{name} course"].T
        end = found[f"{name} weights"]
        end = end[np.isfinite(end)]
        assert np.array_equal(frozen, thawed), name
        assert np.ptp(frozen - start) > 1e-3 and np.ptp(end - thawed) > 1e-3, name
        for times, _ in (values for key, values in found.items() if key.startswith(f"{name} spikes")):
            assert all(((times >= first) & (times < first + 100)).sum() > 10 for first in (0, 100, 200))


def test_several_populations_learn_by_a_rule_each_and_stop_where_frozen() -> None:
    found = run()()
    assert {f"{name} course" for name in [*spiking_rules(), "schedule", "variance", "subgroups"]} <= set(found)
    check_phases(found)


def test_nothing_is_a_network_operation() -> None:
    """A standalone device would leave it out without a word."""
    for _, synapses in circuits().values():
        held = list(synapses.contained_objects)
        for item in held:
            held.extend(item.contained_objects)
        assert len(held) > 5 and not any(isinstance(item, NetworkOperation) for item in held)


@pytest.mark.slow
@pytest.mark.standalone
@pytest.mark.parametrize(("target", "scenario"), [("cython", "run_some"), ("cpp_standalone", "run")])
def test_every_target_gives_the_same_spikes_and_weights(target: str, scenario: str, tmp_path: Path) -> None:
    expected = getattr(every_rule, scenario)()()
    found = simulate(f"tests.brian.every_rule:{scenario}", target, tmp_path)
    assert set(found) == set(expected)
    check_phases(found)
    for key, values in expected.items():
        if key.startswith("refused"):
            check_refusal(key, str(found[key]), target)
        else:
            np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-12, err_msg=f"{key} on {target}")


def check_refusal(key: str, said: str, target: str) -> None:
    """What needs Python between two runs, or after them, is refused where there is no Python; nowhere else."""
    if target != "cpp_standalone":
        assert said == "not refused", key
    elif key == "refused store":
        assert said.startswith("NotImplementedError") and "C++ standalone" in said  # Brian2's own
    else:
        assert said.startswith("Unsupported") and "cpp_standalone" in said and "\n" not in said


@pytest.mark.slow
def test_every_choice_of_a_sweep_matters() -> None:
    found = sweep.run()()
    weights = [found[f"{name} weights"] for name in sweep.RUNS]
    assert all(not np.array_equal(a, b, equal_nan=True) for k, a in enumerate(weights) for b in weights[:k])
    assert np.nanmax(found["bounded weights"]) == 0.31 and np.nanstd(found["frozen weights"]) == 0


@pytest.mark.slow
@pytest.mark.standalone
def test_one_compiled_program_runs_with_other_parameters(tmp_path: Path) -> None:
    expected = sweep.run()()
    found = simulate("tests.brian.sweep:run", "cpp_standalone", tmp_path)
    assert set(found) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-12, err_msg=key)
