"""The global random state of torch is the same at the start of every test, whichever tests ran before it."""

import pytest
import torch


@pytest.fixture(autouse=True)
def same_random_state() -> None:
    # Not the seed that credits and streams have by default, whose numbers would go with those of a test.
    torch.manual_seed(20_240_710)
