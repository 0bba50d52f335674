"""Runs of a study on disk: one sealed JSON file per run, with its rows and weights beside it, without pickle.

DIR/configuration.json               protocol, seeds, configuration
DIR/provenance.json                  sessions of the study: versions, commit, seeds, machine, times
DIR/origins/KEY.json                 digests of data, protocol and library, file by file
DIR/runs/STAGE/KEY.json              a run: condition, divergence, times, origin, kinds of few rows, checksums of its
                                     other files; with a checksum of its own
DIR/runs/STAGE/KEY.KIND.parquet      its rows of a kind that has more than 200
DIR/weights/STAGE/KEY.safetensors    its weights
DIR/replaced/NUMBER/                 runs of another origin that were computed again
DIR/rows/KIND.parquet, README.md, tables/, figures/, finding.txt, index.html    made from these; .report.json lists them
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, final

from neuro_decorr.errors import InvalidValue, StateMismatch, require
from neuro_decorr.study import files
from neuro_decorr.study.conditions import Condition, Scalar
from neuro_decorr.study.files import Damaged
from neuro_decorr.study.heads import checked
from neuro_decorr.study.recorder import TIMINGS, Recorder
from neuro_decorr.study.rows import FEW, Block, Few, Many, Row, Rows, encoded, grouped

Bundle: TypeAlias = dict[str, bytes]
"""Files of a run: their contents by path below the study directory, the run's own file last."""


@final
class Kinds(Mapping[str, list[Row]]):
    """Rows of a stored run by their kind, read from the disk at every access.

    Args:
        kinds: The rows, not yet read.
    """

    def __init__(self, kinds: Mapping[str, Rows]) -> None:
        self.unread = kinds

    def __getitem__(self, kind: str) -> list[Row]:
        return self.unread[kind].block().rows()

    def __iter__(self) -> Iterator[str]:
        return iter(self.unread)

    def __len__(self) -> int:
        return len(self.unread)


@final
@dataclass(frozen=True)
class StoredRun:
    """Run on disk.

    Attributes:
        condition: Condition of the run.
        rows: Its measurements and timings, by their kind.
        diverged: True if it diverged.
        step: Step of the divergence, or None.
        reason: Reason of the divergence, or None.
        wall_seconds: Wall time of the whole run (s).
        cpu_seconds: CPU time of the whole run (s).
        origin: Data, code and versions that it was made from; see `Origin.brief`.
        weights: Checksum of its weights, or None.
        files: Checksums of its other files, by path below the study directory.
    """

    condition: Condition
    rows: Mapping[str, list[dict[str, Scalar]]]
    diverged: bool
    step: int | None
    reason: str | None
    wall_seconds: float
    cpu_seconds: float
    origin: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def unread(self, kind: str) -> Rows | None:
        """Return the rows of one kind, not yet read; None where there are none."""
        if isinstance(self.rows, Kinds):
            return self.rows.unread.get(kind)
        return Few(grouped(self.rows[kind])) if kind in self.rows else None


@final
class Store:
    """Store of the runs of one study.

    Args:
        directory: Directory of the study.
        fingerprint: Digest of its protocol and configuration, which every run carries; a run with another digest does
            not belong to the study.
        origin: Data, code and versions of the runs that are saved.
    """

    def __init__(self, directory: Path, fingerprint: str, origin: Mapping[str, Any] | None = None) -> None:
        self.directory = directory
        self._fingerprint = fingerprint
        self._origin = dict(origin or {})

    def path(self, condition: Condition) -> Path:
        """Return the file of a run."""
        return self.directory / "runs" / condition.stage / f"{condition.key}.json"

    def weights_path(self, condition: Condition) -> Path:
        """Return the file of a run's weights."""
        return self.directory / "weights" / condition.stage / f"{condition.key}.safetensors"

    def rows_path(self, condition: Condition, kind: str) -> Path:
        """Return the Parquet file of a run's rows of one kind."""
        return self.directory / "runs" / condition.stage / f"{condition.key}.{kind}.parquet"

    def count(self) -> int:
        """Count the stored runs of all stages."""
        return sum(1 for _ in (self.directory / "runs").glob("*/*.json"))

    def save(self, condition: Condition, recorder: Recorder, wall_seconds: float, cpu_seconds: float) -> None:
        """Store a run as a whole or not at all: `write` its `bundle`, which explains the arguments.

        Raises:
            Unwritable: The directory cannot be written.
        """
        self.write(self.bundle(condition, recorder, wall_seconds, cpu_seconds))

    def bundle(self, condition: Condition, recorder: Recorder, wall_seconds: float, cpu_seconds: float) -> Bundle:
        """Make the files of a run without writing them.

        Args:
            condition: Condition of the run.
            recorder: Recorder of the run.
            wall_seconds: Wall time of the run (s).
            cpu_seconds: CPU time of the run (s).

        Returns:
            The files for `write`, here or in another process.
        """
        made: Bundle = {}
        weights = None
        if recorder.tensors is not None:
            content = _serialised(recorder.tensors)
            weights = files.digest(content)
            made[self._place(self.weights_path(condition))] = content
        few, many = {}, {}
        for kind, rows in recorder.rows.items():
            groups = grouped(rows)
            parquet = encoded(Block.of(groups)) if len(rows) > FEW else None
            if parquet is None:
                few[kind] = groups
                continue
            content, types = parquet
            made[self._place(self.rows_path(condition, kind))] = content
            columns = [[name, sorted(found)] for name, found in types.items()]
            many[kind] = {"checksum": files.digest(content), "count": len(rows), "columns": columns}
        payload = {
            "study": self._fingerprint,
            "origin": self._origin,
            "stage": condition.stage,
            "seed": condition.seed,
            "factors": dict(condition.factors),
            "diverged": recorder.reason is not None,
            "step": recorder.step,
            "reason": recorder.reason,
            "weights": weights,
            "wall_seconds": wall_seconds,
            "cpu_seconds": cpu_seconds,
            "rows": few,
            "parquet": many,
        }
        made[self._place(self.path(condition))] = files.seal(payload)
        return made

    def write(self, bundle: Bundle) -> None:
        """Write the files of a run, its own file last: until then the run is not stored.

        Args:
            bundle: Result of `bundle` or `contents`.

        Raises:
            InvalidValue: A path leads out of `runs/` and `weights/`.
            Unwritable: The directory cannot be written.
        """
        for place in bundle:
            parts = PurePosixPath(place).parts
            if len(parts) != 3 or parts[0] not in ("runs", "weights") or ".." in parts:
                raise InvalidValue(f"a run has no file '{place}'; allowed are runs/STAGE/NAME and weights/STAGE/NAME.")
        for place, content in bundle.items():
            files.write(self.directory / place, content)

    def load(self, condition: Condition) -> StoredRun | None:
        """Load a stored run. Its files are checked now; its rows are read later.

        Args:
            condition: Condition of the run.

        Returns:
            The run, or None when it is not stored.

        Raises:
            Damaged: A file of the run has changed; the message names the file.
            StateMismatch: The run was stored by an early version, without its origin.
        """
        return self._read(self.path(condition))

    def contents(self, run: StoredRun) -> Bundle:
        """Read the files of a stored run, for `write` of another store.

        Args:
            run: Result of `load` or `survey`.

        Returns:
            The files.

        Raises:
            Damaged: A file has changed.
        """
        made = {place: self._checked(self.directory / place, checksum) for place, checksum in run.files.items()}
        path = self.path(run.condition)
        return {**made, self._place(path): self._checked(path, None)}

    def survey(self) -> dict[Condition, StoredRun]:
        """Load every run of this study that is stored and whole; a damaged one raises only when `load` is called."""
        found: dict[Condition, StoredRun] = {}
        for path in sorted((self.directory / "runs").glob("*/*.json")):
            try:
                run = self._read(path)
            except Damaged:
                continue
            if run is not None:
                found[run.condition] = run
        return found

    def set_aside(self, run: StoredRun, folder: Path) -> None:
        """Move a run out of the study; after a kill in between it is either whole or not stored.

        Args:
            run: The run.
            folder: Target folder, with the same paths below it as in the study.
        """
        for path in (self.path(run.condition), *(self.directory / place for place in run.files)):
            aside = folder / path.relative_to(self.directory)
            try:
                aside.parent.mkdir(parents=True, exist_ok=True)
                path.replace(aside)
            except OSError as error:
                raise files.unwritable(aside, error) from error

    def sweep(self, known: Mapping[Condition, StoredRun]) -> None:
        """Remove rows and weights of runs that were killed before their own file was written.

        Args:
            known: Result of `survey`. Files of a damaged run stay until it is computed again.
        """
        named = {place for run in known.values() for place in run.files}
        keys = {condition.key for condition in known}
        for pattern in ("runs/*/*.parquet", "weights/*/*.safetensors"):
            for path in self.directory.glob(pattern):
                key, stage = path.name.split(".")[0], path.parent.name
                whole = key in keys or not (self.directory / "runs" / stage / f"{key}.json").exists()
                if whole and self._place(path) not in named:
                    path.unlink(missing_ok=True)

    def _place(self, path: Path) -> str:
        return path.relative_to(self.directory).as_posix()

    def _checked(self, path: Path, checksum: str | None) -> bytes:
        """Read a file of a run and check its checksum. None: the file has a checksum of its own."""
        try:
            content = files.read(path)
            if checksum is None:
                files.unseal(content)
            elif files.digest(content) != checksum:
                raise Damaged("damaged (its checksum does not fit)")
        except FileNotFoundError as error:
            raise Damaged(f"{path} is missing") from error
        except Damaged as error:
            raise Damaged(f"{path} is {error}") from error
        return content

    def _read(self, path: Path) -> StoredRun | None:
        try:
            payload = checked(files.unseal(files.read(path)))
            condition = Condition(payload["stage"], payload["seed"], payload["factors"])
            if self.path(condition) != path or payload["study"] != self._fingerprint:
                raise Damaged("of another run or study")
        except FileNotFoundError:
            return None
        except Damaged as error:
            raise Damaged(f"{path} is {error}") from error
        if "origin" not in payload or "parquet" not in payload:
            raise StateMismatch(
                f"{self.directory} was begun by an earlier version, whose runs do not record their data, code and "
                "versions; run the study again in another directory."
            )
        beside = {}
        kinds: dict[str, Rows] = {kind: Few(groups) for kind, groups in payload["rows"].items()}
        for kind, told in payload["parquet"].items():
            place = self.rows_path(condition, kind)
            beside[self._place(place)] = told["checksum"]
            # An absolute path, since a protocol may change the current directory before it reads the rows.
            content = partial(self._checked, place.absolute(), told["checksum"])
            kinds[kind] = Many(content, told["count"], told["columns"])
        if payload["weights"] is not None:
            beside[self._place(self.weights_path(condition))] = payload["weights"]
        for name, checksum in beside.items():
            self._checked(self.directory / name, checksum)
        return StoredRun(
            condition=condition,
            rows=Kinds(kinds),
            diverged=payload["diverged"],
            step=payload["step"],
            reason=payload["reason"],
            wall_seconds=payload["wall_seconds"],
            cpu_seconds=payload["cpu_seconds"],
            origin=payload["origin"],
            weights=payload["weights"],
            files=beside,
        )


def same_results(one: StoredRun, other: StoredRun) -> bool:
    """Compare the results of two runs of one condition: divergence, weights, and every cell except timings.

    Args:
        one: A run.
        other: Another run.

    Returns:
        True if all are equal, types included: nan equals nan, and 1 does not equal 1.0.
    """

    def text(run: StoredRun, kind: str) -> str:
        return repr(run.rows[kind])  # as texts, since 1, 1.0 and True compare as equal, and nan differs from itself

    def end(run: StoredRun) -> tuple[Any, ...]:
        return run.condition, run.diverged, run.step, run.reason, run.weights, run.rows.keys() - {TIMINGS}

    if end(one) != end(other):
        return False
    # Files with equal bytes hold equal rows, and need not be read.
    both = {place for place, checksum in one.files.items() if other.files.get(place) == checksum}
    kinds = [
        kind for kind in one.rows if kind != TIMINGS and not any(place.endswith(f".{kind}.parquet") for place in both)
    ]
    return all(text(one, kind) == text(other, kind) for kind in kinds)


def load_weights(directory: str | PathLike[str], condition: Condition) -> dict[str, Any]:
    """Load the weights that a run recorded.

    Args:
        directory: Directory of the study.
        condition: Condition of the run.

    Returns:
        Tensors by name.

    Raises:
        InvalidValue: The run has no stored weights.
        Damaged: The file of the weights has changed.
    """
    store = Store(Path(directory), "")
    path = store.weights_path(condition)
    if not path.is_file():
        raise InvalidValue(
            f"the run '{condition.label}' has no weights in {directory}; record them in the run: recorder.weights(...)."
        )
    head = files.unseal(store._checked(store.path(condition), None))
    content = store._checked(path, str(head.get("weights")))
    try:
        tensors: dict[str, Any] = require("safetensors.torch", "study").load(content)
    except Exception as error:  # of any kind: the error of safetensors has no builtin base
        raise Damaged(f"{path} is damaged ({error}).") from error
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
