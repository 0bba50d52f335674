"""Surrogates: the same units with nothing in common in time, while the properties of each unit are kept."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import surrogate_makers as makers
from neuro_decorr.metrics import trends
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.repeats import by_condition, in_trials, kept_over_trials
from neuro_decorr.metrics.surrogate_makers import Made, Surrogates
from neuro_decorr.metrics.trends import Cutoff
from neuro_decorr.recording import Rates, SpikeTrains
from neuro_decorr.recording.binning import SLACK

Kind: TypeAlias = Literal["auto", Made]
"""Kind of surrogates: one of `Made`, or `"auto"`, which chooses by the data, see `surrogates`."""

DITHERED_BINS = 4
"""Default reach of `"dither"` and `"jitter"`, in bins."""
SHIFTED, FEWEST_SHIFTED = 20, 6
"""Number of trials per condition from which `"auto"` shifts trials, and smallest number that can be shifted."""
SLOW_TRIALS = 6
"""Fluctuations slower than this many trials are removed if units drift over trials."""
SHORTEST = 10
"""Smallest number of samples between two gaps of a recording; shorter parts are left out."""


class Making(TypedDict, total=False):
    """Arguments of `surrogates` that every comparison with surrogates passes on."""

    kind: Kind
    cutoff: Cutoff
    reach: float | None


def surrogates(
    activity: Activity,
    bin: float | None = None,
    *,
    kind: Kind = "auto",
    cutoff: Cutoff = "auto",
    reach: float | None = None,
) -> Surrogates:
    r"""Choose surrogates that suit the data, and treat the data in the same way as the surrogates.

    Independent units that drift separately correlate; two straight lines do so perfectly. A shift around the end turns
    a drift into a saw-tooth, and so does not show the correlations that drifts give by chance. `"auto"` chooses:

    - with trials, if neighbouring trials are independent: `"trial_shuffle"`;
    - with trials, if units drift over them or neighbouring trials depend on each other: `"trial_shift"`, or
      `"trial_shuffle"` if a condition has fewer than 20 trials; first, fluctuations slower than six trials are removed;
    - without trials, if units drift: `"local_shift"`;
    - without trials, if units do not drift: `"circular_shift"`.

    If units drift, fluctuations slower than a tenth of the recording are removed, because the recording holds too few
    of their periods to tell a shared drift from separate ones. Then units are shifted by up to a tenth of the
    recording: windows of equal length are cut at a random place of every unit, and from the middle for the data. After
    the removal, windows of linear trends, of random walks and of stationary activity have the same distribution at
    every place, so that p-values of independent units are uniform.

    At a gap of a recording the levels of all units jump at the same time, each by its own amount. Therefore each part
    between two gaps loses its mean and is shifted by itself, by `"local_shift"`; no activity moves across a gap.

    Cost: P N per cosine that is removed, P N^2 per surrogate, for P samples and N units.

    Sources: Harris (2020), Nonsense correlations in neuroscience, doi:10.1101/2020.11.29.402719 (shifts without
    wrapping); Louis, Gerstein, Gruen and Diesmann (2010), Surrogate spike train generation through dithering in
    operational time, Frontiers in Computational Neuroscience 4, doi:10.3389/fncom.2010.00127; Amarasingham, Harrison,
    Hatsopoulos and Geman (2012), Conditional modeling and the jitter method of spike resampling, J. Neurophysiology
    107, doi:10.1152/jn.00633.2011.

    Args:
        activity: Array `(samples, units)`, rates or spike trains. `"auto"` uses the trials of a recording that has
            them; for surrogates over all of the time choose another kind.
        bin: Width of the bins (s), for spike trains and rates; None with trials: one bin per trial.
        kind: Kind of surrogates, see `Made`, or `"auto"`.
        cutoff: Fluctuations slower than this are removed first, see `Cutoff`; in trials for surrogates of trials, where
            `"auto"` is six.
        reach: Largest shift (s, samples of an array, or trials). None: a tenth of the recording, or four bins for
            `"dither"` and `"jitter"`. No effect for `"circular_shift"` and `"trial_shuffle"`.

    Returns:
        Surrogates, with the moments of the data.

    Raises:
        InvalidValue: Fewer than two units vary, there are too few samples or trials, a number is out of range, or the
            kind needs spikes or trials and there are none.
        MissingExtra: Elephant is not installed, which `"dither"` and `"jitter"` need.
    """
    checks.refuse(
        "surrogates",
        checks.word("kind", kind, get_args(Kind)),
        None if cutoff in ("auto", None) else checks.number("cutoff", cutoff, above=0),
        None if reach is None else checks.number("reach", reach, above=0),
    )
    has_trials = getattr(activity, "trials", None) is not None
    if kind in ("trial_shuffle", "trial_shift") or (kind == "auto" and has_trials):
        return over_trials(*in_trials(activity, bin), kind, cutoff, reach)
    return _over_time(activity, bin, kind, cutoff, reach)


def _over_time(activity: Activity, bin: float | None, kind: Kind, cutoff: Cutoff, reach: float | None) -> Surrogates:
    values, step = trends.sampled(activity, bin)
    found = trends.drift(values)
    tenth = trends.tenth(values, step)
    slower = (tenth if found.found else None) if cutoff == "auto" else cutoff
    removed = 0 if slower is None else trends.components(len(values), slower, step)
    unit = "s" if isinstance(activity, SpikeTrains | Rates) else "samples"
    if isinstance(activity, SpikeTrains | Rates) and activity.gaps and kind not in ("dither", "jitter"):
        parts = _between_gaps(activity, step, len(values))
        asked = None if reach is None else round(reach / step)
        made, by = _shifted_between_gaps(values, parts, kind, None if slower is None else slower / step, asked)
        reach = by * step
        how = f"each of {len(parts)} parts between gaps is shifted in itself, less its mean, up to {reach:.3g} {unit}"
    elif kind == "circular_shift" or (kind == "auto" and not found.found):
        made, reach = makers.shifted_around(values, removed), None
        how = "every unit is shifted by any amount, around the end"
    elif kind in ("local_shift", "auto"):
        reach = tenth if reach is None else reach
        made = makers.shifted_locally(values, round(reach / step), None if slower is None else slower / step)
        how = f"every unit is shifted by up to {reach:.3g} {unit}, nothing around the end"
    else:
        if not isinstance(activity, SpikeTrains):
            raise InvalidValue(f"kind: {kind!r} moves spikes; give SpikeTrains, or choose a shift.")
        assert kind in ("dither", "jitter")
        reach = DITHERED_BINS * step if reach is None else reach
        made = makers.moved(activity, step, kind, reach, removed)
        how = f"every spike is {'moved by up to' if kind == 'dither' else 'drawn anew in its window of'} {reach:.3g} s"
    what = "nothing is removed" if slower is None else f"what is slower than {slower:.3g} {unit} is removed"
    return dataclasses.replace(made, reason=f"{found}; {what}; {how}", cutoff=slower, reach=reach)


def _between_gaps(recording: SpikeTrains | Rates, step: float, samples: int) -> list[NDArray[np.intp]]:
    """Indices of the samples of each part between gaps, without parts that are too short."""
    lengths = [math.floor((high - low) / step + SLACK) for low, high in recording.pieces]
    parts = [part for part in np.split(np.arange(samples), np.cumsum(lengths)[:-1]) if len(part) >= SHORTEST]
    if not parts:
        raise InvalidValue(
            f"activity: got at most {max(lengths)} samples between two gaps; surrogates need at least {SHORTEST}: "
            "choose narrower bins."
        )
    return parts


def _shifted_between_gaps(
    values: trends.Array, parts: list[NDArray[np.intp]], kind: Kind, cutoff: float | None, reach: int | None
) -> tuple[Surrogates, int]:
    """Shift every part by itself, and give the largest shift (samples)."""
    if kind == "circular_shift":
        raise InvalidValue(
            "kind: 'circular_shift' carries activity over the gaps of the recording; choose 'local_shift', or a period "
            "without gaps."
        )
    reaches = [max(1, round(len(part) / 10)) if reach is None else reach for part in parts]
    if any(by < 1 or 4 * by > len(part) for by, part in zip(reaches, parts, strict=True)):
        raise InvalidValue(
            f"reach: got {reach} samples, with only {min(map(len, parts))} between two gaps; a local shift moves units "
            "by 1 sample to a quarter of these: choose another reach."
        )
    made = makers.shifted_trials(values[:, None], parts, reaches, cutoff)  # each sample counts as a trial of one bin
    return dataclasses.replace(made, kind="local_shift", trial=np.zeros_like(made.trial)), max(reaches)


def over_trials(
    samples: trends.Array,
    labels: Sequence[str],
    kind: Kind = "auto",
    cutoff: Cutoff = "auto",
    reach: float | None = None,
) -> Surrogates:
    """Choose surrogates of trials, `"trial_shuffle"` or `"trial_shift"`; see `surrogates`.

    Args:
        samples: Samples of each trial, shape `(trials, bins, units)`.
        labels: Condition of each trial.
        kind: `"trial_shuffle"`, `"trial_shift"` or `"auto"`.
        cutoff: Fluctuations slower than this are removed first (trials), see `Cutoff`.
        reach: Largest shift (trials); None: a tenth of the trials of each condition.

    Returns:
        Surrogates, with the moments of the data.

    Raises:
        InvalidValue: A condition has too few trials for the shifts, or fewer than two units vary.
    """
    conditions = by_condition(labels)
    fewest = min(map(len, conditions))
    kept = kept_over_trials(samples, conditions)
    what = f"{len(samples)} trials of {len(conditions)} condition{'s' if len(conditions) > 1 else ''}"
    what += f"; units {'drift or keep something' if kept else 'keep nothing'} from trial to trial"
    shuffles = kind == "trial_shuffle" or (kind == "auto" and (fewest < SHIFTED or not kept))
    slower = (SLOW_TRIALS if kept else None) if cutoff == "auto" else cutoff
    what += "; the mean response of each condition is removed"
    what += "" if slower is None else f", and what is slower than {slower:.3g} trials"
    if shuffles:
        made, reach = makers.shuffled_trials(samples, conditions, slower), None
        how = "each unit's trials of a condition are exchanged"
    else:
        reaches = [max(1, round(len(members) / 10 if reach is None else reach)) for members in conditions]
        if fewest < FEWEST_SHIFTED or any(4 * by > len(own) for by, own in zip(reaches, conditions, strict=True)):
            raise InvalidValue(
                f"trials: got a condition with {fewest}; a shift by {max(reaches)} needs {4 * max(reaches)}, and at "
                f"least {FEWEST_SHIFTED}: choose a smaller reach, or leave the condition out."
            )
        made, reach = makers.shifted_trials(samples, conditions, reaches, slower), float(max(reaches))
        how = f"each unit's trials of a condition are shifted by up to {reach:g}"
    return dataclasses.replace(made, reason=f"{what}; {how}", cutoff=slower, reach=reach)
