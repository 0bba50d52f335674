"""Folders of suite2p: fluorescence of cells and of their neuropil, and deconvolved activity."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import folders
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled, step_of
from neuro_decorr.recording.selection import NOISE, select

NEUROPIL = 0.7
"""Share of the neuropil's fluorescence that is subtracted, as in suite2p (Pachitariu et al. 2017, Suite2p: beyond
10,000 neurons with standard two-photon microscopy, doi:10.1101/061507)."""

SERIES = ("corrected", "F", "Fneu", "spks")
"""Series that can be read; `corrected` is $F - 0.7 F_{neu}$."""


def is_folder(path: Path) -> bool:
    """True if a folder is a plane of suite2p."""
    return (path / "F.npy").is_file() or (path / "spks.npy").is_file()


def read(path: Path, options: Options) -> Sampled:
    """Read one series of a plane; the label of a unit is its row among all regions.

    The frame rate is in `ops.npy`, a pickle, which is not read: give `sampling_rate` or `step`.

    Args:
        path: The folder of the plane.
        options: See `Options`; `series` is one of `SERIES`, None: `corrected`. The quality of a region is `good` or
            `noise`, by `iscell.npy`.

    Returns:
        The trace of every region that is a cell, to be assembled.

    Raises:
        InvalidValue: There is no such series, a file is missing or damaged, or there is no frame rate.
    """
    wanted = options.get("series") or "corrected"
    if wanted not in SERIES:
        raise InvalidValue(f"series: got {wanted!r}; allowed are {', '.join(SERIES)}.")
    kept = "suite2p, apart from ops.npy, which is not read because it is a pickle and a pickle can run any program,"
    step = step_of(options, None, kept)
    notes = []
    if wanted == "corrected":
        values, neuropil = folders.array(path / "F.npy"), folders.array(path / "Fneu.npy")
        if values.shape != neuropil.shape:
            raise InvalidValue(f"F.npy and Fneu.npy: got shapes {values.shape} and {neuropil.shape}: damaged?")
        values = values - np.asarray(NEUROPIL, dtype=values.dtype) * neuropil
        notes.append(f"fluorescence without {NEUROPIL:g} of the neuropil's (series: {', '.join(SERIES)})")
    else:
        values = folders.array(path / f"{wanted}.npy")
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InvalidValue(f"{wanted}: got {values.dtype} of shape {values.shape}; allowed is (regions, frames).")
    quality = None
    if (path / "iscell.npy").is_file():
        cell = folders.array(path / "iscell.npy")
        if cell.ndim != 2 or len(cell) != len(values):
            raise InvalidValue(f"iscell.npy: got shape {cell.shape} for {len(values)} regions: damaged?")
        quality = np.where(cell[:, 0] > 0, "good", NOISE).tolist()
    found = Sampled(values.T, step, notes=notes)
    select(found, options, quality)
    return found
