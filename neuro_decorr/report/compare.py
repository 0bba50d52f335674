"""Tables of the differences between two recordings, periods or conditions of the same units."""

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
    "Second minus first at equal numbers of samples, with the floor of independent units and the 95 % interval "
    "of the difference over time; ratio: second over first."
)


@final
@dataclass(frozen=True, eq=False)
class Compared:
    """Differences of two recordings.

    Attributes:
        found: Comparison of the recordings as they are.
        tables: Its table; and, where something was removed for the surrogates, the comparison of the rest.
        warnings: Warnings for the reader.
    """

    found: metrics.Comparison
    tables: list[Table]
    warnings: list[str]


def compare(first: Picture, second: Picture, method: Method) -> Compared:
    """Compare two recordings with `metrics.comparison`.

    Args:
        first: The reference recording.
        second: The other recording.
        method: Length of the blocks, and seed for the deletion of spikes that matches rates.

    Returns:
        The differences.

    Raises:
        InvalidValue: Fewer than two units vary in both recordings; or see `metrics.comparison`.
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
