"""ALF folders of the International Brain Laboratory: one array per file, `object.attribute.extension`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import arrays, folders, sampled
from neuro_decorr.recording.assembly import Raw, split
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.selection import select
from neuro_decorr.recording.trials import Trials, of_table

# _namespace_object.attribute.uuid.extension, where namespace and uuid may be left out
_NAME = re.compile(r"(?:_\w+?_)?([a-z]\w*)\.(\w+)(?:\.[0-9a-f]{8}-[0-9a-f-]{27})?\.(npy|csv|tsv|pqt|parquet)")
_QUALITY = ("label", "ks2_label", "ks_label", "KSLabel", "group")


def is_folder(path: Path) -> bool:
    """True if a folder holds spikes in the format ALF."""
    held = _files(path)
    return "spikes.clusters" in held and ("spikes.times" in held or "spikes.samples" in held)


def read(path: Path, options: Options) -> Raw:
    """Read the spikes of a probe, with the trials of the session.

    Times are `spikes.times` (s), or `spikes.samples` with a sampling rate. The quality of a cluster is `good` if
    `label` in `clusters.metrics` is 1 (the cluster passed all criteria), else `mua`; without such a column it is
    Kilosort's label. The position of a cluster is that of `clusters.channels` in `channels.localCoordinates`. Trials
    are the table or the arrays `trials`, in the folder or in those above it, up to `alf`; the option `condition` names
    the column of their condition.

    Args:
        path: The folder of the probe.
        options: See `Options`.

    Returns:
        The spikes, to be assembled.

    Raises:
        InvalidValue: A file is missing or damaged, or the trials do not have the condition.
    """
    held = _files(path)
    rate = options.get("sampling_rate")
    if rate is not None or "spikes.times" not in held:
        if rate is None or "spikes.samples" not in held:
            raise InvalidValue(
                "sampling_rate: give it with spikes.samples.npy, and leave it out with spikes.times.npy, which is in "
                "seconds."
            )
        times = arrays.vector("spikes.samples", folders.array(held["spikes.samples"])) / sampled.hertz(rate)
    else:
        times = arrays.vector("spikes.times", folders.array(held["spikes.times"]))
    clusters = folders.integers(held["spikes.clusters"])
    channels = arrays.flat(folders.array(held["clusters.channels"])) if "clusters.channels" in held else None
    count = None if channels is None else len(channels)  # one row a cluster, silent ones too
    trains, labels, notes = split(times, clusters, None if count is None else range(count))
    raw = Raw(trains, labels, notes=notes)
    if channels is not None and channels.dtype.kind in "iu" and "channels.localCoordinates" in held:
        places = folders.array(held["channels.localCoordinates"])
        if places.ndim == 2 and channels.size and 0 <= channels.min() <= channels.max() < len(places):
            raw.positions = places[channels].astype(np.float64)
    raw.trials = _trials(path, options, raw.notes)
    select(raw, options, _quality(held, labels))
    return raw


def _files(path: Path) -> dict[str, Path]:
    """Files by `object.attribute`."""
    found = ((_NAME.fullmatch(file.name), file) for file in sorted(path.iterdir()) if file.is_file())
    return {f"{match[1]}.{match[2]}": file for match, file in found if match}


def _quality(held: dict[str, Path], labels: list[str]) -> list[str] | None:
    if "clusters.metrics" not in held:
        return None
    table = folders.table(held["clusters.metrics"])
    column = next((name for name in _QUALITY if name in table.columns), None)
    if column is None:
        return None
    rows = table["cluster_id"] if "cluster_id" in table.columns else range(len(table))
    said = {str(row): _word(value) for row, value in zip(rows, table[column], strict=True)}
    return [said.get(label, "unsorted") for label in labels]


def _word(value: object) -> str:
    """Quality of a cluster from the share of the criteria that it passes, or from a label."""
    if isinstance(value, int | float | np.number):
        return "good" if value == 1 else "mua"
    return str(value)


def _trials(path: Path, options: Options, notes: list[str]) -> Trials | None:
    columns: dict[str, NDArray[np.generic]] = {}
    for folder in [path, *path.resolve().parents[:3]]:
        held = {name: file for name, file in _files(folder).items() if name.startswith("trials.")}
        if "trials.table" in held:
            table = folders.table(held["trials.table"])
            columns |= {str(name): table[name].to_numpy() for name in table.columns}
        for name, file in held.items():
            if file.suffix == ".npy":
                array = folders.array(file)
                attribute = name.removeprefix("trials.")
                pairs = {f"{attribute}_{k}": array[:, k] for k in range(array.shape[1])} if array.ndim == 2 else {}
                columns |= pairs or {attribute: array}
        if columns or folder.name == "alf":
            break
    wanted = options.get("condition")
    if "intervals_0" not in columns or "intervals_1" not in columns:
        if wanted is not None:
            raise InvalidValue("condition: the session has no trials.intervals.")
        return None
    others = sorted(set(columns) - {"intervals_0", "intervals_1"})
    if wanted and wanted not in others:
        raise InvalidValue(f"condition: got {wanted!r}; the trials have {', '.join(others) or 'no such column'}.")
    if wanted is None and others:
        notes.append(f"which column of the trials is the condition? Name one of {', '.join(others)}; none is used")
    conditions = columns[wanted].tolist() if wanted else None
    return of_table(columns["intervals_0"], columns["intervals_1"], conditions, notes)
