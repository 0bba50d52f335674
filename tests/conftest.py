"""What all tests share: the same examples on every run, and one thread a process."""

import torch
from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

torch.set_num_threads(1)
