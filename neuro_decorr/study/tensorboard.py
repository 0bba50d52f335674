"""Curves of the runs for TensorBoard, made from the stored rows; they are for viewing and no part of the results."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, final

from neuro_decorr.errors import require
from neuro_decorr.study.conditions import Condition, Scalar
from neuro_decorr.study.files import unwritable
from neuro_decorr.study.recorder import TIMINGS
from neuro_decorr.study.store import StoredRun

FOLDER = "tensorboard"
STEPS = ("step", "epoch", "update", "iteration", "batch")
"""Columns for the horizontal axis: the first one that a kind of rows has; without one, the number of the row."""

Points: TypeAlias = list[tuple[int, float]]
_LONGEST = 120
"""Largest number of letters of the name of a run's folder, without its key."""


@final
class TensorBoard:
    """Writes `DIR/tensorboard/STAGE/RUN`, one folder per run, as a whole or not at all.

    A run that has a folder is not written again, so that a resumed study has no point twice. Numbers have double
    precision. The class needs the extra `tensorboard`.

    Args:
        directory: Directory of the study.

    Raises:
        MissingExtra: TensorBoard is not installed.
    """

    def __init__(self, directory: Path) -> None:
        require("tensorboard", "tensorboard")
        self._directory = directory / FOLDER

    def keep(self, run: StoredRun) -> None:
        """Write a run that has no folder yet.

        Raises:
            Unwritable: The operating system refuses.
        """
        if not self.folder(run.condition).exists():
            self.write(run)

    def write(self, run: StoredRun) -> None:
        """Write a run, and replace its folder if there is one.

        Raises:
            Unwritable: The operating system refuses.
        """
        folder = self.folder(run.condition)
        # Named like all unfinished work, so that the rest of a killed process is removed later.
        made = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        try:
            made.mkdir(parents=True, exist_ok=True)
            _write(made, run)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)
            made.replace(folder)
        except OSError as error:
            raise unwritable(folder, error) from error
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def folder(self, condition: Condition) -> Path:
        """Return the folder of a run, named by its factors and its seed, as TensorBoard shows it."""
        # In sorted order: the order of the declaration is not stored, and a condition does not depend on it.
        levels = [*(f"{name}={level}" for name, level in sorted(condition.factors.items())), f"seed={condition.seed}"]
        name = re.sub(r"[^\w.=+-]+", "_", ",".join(levels).replace(",", "__"))
        return self._directory / condition.stage / f"{name[:_LONGEST]}__{condition.key[:8]}"


def curves(rows: Mapping[str, Sequence[Mapping[str, Scalar]]]) -> dict[str, Points]:
    """Make curves from the numbers of a run.

    Every column of numbers is a curve `KIND/COLUMN`. Where texts or switches distinguish rows of one kind, such as the
    name of a layer, there is one curve `KIND/COLUMN/LEVEL` for each of their levels. Where a step occurs twice within a
    curve, the number of the row replaces it.

    Args:
        rows: Rows by kind; timings are left out.

    Returns:
        Steps and values by name of the curve. A cell without a value gives no point.
    """
    found: dict[str, Points] = {}
    for kind, table in rows.items():
        if kind == TIMINGS:
            continue
        axis = next((name for name in STEPS if table and all(_is_step(row.get(name)) for row in table)), None)
        groups: dict[str, list[Mapping[str, Scalar]]] = {}
        for row in table:
            texts = [str(value) for value in row.values() if isinstance(value, str | bool)]
            groups.setdefault("/".join(texts), []).append(row)
        for group, inside in groups.items():
            steps = [row[axis] for row in inside] if axis is not None else []
            if len(set(steps)) < len(inside):
                steps = list(range(len(inside)))
            columns = dict.fromkeys(name for row in inside for name in row if name != axis)
            for column in columns:
                name = "/".join(part for part in (kind, column, group) if part)
                found[name] = list(_points(steps, [row.get(column) for row in inside]))
    return {name: points for name, points in found.items() if points}


def _points(steps: Sequence[Any], values: Sequence[Scalar]) -> Iterator[tuple[int, float]]:
    for step, value in zip(steps, values, strict=True):
        if isinstance(value, int | float) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # a whole number beyond the range of floats
                yield int(step), float(value)


def _is_step(value: Scalar | None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _write(folder: Path, run: StoredRun) -> None:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    found = curves(run.rows)
    factors = {name: "none" if level is None else level for name, level in run.condition.factors.items()}
    last = {name: points[-1][1] for name, points in found.items() if math.isfinite(points[-1][1])}
    with SummaryWriter(log_dir=str(folder)) as writer:
        for name, points in found.items():
            for step, value in points:
                writer.add_scalar(name, value, step, new_style=True, double_precision=True)
        # Not add_hparams, which would add a point to every curve.
        started = {**factors, "stage": run.condition.stage, "seed": run.condition.seed}
        for summary in hparams(started, last):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)
        if run.reason is not None:
            writer.add_text("diverged", run.reason, run.step)
