"""Recurrent networks of plain linear layers, so that rules and credits apply to every weight of the recurrence."""

from __future__ import annotations

from typing import Literal, TypeAlias, final, get_args

import torch
from torch import Tensor, nn

from models._initialisation import drawn, generator
from neuro_decorr.errors import InvalidValue

Cell: TypeAlias = Literal["tanh", "gru"]
"""Units of the hidden layer: `tanh`, or with gates (`gru`)."""


@final
class Recurrent(nn.Module):
    r"""Network with one recurrent hidden layer, read out at the last step.

    $$\text{tanh:}\quad h_t = \tanh(W_i x_t + b + W_r h_{t-1}), \qquad y = W_o h_T + b_o$$

    $$
    \text{gru:}\quad r_t, u_t = \sigma(W_i x_t + b + W_r h_{t-1}), \qquad
    n_t = \tanh(W_i x_t + b + r_t \cdot W_r h_{t-1}), \qquad h_t = u_t h_{t-1} + (1 - u_t)\, n_t
    $$

    where every gate has its own rows in W_i, b and W_r. `nd.decorrelate` puts a D before each of the three layers,
    so that W_r receives D h: the recurrence runs through D, and D learns from all steps of the trajectory.

    Sources: Elman (1990), Finding structure in time, doi:10.1207/s15516709cog1402_1; Cho et al. (2014), Learning phrase
    representations using RNN encoder-decoder, arXiv:1406.1078, in the form of `torch.nn.GRU` without a second bias.

    Shapes: inputs (batch, steps, features); outputs (batch, classes).

    Attributes:
        inputs: W_i and b.
        recurrent: W_r.
        output: W_o and b_o.
        units: Number of hidden units.
        cell: `tanh` or `gru`.
    """

    def __init__(self, inputs: nn.Linear, recurrent: nn.Linear, output: nn.Linear, cell: Cell) -> None:
        """Put the layers together.

        Args:
            inputs: Layer from the features to the units (three times as many outputs with gates).
            recurrent: Layer from the units to as many outputs, without a bias.
            output: Layer from the units to the classes.
            cell: `tanh` or `gru`.
        """
        super().__init__()
        self.inputs, self.recurrent, self.output = inputs, recurrent, output
        self.units, self.cell = recurrent.in_features, cell

    def hidden(self, inputs: Tensor) -> Tensor:
        """Compute the trajectory h_1 ... h_T, shape (steps, batch, units).

        Args:
            inputs: x, shape (batch, steps, features).

        Raises:
            InvalidValue: The inputs have another number of dimensions, or no step.
        """
        if inputs.dim() != 3 or inputs.shape[1] == 0:
            raise InvalidValue(
                f"Recurrent takes inputs (batch, steps, features) with at least one step, got {tuple(inputs.shape)}."
            )
        state = inputs.new_zeros(len(inputs), self.units)
        states = []
        for arriving in inputs.unbind(1):
            drive, back = self.inputs(arriving), self.recurrent(state)
            if self.cell == "tanh":
                state = torch.tanh(drive + back)
            else:
                reset, update, new = drive.chunk(3, dim=-1)
                of_reset, of_update, of_new = back.chunk(3, dim=-1)
                keep = torch.sigmoid(update + of_update)
                proposed = torch.tanh(new + torch.sigmoid(reset + of_reset) * of_new)
                state = torch.lerp(proposed, state, keep)
            states.append(state)
        return torch.stack(states)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs after the last step, shape (batch, classes)."""
        outputs: Tensor = self.output(self.hidden(inputs)[-1])
        return outputs


def recurrent(
    features: int, units: int = 64, classes: int = 10, cell: Cell = "tanh", gain: float = 1.0, seed: int | None = None
) -> Recurrent:
    """Make a recurrent network with orthogonal recurrent weights.

    Args:
        features: Number of inputs per step.
        units: Number of hidden units.
        classes: Number of outputs.
        cell: `tanh` or `gru`.
        gain: Factor of the orthogonal recurrent weights; with gates each block is orthogonal.
        seed: Seed of the weights, which are drawn without using the global random state. None: the seed is taken from
            the global random state.

    Returns:
        The network, float32, on the CPU.

    Raises:
        InvalidValue: Sizes are not positive integers, or the cell is unknown.
    """
    if any(type(size) is not int or size < 1 for size in (features, units, classes)):
        raise InvalidValue(
            f"features, units, classes: got {features!r}, {units!r}, {classes!r}; allowed are positive integers."
        )
    if cell not in get_args(Cell):
        raise InvalidValue(f"cell: got {cell!r}; allowed are {' and '.join(get_args(Cell))}.")
    weights, blocks = generator(seed, "recurrent network"), 1 if cell == "tanh" else 3
    inputs = drawn(nn.Linear, features, blocks * units, gain_squared=1.0, generator=weights)
    back = nn.Linear(units, blocks * units, bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for block in back.weight.view(blocks, units, units):
            nn.init.orthogonal_(block, gain, generator=weights)
    output = drawn(nn.Linear, units, classes, gain_squared=1.0, generator=weights)
    return Recurrent(inputs, back, output, cell)
