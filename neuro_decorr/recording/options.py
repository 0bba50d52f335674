"""Options of `load`, the same for every reader."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypeAlias

from neuro_decorr.recording.assembly import Mends

Format: TypeAlias = Literal["npz", "csv", "parquet", "nwb", "nix"]
"""Formats that are written and read; their names are also the endings of files."""

Foreign: TypeAlias = Literal["phy", "alf", "suite2p", "caiman", "mat", "nest", "npy"]
"""Formats that are only read."""

Content: TypeAlias = Literal["spikes", "rates"]
"""Content to take from a source that holds both."""

Layout: TypeAlias = Literal["time_units", "units_time"]
"""Meaning of the rows of an array of rates: samples in time, or units."""

Period: TypeAlias = tuple[float, float]


class Options(Mends, total=False):
    """Options of reading: the part to read, and facts that the file does not contain.

    An option that a format cannot use is refused.

    format: a name in `Format` or `Foreign`, or the name of one of Neo's readers, such as `"blackrock"`; without it the
    content decides. content: spikes or rates, for a file that holds both. variable: the array of a `.mat` or `.npz`
    file, or two of them, `"times,units"`. series: the trace or time series to read. units: labels of the units to read.
    quality: labels of a curation, such as `["good", "mua"]`, or `["all"]`; without it units marked as noise are left
    out. condition: column of the trials that is their condition; `""` takes all trials as one condition. trial_table: a
    file with one row per trial, if the files of the recording hold no trials, or other trials; see `trial_tables.read`.
    sampling_rate: samples per second (Hz) of rates, and of spike times in samples. step: length of a step of rates (s).
    layout: meaning of the rows of an array of rates. period: period to read (s) on the clock of the file; only data in
    the period must be valid.
    """

    format: str | None
    content: Content | None
    variable: str | None
    series: str | None
    units: Sequence[object] | None
    quality: Sequence[str] | None
    condition: str | None
    trial_table: str | PathLike[str] | None
    sampling_rate: float | None
    step: float | None
    layout: Layout | None
    period: Period | None
