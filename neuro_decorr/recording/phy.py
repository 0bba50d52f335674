"""Folders of phy and Kilosort: spikes, clusters, their quality by curation, and their positions on the probe."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import arrays, folders, sampled, text
from neuro_decorr.recording.assembly import Raw, distinct, split
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.selection import select

_UNSORTED = ("", "nan", "unsorted")


def is_folder(path: Path) -> bool:
    """True if a folder is one of phy or Kilosort."""
    return (path / "spike_times.npy").is_file() and (path / "spike_clusters.npy").is_file()


def read(path: Path, options: Options) -> Raw:
    """Read the spikes of a sorted recording.

    `spike_times.npy` holds samples; the sampling rate is in `params.py`, which is parsed and never run. The quality of
    a cluster is its `group` in `cluster_group.tsv` or `cluster_info.tsv`, or without a curation its label in
    `cluster_KSLabel.tsv`. The position of a cluster is that of its channel in `cluster_info.tsv`, or else of the
    channel with the largest amplitude of its most frequent template.

    Args:
        path: The folder.
        options: See `Options`.

    Returns:
        The spikes, to be assembled.

    Raises:
        InvalidValue: A file is missing or damaged, there is no sampling rate, or the given one is not that of
            `params.py`.
    """
    hertz = _hertz(path, options.get("sampling_rate"))
    samples = arrays.vector("spike_times", folders.array(path / "spike_times.npy"))
    clusters = folders.integers(path / "spike_clusters.npy")
    tables = {name: table for name in _TABLES if (table := _table(path / f"cluster_{name}.tsv")) is not None}
    trains, labels, notes = split(samples / hertz, clusters, None)
    if not labels:
        raise InvalidValue("spike_times.npy: holds no spikes.")
    raw = Raw(trains, labels, notes=notes)
    quality = _quality(tables, labels, raw.notes)
    if quality is None and options.get("quality"):
        raise InvalidValue(
            "quality: the folder has none of cluster_group.tsv, cluster_info.tsv and cluster_KSLabel.tsv with a label "
            "of the units; add the file, or leave the option out."
        )
    raw.positions = _positions(path, tables, labels, clusters, raw.notes)
    select(raw, options, quality)
    return raw


_TABLES = ("group", "info", "KSLabel")


def _hertz(path: Path, given: float | None) -> float:
    """Sampling rate (Hz): that of `params.py`, or else the given one, which must not contradict it."""
    try:
        said = sampled.hertz(_sample_rate(path))
    except InvalidValue:
        if given is None:
            raise
        return sampled.hertz(given)
    if given is not None and not math.isclose(sampled.hertz(given), said, rel_tol=1e-9):
        raise InvalidValue(
            f"sampling_rate: got {given:.9g} Hz, but params.py says {said:.9g} Hz; leave the option out, or correct "
            "params.py."
        )
    return said


def _sample_rate(path: Path) -> Any:
    """Sampling rate in `params.py`, a program that is parsed and not run."""
    if not (path / "params.py").is_file():
        raise InvalidValue("params.py: is not there, so that the sampling rate is not known; give sampling_rate (Hz).")
    try:
        tree = ast.parse((path / "params.py").read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidValue(
            f"params.py: cannot be read ({error.__class__.__name__}); give sampling_rate (Hz)."
        ) from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "sample_rate" for t in node.targets
        ):
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                break
    raise InvalidValue("params.py: gives no number for sample_rate; give sampling_rate (Hz).")


def _table(path: Path) -> dict[str, dict[str, str]] | None:
    """Columns of a table of clusters, each with its cells by label of the cluster."""
    if not path.is_file():
        return None
    rows = folders.table(path, dtype=str, keep_default_na=False)
    key = next((name for name in ("cluster_id", "id") if name in rows.columns), None)
    if key is None:
        raise InvalidValue(f"{path.name}: has no column cluster_id.")
    return {name: dict(zip(rows[key], rows[name], strict=True)) for name in rows.columns}


def _quality(tables: dict[str, Any], labels: list[str], notes: list[str]) -> list[str] | None:
    columns = [tables.get(name, {}).get(column) for name, column in (("group", "group"), ("info", "group"))]
    columns += [tables.get(name, {}).get("KSLabel") for name in ("KSLabel", "info")]
    held = [column for column in columns if column is not None]
    if not held:
        return None
    found = []
    for label in labels:
        said = [column.get(label, "") for column in held]
        found.append(next((word for word in said if word.lower() not in _UNSORTED), "unsorted"))
    by_hand = [column for column in columns[:2] if column is not None]
    left = [name for name in labels if all(column.get(name, "").lower() in _UNSORTED for column in by_hand)]
    if left:
        notes.append(
            f"{len(left)} of {len(labels)} clusters were not curated by hand: Kilosort's label, if it gave one"
        )
    return found


def _positions(
    path: Path, tables: dict[str, Any], labels: list[str], clusters: NDArray[Any], notes: list[str]
) -> NDArray[np.float64] | None:
    if not (path / "channel_positions.npy").is_file():
        return None
    places = folders.array(path / "channel_positions.npy")
    if places.ndim != 2 or places.dtype.kind not in "fiu":
        raise InvalidValue(
            f"channel_positions.npy: got {places.dtype} of shape {places.shape}; allowed is one row each."
        )
    places = places.astype(np.float64)
    channels = _channels_of_info(path, tables.get("info", {}).get("ch"), labels)
    if channels is None:
        channels = _channels_of_templates(path, labels, clusters)
    if channels is None:
        notes.append("positions are not known: neither cluster_info.tsv nor templates.npy is there")
        return None
    known = (channels >= 0) & (channels < len(places))
    return np.where(known[:, None], places[np.where(known, channels, 0)], np.nan)


def _channels_of_info(path: Path, column: dict[str, str] | None, labels: list[str]) -> NDArray[np.int64] | None:
    """Row of each cluster's channel, which phy names, in the channel positions."""
    if column is None:
        return None
    named = np.array([int(float(cell)) if _number(cell := column.get(label, "")) else -1 for label in labels])
    if not (path / "channel_map.npy").is_file():
        return named
    where = {
        int(channel): row for row, channel in enumerate(arrays.flat(folders.array(path / "channel_map.npy")).tolist())
    }
    return np.array([where.get(int(channel), -1) for channel in named])


def _channels_of_templates(path: Path, labels: list[str], clusters: NDArray[Any]) -> NDArray[np.int64] | None:
    """Channel with the largest peak-to-trough amplitude of each cluster's most frequent template."""
    if not all((path / name).is_file() for name in ("templates.npy", "spike_templates.npy")):
        return None
    templates = folders.array(path / "templates.npy")  # (templates, samples, channels)
    of_spike = folders.integers(path / "spike_templates.npy")
    if templates.ndim != 3 or of_spike.shape != clusters.shape:
        raise InvalidValue(f"templates.npy: got shape {templates.shape} and {of_spike.shape} spike_templates: damaged?")
    largest = np.ptp(templates, axis=1).argmax(axis=1)
    sparse = path / "templates_ind.npy"
    if sparse.is_file() and (index := folders.array(sparse)).shape == (len(templates), templates.shape[2]):
        largest = index[np.arange(len(templates)), largest].astype(np.int64)
    # Each pair of cluster and template is one number; among equally frequent templates the first is taken.
    many = int(of_spike.max(initial=0)) + 1
    pairs, which = distinct(clusters.astype(np.int64) * many + of_spike.astype(np.int64))
    frequent = pairs[np.argsort(-np.bincount(which), kind="stable")]
    most = {pair // many: pair % many for pair in reversed(frequent.tolist())}
    chosen = [most[int(label)] for label in labels]
    return np.array([largest[k] if 0 <= k < len(largest) else -1 for k in chosen])


def _number(cell: str) -> bool:
    return text.is_number(cell) and np.isfinite(float(cell))
