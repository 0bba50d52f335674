"""Rates and trials: means over bins, windows, and one clear line for every fault."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.recording import Rates, Trials

VALUES = np.arange(20.0).reshape(10, 2)


def test_bins_are_means_of_whole_bins() -> None:
    rates = Rates(VALUES, 0.1, start=-0.3)
    np.testing.assert_allclose(rates.binned(0.3), [VALUES[0:3].mean(0), VALUES[3:6].mean(0), VALUES[6:9].mean(0)])
    np.testing.assert_array_equal(rates.binned(0.1), VALUES)
    assert rates.stop == pytest.approx(0.7)


def test_trials_take_the_steps_wholly_inside() -> None:
    rates = Rates(VALUES, 0.1, trials=Trials([0.0, 0.45], [0.3, 0.95]))
    means, trial = rates.trial_binned(0.2)
    np.testing.assert_allclose(means, [VALUES[0:2].mean(0), VALUES[5:7].mean(0), VALUES[7:9].mean(0)])
    np.testing.assert_array_equal(trial, [0, 1, 1])
    means, trial = rates.trial_binned()
    np.testing.assert_allclose(means, [VALUES[0:3].mean(0), VALUES[5:9].mean(0)])


def test_a_window_holds_whole_steps() -> None:
    part = Rates(VALUES, 0.1, 1.0, ["a", "b"], quantity="Hz").window(1.25, 1.7)
    np.testing.assert_array_equal(part.values, VALUES[3:7])
    assert (part.start, part.units, part.quantity) == (pytest.approx(1.3), ("a", "b"), "Hz")


def test_types_are_kept() -> None:
    assert Rates(VALUES.astype(np.float32), 0.1).values.dtype == np.float32


def test_select_orders_as_asked() -> None:
    np.testing.assert_array_equal(Rates(VALUES, 1, units="ab").select("ba").values, VALUES[:, ::-1])


def test_trials_of_one_length_and_of_some_conditions() -> None:
    trials = Trials.every(0.5, 4, start=1, conditions=["left", "right", "left", "right"])
    np.testing.assert_allclose(trials.stop, [1.5, 2, 2.5, 3])
    chosen = trials.select(["left"])
    np.testing.assert_allclose(chosen.start, [1, 2])
    assert chosen.conditions == ("left", "left")
    with pytest.raises(UnknownName, match="did you mean 'left'"):
        trials.select(["leftt"])


@pytest.mark.parametrize(
    ("faulty", "told"),
    [
        (lambda: Rates([1.0, 2.0], 1), r"got shape \(2,\)"),
        (lambda: Rates([[1.0], [1.0, 2.0]], 1), "unequal numbers of samples"),
        (lambda: Rates([["a"]], 1), "allowed are real numbers"),
        (lambda: Rates(np.empty((0, 2)), 1), "got no samples"),
        (lambda: Rates(np.empty((2, 0)), 1), "got none"),
        (lambda: Rates([[1.0, np.nan]], 1, units="ab"), r"1 are NaN or infinite \(first: unit 'b', sample 0\)"),
        (lambda: Rates(VALUES, 0), "step: got 0"),
        (lambda: Rates(VALUES, 1).binned(0.5), "allowed are whole numbers of the recording's steps of 1 s"),
        (lambda: Rates(VALUES, 1).binned(11), "wider than the 10 s"),
        (lambda: Rates(VALUES, 1).trial_binned(1), "the recording has none"),
        (lambda: Rates(VALUES, 1, trials=Trials([0.5], [1.2])).trial_binned(), "wider than the 0 s"),
        (lambda: Rates(VALUES, 1).window(0.2, 0.8), "holds no whole step"),
        (lambda: Rates(VALUES, 1, trials=Trials([5], [12])), "not inside the recording"),
        (lambda: Trials([], []), "got 0 starts"),
        (lambda: Trials([0], [1, 2]), "got 1 starts, 2 ends"),
        (lambda: Trials([0, 1], [1, 2], ["a"]), "and 1 conditions"),
        (lambda: Trials([0, np.nan], [1, 2]), "NaN or infinite"),
        (lambda: Trials([1], [1]), "the end must follow the start"),
        (lambda: Trials([0, 1], [1.5, 2]), "before trial 0 ends at 1.5 s"),
        (lambda: Trials.every(0, 3), "duration: got 0"),
        (lambda: Trials.every(1, 0), "at least one"),
    ],
)
def test_a_fault_is_one_clear_line(faulty: object, told: str) -> None:
    with pytest.raises(InvalidValue, match=told) as caught:
        faulty()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
