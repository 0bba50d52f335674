"""Statistics of spike trains by Elephant: spike time tiling, Fano factor, and surrogates with seeds."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.parameters import generator
from neuro_decorr.recording import SpikeTrains, to_neo
from neuro_decorr.recording.elephant_random import seeded

Surrogate: TypeAlias = Literal[
    "dither_spikes", "dither_spike_train", "jitter_spikes", "shuffle_isis", "randomise_spikes"
]
"""Method of Elephant: `"dither_spikes"` moves every spike, `"dither_spike_train"` every train as a whole, by up to
`dt`; `"jitter_spikes"` draws every spike anew inside its window of `dt`; `"shuffle_isis"` puts the intervals between
spikes in random order; `"randomise_spikes"` keeps only the number of spikes."""


def spike_time_tiling(trains: SpikeTrains, dt: float = 0.005) -> NDArray[np.float64]:
    r"""Spike time tiling coefficient of all pairs of units, a correlation that does not depend on the rates.

    $$\mathrm{STTC} = \frac12 \left( \frac{P_A - T_B}{1 - P_A T_B} + \frac{P_B - T_A}{1 - P_B T_A} \right)$$

    where $P_A$ is the share of the spikes of A within $\pm dt$ of a spike of B, and $T_A$ the share of the recording
    within $\pm dt$ of a spike of A.

    Cost: one call of Elephant per pair, about a millisecond each.

    Source: Cutts and Eglen (2014), Detecting pairwise correlations in spike trains, J. Neuroscience 34,
    doi:10.1523/JNEUROSCI.2767-14.2014; computed by Elephant.

    Args:
        trains: Spike trains.
        dt: Half the width of the window (s), above 0.

    Returns:
        Coefficients, shape `(units, units)`, symmetric; NaN for units without spikes, 1 on the diagonal of the others.

    Raises:
        InvalidValue: The window is not positive, or there is one unit only.
        MissingExtra: Elephant is not installed.
    """
    checks.refuse("spike_time_tiling", checks.number("dt", dt, above=0, hint="seconds"))
    count = len(trains.units)
    if count < 2:
        raise InvalidValue(f"trains: got {count} unit; pairs need at least 2.")
    correlation = require("elephant.spike_train_correlation", "recordings")
    seconds = require("quantities", "recordings").s
    neo = _neo(trains)
    found = np.full((count, count), np.nan)
    firing = [unit for unit, times in enumerate(trains.times) if len(times)]
    for position, first in enumerate(firing):
        found[first, first] = 1.0
        for second in firing[position + 1 :]:
            value = correlation.spike_time_tiling_coefficient(neo[first], neo[second], dt=dt * seconds)
            found[first, second] = found[second, first] = float(value)
    return found


def fano_factor(trains: SpikeTrains) -> NDArray[np.float64]:
    r"""Fano factor of every unit over the trials, $F_i = \operatorname{Var}(n_i) / \operatorname{E}(n_i)$ for counts n.

    It is one for a Poisson process. Elephant computes the variance, divided by the number of trials; `summary` has the
    Fano factor over bins.

    Cost: linear in the spikes and in the trials times units.

    Args:
        trains: Spike trains with at least two trials of one length. Trials of several conditions add the variance of
            the tuning: keep one condition with `Trials.select`.

    Returns:
        Fano factors, shape `(units,)`; NaN for units without a spike in any trial.

    Raises:
        InvalidValue: There are no trials, one trial only, or trials of unequal length.
        MissingExtra: Elephant is not installed.
    """
    counts, _ = trains.trial_counts()
    if len(counts) < 2:
        raise InvalidValue("trials: got 1; a variance over trials needs at least 2.")
    statistics = require("elephant.statistics", "recordings")
    # Elephant counts the entries of each train, so an array with as many entries as spikes serves as a train.
    factors = [
        statistics.fanofactor([np.zeros(count) for count in unit]) if unit.any() else np.nan for unit in counts.T
    ]
    return np.array(factors, dtype=float)


def surrogate_trains(
    trains: SpikeTrains, method: Surrogate = "dither_spikes", *, dt: float = 0.02, seed: int = 0
) -> SpikeTrains:
    """Make a surrogate of every unit, independent of the others; correlations that remain are not due to fine timing.

    Source: Stella, Bouss, Palm and Gruen (2022), Comparing surrogates to evaluate precisely timed higher-order spike
    correlations, eNeuro 9, doi:10.1523/ENEURO.0505-21.2022; drawn by Elephant.

    Args:
        trains: Spike trains.
        method: Method of moving spikes, see `Surrogate`.
        dt: Largest shift or width of the window (s); no effect for `"shuffle_isis"` and `"randomise_spikes"`.
        seed: Seed of the surrogate, an integer from 0 on.

    Returns:
        Spike trains with the same window, labels and trials. Spikes that dithering moves out of the window are left
        out, and spikes of a unit that coincide are merged.

    Raises:
        InvalidValue: The method is unknown, `dt` is not positive, or the recording has gaps.
        MissingExtra: Elephant is not installed.
    """
    checks.refuse(
        "surrogate_trains", checks.word("method", method, get_args(Surrogate)), checks.number("dt", dt, above=0)
    )
    if trains.gaps:
        raise InvalidValue("trains: got a recording with gaps; choose a period without gaps by window().")
    generator(seed)
    drawing = require("elephant.spike_train_surrogates", "recordings")
    seconds = require("quantities", "recordings").s
    moves = {} if method in ("shuffle_isis", "randomise_spikes") else {"dt": dt * seconds}
    with seeded(seed):
        drawn = [
            np.asarray(drawing.surrogates(train, 1, method=method, **moves)[0].rescale("s").magnitude, dtype=float)
            if len(train)
            else np.empty(0)
            for train in _neo(trains)
        ]
    inside = [np.unique(times[(times >= trains.start) & (times <= trains.stop)]) for times in drawn]
    return SpikeTrains(inside, trains.start, trains.stop, trains.units, trains.trials, notes=trains.notes)


def _neo(trains: SpikeTrains) -> list[Any]:
    return list(to_neo(SpikeTrains(trains.times, trains.start, trains.stop, trains.units)).segments[0].spiketrains)
