"""Shares of a study, each computed in its own directory, on any machine, without communication between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import files
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.failures import counted


@final
@dataclass(frozen=True)
class Shard:
    """One share of a study.

    Attributes:
        number: Number of the share, from 1.
        count: Number of shares.

    Raises:
        InvalidValue: `number` is not between 1 and `count`.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InvalidValue(f"--shard: got {self}; should be I/N with I from 1 to N, such as 2/4")

    @staticmethod
    def parse(text: str) -> Shard:
        """Read a share from a text.

        Args:
            text: Number and count, such as `2/4`.

        Returns:
            The share.

        Raises:
            InvalidValue: The text is no such share.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if found is None:
            raise InvalidValue(f"--shard: got {text!r}; should be I/N with I from 1 to N, such as 2/4")
        return Shard(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def share(self, conditions: Sequence[Condition]) -> list[Condition]:
        """Select the runs of a stage that belong to this share.

        The runs are dealt out arm by arm (an arm: all runs with the same factors); each arm begins at the share where
        the one before ended. So any two shares differ by at most one run in every arm, and in the total. The result
        depends on the list alone, not on the stored runs.

        Args:
            conditions: All runs of the stage.

        Returns:
            The runs of this share, in their order.
        """
        arms = [_arm(condition) for condition in conditions]
        order = {arm: number for number, arm in enumerate(dict.fromkeys(arms))}
        dealt = sorted(range(len(conditions)), key=lambda place: order[arms[place]])
        return [conditions[place] for place in sorted(dealt[self.number - 1 :: self.count])]

    def told(self, stage: str, mine: int, others: int, directory: object) -> str:
        """Describe the next step when this share is complete.

        Args:
            stage: Title of the stage.
            mine: Number of its runs in this share.
            others: Number of runs of other shares that are not stored here.
            directory: Directory of this share.
        """
        return (
            f"share {self} of {stage} is complete with {counted(mine)}; not in {directory}: {counted(others)} of "
            "other shares. When all shares are complete: neuro-decorr merge DIR DIR ... --out MERGED; then give this "
            "command with --out MERGED, which begins the next stage or writes the report"
        )


def _arm(condition: Condition) -> bytes:
    levels: dict[str, Any] = dict(condition.factors)
    return files.canonical({"stage": condition.stage, "factors": levels})
