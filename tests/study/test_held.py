import random
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study.held import Held, put_back_random_states, random_states
from neuro_decorr.study.packing import Packed, unpack


def stored(state: Any) -> Any:
    return unpack(*Packed({"state": state}).contents())["state"]


def draw(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return torch.randn(3, generator=generator).tolist()
    return generator.random() if isinstance(generator, random.Random) else generator.normal(size=3).tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.Generator().manual_seed(1), lambda: np.random.default_rng(1), lambda: random.Random(1),
        lambda: np.random.Generator(np.random.MT19937(1)), lambda: np.random.Generator(np.random.Philox(1)),
        lambda: np.random.Generator(np.random.SFC64(1)), lambda: np.random.RandomState(1),
    ],
)  # fmt: skip
def test_generators_go_on_where_they_were(make: Any) -> None:
    generator, other = make(), make()
    draw(generator)
    state = stored(Held("generator", generator).get())
    following = draw(generator)
    Held("generator", other).set(state)
    assert draw(other) == following


def test_global_random_states_go_on() -> None:
    before = stored(random_states())
    drawn = random.random(), np.random.rand(), float(torch.rand(()))  # noqa: NPY002
    put_back_random_states(before)
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == drawn  # noqa: NPY002


def condition(signals: Any, factor: float, held: dict[str, int]) -> None:
    """A function without variables around it."""


def test_functions_are_known_by_what_they_are_given() -> None:
    momentum, counts = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=1.0), {"updates": 3}
    held = Held("conditioned", partial(condition, momentum, 0.5, held=counts))
    state = stored(held.get())
    counts.clear()
    momentum.param_groups[0]["lr"] = 2.0
    held.set(state)
    assert counts == {"updates": 3} and momentum.param_groups[0]["lr"] == 1.0
    assert Held("conditioned", condition).get() is None
    assert Held("several", [None, momentum]).get()[1] == momentum.state_dict()


def test_a_network_keeps_what_its_state_leaves_out() -> None:
    class Leaky(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
            self.dropout = torch.nn.Dropout()
            self.level: torch.Tensor | None = None
            self.passes = 0
            self.register_buffer("trace", torch.zeros(2), persistent=False)

    used, fresh = Leaky(), Leaky()
    used.level, used.passes, used.trace = torch.ones(2), 3, torch.ones(2)
    used.dropout.eval()
    used.layer.bias.requires_grad_(False)
    Held("model", fresh).set(stored(Held("model", used).get()))
    assert fresh.level is not None and fresh.level.tolist() == [1, 1] and fresh.passes == 3
    assert [buffer.tolist() for buffer in fresh.buffers()] == [[1, 1]]
    assert (fresh.training, fresh.dropout.training) == (True, False)
    assert (fresh.layer.weight.requires_grad, fresh.layer.bias.requires_grad) == (True, False)
    assert torch.equal(fresh.layer.weight, used.layer.weight)
    assert {name for name, _ in fresh.named_buffers()} == {"trace"}


def closure() -> Any:
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    return count


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (3, "keep what changes in a dict"),
        (closure(), "a function with variables of an enclosing function"),
        (partial(condition, SimpleNamespace(), 1.0, {}), r"thing\[1\] is a SimpleNamespace"),
        (iter([1]), "is a list_iterator, whose state is not known"),
        (torch.nn.Linear, "whose state is not known"),
        (object(), "Give its class the methods state_dict and"),
    ],
)
def test_what_nobody_could_put_back_is_refused(thing: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        Held("thing", thing)
