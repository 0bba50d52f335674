"""Whether units correlate more than surrogates of the same units that share nothing in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.activity import Activity, as_samples
from neuro_decorr.metrics.chance import shifted
from neuro_decorr.metrics.samples import Silent
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.sums import moments
from neuro_decorr.metrics.trains import Surrogate, surrogate_trains
from neuro_decorr.recording import SpikeTrains

Method: TypeAlias = Literal["shift"] | Surrogate
"""`"shift"` shifts every unit in time around the end, any activity; the others move the spikes of spike trains."""


class SurrogateNull(NamedTuple):
    """The mean absolute correlation, and that of every surrogate."""

    observed: float
    surrogates: NDArray[np.float64]  # (surrogates,)
    p_value: float  # (1 + surrogates at least as correlated) / (1 + surrogates), one-sided


def surrogate_null(
    activity: Activity,
    bin: float | None = None,
    *,
    method: Method = "shift",
    dt: float = 0.02,
    surrogates: int = 99,
    silent: Silent = "drop",
    seed: int = 0,
) -> SurrogateNull:
    r"""Mean absolute correlation against surrogates that keep each unit and break what units share.

    $$p = \frac{1 + \#\{s : \overline{|r|}_s \ge \overline{|r|}\}}{1 + S}$$

    Unlike the sampling floor it needs no independent samples: a shift keeps the autocorrelation of every unit. A
    p-value says that units correlate, not how much: report the correlation and its interval with it.

    Cost: P N^2 for each surrogate.

    Source: Phipson and Smyth (2010), Permutation p-values should never be zero, doi:10.2202/1544-6115.1585.

    Args:
        activity: Array, rates or spike trains, whose counts are held as one array for `"shift"`.
        bin: Width of the bins (s) of spike trains.
        method: How surrogates are made.
        dt: How far spikes are moved (s), for methods that move them; larger than the correlations' time scale.
        surrogates: How many, at least 19: p cannot be below 1 / (surrogates + 1).
        silent: Policy for units that never vary.
        seed: Seed of the surrogates.

    Returns:
        The observed value, those of the surrogates, and the p-value.

    Raises:
        InvalidValue: An unknown method, too few surrogates, fewer than two units that vary; see `moments`.
    """
    checks.refuse(
        "surrogate_null",
        checks.word("method", method, ("shift", *get_args(Surrogate))),
        checks.whole_number("surrogates", surrogates, least=19, hint="fewer cannot reach p = 0.05"),
    )
    observed = moments(activity, bin, silent=silent).pairs.mean_absolute
    if np.isnan(observed):
        raise InvalidValue(
            "activity: fewer than two units vary, or silent ones are kept; there is no correlation to compare."
        )
    made = _drawn(activity, bin, method, dt, surrogates, silent, seed)
    drawn = np.array([found.pairs.mean_absolute for found in made])
    return SurrogateNull(observed, drawn, (1 + int((drawn >= observed).sum())) / (1 + surrogates))


def _drawn(
    activity: Activity, bin: float | None, method: Method, dt: float, surrogates: int, silent: Silent, seed: int
) -> Iterator[Moments]:
    if method == "shift":
        samples = as_samples(activity, bin)
        array = samples if isinstance(samples, np.ndarray) else samples.detach().cpu().numpy()
        kept = array if silent != "drop" else array[:, (array != array[:1]).any(axis=0)]
        yield from shifted(kept, surrogates, seed)
        return
    if not isinstance(activity, SpikeTrains):
        raise InvalidValue(f"method: {method!r} moves spikes; give SpikeTrains, or choose method='shift'.")
    for index in range(surrogates):
        yield moments(surrogate_trains(activity, method, dt=dt, seed=seed + index), bin, silent=silent)
