"""Spike times that betray another unit of time than seconds."""

from __future__ import annotations

import numpy as np

from neuro_decorr.recording import SpikeTrains

SLOWEST, FASTEST = 0.02, 500.0
"""Median rates (Hz) outside these are not those of neurons, or of units that are worth a correlation."""
FACTORS = {
    "milliseconds": 1e3,
    "samples at 30 kHz": 3e4,
    "microseconds": 1e6,
    "seconds that were divided by 1,000": 1e-3,
}
"""What the times may be instead, and by how much their rates are then too low."""


def time_unit(trains: SpikeTrains) -> list[str]:
    """What the rates and the times say about their unit.

    A median rate below 0.02 or above 500 Hz is told together with what it would be if the times were milliseconds,
    samples, microseconds or milliseconds taken for more; only whole numbers, and only whole milliseconds, are told too.

    Args:
        trains: Spike trains.

    Returns:
        Warnings, none where the times look like seconds.
    """
    firing = trains.rate[trains.rate > 0]
    if not firing.size:
        return []
    warnings = []
    rate = float(np.median(firing))
    if not SLOWEST <= rate <= FASTEST:
        likely = [f"{rate * k:.3g} Hz if they are {name}" for name, k in FACTORS.items() if 0.2 <= rate * k <= 200]
        warnings.append(
            f"the median rate is {rate:.3g} Hz: are the times seconds? {', '.join(likely) or 'check their unit'}"
        )
    times = np.concatenate([unit[:1000] for unit in trains.times])
    if len(times) >= 100:
        if bool((times == np.round(times)).all()):
            warnings.append("all times are whole numbers: samples or milliseconds taken for seconds?")
        elif bool((np.abs(1e3 * times - np.round(1e3 * times)) < 1e-6 * np.maximum(1, np.abs(times))).all()):
            warnings.append(
                "all times are whole milliseconds: coincidences and refractory periods are as coarse as that"
            )
    return warnings
