from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Configuration, DataPath
from neuro_decorr.study.configuration import difference, missing_data, validate


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


def test_a_list_is_not_called_too_short_for_what_is_refused_in_it() -> None:
    class Listed(Configuration):
        steps: tuple[int, ...] = Field((1,), min_length=1, description="Steps.")

    with pytest.raises(InvalidValue, match=r"^--steps: got 'two'; should be a valid integer$"):
        validate(Listed, {"steps": ["two"]})
    with pytest.raises(InvalidValue, match=r"^--steps: got \[\]; Tuple should have at least 1 item"):
        validate(Listed, {"steps": []})


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


def test_a_file_of_data_that_is_not_there_is_told(tmp_path: Path) -> None:
    class WithData(Configuration):
        file: DataPath | None = Field(None, description="A file.")
        folder: DataPath | None = Field(None, description="A folder that the protocol may make.")
        files: tuple[Path, ...] = Field((), description="Several.")
        label: str = Field("a.npz", description="A text with a dot.")

    there = tmp_path / "there.npz"
    there.touch()
    absent = tmp_path / "absent.npz"
    assert missing_data(WithData(file=str(there), folder=str(tmp_path / "later"))) == []
    found = missing_data(WithData(file=str(absent), files=(there, absent)))
    assert [line.split(":")[0] for line in found] == ["--file", "--files"]
    assert all("there is no such file" in line for line in found)
