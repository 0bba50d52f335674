"""What all tests share: the same examples on every run, one thread a process, and pytest's own doctests."""

import pytest
import torch
from _pytest import doctest
from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

torch.set_num_threads(1)

_DOCTEST_MODULE = doctest.DoctestModule


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Importing Brian2 replaces the class for doctests by one that fails on packages: undo it."""
    doctest.DoctestModule = _DOCTEST_MODULE
