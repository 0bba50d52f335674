from typing import Any

import pytest
from pydantic import Field

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Configuration, Protocol


class Example(Configuration):
    epochs: int = Field(5, ge=1, description="Epochs.")


class Bare(Configuration):
    epochs: int
    rate: float = 0.1


def run(*arguments: Any) -> None: ...


def stage(*arguments: Any) -> list[Any]:
    return []


def declare(**changes: Any) -> Protocol:
    given: dict[str, Any] = {
        "name": "x", "question": "?", "configuration": Example, "stages": (stage,), "run": run, "report": run,
    }  # fmt: skip
    return Protocol(**{**given, **changes})


def test_what_is_given_is_stronger_than_the_full_size() -> None:
    protocol = declare(full={"epochs": 30})
    assert protocol.configure().model_dump() == {"epochs": 5}
    assert protocol.configure(full=True).model_dump() == {"epochs": 30}
    assert protocol.configure({"epochs": 7}, full=True).model_dump() == {"epochs": 7}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"configuration": Bare}, "'epochs'.*'rate'"),
        ({"stages": ()}, "no stage"),
        ({"run": lambda *_: None}, "top level"),
        ({"full": {"epochs": 0}}, "--epochs"),
        ({"full": {"epoch": 3}}, "did you mean 'epochs'"),
    ],
)
def test_a_declaration_that_cannot_run_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidValue, match=told):
        declare(**changes)
