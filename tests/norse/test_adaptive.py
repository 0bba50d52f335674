"""Neurons with an adaptive threshold, against a loop over steps and against those without."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.norse.spike_trains import step_by_step


def currents(steps: int = 80, batch: int = 3, units: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.5 * torch.rand(steps, batch, units, generator=generator, dtype=torch.float64)


OPTIONS = {"threshold": 0.4, "leak": 0.05, "reset": -0.1, "dtype": torch.float64}


def test_the_loop() -> None:
    inputs, strengths, times = currents(), [0.0, 0.1, 0.3, 0.8], [20e-3, 30e-3, 50e-3, 100e-3]
    cell = nd.norse.AdaptiveLIF(4, adaptation_time=times, adaptation_strength=strengths, **OPTIONS)
    spikes, state = cell(inputs)
    for sample in range(3):
        for unit in range(4):
            v, i, a, train = 0.05, 0.0, 0.0, []
            for arriving in inputs[:, sample, unit].tolist():
                i = i + arriving
                v = v + 0.1 * (0.05 - v + i)
                z = float(v > 0.4 + strengths[unit] * a)
                a = (1 - 1e-3 / times[unit]) * a + z
                v = -0.1 if z else v
                i = 0.8 * i
                train.append(z)
            np.testing.assert_array_equal(spikes[:, sample, unit].numpy(), train)
            np.testing.assert_allclose(
                [part[sample, unit].item() for part in state], [v, i, a, 0], rtol=1e-12, err_msg=f"{sample}, {unit}"
            )
    counts = spikes.sum((0, 1))
    assert counts[0] > 1.5 * counts[3] > 0  # it adapts


def test_without_adaptation_they_are_lif() -> None:
    inputs = currents().requires_grad_()
    found = []
    for cell in (nd.norse.LIF(4, **OPTIONS), nd.norse.AdaptiveLIF(4, adaptation_strength=0.0, **OPTIONS)):
        spikes, _ = cell(inputs)
        (gradient,) = torch.autograd.grad((spikes * torch.linspace(0, 1, 80).double()[:, None, None]).sum(), inputs)
        found.append((spikes, gradient))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-12, atol=1e-14)


def test_steps_and_sequences_are_the_same() -> None:
    cell, inputs = nd.norse.AdaptiveLIF(4, adaptation_strength=0.4, **OPTIONS), currents()
    spikes, state = cell(inputs)
    stepped, stepped_state = step_by_step(cell, inputs)
    assert torch.equal(spikes, stepped)
    assert all(torch.equal(*pair) for pair in zip(state, stepped_state, strict=True))
    started, _ = cell(inputs, cell.initial_state(3))
    assert torch.equal(spikes, started)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adaptation_time": 1e-4}, "AdaptiveLIF: adaptation_time must be one finite number >= 0.001"),
        ({"adaptation_strength": -0.1}, "AdaptiveLIF: adaptation_strength must be one finite number >= 0"),
        ({"rule": 3}, r"AdaptiveLIF: rule must be a nd\.norse\.ThresholdHomeostasis"),
    ],
)
def test_parameters_are_checked(options, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        nd.norse.AdaptiveLIF(4, **options)
