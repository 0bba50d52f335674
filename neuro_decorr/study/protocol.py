"""Declaration of an experiment."""

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

# The first argument of each is the protocol's own Configuration, whose type is known to the protocol only.
Stage: TypeAlias = Callable[[Any, list[int], Tables], list[Condition]]
Run: TypeAlias = Callable[[Any, Condition, Recorder], None]
Report: TypeAlias = Callable[[Any, Tables, Path], None]


@final
@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Declaration of an experiment: its question, its configuration, its runs and its report.

    Attributes:
        name: Name of the protocol, equal to the name of its file `protocols/NAME.py`.
        question: The question that the protocol answers, in one sentence.
        configuration: The pydantic model of the options.
        stages: Functions `(configuration, seeds, tables so far) -> conditions`, in their order. A stage that selects (a
            learning rate, for example) takes its seeds from the configuration, so that more paired seeds extend the
            study without changing the selection; `Selection(...).stages` are such stages.
        run: Function `(configuration, condition, recorder)` at the module's top level. It runs in worker processes with
            one thread each.
        report: Function `(configuration, tables, directory)` that writes tables and figures and prints the finding.
        full: Defaults that the option `--full` replaces.
        seeds: Default number of paired seeds.

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
            problems.append("its run must be a function at the module's top level, so that worker processes find it")
        if problems:
            raise InvalidValue(f"protocol '{self.name}': {'; '.join(problems)}.")
        self.configure(full=True)

    def configure(self, values: Mapping[str, Any] | None = None, full: bool = False) -> Configuration:
        """Make a configuration.

        Args:
            values: Values that differ from the defaults; they override the full size.
            full: True to start from the full size instead of the defaults.

        Returns:
            The configuration.

        Raises:
            InvalidValue: Values are wrong; one line for each.
        """
        return validate(self.configuration, self.values(values, full))

    def values(self, values: Mapping[str, Any] | None = None, full: bool = False) -> dict[str, Any]:
        """Collect the values that differ from the defaults: those of the full size if `full`, then `values`."""
        return {**(self.full if full else {}), **(values or {})}
