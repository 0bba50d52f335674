"""Linear rate units in Brian2 that take a lateral input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from neuro_decorr.errors import InvalidValue, require

if TYPE_CHECKING:
    import brian2
else:
    brian2 = require("brian2", "brian")


def rate_units(
    stimuli: ArrayLike, *, time_constant: brian2.Quantity, hold: brian2.Quantity, step: brian2.Quantity
) -> brian2.NeuronGroup:
    r"""Make units that follow a sequence of stimuli, minus their lateral input.

    $$\tau \dot x = -x + z(t) - m$$

    The lateral input m is the variable `inhibition`, which is zero until synapses set it. The integration is Euler's
    method; with lateral weights M it is stable for eigenvalues of I + M below 2 tau / step.

    Args:
        stimuli: z, shape (stimuli, units), without units; the last stimulus stays.
        time_constant: Time constant tau.
        hold: Duration of each stimulus.
        step: Time step.

    Returns:
        A group with the variables `x`, `z` and `inhibition`, on a clock of its own.

    Raises:
        InvalidValue: The stimuli have another shape.
    """
    values = np.asarray(stimuli, dtype=float)
    if values.ndim != 2 or 0 in values.shape:
        raise InvalidValue(f"stimuli: got the shape {values.shape}; allowed is (stimuli, units), one row per stimulus.")
    # Names are part of the compiled code; with equal names for every population, Cython uses its cache.
    stimulus = brian2.TimedArray(values, dt=hold, name="stimulus_of_rate_units")
    return brian2.NeuronGroup(
        values.shape[1],
        "dx/dt = (-x + z - inhibition)/time_constant : 1\nz = stimulus(t, i) : 1\ninhibition : 1",
        method="euler",
        clock=brian2.Clock(step, name="clock_of_rate_units"),
        name="rate_units",
        namespace={"stimulus": stimulus, "time_constant": time_constant},
    )
