"""What all tests share: the same examples on every run, one thread a process, and pytest's own doctests."""

import gc
from collections.abc import Iterator

import pytest
import torch
from _pytest import doctest
from hypothesis import settings

settings.register_profile("quick", derandomize=True, deadline=None, max_examples=30)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=300)
settings.load_profile("quick")

torch.set_num_threads(1)

_DOCTEST_MODULE = doctest.DoctestModule


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Importing Brian2 replaces the class for doctests by one that fails on packages: undo it."""
    doctest.DoctestModule = _DOCTEST_MODULE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What builds the site or a wheel comes first: at the end, one process would wait for the other."""
    items.sort(key=lambda item: item.path.name not in ("test_site.py", "test_wheel.py"))


@pytest.fixture(autouse=True, scope="module")
def little_garbage_to_look_through() -> None:
    """Takes all that lives on when a module begins out of the garbage collector, which Brian2 calls twice in every run.

    Torch, Brian2, its caches and some thousand tests are a million objects, and every call looked at each of them.
    """
    gc.collect()
    gc.freeze()


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
