"""Rules live through whatever a network sends, and find their fixed point again."""

import dataclasses
import itertools
import random
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuro_decorr import rules
from neuro_decorr.rules import Rule, Sample, State, transform
from neuro_decorr.rules.suite import residual, rows_with
from tests.rules.streams import KINDS, Stream, live_through

FEATURES = 8
RULES = {
    **{name: rules.get(name) for name in rules.names() if name not in ("center", "interneuron", "interneuron_local")},
    "interneuron": rules.get("interneuron", interneurons=4, every=1),
    "interneuron_local": rules.get("interneuron_local", interneurons=4, every=1),
    "whitening, full": rules.get("whitening", damping=0.0),
    "zca, full": rules.get("zca", damping=0.0),
}
LONG_AGAIN = 6_000
"""Ordinary batches after which the fixed point must be found again, also after several batches of 1e18: the running
power of 1e36 is normal then, and falls at the rate, by e^-83 in 83 / 0.02 updates."""


def enough(rule: Rule) -> int:
    """Ordinary batches after which it must be found again after one batch of 1e18: 15 / rate, within reason.

    Rules with a saturation answer to all that is loud alike, and come back by as much an update.
    """
    return 3_000 if "saturation" in rule.parameters() else int(min(max(15 / rule.rate, 600), 2_000))


every_rule = pytest.mark.parametrize("rule", list(RULES.values()), ids=list(RULES))
BATCHES = list(itertools.product((torch.float32, torch.float64), (1, 16, 256)))
every_batch = pytest.mark.parametrize(("dtype", "rows"), BATCHES, ids=lambda value: str(value).removeprefix("torch."))
sequences = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from((1, 2, 20))), min_size=1, max_size=6)


def learn(rule: Rule, state: State, stream: Stream, updates: int) -> None:
    """From ordinary batches; whether D stays bounded is not looked at."""
    for _ in range(updates):
        rows = stream.batch()
        rule.update_(state, Sample(rows, transform(state, rows), rows[0] * 0), rule.rate)


@cache
def usual_distance(rule: Rule, dtype: torch.dtype, rows: int, seed: int, again: int) -> float:
    """From the fixed point, of a twin that has seen ordinary batches only."""
    stream, state = Stream(FEATURES, rows, dtype, seed), rule.initial_state(FEATURES, dtype=dtype)
    learn(rule, state, stream, again)
    return distance(rule, state, stream)


def distance(rule: Rule, state: State, stream: Stream) -> float:
    """From the fixed point, for the stream's own covariance, after some updates at a tenth of the rate: less noise."""
    slow = dataclasses.replace(rule, rate=rule.rate / 10)
    learn(slow, state, stream, 500)
    return residual(rule, {name: tensor.double() for name, tensor in state.items()}, rows_with(stream.covariance))


def check_survival(
    rule: Rule, sequence: list[tuple[str, int]], dtype: torch.dtype, rows: int, seed: int, again: int
) -> None:
    """Bounded at every step, and in the end as near the fixed point as a twin that saw ordinary batches only."""
    stream, state = Stream(FEATURES, rows, dtype, seed), rule.initial_state(FEATURES, dtype=dtype)
    sequence = [("ordinary", 2), *sequence]
    least = live_through(rule, state, (stream.batch(kind) for kind, times in sequence for _ in range(times)))
    live_through(rule, state, (stream.batch() for _ in range(again)), least)
    left, usual = distance(rule, state, stream), usual_distance(rule, dtype, rows, seed, again)
    assert left < 2 * usual + 0.1, f"{rule.name}: {left:.3g} away from its fixed point, its twin {usual:.3g}."


# Every rule with single rows and large batches, in the two types by turns: 16 rows are those of the test of denormals,
# and the slow test below has all six of every rule.
PAIRS = [(name, *BATCHES[place]) for number, name in enumerate(RULES) for place in ((0, 5), (3, 2))[number % 2]]


@pytest.mark.parametrize(("name", "dtype", "rows"), PAIRS, ids=lambda value: str(value).removeprefix("torch."))
def test_hostile_batches_leave_d_bounded_and_the_fixed_point_within_reach(
    name: str, dtype: torch.dtype, rows: int
) -> None:
    """A sequence of its own for every case, with every kind of batch in it; only one of 1e18."""
    rule = RULES[name]
    shuffled = random.Random(f"{rule} {dtype} {rows}")
    sequence = [(kind, 1 if kind == "huge" else shuffled.choice((1, 2, 20))) for kind in KINDS]
    shuffled.shuffle(sequence)
    check_survival(rule, sequence, dtype, rows, seed=0, again=enough(rule))


@every_rule
def test_denormals_that_the_processor_flushes_to_zero_change_nothing_of_that(rule: Rule) -> None:
    sequence = [(kind, 1 if kind == "huge" else 20) for kind in KINDS]
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        check_survival(rule, sequence, torch.float32, rows=16, seed=0, again=enough(rule))
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.slow
@every_rule
@every_batch
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(sequence=sequences, seed=st.integers(0, 1000))
def test_many_hostile_sequences(
    rule: Rule, dtype: torch.dtype, rows: int, sequence: list[tuple[str, int]], seed: int
) -> None:
    check_survival(rule, sequence, dtype, rows, seed, LONG_AGAIN)


@pytest.mark.parametrize(
    ("rule", "floor"),
    [
        (rules.get("zca", damping=0.0), 1e-5),
        (rules.get("iterative_norm"), FEATURES * 1e-5 / 1.5**10),
        (rules.get("whitening", damping=0.0), 1e-6),
        (rules.get("variance_weighted"), 1e-4),
    ],
    ids=lambda value: value.name if isinstance(value, Rule) else "",
)
def test_inputs_that_fade_away_leave_the_floor_where_it_was(rule: Rule, floor: float) -> None:
    """As behind a running mean after the layer fell silent: power falls by a fifth an update, to 1e-27.

    The floor may fade by exp(-0.1 / 20) an update: the gain that it allows at a power of one half grows 2.2 times in
    300 updates, and by an eighth for axes that wait.
    """
    stream, state = Stream(FEATURES, 16, torch.float32, seed=1), rule.initial_state(FEATURES)
    live_through(rule, state, (stream.batch() for _ in range(300)))
    live_through(rule, state, (stream.batch() * 0.9**fading for fading in range(300)))
    assert float(torch.linalg.matrix_norm(state["matrix"].double(), 2)) < 2.5 * (0.5 * floor) ** -0.5
