"""Surrogates: the same units with nothing in common in time, made so that what each unit does alone stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import trends
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.bootstrap import generator
from neuro_decorr.metrics.repeats import Repeats, repeats
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.trains import Surrogate, surrogate_trains
from neuro_decorr.metrics.trends import Cutoff
from neuro_decorr.recording import SpikeTrains

Kind: TypeAlias = Literal["auto", "circular_shift", "local_shift", "trial_shuffle", "dither", "jitter"]
"""How surrogates are made.

`"circular_shift"` shifts every unit by any amount, around the end: keeps all that a stationary unit does alone.
`"local_shift"` shifts every unit by up to `reach`, nothing around the end: drifts stay where they are.
`"trial_shuffle"` removes the mean response of each condition, then exchanges each unit's trials of a condition.
`"dither"` moves every spike by up to `reach`; `"jitter"` draws every spike anew within its window of `reach`: what
units share more slowly stays, and what is tested is synchrony finer than that.
`"auto"`: `"trial_shuffle"` where a recording has trials, `"local_shift"` where units drift, else `"circular_shift"`.
"""

_ROWS = 8192  # samples whose products are summed at a time, in float32
_DITHERED_BINS = 4
_ELEPHANT: dict[str, Surrogate] = {"dither": "dither_spikes", "jitter": "jitter_spikes"}


@final
@dataclass(frozen=True, eq=False)
class Surrogates:
    """What is compared with surrogates, and how these are made."""

    kind: Kind  # never "auto"
    reason: str  # why this kind, and what was done first, in words
    cutoff: float | None  # s (samples of an array): what is slower was removed from data and surrogates; None: nothing
    reach: float | None  # how far: s (samples of an array), or trials; None: any distance
    units: NDArray[np.intp]  # those that are compared, by their position; the others hardly vary
    observed: Moments  # of the data, treated as the surrogates are
    _draw: Callable[[np.random.Generator], Moments]

    def moments(self, draws: int, seed: int = 0) -> Iterator[Moments]:
        """Moments of surrogates.

        Cost: P N^2 each.

        Args:
            draws: How many, at least 1.
            seed: Seed of the first; surrogate k is the same however many are drawn.

        Yields:
            Their moments.

        Raises:
            InvalidValue: No draws, a seed below zero, or a unit that never varies in a surrogate.
        """
        checks.refuse("surrogates", checks.whole_number("draws", draws, least=1))
        source = generator(seed)
        for _ in range(draws):
            yield self._draw(source)


def surrogates(
    activity: Activity,
    bin: float | None = None,
    *,
    kind: Kind = "auto",
    cutoff: Cutoff = "auto",
    reach: float | None = None,
) -> Surrogates:
    r"""Choose surrogates by what varies in the data, and treat the data as the surrogates are treated.

    Independent units that drift, each in its own way, correlate: two straight lines do so perfectly. A shift around the
    end makes a saw-tooth of a drift, and so does not show what drifts give by chance. Where units drift, `"auto"`
    removes what is slower than a tenth of the recording, of which there are too few periods to tell shared from own
    drift, and shifts units by up to a tenth of the recording: windows of one length, cut from every unit at a place of
    its own, the data's own from the middle. Windows of linear trends, of random walks and of stationary activity then
    have the same distribution wherever they lie, so that p-values of independent units are uniform.

    Cost: P N for each cosine that is removed, P N^2 for each surrogate.

    Sources: Harris (2020), Nonsense correlations in neuroscience, doi:10.1101/2020.11.29.402719 (shifts without
    wrapping); Louis, Gerstein, Gruen and Diesmann (2010), Surrogate spike train generation through dithering in
    operational time, Frontiers in Computational Neuroscience 4, doi:10.3389/fncom.2010.00127; Amarasingham, Harrison,
    Hatsopoulos and Geman (2012), Conditional modeling and the jitter method of spike resampling, J. Neurophysiology
    107, doi:10.1152/jn.00633.2011.

    Args:
        activity: Array `(samples, units)`, rates or spike trains. Trials are used where the recording has them: for
            surrogates over all of its time give it without, or another kind.
        bin: Width of the bins (s) of recordings.
        kind: How surrogates are made.
        cutoff: What is removed first, see `Cutoff`; of `"trial_shuffle"`, which removes responses, nothing.
        reach: How far activity is moved: s, or samples of an array; a tenth of what is there when None, and four bins
            for `"dither"` and `"jitter"`. Of `"trial_shuffle"`: trials are exchanged within blocks of so many
            neighbours of a condition, whose mean is removed; when None all of a condition, or 10 where units drift over
            the trials.

    Returns:
        The surrogates.

    Raises:
        InvalidValue: Fewer than two units that vary, too few samples or trials, numbers out of range, or a kind that
            needs spikes or trials where there are none.
        MissingExtra: Elephant, for `"dither"` and `"jitter"`, is not installed.
    """
    checks.refuse(
        "surrogates",
        checks.word("kind", kind, get_args(Kind)),
        None if cutoff in ("auto", None) else checks.number("cutoff", cutoff, above=0),
        None if reach is None else checks.number("reach", reach, above=0),
    )
    has_trials = getattr(activity, "trials", None) is not None
    if kind == "trial_shuffle" or (kind == "auto" and has_trials):
        return _over_trials(repeats(activity, bin, reach))
    values, step = trends.sampled(activity, bin)
    varying = values[:, np.ptp(values, axis=0) > 0]
    found = trends.drift(varying) if varying.size else trends.Drift(0.0, 0.0, False)
    tenth = max(len(values) * step / 10, 2 * step)
    chosen = kind if kind != "auto" else "local_shift" if found.found else "circular_shift"
    slower = (tenth if found.found else None) if cutoff == "auto" else cutoff
    share = f"the slowest 4 of 20 cosines hold {found.share:.0%} of the variance of all 20, where {found.expected:.0%} "
    drifting = "units drift" if found.found else "units do not drift"
    reason = f"{drifting} ({share}are expected); " if np.isfinite(found.share) else "too short to tell drift; "
    reason += "nothing is removed; " if slower is None else f"what is slower than {slower:.3g} is removed; "
    removed = 0 if slower is None else trends.components(len(values), slower, step)
    if chosen == "circular_shift":
        made = _shifted_around(values, removed)
        reason += "every unit is shifted by any amount, around the end"
    elif chosen == "local_shift":
        reach = tenth if reach is None else reach
        made = _shifted_locally(values, round(reach / step), slower, step)
        reason += f"every unit is shifted by up to {reach:.3g}, nothing around the end"
    else:
        if not isinstance(activity, SpikeTrains):
            raise InvalidValue(f"kind: {kind!r} moves spikes; give SpikeTrains, or choose a shift.")
        reach = _DITHERED_BINS * step if reach is None else reach
        made = _moved(activity, step, _ELEPHANT[chosen], reach, values, removed)
        verb = "moved by up to" if chosen == "dither" else "drawn anew in its window of"
        reason += f"every spike is {verb} {reach:.3g}"
    return dataclasses.replace(made, kind=chosen, reason=reason, cutoff=slower, reach=reach)


def _shifted_around(values: trends.Array, removed: int) -> Surrogates:
    kept = _varying(values)
    data = _rows(trends.without(values[:, kept], removed))

    def draw(source: np.random.Generator) -> Moments:
        shifts: list[int] = source.integers(0, data.shape[1], len(data)).tolist()
        return _moments(torch.stack([unit.roll(by) for unit, by in zip(data, shifts, strict=True)]), removed)

    return Surrogates("circular_shift", "", None, None, kept, _moments(data, removed), draw)


def _shifted_locally(values: trends.Array, reach: int, slower: float | None, step: float) -> Surrogates:
    length = len(values) - 2 * reach
    if reach < 1 or length < max(2, 2 * reach):
        raise InvalidValue(
            f"reach: got {reach} of {len(values)} samples; a local shift moves units by 1 sample or more, and by a "
            "quarter of the samples at most: choose another reach, or more samples."
        )
    # A unit that varies in what all windows have in common varies in every one.
    kept = _varying(values[2 * reach : len(values) - 2 * reach])
    data = _rows((values - values.mean(axis=0))[:, kept])
    count = 0 if slower is None else trends.components(length, slower, step)
    basis = torch.from_numpy(trends.cosines(length, count)).float() if count <= trends.NEXT else None

    def windows(starts: list[int]) -> Moments:
        cut = torch.stack([unit[start : start + length] for unit, start in zip(data, starts, strict=True)])
        cut -= cut.mean(dim=1, keepdim=True)
        if basis is None:
            return _moments(_rows(trends.without(cut.numpy().T.astype(np.float64), count)), count)
        return _moments(cut - (cut @ basis) @ basis.T, count)

    def draw(source: np.random.Generator) -> Moments:
        return windows(source.integers(0, 2 * reach + 1, len(data)).tolist())

    return Surrogates("local_shift", "", None, None, kept, windows([reach] * len(data)), draw)


def _moved(
    trains: SpikeTrains, bin: float, method: Surrogate, reach: float, counts: trends.Array, removed: int
) -> Surrogates:
    kept = _varying(counts)
    chosen = trains.select([trains.units[unit] for unit in kept])

    def draw(source: np.random.Generator) -> Moments:
        drawn = surrogate_trains(chosen, method, dt=reach, seed=int(source.integers(2**31)))
        return _moments(_rows(trends.without(drawn.counts(bin).astype(np.float64), removed)), removed)

    observed = _moments(_rows(trends.without(counts[:, kept], removed)), removed)
    return Surrogates("dither", "", None, None, kept, observed, draw)


def _over_trials(found: Repeats) -> Surrogates:
    kept = _varying(found.residual.reshape(-1, found.residual.shape[2]))
    trials, bins, _ = found.residual.shape
    data = _rows(found.residual[:, :, kept].reshape(trials * bins, -1)).reshape(-1, trials, bins)
    removed = len(found.blocks) * bins - 1  # means, the overall one among them

    def draw(source: np.random.Generator) -> Moments:
        order = np.tile(np.arange(trials), (len(data), 1))
        for block in found.blocks:
            order[:, block] = source.permuted(order[:, block], axis=1)
        shuffled = torch.stack([unit[torch.from_numpy(new)] for unit, new in zip(data, order, strict=True)])
        return _moments(shuffled.flatten(1), removed)

    observed = _moments(data.flatten(1), removed)
    return Surrogates("trial_shuffle", found.reason, None, found.reach, kept, observed, draw)


def _varying(values: trends.Array) -> NDArray[np.intp]:
    spread, size = np.ptp(values, axis=0), np.abs(values).max(axis=0, initial=0.0)
    kept = np.flatnonzero(spread > 1e-12 * size)
    if len(kept) < 2:
        raise InvalidValue("activity: fewer than two units vary in what is compared; there is no correlation to test.")
    return kept


def _rows(values: trends.Array) -> torch.Tensor:
    """One row a unit, contiguous, float32: the products of counts stay good to some 1e-6 of a correlation."""
    return torch.from_numpy(np.ascontiguousarray(values.T, dtype=np.float32))


def _moments(rows: torch.Tensor, removed: int) -> Moments:
    """Moments of units with mean zero that have lost so many degrees of freedom beside that of the mean."""
    units, samples = rows.shape
    degrees = samples - 1 - removed
    if degrees < 2:
        raise InvalidValue(
            f"activity: {samples} samples less {removed} components leave {degrees} degrees of freedom; at least 2 are "
            "needed: take more samples or a longer cutoff."
        )
    product = torch.zeros(units, units, dtype=torch.float64)
    fourth, unit_fourth = torch.zeros(2, dtype=torch.float64)
    for part in rows.split(_ROWS, dim=1):
        product += (part @ part.T).double()
        squares = part.square()
        fourth += squares.sum(dim=0).square().sum(dtype=torch.float64)
        unit_fourth += squares.square().sum(dtype=torch.float64)
    if not bool((product.diagonal() > 0).all()):
        raise InvalidValue("activity: a unit never varies in a surrogate; leave out units with hardly any spikes.")
    silent = torch.zeros(units, dtype=torch.bool)
    mean = torch.zeros(units, dtype=torch.float64)
    return Moments(degrees + 1, units, 0, True, product / degrees, silent, mean, fourth, unit_fourth)
