"""E-prop behind leaky readouts of Norse, read at the last step or at their largest value, as its tutorials do."""

from __future__ import annotations

from typing import Literal

import norse.torch
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import credit
from tests.credit.loops import gradients
from tests.credit.spiking_loops import MEMBRANE, SYNAPSE, exact_neurons, neurons, surrogate

STEPS, BATCH, INPUTS, UNITS, OUTPUTS = 25, 3, 4, 6, 3
KEPT, READ = 1 - 1e-3 * 150.0, 1e-3 * 80.0  # of the readout's synapse and membrane, by step
Readout = Literal["LI", "LICell", "LIBoxCell"]


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


class Tutorial(nn.Module):
    """One spiking layer and a leaky readout of Norse."""

    def __init__(self, kind: Readout, largest: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.largest = kind, largest
        self.hidden, self.neurons = nn.Linear(INPUTS, UNITS), exact_neurons(UNITS)
        self.last = nn.Linear(UNITS, OUTPUTS)
        self.double()
        self.hidden.weight.data.mul_(4)
        self.last.weight.data.mul_(3)
        if kind == "LIBoxCell":
            parameters: object = norse.torch.LIBoxParameters(double(80.0), double(0.0))
        else:
            parameters = norse.torch.LIParameters(double(150.0), double(80.0), double(0.0))
        self.readout = getattr(norse.torch, kind)(parameters)
        self.neurons.sequences = kind == "LI"

    def forward(self, inputs: Tensor) -> Tensor:
        if self.kind == "LI":
            voltages = self.readout(self.last(self.neurons(self.hidden(inputs))[0]))[0]
        else:
            course, state, read = [], None, None
            for step in inputs:
                spikes, state = self.neurons(self.hidden(step), state)
                voltage, read = self.readout(self.last(spikes), read)
                course.append(voltage)
            voltages = torch.stack(course)
        return voltages.amax(0) if self.largest else voltages[-1]


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.rand(STEPS, BATCH, INPUTS, generator=generator, dtype=torch.float64),
        torch.rand(BATCH, OUTPUTS, generator=generator, dtype=torch.float64),
    )


def filtered_forward(model: Tutorial, inputs: np.ndarray, targets: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """The update of the hidden weights: eligibilities go through the readout's filter, step by step.

    The error of an output meets the filtered eligibilities at the step at which it is read.
    """
    hidden, last = (layer.weight.detach().numpy() for layer in (model.hidden, model.last))
    biases = [layer.bias.detach().numpy() for layer in (model.hidden, model.last)]
    found = np.zeros_like(hidden)
    for sequence, target in zip(inputs.transpose(1, 0, 2), targets, strict=True):
        potentials, spikes = neurons(sequence @ hidden.T + biases[0])
        arriving = trace = current = filtered = np.zeros_like(hidden)
        reading, voltage = np.zeros(OUTPUTS), np.zeros(OUTPUTS)
        voltages, of_steps = [], []
        for step in range(STEPS):
            arriving = SYNAPSE * arriving + sequence[step]
            held = 1.0 - (spikes[step - 1] if step else np.zeros(UNITS))
            trace = (1 - MEMBRANE) * held[:, None] * trace + MEMBRANE * arriving
            eligibility = surrogate(potentials[step])[:, None] * trace
            drive = last @ spikes[step] + biases[1]
            box = model.kind == "LIBoxCell"
            current = eligibility if box else current + eligibility
            reading = drive if box else reading + drive
            filtered = (1 - READ) * filtered + READ * current
            voltage = (1 - READ) * voltage + READ * reading
            current, reading = KEPT * current, KEPT * reading
            voltages.append(voltage)
            of_steps.append(filtered)
        for output in range(OUTPUTS):
            at = int(np.argmax([each[output] for each in voltages])) if model.largest else STEPS - 1
            error = 2 * (voltages[at][output] - target[output]) / targets.size
            found += error * sent[output][:, None] * of_steps[at]
    return found


@pytest.mark.parametrize("kind", ["LI", "LICell", "LIBoxCell"])
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_eligibilities_filtered_by_the_readout(kind, largest, feedback) -> None:
    model, (inputs, targets) = Tutorial(kind, largest), batch()
    assignment = credit.get("eprop", model, feedback=feedback)
    assignment.backward(F.mse_loss, inputs, targets)
    sent = model.last.weight.detach().numpy()
    if feedback == "random":
        sent = assignment.feedback_weights()["last"].numpy()
    expected = filtered_forward(model, inputs.numpy(), targets.numpy(), sent)
    assert np.abs(expected).max() > 1e-4
    # The readout of Norse starts from a float32 zero, and computes in float64.
    np.testing.assert_allclose(model.hidden.weight.grad.numpy(), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", ["LI", "LICell", "LIBoxCell"])
@pytest.mark.parametrize("largest", [False, True])
def test_one_layer_is_backprop_through_time(kind, largest) -> None:
    model, (inputs, targets) = Tutorial(kind, largest), batch()
    credit.get("eprop", model).backward(F.mse_loss, inputs, targets)
    ours = gradients(model)
    model.zero_grad()
    F.mse_loss(model(inputs), targets).backward()
    for one, exact in zip(ours, gradients(model), strict=True):
        assert exact.abs().max() > 1e-5
        torch.testing.assert_close(one, exact, rtol=1e-9, atol=1e-14)
