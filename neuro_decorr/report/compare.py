"""How two recordings, periods or conditions of the same units differ, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording.checks import chosen
from neuro_decorr.report.labels import printable
from neuro_decorr.report.picture import LEVEL, Method, Picture
from neuro_decorr.report.results import Table

_CAPTION = (
    "Second minus first, each at the same number of samples, with the floor of independent units and the 95 % interval "
    "of the difference over time; ratio: second over first."
)


@final
@dataclass(frozen=True, eq=False)
class Compared:
    """What differs.

    Attributes:
        found: The comparison of what was recorded.
        tables: It, and where something was removed for the surrogates the comparison of what is left.
        warnings: What a reader must know.
    """

    found: metrics.Comparison
    tables: list[Table]
    warnings: list[str]


def compare(first: Picture, second: Picture, method: Method) -> Compared:
    """Compare two recordings: `metrics.comparison`.

    Args:
        first: The one that is compared with.
        second: The other.
        method: How long blocks are, and the seed of the spikes that are deleted to match rates.

    Returns:
        The differences.

    Raises:
        InvalidValue: Fewer than two units that vary in both, or what `metrics.comparison` refuses.
    """
    one, other = first.sample, second.sample
    try:
        found = metrics.comparison(
            one.recording, other.recording, one.bin, over=one.over, block=method.block_of(one), level=LEVEL,
            seed=method.seed,
        )  # fmt: skip
    except InvalidValue as error:
        raise InvalidValue(f"against: {error}") from error
    caption = f"{_CAPTION} {found.facts}."
    if found.matched:
        caption += " Matched: spikes deleted at random until every unit has its lower rate in both."
    tables = [Table("comparison", caption, found.to_frame(), True)]
    warnings = list(map(printable, found.warnings))
    shared = [unit for unit in first.units if unit in set(second.units)]
    if first.removed and first.removed == second.removed and len(shared) > 1:
        left = [made.surrogates.samples[:, chosen(shared, made.units)].astype("float64") for made in (first, second)]
        again = metrics.comparison(left[0], left[1], level=LEVEL, seed=method.seed)
        caption = f"The same without {first.removed}. {again.facts}."
        tables.append(Table("comparison_without", caption, again.to_frame().drop(columns="rates"), True))
        warnings += map(printable, again.warnings)
    return Compared(found, tables, warnings)
