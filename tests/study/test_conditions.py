import pickle

import numpy as np
import pytest
import torch

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Condition, seeds
from neuro_decorr.study.conditions import RESERVED, scalar


def test_key_never_changes() -> None:
    # Stored studies of earlier versions are found by this key.
    assert Condition("measure", 3, {"arm": "center", "rate": 0.1, "rank": None, "on": True}).key == "83fb3f201f2e7e3d"


def test_key_depends_on_stage_seed_and_levels_but_not_on_their_order() -> None:
    condition = Condition("a", 0, {"x": 1, "y": 2.5})
    assert condition.key == Condition("a", 0, {"y": 2.5, "x": 1}).key
    others = [
        Condition("b", 0, {"x": 1, "y": 2.5}),
        Condition("a", 1, {"x": 1, "y": 2.5}),
        Condition("a", 0, {"x": 2, "y": 2.5}),
        Condition("a", 0, {"x": 1}),
        Condition("a", 0, {"x": "1", "y": 2.5}),
    ]
    assert len({condition.key, *(other.key for other in others)}) == 6


def test_condition_is_frozen_hashable_and_survives_pickle() -> None:
    condition = Condition("a", 0, {"x": 1})
    with pytest.raises(AttributeError, match="frozen"):
        condition.seed = 1
    with pytest.raises(AttributeError, match="frozen"):
        del condition.seed
    with pytest.raises(TypeError):
        condition.factors["x"] = 2  # type: ignore[index]
    again = pickle.loads(pickle.dumps(condition))
    assert again == condition
    assert {condition: 1}[again] == 1
    assert eval(repr(condition)) == condition
    assert condition.label == "a x=1 seed=0"


def test_levels_from_numpy_and_torch_are_plain_scalars() -> None:
    condition = Condition("a", 0, {"x": np.float64(0.1), "n": np.int64(3), "b": np.bool_(True), "t": torch.tensor(2)})
    assert [type(level) for level in condition.factors.values()] == [float, int, bool, int]
    assert condition.key == Condition("a", 0, {"x": 0.1, "n": 3, "b": True, "t": 2}).key


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="reserved"):
        Condition("a", 0, {name: 1})


@pytest.mark.parametrize("level", [float("nan"), float("inf"), [1, 2], {"a": 1}, np.zeros(2), object()])
def test_levels_that_no_table_holds_are_refused(level: object) -> None:
    with pytest.raises(InvalidValue, match="'x'"):
        Condition("a", 0, {"x": level})


@pytest.mark.parametrize("stage", ["", "../up", "a/b", ".hidden", "two words"])
def test_stage_that_cannot_name_a_folder_is_refused(stage: str) -> None:
    with pytest.raises(InvalidValue, match="folder"):
        Condition(stage, 0, {})


def test_scalar_of_one_element() -> None:
    assert scalar("x", torch.tensor([[1.5]])) == 1.5
    assert type(scalar("x", np.float32(0.5))) is float


def test_a_text_that_no_table_can_hold_is_refused() -> None:
    assert scalar("x", "Grüße 漢字 \0 \U0001f600") == "Grüße 漢字 \0 \U0001f600"
    with pytest.raises(InvalidValue, match=r"'x' is '\\udcff', which no table can hold.*backslashreplace"):
        scalar("x", "\udcff")
    with pytest.raises(InvalidValue, match="no table can hold"):
        Condition("a", 0, {"file": "\ud800"})


def test_more_seeds_extend_fewer() -> None:
    assert seeds(3) == [0, 1, 2]
    assert seeds(5)[:3] == seeds(3)
    assert seeds(2, start=10) == [10, 11]
    with pytest.raises(InvalidValue, match="at least 1"):
        seeds(0)
