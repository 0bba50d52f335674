"""Options of the protocol `spiking_credit_assignment`: credits through time, arms, data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, final

import torch
from pydantic import Field
from torch import nn

import neuro_decorr as nd
from models.spiking import Poisson, Spiking, neurons, spiking
from neuro_decorr import data, study
from neuro_decorr.errors import InvalidValue
from neuro_decorr.norse import Homeostasis, LateralCovariance, LateralLIF, NeuronPlasticity
from protocols import _arms

# Noise is one current a trial and neuron: noise of every step would have T times as many nodes to tell apart. It is
# large, for a spike is all or nothing: the loss does not answer to small currents.
CREDITS: dict[str, dict[str, Any]] = {
    "backprop": {},
    "feedback_alignment": {},
    "direct_feedback_alignment": {"time_first": True},
    "eprop": {},
    "node_perturbation": {"time_first": True, "hold": "pass", "sigma": 0.2},
    "activity_perturbation": {"time_first": True, "hold": "pass", "sigma": 0.2, "trace": 5.0},
    "forward_gradient": {"time_first": True, "hold": "pass", "tangents": "activities"},
}
LEARNING_RATES = (2.5e-3, 2.5e-2)  # ends of the grid, of Adam


@final
@dataclass(frozen=True)
class Arm:
    """Treatment of a network before it learns.

    Attributes:
        rule: Rule of the transform of every layer's input. None: no transform.
        settings: Parameters of the rule, or of the inhibition, between which the selection chooses.
        signal: Signal that drives the statistics of the rule.
        compensate: True if the weights follow the transform.
        lateral: True if the hidden neurons inhibit each other.
    """

    rule: str | None = None
    settings: tuple[dict[str, Any], ...] = ({},)
    signal: Literal["spikes", "trace"] = "spikes"
    compensate: bool = False
    lateral: bool = False


# As published, and without the power given back: what the page of this protocol was measured with.
_RATES = ({"rate": 3e-3, "form": "published"}, {"rate": 1e-2, "form": "published"})
_DAMPING = ({"damping": 0.3, "preserve_power": False}, {"damping": 3.0, "preserve_power": False})
_INHIBITION = ({"rate": 1e-3}, {"rate": 1e-2})
ARMS: dict[str, Arm] = {
    "none": Arm(),
    "center": Arm("center"),
    "norm_preserving": Arm("norm_preserving", _RATES),
    "norm_preserving_traces": Arm("norm_preserving", _RATES, signal="trace"),
    "interneuron": Arm("interneuron", _DAMPING),
    "interneuron_compensated": Arm("interneuron", _DAMPING, compensate=True),
    "decorrelating": Arm("decorrelating", _RATES),
    "lateral_inhibition": Arm(None, _INHIBITION, lateral=True),
    "lateral_inhibition_centered": Arm("center", _INHIBITION, lateral=True),
    # Its control: inhibition that does not grow, so that the homeostasis acts alone.
    "homeostasis_centered": Arm("center", ({"rate": 1e-9},), lateral=True),
}
SMALL = ("none", "center", "norm_preserving", "interneuron_compensated", "lateral_inhibition_centered")
# Made from the tables above, which types cannot follow: what the options allow.
CreditName: TypeAlias = Literal[tuple(CREDITS)]  # type: ignore[valid-type]
ArmName: TypeAlias = Literal[tuple(ARMS)]  # type: ignore[valid-type]


class Configuration(_arms.Configuration):
    """Options of the protocol."""

    credits: tuple[CreditName, ...] = Field(("backprop", "node_perturbation"), description="credit assignments")
    arms: tuple[ArmName, ...] = Field(SMALL, description="arms; 'center' is the reference")
    strengths: tuple[float, ...] = Field((0.0, 0.5), description="strengths of the nuisance, all arms")
    dose: tuple[float, ...] = Field((0.25,), description="further strengths, only for the dose response")
    dose_arms: tuple[ArmName, ...] = Field(("center", "norm_preserving"), description="arms of the dose response")
    encoding: Literal["current", "poisson"] = Field("current", description="constant currents or Poisson spikes")
    hidden: tuple[int, ...] = Field((128,), description="neurons of the hidden layers")
    steps: int = Field(25, ge=1, description="number of time steps of an image, 1 ms each")
    epochs: int = Field(4, ge=1, description="passes over the training images")
    mnist: study.DataPath | None = Field(
        None, description="folder of MNIST or Fashion-MNIST; the small digits if not given"
    )
    training: int = Field(
        5_000, ge=10, description="number of training images from that folder, with all classes in proportion"
    )

    @property
    def source(self) -> str:
        """Return the option that names the images."""
        return "--file" if self.file else "--mnist"

    def own_data(self) -> data.Dataset | None:
        """The images of the file or the folder, if there is one.

        Raises:
            InvalidValue: Both are given.
        """
        if self.file and self.mnist:
            raise InvalidValue("got --mnist too, allowed is one of both.")
        return dataset(self, 0.0, 0) if self.file or self.mnist else None

    def settings(self, arm: str) -> int:
        """Those of the arm."""
        return len(ARMS[arm].settings)

    def learning_rates(self, credit: str) -> tuple[float, float]:  # the same for all
        """Of Adam, which takes steps of the same size whatever the credit."""
        return LEARNING_RATES


def dataset(configuration: Configuration, strength: float, seed: int) -> data.Dataset:
    """Load the data of a seed; runs that differ only in their arm share them."""
    source = configuration.file, configuration.mnist
    return _dataset(*source, configuration.training, configuration.constant_features, strength, seed)


@lru_cache(maxsize=4)
def _dataset(
    file: str | None, mnist: str | None, training: int, constant_features: _arms.Constant, strength: float, seed: int
) -> data.Dataset:
    if file:
        samples = data.from_file(file, seed=seed, constant_features=constant_features)
    else:
        samples = data.mnist(mnist, seed, training=training, download=False) if mnist else data.digits(seed)
    return data.with_common_modes(samples, strength, seed) if strength else samples


def network(
    configuration: Configuration, arm: Arm, setting: int, units: list[int], seed: int
) -> tuple[Spiking, list[torch.optim.Optimizer]]:
    """Make the network of an arm, with equal weights for all arms of a seed, and its plasticity."""
    chosen = arm.settings[setting]

    def lateral(features: int) -> nn.Module:
        if features == units[-1]:  # what is read out competes by the loss
            return neurons(features)
        # A batch of sequences is a second of 1,000 / steps batches: means and targets settle within one epoch.
        own_rate = Homeostasis(calibration=0.2, average_time=1.0)
        rule = LateralCovariance(**chosen, mean_time=1.0, homeostasis=own_rate)
        return LateralLIF(features, rule=rule, threshold=0.5)

    # Spikes cannot be negative: an input of zero fires in every fourth step, so that the nuisance reaches below it.
    encoder = (
        Poisson(configuration.steps, baseline=0.25, gain=0.25, seed=seed)
        if configuration.encoding == "poisson"
        else None
    )
    model = spiking(
        units, configuration.steps, lateral if arm.lateral else neurons, readout="count", encoder=encoder, seed=seed
    )
    plasticity: list[torch.optim.Optimizer] = []
    if arm.rule is not None:
        model = nd.decorrelate(model, signal=arm.signal)
        rule = nd.rules.get(arm.rule, **({} if arm.lateral else chosen))
        plasticity.append(nd.Plasticity(model, rule, compensate=arm.compensate))
    return model, [*plasticity, *([NeuronPlasticity(model)] if arm.lateral else [])]
