"""Mean power of a layer's input, by which rules weigh a batch of any scale."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged
from neuro_decorr.rules._state import Sample, State
from neuro_decorr.rules._sums import input_power

LOUDEST = 1e4
"""Largest power with which a batch counts, relative to the running power: 100 times the amplitude."""
SILENT = 1e-30
"""Mean power up to which a batch counts as silent and changes nothing: an amplitude of 1e-15."""


class Heard(NamedTuple):
    """Inputs of a rule from one batch.

    Attributes:
        power: c, the running mean power, this batch included.
        scale: Weight of the second moment of this batch, in (0, 1]: 1 unless the batch is louder than `LOUDEST`.
        updates: Number of batches heard so far, this one included.
        present: p, the mean power of this batch.
    """

    power: float
    scale: float
    updates: int
    present: float

    def rows(self, rows: Tensor) -> Tensor:
        """Rows with the amplitude with which they count; the same tensor if their scale is 1."""
        return rows if self.scale == 1 else rows * math.sqrt(self.scale)


def initial_power(like: Tensor) -> State:
    """Statistics of `hear_` on the device of `like`: mean power (float64) and number of batches heard."""
    return {"power": like.new_zeros((), dtype=torch.float64), "updates": like.new_zeros((), dtype=torch.int64)}


def initial_memory(like: Tensor) -> State:
    """Statistic of `remember_` on the device of `like`: the power that the layer once had (float64)."""
    return {"remembered": like.new_zeros((), dtype=torch.float64)}


def hear_(state: State, sample: Sample, rate: float) -> Heard | None:
    r"""Move the running power towards that of a batch.

    $$c \leftarrow c + \max(\eta, 1 / t)\, (\min(p, 10^4 c) - c), \quad p = \langle z_i^2 \rangle$$

    The first batch sets c. A batch that is much louder than all before counts as 10^4 c, in c and, by `Heard.scale`, in
    every second moment. So one broken batch does no lasting harm, and after a lasting change of scale c grows by orders
    of magnitude per update. A silent batch, $p \le 10^{-30}$, changes nothing: the rule remembers the power of a layer
    however long the layer is silent, and floors relative to c stay where they are.

    Args:
        state: State with `power` and `updates`, changed in place.
        sample: Sample with the inputs.
        rate: eta, the least weight of this batch.

    Returns:
        Power and weight of the batch; None if it is silent.

    Raises:
        Diverged: The power of the batch is not finite; nothing has changed.
    """
    return hear_power_(state, input_power(sample), rate)


def hear_power_(state: State, present: float, rate: float) -> Heard | None:
    """Do the work of `hear_` for a batch whose mean power is known and finite."""
    if present <= SILENT:
        return None
    updates = int(state["updates"].add_(1))
    power = float(state["power"])
    counted = min(present, LOUDEST * power) if power > 0 else present
    power = power + max(rate, 1 / updates) * (counted - power)
    state["power"].fill_(power)
    return Heard(power, counted / present, updates, present)


class HeardGroups(NamedTuple):
    """Inputs of a rule from one batch of every group of a layer: as `Heard`, each of shape (groups,).

    Attributes:
        heard: True if the batch of the group was not silent; if False, nothing of the group may change.
        power: c, float64; 1 if the group has heard no batch yet.
        scale: Weight of the second moment, float64; 1 for a silent batch.
        updates: Number of batches that the group has heard.
        present: p, the mean power of this batch, float64.
    """

    heard: Tensor
    power: Tensor
    scale: Tensor
    updates: Tensor
    present: Tensor


def hear_groups_(states: State, inputs: Tensor, rate: float) -> HeardGroups:
    """Do the work of `hear_` for all groups of a layer at once, each with its own power.

    Args:
        states: States with `power` and `updates`, shape (groups,), changed in place.
        inputs: Centred rows, shape (groups, rows, features).
        rate: eta, the least weight of this batch.

    Returns:
        Power and weight of the batch of each group.

    Raises:
        Diverged: A power is not finite; nothing has changed.
    """
    return hear_group_powers_(states, row_squares(inputs.flatten(1)) / inputs[0].numel(), rate)


def row_squares(rows: Tensor) -> Tensor:
    """Squared norm of every row in float64, shape (..., rows), by a product, which is fast for many short rows."""
    wide = rows.double()
    squares: Tensor = (wide * wide) @ wide.new_ones(rows.shape[-1])
    return squares


def hear_group_powers_(states: State, present: Tensor, rate: float) -> HeardGroups:
    """Do the work of `hear_groups_` for batches whose mean powers are known, shape (groups,), float64."""
    power, updates = states["power"], states["updates"]
    if not bool((present < math.inf).all()):
        raise Diverged("the activity is not finite, or too large to work with: look at the data and lower the rates.")
    heard = present > SILENT
    updates.add_(heard)
    counted = torch.where(power > 0, torch.minimum(present, LOUDEST * power), present)
    weight = (1 / updates.clamp_min(1).double()).clamp_min_(rate)
    power.copy_(torch.where(heard, power + weight * (counted - power), power))
    one = torch.ones_like(present)
    return HeardGroups(
        heard, torch.where(power > 0, power, one), torch.where(heard, counted / present, one), updates, present
    )


def remember_(state: State, power: float, rate: float) -> float:
    r"""Power that a layer is used to, to which an absolute floor refers.

    $$c^* \leftarrow c^* (c / c^*)^{\eta / 20}, \quad c / c^* \text{ taken within } [e^{-1}, e]$$

    It moves by a factor of e in 20 / eta updates at most, up or down, so that neither one loud batch nor a silence of
    some hundred updates changes it much. A layer that falls nearly silent keeps its floor for a while; after a lasting
    change of scale the floor follows.

    Args:
        state: State with `remembered`, changed in place.
        power: c > 0.
        rate: eta, at which c moves.

    Returns:
        Power c*.
    """
    memory = float(state["remembered"]) or power
    memory *= math.exp(rate / 20 * min(max(math.log(power / memory), -1.0), 1.0))
    state["remembered"].fill_(memory)
    return memory


def remember_groups_(states: State, heard: HeardGroups, rate: float) -> Tensor:
    """Do the work of `remember_` for all groups of a layer at once, shape (groups,); a silent group changes nothing."""
    memory = torch.where(states["remembered"] > 0, states["remembered"], heard.power)
    moved = memory * ((heard.power / memory).log().clamp(-1, 1) * (rate / 20)).exp()
    states["remembered"].copy_(torch.where(heard.heard, moved, states["remembered"]))
    return moved


def newest_weight(rate: float, updates: int, own_rate: float) -> float:
    r"""Weight of the newest batch in a running covariance: 4 / (t + 4) at first, then the rate.

    $$\eta_t = \max(\eta, 4 / (t + 4)) \text{ while } 4 / (t + 4) > \eta_0, \quad \eta \text{ afterwards}$$

    In this average the start counts for about $24\, t^{-4}$ after t updates, until the rate takes over. A plain
    average, 1 / t, forgets a wrong start only as 1 / t, and the rate alone as $e^{-\eta t}$. A schedule that anneals
    the rate later still acts: with 4 / t for ever, all samples would be worth less than half of them.

    Args:
        rate: eta, in [0, 1], as a schedule may have set it.
        updates: t, the number of updates, this one included.
        own_rate: eta_0, the rate of the rule.
    """
    early = 4 / (updates + 4)
    return max(rate, early) if early > own_rate else rate
