"""What all tests share: the same examples on every run, one thread a process, and pytest's own doctests."""

from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def same_random_state() -> None:
    """The global random state of torch at the start of every test, whichever tests ran before it."""
    # Not the seed that credits and streams have by default, whose numbers would go with those of a test.
    torch.manual_seed(20_240_710)


@pytest.fixture
def brian_on_numpy() -> Iterator[None]:
    """Brian2 without compiling, in a scope of its own; its target and time step are as before afterwards."""
    import brian2

    target, step = brian2.prefs.codegen.target, brian2.defaultclock.dt
    brian2.prefs.codegen.target = "numpy"
    brian2.start_scope()
    yield
    brian2.prefs.codegen.target = target
    brian2.defaultclock.dt = step
