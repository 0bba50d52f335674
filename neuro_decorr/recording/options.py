"""What `load` can be told about a file; every reader takes the same options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from neuro_decorr.recording.assembly import Mends

Format: TypeAlias = Literal["npz", "csv", "parquet", "nwb", "nix"]
"""The formats that are written; their names are the endings, too."""

Foreign: TypeAlias = Literal["phy", "alf", "suite2p", "caiman", "mat", "nest", "npy"]
"""The formats that are only read."""

Content: TypeAlias = Literal["spikes", "rates"]
"""What to take of a source that holds both."""

Layout: TypeAlias = Literal["time_units", "units_time"]
"""What the rows of an array of rates are: samples in time, or units."""

Period: TypeAlias = tuple[float, float]


class Options(Mends, total=False):
    """What to read of a file, and what the file itself does not say. An option that a format cannot use is refused.

    format: a name in `Format` or `Foreign`, found by content without it; or the name of one of Neo's readers, such as
    `"blackrock"`. content: spikes or rates, of a file that holds both. variable: the array of a `.mat` or `.npz`
    file, or `"times,units"`, two of them. series: the trace or time series wanted. units: labels of the units
    wanted. quality: labels of a curation, such as `["good", "mua"]`; `["all"]` for all; what is marked as noise is left
    out without it. condition: the column of the trials that is their condition. sampling_rate: samples a second (Hz),
    where times are numbers of samples, and of rates. step: length of a step of rates (s). layout: what the rows of an
    array of rates are. period: the period wanted (s) on the clock of the file; only what is inside must be sound.
    """

    format: str | None
    content: Content | None
    variable: str | None
    series: str | None
    units: Sequence[object] | None
    quality: Sequence[str] | None
    condition: str | None
    sampling_rate: float | None
    step: float | None
    layout: Layout | None
    period: Period | None
