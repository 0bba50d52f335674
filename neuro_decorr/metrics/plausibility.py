"""Warnings about spike times that are probably not in seconds."""

from __future__ import annotations

import numpy as np

from neuro_decorr.recording import SpikeTrains

SLOWEST, FASTEST = 0.02, 500.0
"""Limits of plausible median rates (Hz); outside, the units are no neurons or have too few spikes for correlations."""
FACTORS = {
    "milliseconds": 1e3,
    "samples at 30 kHz": 3e4,
    "microseconds": 1e6,
    "seconds that were divided by 1,000": 1e-3,
}
"""Units that the times may have instead of seconds, and the factor from the rate found to the true rate."""


def time_unit(trains: SpikeTrains) -> list[str]:
    """Warn of a wrong unit of time, judged by the rates and the times.

    A median rate below 0.02 Hz or above 500 Hz gives a warning, with the rates that would follow if the times were
    milliseconds, samples at 30 kHz, microseconds, or seconds divided by 1,000. Times that are all whole numbers, or all
    whole milliseconds, give a warning too.

    Args:
        trains: Spike trains.

    Returns:
        Warnings; an empty list if the times look like seconds.
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
