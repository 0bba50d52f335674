"""Runs of the protocols, interrupted in the second epoch: they end as those that were left alone."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro_decorr import study
from neuro_decorr.learning import training
from neuro_decorr.study.checkpoints import Place

FEW = {"epochs": 3, "evaluated": 60, "hidden": (12,), "interneurons": 4, "batch_size": 30}
SMALL: dict[str, dict[str, Any]] = {
    "channel_directed": {"selection_epochs": 3, "channels": (4,), "hidden": 8, "arms": ("foof", "interneuron")},
    "deep_spiking": {
        "depths": (2,), "width": 16, "interneurons": 4, "epochs": 3, "selection_epochs": 3, "batch_size": 30,
        "aligned": 20, "arms": ("center", "orthogonal_projector", "lateral_inhibition"),
    },
    "gradient_geometry": {
        "credits": ("backprop", "node_perturbation"), "hidden": (8,), "epochs": 3, "samples": 8, "selection_runs": 1,
        "selection_seeds": 1,
    },
    "local_losses": {"epochs": 3, "hidden": (12, 12), "groups": (4,)},
    "natural_images": {**FEW, "hidden": (20,), "groups": 4},
    "optimisers": {**FEW, "hidden": (20, 12), "selection_epochs": 3,
        "arms": ("center",),
        "optimisers": ("adam", "muon", "soap", "kfac")},
    "recurrent": {"epochs": 3, "selection_epochs": 3, "units": 8},
    "semi_implicit": {"steps": (2,), "hidden": (16, 16), "epochs": 3, "selection_epochs": 3, "batch_size": 200},
}  # fmt: skip
CHOSEN = ("learning_rate", "rate", "damping")
"""Factors that a selection chooses: one level of each is enough."""

pytestmark = pytest.mark.slow


class Blow(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("name", SMALL)
def test_every_arm_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    protocol: study.Protocol = importlib.import_module(f"protocols.{name}").PROTOCOL
    request.getfixturevalue("few_images")  # a protocol checks its full size on import
    configuration = protocol.configure(SMALL[name])
    conditions: dict[Any, study.Condition] = {}
    for condition in protocol.stages[0](configuration, [0], study.Tables()):
        conditions.setdefault(tuple((k, v) for k, v in condition.factors.items() if k not in CHOSEN), condition)
    step, left = training._step, [0]

    def blown(*arguments: Any) -> torch.Tensor:
        left[0] -= 1
        if left[0] == 0:
            raise Blow
        return step(*arguments)

    monkeypatch.setattr(training, "_step", blown)
    for condition in random.Random(1).sample(list(conditions.values()), min(5, len(conditions))):
        place = Place(tmp_path, condition, {}, pytest.fail, every=0)
        whole, interrupted = study.Recorder(condition.factors), study.Recorder(condition.factors, place=place)
        protocol.run(configuration, condition, whole)
        last: Any = whole.rows["curves"][-1]["updates"]
        left[0] = 2 * last // 3 + 1  # the first update of the third epoch
        with pytest.raises(Blow):
            protocol.run(configuration, condition, study.Recorder(condition.factors, place=place))
        protocol.run(configuration, condition, interrupted)
        whole.rows.pop("timings"), interrupted.rows.pop("timings")
        assert interrupted.rows == whole.rows, condition.label
