"""Surrogates: the same units with nothing in common in time, made so that what each unit does alone stays."""

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
"""One of `Made`, or `"auto"`: chosen by what varies, see `surrogates`."""

DITHERED_BINS = 4
SHIFTED, FEWEST_SHIFTED = 20, 6
"""Trials a condition from which on `"auto"` shifts them, and fewest that can be shifted."""
SLOW_TRIALS = 6
"""Where units drift over trials, what is slower than so many trials is removed."""
SHORTEST = 10
"""Samples between two gaps of a recording; where there are fewer, they are left out: nothing can be shifted there."""


class Making(TypedDict, total=False):
    """How surrogates are made: what `surrogates` takes, and every comparison with surrogates hands on to it."""

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
    r"""Choose surrogates by what varies in the data, and treat the data as the surrogates are treated.

    Independent units that drift, each in its own way, correlate: two straight lines do so perfectly. A shift around the
    end makes a saw-tooth of a drift, and so does not show what drifts give by chance. `"auto"` chooses:

    - units of a recording with trials, whose trials follow each other in no order: `"trial_shuffle"`;
    - with trials, units that drift over them or keep something from trial to trial: `"trial_shift"`, or, with fewer
      than 20 trials of a condition, `"trial_shuffle"`, either after what is slower than six trials was removed;
    - without trials, units that drift: `"local_shift"`;
    - without trials, units that do not: `"circular_shift"`.

    Where units drift, what is slower than a tenth of the recording is removed: there are too few periods of it to tell
    a shared drift from drifts of their own. Then units are shifted by up to a tenth of the recording: windows of one
    length, cut from every unit at a place of its own, the data's from the middle. Windows of linear trends, of random
    walks and of stationary activity have, after that, the same distribution wherever they lie, so that p-values of
    independent units are uniform.

    At a gap of a recording the level of all units jumps at the same time, each its own way. So what lies between two
    gaps loses its mean and is shifted by itself, `"local_shift"`: nothing is carried over a gap.

    Cost: P N for each cosine that is removed, P N^2 for each surrogate.

    Sources: Harris (2020), Nonsense correlations in neuroscience, doi:10.1101/2020.11.29.402719 (shifts without
    wrapping); Louis, Gerstein, Gruen and Diesmann (2010), Surrogate spike train generation through dithering in
    operational time, Frontiers in Computational Neuroscience 4, doi:10.3389/fncom.2010.00127; Amarasingham, Harrison,
    Hatsopoulos and Geman (2012), Conditional modeling and the jitter method of spike resampling, J. Neurophysiology
    107, doi:10.1152/jn.00633.2011.

    Args:
        activity: Array `(samples, units)`, rates or spike trains. Trials are used where the recording has them: for
            surrogates over all of its time name another kind, or give it without.
        bin: Width of the bins (s) of recordings; with trials, one bin a trial when None.
        kind: How surrogates are made.
        cutoff: What is removed first, see `Cutoff`; of trials in trials, and `"auto"` is six.
        reach: How far units are moved: s, samples of an array, or trials; a tenth of what is there when None, and four
            bins for `"dither"` and `"jitter"`. Without meaning for `"circular_shift"` and `"trial_shuffle"`.

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
    """The samples between the gaps, as far as there are enough."""
    lengths = [math.floor((high - low) / step + SLACK) for low, high in recording.pieces]
    parts = [part for part in np.split(np.arange(samples), np.cumsum(lengths)[:-1]) if len(part) >= SHORTEST]
    if not parts:
        raise InvalidValue(
            f"activity: between gaps there are {max(lengths)} samples at most, and surrogates need {SHORTEST}; choose "
            "narrower bins."
        )
    return parts


def _shifted_between_gaps(
    values: trends.Array, parts: list[NDArray[np.intp]], kind: Kind, cutoff: float | None, reach: int | None
) -> tuple[Surrogates, int]:
    """Local shifts of every part by itself, and how far they go at most (samples)."""
    if kind == "circular_shift":
        raise InvalidValue(
            "kind: 'circular_shift' carries activity over the gaps of the recording; choose 'local_shift', or a period "
            "without gaps."
        )
    reaches = [max(1, round(len(part) / 10)) if reach is None else reach for part in parts]
    if any(by < 1 or 4 * by > len(part) for by, part in zip(reaches, parts, strict=True)):
        raise InvalidValue(
            f"reach: got {reach} samples; between two gaps there are only {min(map(len, parts))}, and a local shift "
            "moves units by 1 sample or more, and by a quarter at most: choose another reach."
        )
    made = makers.shifted_trials(values[:, None], parts, reaches, cutoff)  # of one sample each
    return dataclasses.replace(made, kind="local_shift", trial=np.zeros_like(made.trial)), max(reaches)


def over_trials(
    samples: trends.Array,
    labels: Sequence[str],
    kind: Kind = "auto",
    cutoff: Cutoff = "auto",
    reach: float | None = None,
) -> Surrogates:
    """Surrogates of trials, `"trial_shuffle"` or `"trial_shift"`; see `surrogates`.

    Args:
        samples: Samples of each trial, shape `(trials, bins, units)`.
        labels: Condition of each trial.
        kind: How surrogates are made.
        cutoff: What is removed first (trials).
        reach: How far units are shifted (trials).

    Returns:
        The surrogates.
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
                f"trials: a condition has {fewest}; shifts by {max(reaches)} need 4 times as many, and at least "
                f"{FEWEST_SHIFTED}: choose a smaller reach, or leave the condition out."
            )
        made, reach = makers.shifted_trials(samples, conditions, reaches, slower), float(max(reaches))
        how = f"each unit's trials of a condition are shifted by up to {reach:g}"
    return dataclasses.replace(made, reason=f"{what}; {how}", cutoff=slower, reach=reach)
