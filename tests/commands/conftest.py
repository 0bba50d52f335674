"""The study directory and the command that the tests of studies have."""

from tests.study.conftest import command, complete, root

__all__ = ["command", "complete", "root"]
