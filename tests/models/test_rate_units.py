from __future__ import annotations

import numpy as np
import pytest
from brian2 import Network, StateMonitor, ms

from models.rate_units import rate_units
from neuro_decorr.errors import InvalidValue

pytestmark = pytest.mark.usefixtures("brian_on_numpy")


def test_units_follow_their_stimuli_less_the_inhibition() -> None:
    """Against the closed form of Euler's method."""
    stimuli = np.array([[1.0, -2.0], [0.5, 4.0]])
    group = rate_units(stimuli, time_constant=10 * ms, hold=50 * ms, step=1 * ms)
    group.inhibition = [0.25, 0.5]
    course = StateMonitor(group, "x", record=True, dt=50 * ms)
    Network(group, course).run(150 * ms)
    left, first = 0.9**50, stimuli[0] - [0.25, 0.5]
    second = stimuli[1] - [0.25, 0.5]
    np.testing.assert_allclose(course.x[:, 1], first * (1 - left), rtol=1e-12)
    np.testing.assert_allclose(course.x[:, 2], second + (first * (1 - left) - second) * left, rtol=1e-12)


def test_stimuli_have_rows() -> None:
    with pytest.raises(InvalidValue, match=r"allowed is \(stimuli, units\), one row per stimulus"):
        rate_units([1.0, 2.0], time_constant=10 * ms, hold=50 * ms, step=1 * ms)
