"""Record of the runs that the stages of a study declared, for readers from outside: `DIR/stages.json`, sealed.

Only the protocol knows its runs, and a later stage chooses them by the measurements of earlier ones. With the record
`neuro-decorr status` finds the missing runs without importing the protocol and without reading a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from neuro_decorr.study import files
from neuro_decorr.study.conditions import Condition

NAME = "stages.json"


@final
@dataclass(frozen=True)
class Declared:
    """Stages of a study, as far as its last session declared them.

    Attributes:
        question: The question of its protocol.
        count: Number of stages that have runs.
        command: Words of the command that resumes the study, without its directory; see `options.command`.
        stages: For each declared stage, the keys of its runs by the name of their stage.
        factors: For each declared stage, the levels of its runs by their keys; empty in records of earlier versions.
    """

    question: str
    count: int
    command: tuple[str, ...] = ()
    stages: tuple[dict[str, list[str]], ...] = ()
    factors: tuple[dict[str, dict[str, Any]], ...] = ()

    def with_stage(self, number: int, conditions: Sequence[Condition]) -> Declared:
        """Add a stage, and drop the stages after it.

        Args:
            number: Position of the stage, from 0.
            conditions: Its runs.

        Returns:
            The new record.
        """
        keys: dict[str, list[str]] = {}
        for condition in conditions:
            keys.setdefault(condition.stage, []).append(condition.key)
        factors = {condition.key: dict(condition.factors) for condition in conditions}
        return replace(self, stages=(*self.stages[:number], keys), factors=(*self.factors[:number], factors))

    def write(self, directory: Path) -> None:
        """Store the record.

        Args:
            directory: Directory of the study.

        Raises:
            Unwritable: The file cannot be written.
        """
        files.write(directory / NAME, files.seal(asdict(self)))


def read(directory: Path) -> Declared | None:
    """Read the record of a study.

    Args:
        directory: Directory of the study.

    Returns:
        The record; None where no session has reached the first stage.

    Raises:
        Damaged: The checksum of the record does not fit.
        Unreadable: The record cannot be read.
    """
    try:
        payload: dict[str, Any] = files.unseal(files.read(directory / NAME))
        command, stages = tuple(payload["command"]), tuple(payload["stages"])
        factors = tuple(payload.get("factors", ()))
        return Declared(payload["question"], payload["count"], command, stages, factors)
    except FileNotFoundError:
        return None
    except KeyError as error:
        raise files.Damaged("damaged (it does not name the stages)") from error
