"""The runs of a study on disk: one sealed JSON file a run, weights beside it without pickle.

DIR/configuration.json               protocol, seeds, configuration
DIR/provenance.json                  what made the study: versions, commit, seeds, machine, times
DIR/runs/STAGE/KEY.json              rows by kind, divergence of one run, with the checksum
DIR/weights/STAGE/KEY.safetensors    its weights; their checksum is in the run's file
DIR/rows/KIND.parquet, README.md, tables/, figures/, finding.txt, index.html    made from these
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.study import files
from neuro_decorr.study.conditions import Condition, Scalar
from neuro_decorr.study.files import Damaged
from neuro_decorr.study.recorder import Recorder


@final
@dataclass(frozen=True)
class StoredRun:
    """A run as it is on disk.

    Attributes:
        condition: What was run.
        rows: Its measurements and timings, by their kind.
        diverged: Whether it diverged.
        step: At which step, or None.
        reason: Why, or None.
        wall_seconds: Wall time of the whole run.
        cpu_seconds: CPU time of the whole run.
    """

    condition: Condition
    rows: dict[str, list[dict[str, Scalar]]]
    diverged: bool
    step: int | None
    reason: str | None
    wall_seconds: float
    cpu_seconds: float


@final
class Store:
    """The runs of one study.

    Args:
        directory: Directory of the study.
        fingerprint: Digest of its protocol and configuration, which every run carries; a run with another one is
            not of this study.
    """

    def __init__(self, directory: Path, fingerprint: str) -> None:
        self.directory = directory
        self._fingerprint = fingerprint

    def path(self, condition: Condition) -> Path:
        """The file of a run."""
        return self.directory / "runs" / condition.stage / f"{condition.key}.json"

    def weights_path(self, condition: Condition) -> Path:
        """The file of a run's weights."""
        return self.directory / "weights" / condition.stage / f"{condition.key}.safetensors"

    def count(self) -> int:
        """How many runs are stored, of all stages."""
        return sum(1 for _ in (self.directory / "runs").glob("*/*.json"))

    def save(self, condition: Condition, recorder: Recorder, wall_seconds: float, cpu_seconds: float) -> None:
        """Store a run. The run's file comes last, so a run is stored as a whole or not at all.

        Args:
            condition: What was run.
            recorder: What it recorded.
            wall_seconds: Wall time of the run.
            cpu_seconds: CPU time of the run.

        Raises:
            Unwritable: The directory cannot be written.
        """
        checksum = None
        if recorder.tensors is not None:
            content = _serialised(recorder.tensors)
            checksum = files.digest(content)
            files.write(self.weights_path(condition), content)
        payload = {
            "study": self._fingerprint,
            "stage": condition.stage,
            "seed": condition.seed,
            "factors": dict(condition.factors),
            "diverged": recorder.reason is not None,
            "step": recorder.step,
            "reason": recorder.reason,
            "weights": checksum,
            "wall_seconds": wall_seconds,
            "cpu_seconds": cpu_seconds,
            "rows": {kind: _columns(rows) for kind, rows in recorder.rows.items()},
        }
        files.write(self.path(condition), files.seal(payload))

    def load(self, condition: Condition) -> StoredRun | None:
        """A stored run, checked with its weights.

        Args:
            condition: Which run.

        Returns:
            The run, or None when it is not stored.

        Raises:
            Damaged: A file of it is not what was written; the message names the file.
        """
        path = self.path(condition)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            payload = files.unseal(content)
            found = Condition(payload["stage"], payload["seed"], payload["factors"])
            if found != condition or payload["study"] != self._fingerprint:
                raise Damaged("of another run or study")
            if payload["weights"] is not None:
                path = self.weights_path(condition)
                self._check_weights(path, payload["weights"])
        except Damaged as error:
            raise Damaged(f"{path} is {error}") from error
        return StoredRun(
            condition=condition,
            rows={kind: _rows(groups) for kind, groups in payload["rows"].items()},
            diverged=payload["diverged"],
            step=payload["step"],
            reason=payload["reason"],
            wall_seconds=payload["wall_seconds"],
            cpu_seconds=payload["cpu_seconds"],
        )

    def _check_weights(self, path: Path, checksum: str) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise Damaged("missing") from error
        if files.digest(content) != checksum:
            raise Damaged("damaged (its checksum does not fit)")


def load_weights(directory: Path, condition: Condition) -> dict[str, Any]:
    """The weights that a run recorded.

    Args:
        directory: Directory of the study.
        condition: Which run.

    Returns:
        Tensors by name.

    Raises:
        InvalidValue: The run has no stored weights.
    """
    path = Store(directory, "").weights_path(condition)
    if not path.is_file():
        raise InvalidValue(f"the run '{condition.label}' has no weights in {directory}; its run records none.")
    tensors: dict[str, Any] = require("safetensors.torch", "study").load_file(path)
    return tensors


def _serialised(tensors: dict[str, Any]) -> bytes:
    torch = sys.modules.get("torch")
    if torch is not None and any(isinstance(value, torch.Tensor) for value in tensors.values()):
        # Rows of a transposed or shared tensor are copied: the file holds each tensor whole, once.
        whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        content: bytes = require("safetensors.torch", "study").save(whole)
    else:
        content = require("safetensors.numpy", "study").save(tensors)
    return content


def _columns(rows: list[dict[str, Scalar]]) -> list[dict[str, Any]]:
    # Rows with the same columns name them once: a third of the size, and the order of the columns is kept
    # although the sealed text sorts the names of dicts.
    groups: list[dict[str, Any]] = []
    for row in rows:
        names = list(row)
        if not groups or groups[-1]["columns"] != names:
            groups.append({"columns": names, "values": []})
        groups[-1]["values"].append(list(row.values()))
    return groups


def _rows(groups: list[dict[str, Any]]) -> list[dict[str, Scalar]]:
    return [dict(zip(group["columns"], values, strict=True)) for group in groups for values in group["values"]]
