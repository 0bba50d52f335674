"""Files of CaImAn: traces of the components that it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled, step_of
from neuro_decorr.recording.selection import NOISE, select

SERIES = ("F_dff", "C", "S", "YrA")
"""Series that can be read: fluorescence relative to its baseline, denoised traces, deconvolved activity, residuals."""


def read(path: Path, options: Options) -> Sampled:
    """Read one series of a file that `CNMF.save` wrote.

    Args:
        path: The HDF5 file.
        options: See `Options`; `series` is one of `SERIES`, None: the first that the file has. The quality of a
            component is `good` or `noise`, by CaImAn's evaluation (`idx_components`).

    Returns:
        The trace of every accepted component, to be assembled.

    Raises:
        InvalidValue: The file has no such series, or no frame rate.
    """
    h5py = require("h5py", "recordings")
    with h5py.File(path) as file:
        estimates = file["estimates"]
        there = [name for name in SERIES if _is_matrix(estimates.get(name))]
        wanted = options.get("series") or (there[0] if there else None)
        if wanted not in there:
            raise InvalidValue(f"series: got {wanted!r}; the estimates hold {', '.join(there) or 'no traces'}.")
        values = estimates[wanted][()]
        accepted = estimates.get("idx_components")
        quality = None
        if isinstance(accepted, h5py.Dataset) and accepted.ndim == 1:
            rows = np.asarray(accepted[()], dtype=np.int64)
            quality = np.where(np.isin(np.arange(len(values)), rows), "good", NOISE).tolist()
        rate = file.get("params/data/fr")
        known = 1 / float(rate[()]) if isinstance(rate, h5py.Dataset) and rate.shape == () and rate[()] > 0 else None
    found = Sampled(values.T, step_of(options, known), notes=[f"series {wanted} of {', '.join(there)}"])
    select(found, options, quality)
    return found


def _is_matrix(item: Any) -> bool:
    # A series that CaImAn did not compute is stored as the text "NoneType".
    return item is not None and getattr(item, "ndim", 0) == 2 and item.dtype.kind in "fiu" and item.shape[0] > 0
