"""Warnings about the selections of a study, from its stored runs."""

from __future__ import annotations

from typing import Any

from neuro_decorr.study import behind, edges
from neuro_decorr.study.protocol import Protocol
from neuro_decorr.study.sweep_files import selections
from neuro_decorr.study.tables import Tables


def told(protocol: Protocol, configuration: Any, tables: Tables) -> dict[str, list[str]]:
    """Warn of chosen settings at an edge, and of those that fall far behind in the measured seeds.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        tables: Tables of the study; conditions whose selection is not complete do not count.

    Returns:
        The warnings by heading, one line for each selection; empty where there is none.
    """
    found: dict[str, list[str]] = {}
    for selection in selections(protocol.stages):
        tried = selection.trials(configuration, tables)
        for heading, lines in (
            (edges.HEADING, edges.told(selection, configuration, tried)),
            (behind.HEADING, behind.told(selection, configuration, tables, tried)),
        ):
            if lines:
                found.setdefault(heading, []).extend(lines)
    return found
