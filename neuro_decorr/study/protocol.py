"""The declaration of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, final

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.configuration import Configuration, validate
from neuro_decorr.study.recorder import Recorder
from neuro_decorr.study.tables import Tables

# The first argument of each is the protocol's own Configuration, a type that only the protocol knows.
Stage: TypeAlias = Callable[[Any, list[int], Tables], list[Condition]]
Run: TypeAlias = Callable[[Any, Condition, Recorder], None]
Report: TypeAlias = Callable[[Any, Tables, Path], None]


@final
@dataclass(frozen=True, kw_only=True)
class Protocol:
    """An experiment: its question, what may be chosen, its runs, and what becomes of them.

    Attributes:
        name: Name of the protocol, equal to the name of its file `protocols/NAME.py`.
        question: What it answers, in one sentence.
        configuration: The pydantic model of what its user may choose.
        stages: Functions `(configuration, seeds, tables so far) -> conditions`, in their order. A stage that
            selects (a learning rate, say) takes its seeds from the configuration, so that more seeds extend the
            study and leave the selection alone; `Selection(...).stages` are two such stages.
        run: Function `(configuration, condition, recorder)` of the module's top level; it runs in worker processes
            with one thread each.
        report: Function `(configuration, tables, directory)`: writes tables and figures, prints the finding.
        full: What the option `--full` changes in the defaults.
        seeds: How many paired seeds by default.

    Raises:
        InvalidValue: The declaration is incomplete or contradicts itself.
    """

    name: str
    question: str
    configuration: type[Configuration]
    stages: tuple[Stage, ...]
    run: Run
    report: Report
    full: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 5

    def __post_init__(self) -> None:
        problems = [
            f"the field '{name}' of its configuration needs a default and a description"
            for name, info in self.configuration.model_fields.items()
            if info.is_required() or not info.description
        ]
        if not self.stages:
            problems.append("it has no stage")
        if "<locals>" in self.run.__qualname__ or "<lambda>" in self.run.__qualname__:
            problems.append("its run is no function of the module's top level, so no worker process can find it")
        if problems:
            raise InvalidValue(f"protocol '{self.name}': {'; '.join(problems)}.")
        self.configure(full=True)

    def configure(self, values: Mapping[str, Any] | None = None, full: bool = False) -> Configuration:
        """The configuration for some values.

        Args:
            values: What differs from the defaults; stronger than `full`.
            full: Start from the full size.

        Returns:
            The configuration.

        Raises:
            InvalidValue: One line for each problem.
        """
        return validate(self.configuration, self.values(values, full))

    def values(self, values: Mapping[str, Any] | None = None, full: bool = False) -> dict[str, Any]:
        """What differs from the defaults: `values` over the full size, if asked for."""
        return {**(self.full if full else {}), **(values or {})}
