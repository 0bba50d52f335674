"""Assembly of rates from the values of a source: the chosen period, without times marked as invalid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import checks, pieces
from neuro_decorr.recording.options import Layout, Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.trials import Trials

_SLACK = 1e-8  # of a step


@final
@dataclass
class Sampled:
    """Values of a source, not yet checked; outside the chosen period they need not be valid.

    Attributes:
        values: Values, shape `(samples, units)`.
        step: Length of a step (s).
        start: Start of the first step (s).
        units: Label of each unit; None if the source has none.
        trials: Windows of the trials.
        quantity: Physical unit of the values.
        notes: Notes of the reader about what it changed or does not know.
        gaps: Periods (s) without samples.
        positions: Position of each unit (micrometres).
        invalid: Periods (s) to leave out.
    """

    values: NDArray[Any]
    step: float
    start: float = 0.0
    units: Sequence[object] | None = None
    trials: Trials | None = None
    quantity: str = ""
    notes: list[str] = field(default_factory=list)
    gaps: Sequence[tuple[float, float]] = ()
    positions: ArrayLike | None = None
    invalid: Sequence[tuple[float, float]] = ()

    def keep(self, units: Sequence[int]) -> None:
        """Keep some of the units.

        Args:
            units: Their positions, in the order wanted.
        """
        self.values = self.values[:, list(units)]
        self.units = None if self.units is None else [self.units[k] for k in units]
        self.positions = None if self.positions is None else np.asarray(self.positions)[list(units)]


def assemble(given: Sampled, period: tuple[float, float] | None = None) -> Rates:
    """Assemble rates from the values of a source.

    Args:
        given: The values.
        period: Period to take (s), on the clock of the source; None: all. Only data in the period must be valid.

    Returns:
        The rates, without steps that are not wholly in the period or that touch an invalid time.

    Raises:
        InvalidValue: The period is not inside the recording, no step remains, or `Rates` refuses the data.
    """
    step, notes = checks.seconds("step", given.step), list(given.notes)
    # One unit of zeros has the clock of the recording, also if values are not valid.
    whole = Rates(np.zeros((len(given.values), 1)), step, given.start, gaps=given.gaps)
    begin = whole.step_starts()
    kept = np.ones(len(begin), dtype=bool)
    if period is not None:
        low, high = checks.window(*period, (whole.start, whole.stop))
        kept &= (begin >= low - _SLACK * step) & (begin + step <= high + _SLACK * step)
    wanted = int(kept.sum())
    for low, high in given.invalid:
        kept &= (begin >= high - _SLACK * step) | (begin + step <= low + _SLACK * step)
    if kept.sum() < wanted:
        notes.append(f"times marked as invalid are gaps: {wanted - kept.sum()} of {wanted} samples are left out")
    if not kept.any():
        raise InvalidValue(f"period: no whole step of {step:g} s is left; choose a longer one, or another.")
    rows = np.flatnonzero(kept)
    # A piece ends where a row is missing, or where the clock itself makes a jump.
    jumps = [first for first, _, _ in whole.rows()]
    firsts = rows[np.flatnonzero((np.diff(rows, prepend=-2) > 1) | np.isin(rows, jumps))]
    lasts = rows[[*(np.searchsorted(rows, firsts[1:]) - 1), len(rows) - 1]]
    edges = [(float(begin[a]), float(begin[b] + step)) for a, b in zip(firsts, lasts, strict=True)]
    gaps = tuple((high, low) for (_, high), (low, _) in itertools.pairwise(edges))
    contiguous = len(rows) == rows[-1] - rows[0] + 1
    values = given.values[rows[0] : rows[-1] + 1] if contiguous else given.values[rows]
    trials, lost = pieces.inside(given.trials, edges[0][0], edges[-1][1], gaps)
    notes += lost
    return Rates(
        values, step, edges[0][0], given.units, trials, given.quantity, notes, gaps, given.positions
    )  # fmt: skip


def step_of(options: Options, known: float | None = None, where: str = "the file") -> float:
    """Length of a step, from the options or from the source.

    Args:
        options: Options with `step` or `sampling_rate`, which take precedence over the source.
        known: Length of a step in the source (s); None: unknown.
        where: Name of the source for the error.

    Returns:
        The length (s).

    Raises:
        InvalidValue: Both options are given, or no length is known.
    """
    step, rate = options.get("step"), options.get("sampling_rate")
    if step is not None and rate is not None:
        raise InvalidValue(f"step: got {step:g} s and sampling_rate {rate:g} Hz; give one of them.")
    if step is not None:
        return checks.seconds("step", step)
    if rate is not None:
        return 1 / hertz(rate)
    if known is None:
        raise InvalidValue(f"step: {where} does not say how long a sample lasts; give step (s) or sampling_rate (Hz).")
    return known


def hertz(rate: float) -> float:
    """Check a sampling rate.

    Args:
        rate: Samples per second (Hz).

    Returns:
        The rate.

    Raises:
        InvalidValue: The rate is no positive number.
    """
    try:
        number = float(rate)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < np.inf:
        raise InvalidValue(f"sampling_rate: got {rate!r}; allowed is a positive number of Hz, such as 30000.")
    return number


def matrix(values: NDArray[Any], layout: Layout | None, units: int | None = None) -> Any:
    """Orient a matrix of rates, with samples as rows.

    Args:
        values: The matrix.
        layout: Meaning of its rows; None: samples.
        units: Number of units, if the source contains it.

    Returns:
        The matrix, shape `(samples, units)`.

    Raises:
        InvalidValue: The values are no matrix of numbers, or there are more units than samples and no `layout`.
    """
    if values.ndim != 2 or values.dtype.kind not in "fiub":
        raise InvalidValue(f"values: got {values.dtype} of shape {values.shape}; allowed are numbers (samples, units).")
    if layout not in (None, "time_units", "units_time"):
        raise InvalidValue(f"layout: got {layout!r}; allowed are 'time_units' and 'units_time'.")
    if layout is None and units is not None and units == len(values) != values.shape[1]:
        return values.T
    if layout is None and units != values.shape[1] and values.shape[0] < values.shape[1]:
        raise InvalidValue(
            f"values: got shape {values.shape}, which would be {values.shape[0]} samples of {values.shape[1]} units: "
            "is it transposed? Give layout='units_time' if its rows are units, layout='time_units' if they are samples."
        )
    return values.T if layout == "units_time" else values
