from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Configuration
from neuro_decorr.study.configuration import difference, validate


class Example(Configuration):
    epochs: int = Field(5, ge=1, description="Epochs.")
    rates: tuple[float, ...] = Field((0.1,), description="Rates.")
    rule: Literal["center", "whitening"] = Field("center", description="Rule.")

    @model_validator(mode="after")
    def check(self) -> "Example":
        if self.epochs == 13:
            raise ValueError("13 epochs bring bad luck")
        return self


def test_a_configuration_is_frozen_and_knows_its_fields() -> None:
    with pytest.raises(ValidationError):
        Example().epochs = 3
    assert validate(Example, {"epochs": "7", "rates": ["0.5", "1"]}) == Example(epochs=7, rates=(0.5, 1.0))


def test_all_problems_are_told_at_once_with_the_nearest_name() -> None:
    with pytest.raises(InvalidValue) as caught:
        validate(Example, {"epochs": 0, "rates": ["x", "nan"], "rule": "whitenning", "epoch": 3})
    lines = str(caught.value).splitlines()
    assert lines == [
        "--epochs: got 0; should be greater than or equal to 1",
        "--rates: got 'x'; should be a valid number",
        "--rates: got 'nan'; should be a finite number",
        "--rule: got 'whitenning'; should be 'center' or 'whitening'; did you mean 'whitening'?",
        "--epoch: there is no such option; did you mean 'epochs'?",
    ]
    with pytest.raises(InvalidValue) as caught:
        validate(Example, {"epochs": 0, "rule": "x"})
    assert len(str(caught.value).splitlines()) == 2


def test_a_check_over_several_fields_speaks_for_itself() -> None:
    with pytest.raises(InvalidValue, match=r"^13 epochs bring bad luck$"):
        validate(Example, {"epochs": 13})


def test_difference_names_every_field_that_differs() -> None:
    assert difference({"a": 1, "b": [1, 2], "gone": 0}, {"a": 1, "b": [1, 3], "new": None}) == [
        "b: stored [1, 2], asked for [1, 3]",
        "gone: stored 0, asked for (no such field)",
        "new: stored (no such field), asked for None",
    ]
    assert difference({"a": (1, 2)}, {"a": [1, 2]}) == []
