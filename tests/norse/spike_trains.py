"""Correlated spikes, and sequences run step by step, for the tests of spiking networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import neuro_decorr as nd


def spike_trains(steps: int, batch: int, units: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Spikes (steps, batch, units) of units that share one drive, at different rates."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.rand(steps, batch, 1, generator=generator) < 0.3
    own = torch.rand(steps, batch, units, generator=generator)
    rates = torch.linspace(0.1, 0.5, units)
    return torch.where(shared, own < 1.5 * rates, own < 0.4 * rates).to(dtype)


def step_by_step(cell: nn.Module, inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """What a cell makes of a sequence (steps, batch, units) one step at a time; after it, it takes sequences."""
    outputs = []
    nd.norse.set_sequences(cell, False)
    for step in inputs:
        output, state = cell(step, state)
        outputs.append(output)
    nd.norse.set_sequences(cell, True)
    return torch.stack(outputs), state
