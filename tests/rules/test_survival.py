"""Rules live through whatever a network sends, and find their fixed point again."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuro_decorr import rules
from neuro_decorr.rules import Rule
from neuro_decorr.rules._survival import KINDS, Stream, live_through
from neuro_decorr.rules.suite import residual, rows_with

FEATURES = 8
RULES = {
    **{name: rules.get(name) for name in rules.names() if name not in ("center", "interneuron", "interneuron_local")},
    "interneuron": rules.get("interneuron", interneurons=4, every=1),
    "interneuron_local": rules.get("interneuron_local", interneurons=4, every=1),
    "whitening, full": rules.get("whitening", damping=0.0),
    "zca, damped": rules.get("zca", damping=3.0),
}
AGAIN = 1_500
"""Ordinary batches after which the fixed point must be found again after one batch of 1e18."""
LONG_AGAIN = 6_000
"""After several of them the running power of 1e36 is normal, and falls at the rate: by e^-83 in 83 / 0.02 updates."""

every_rule = pytest.mark.parametrize("rule", list(RULES.values()), ids=list(RULES))
every_batch = pytest.mark.parametrize(
    ("dtype", "rows"),
    list(itertools.product((torch.float32, torch.float64), (1, 16, 256))),
    ids=lambda value: str(value).removeprefix("torch."),
)
long_sequences = st.lists(
    st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from((1, 2, 20))), min_size=1, max_size=6
)
sequences = long_sequences.map(lambda of: [(kind, 1 if kind == "huge" else times) for kind, times in of]).filter(
    lambda of: sum(kind == "huge" for kind, _ in of) < 2
)


def check_survival(
    rule: Rule, sequence: list[tuple[str, int]], dtype: torch.dtype, rows: int, seed: int, again: int = AGAIN
) -> None:
    """Bounded at every step, and in the end as near the fixed point as a twin that saw ordinary batches only."""
    stream, calm = Stream(FEATURES, rows, dtype, seed), Stream(FEATURES, rows, dtype, seed)
    state, twin = (rule.initial_state(FEATURES, dtype=dtype) for _ in range(2))
    sequence = [("ordinary", 2), *sequence]
    least = live_through(rule, state, (stream.batch(kind) for kind, times in sequence for _ in range(times)))
    live_through(rule, state, (stream.batch() for _ in range(again)), least)
    live_through(rule, twin, (calm.batch() for _ in range(again)))
    inputs = rows_with(stream.covariance)
    left, usual = (
        residual(rule, {name: tensor.double() for name, tensor in of.items()}, inputs) for of in (state, twin)
    )
    assert left < 2 * usual + 0.1, f"{rule.name}: {left:.3g} away from its fixed point, its twin {usual:.3g}."


@every_rule
@every_batch
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(sequence=sequences)
def test_hostile_batches_leave_d_bounded_and_the_fixed_point_within_reach(
    rule: Rule, dtype: torch.dtype, rows: int, sequence: list[tuple[str, int]]
) -> None:
    check_survival(rule, sequence, dtype, rows, seed=len(sequence))


@every_rule
def test_denormals_that_the_processor_flushes_to_zero_change_nothing_of_that(rule: Rule) -> None:
    sequence = [(kind, 1 if kind == "huge" else 20) for kind in KINDS]
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        check_survival(rule, sequence, torch.float32, rows=16, seed=7)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.slow
@every_rule
@every_batch
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(sequence=long_sequences, seed=st.integers(0, 1000))
def test_many_hostile_sequences(
    rule: Rule, dtype: torch.dtype, rows: int, sequence: list[tuple[str, int]], seed: int
) -> None:
    check_survival(rule, sequence, dtype, rows, seed, LONG_AGAIN)
