from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr.study import Condition
from neuro_decorr.study.probes import Probes
from neuro_decorr.study.worker import Message

levels = st.dictionaries(st.sampled_from("abc"), st.sampled_from([0, 1, True, 1.0, "x", None]), max_size=3)
stages = st.lists(st.tuples(st.integers(0, 3), levels), unique_by=lambda run: Condition("s", *run).key, max_size=30)


def bug(line: int = 7, kind: str = "ValueError", message: str = "no") -> Message:
    trace = f'Traceback\n  File "/p.py", line 3, in run\n  File "/p.py", line {line}, in f\n{kind}: {message}\n'
    return Message("failed", f"{kind}: {message}", trace)


def met(conditions: list[Condition]) -> set[tuple[str, str, object]]:
    # With the type, since 1, 1.0 and True are equal, and are three levels in the key of a run.
    return {(name, type(level).__name__, level) for one in conditions for name, level in one.factors.items()}


@settings(max_examples=50)
@given(stages)
def test_a_stage_stops_when_runs_with_every_level_have_failed_alike(stage: list[tuple[int, dict[str, object]]]) -> None:
    conditions = [Condition("s", seed, factors) for seed, factors in stage]
    probes = Probes(conditions)
    assert sorted(one.key for one in probes.order) == sorted(one.key for one in conditions)
    for count, condition in enumerate(probes.order, 1):
        if probes.failed(condition, bug(message=condition.label)):
            assert count >= 3 and met(probes.order[:count]) == met(conditions)
            assert count < len(conditions), "when none is left there is nothing to stop"
            assert count <= 3 or met(probes.order[: count - 1]) != met(conditions), "it could have stopped before"
            return
    assert len(conditions) <= 3 or met(probes.order[:-1]) != met(conditions)


@settings(max_examples=50)
@given(stages, st.data())
def test_failures_in_another_order_stop_it_as_well(
    stage: list[tuple[int, dict[str, object]]], data: st.DataObject
) -> None:
    conditions = [Condition("s", seed, factors) for seed, factors in stage]
    first, second = Probes(conditions), Probes(conditions)
    number = next((i for i, one in enumerate(first.order, 1) if first.failed(one, bug())), None)
    if number is not None:
        shuffled = data.draw(st.permutations(second.order[:number]))
        assert [bool(second.failed(one, bug())) for one in shuffled] == [False] * (number - 1) + [True]


def test_causes_of_two_kinds_stop_nothing() -> None:
    conditions = [Condition("s", seed, {"arm": arm}) for seed in range(20) for arm in "ab"]
    for messages in ([bug(7), bug(8)], [bug(kind="A"), bug(kind="B")], [bug(), Message("failed", "its worker ended")]):
        probes = Probes(conditions)
        assert not any(probes.failed(one, messages[i % 2]) for i, one in enumerate(probes.order))
    probes = Probes(conditions)
    deaths = [bool(probes.failed(one, Message("failed", "its worker ended by signal 9"))) for one in probes.order]
    assert deaths[:4] == [False, False, True, True]


def test_many_levels_need_no_more_than_24_failures() -> None:
    probes = Probes([Condition("s", 0, {"rate": rate / 7, "arm": rate % 3}) for rate in range(1000)])
    assert [bool(probes.failed(one, bug())) for one in probes.order[:24]] == [False] * 23 + [True]
