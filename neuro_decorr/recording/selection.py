"""Which units of a file are wanted: by their labels, by what their curation says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import checks
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled

NOISE = "noise"
"""What a curation calls units that are none."""


def select(given: Raw | Sampled, options: Options, quality: Sequence[str] | None = None) -> None:
    """Keep the units that are wanted, before anything else is asked of them.

    Args:
        given: What a reader found; changed here, with a note about what is left out.
        options: With `units` and `quality`.
        quality: What the curation says of each unit; None where there is none.

    Raises:
        UnknownName: A label that no unit has.
        InvalidValue: A quality that no unit has, or no unit that is left.
    """
    count = len(given.times) if isinstance(given, Raw) else given.values.shape[1]
    given.units = names = checks.labels(given.units, count)
    wanted, asked = options.get("units"), options.get("quality")
    kept: Sequence[int] = range(count) if wanted is None else checks.chosen(wanted, names)
    if asked or (quality is not None and wanted is None):  # who names a unit wants it, whatever its quality
        right = set(_by_quality(quality, asked, given.notes))
        lost = [names[k] for k in kept if k not in right]
        if wanted is not None and lost:
            raise InvalidValue(f"units: {', '.join(lost[:8])} are not of the quality asked for.")
        kept = [k for k in kept if k in right]
    if wanted is not None or len(kept) < count:
        given.keep(kept)


def _by_quality(found: Sequence[str] | None, wanted: Sequence[str] | str | None, notes: list[str]) -> Sequence[int]:
    if found is None:
        raise InvalidValue("quality: this source does not tell the quality of its units; leave the option out.")
    labels: Collection[str] = [wanted] if isinstance(wanted, str) else wanted or ()
    if "all" in labels:
        return range(len(found))
    held = ", ".join(f"{label} ({count})" for label, count in sorted(Counter(found).items()))
    strange = [label for label in labels if label not in found]
    if strange:
        raise InvalidValue(f"quality: no unit is {strange[0]!r}; there are {held}; 'all' takes all of them.")
    kept = [k for k, label in enumerate(found) if (label in labels if labels else label != NOISE)]
    if not kept:
        raise InvalidValue(f"quality: no unit is left; there are {held}; 'all' takes all of them.")
    if len(kept) < len(found):
        notes.append(f"quality {', '.join(labels) or 'other than noise'}: {len(kept)} of {len(found)} units ({held})")
    return kept
