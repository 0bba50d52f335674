"""Selection of the units of a file by their labels and by the quality of a curation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import checks
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled

NOISE = "noise"
"""Label of a curation for noise, which is no unit."""


def select(given: Raw | Sampled, options: Options, quality: Sequence[str] | None = None) -> None:
    """Keep the selected units, before any check of their data.

    Args:
        given: Data of a reader, changed here, with a note about units that are left out.
        options: Options with `units` and `quality`.
        quality: Quality of each unit by the curation; None without a curation.

    Raises:
        UnknownName: No unit has one of the labels.
        InvalidValue: No unit has one of the qualities, or no unit remains.
    """
    count = len(given.times) if isinstance(given, Raw) else given.values.shape[1]
    given.units = names = checks.labels(given.units, count)
    wanted, asked = options.get("units"), options.get("quality")
    kept: Sequence[int] = range(count) if wanted is None else checks.chosen(wanted, names)
    if asked or (quality is not None and wanted is None):  # a unit that the user names is kept at any quality
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
