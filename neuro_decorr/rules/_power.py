"""The mean power of a layer's input: how the rules that follow it hear a batch, whatever its scale."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged
from neuro_decorr.rules._rule import State

LOUDEST = 1e4
"""A batch counts as at most so many times the power of those before: 100 times their amplitude."""
SILENT = 1e-30
"""Mean power up to which a batch counts as silent: an amplitude of 1e-15. It teaches nothing."""
SMALL, LARGE = 1e-12, 1e18
"""Norms between which no square of a float32 that counts is lost."""


class Heard(NamedTuple):
    """What a rule takes in of a batch.

    Attributes:
        power: c, the running mean power, this batch included.
        scale: What the second moment of this batch counts for, in (0, 1]: 1 unless it is louder than `LOUDEST`.
        updates: How many batches have been heard, this one included.
        present: p, the mean power of this batch.
    """

    power: float
    scale: float
    updates: int
    present: float

    def rows(self, rows: Tensor) -> Tensor:
        """The rows as loud as they count: the same tensor where their scale is 1."""
        return rows if self.scale == 1 else rows * math.sqrt(self.scale)


def initial_power(like: Tensor) -> State:
    """The statistics of `hear_`, where `like` is: the mean power (double precision) and the number of batches heard."""
    return {"power": like.new_zeros((), dtype=torch.float64), "updates": like.new_zeros((), dtype=torch.int64)}


def initial_memory(like: Tensor) -> State:
    """The statistic of `remember_`, where `like` is: the power that the layer once had, in double precision."""
    return {"remembered": like.new_zeros((), dtype=torch.float64)}


def present_power(rows: Tensor) -> float:
    """The mean square of rows, in double precision where squares of their own type would leave its range.

    Raises:
        Diverged: It is not finite.
    """
    norm = float(torch.linalg.vector_norm(rows))
    if not SMALL < norm < LARGE:  # several times slower, since it converts first
        norm = float(torch.linalg.vector_norm(rows, dtype=torch.float64))
    power = norm * norm / rows.numel()
    if not power < math.inf:
        raise Diverged("the activity is not finite, or too large to work with.")
    return power


def hear_(state: State, inputs: Tensor, rate: float) -> Heard | None:
    r"""Move the running power to that of a batch.

    $$c \leftarrow c + \max(\eta, 1 / t)\, (\min(p, 10^4 c) - c), \quad p = \langle z_i^2 \rangle$$

    The first batch sets c. A batch that is much louder than all before counts as 10^4 c, in c and, by `Heard.scale`, in
    every second moment: one broken batch does no lasting harm, and after a lasting change of scale c grows by orders of
    magnitude an update. A silent batch, $p \le 10^{-30}$, moves nothing: what power a layer had is remembered
    however long it is silent, and floors relative to c stay where they are.

    Args:
        state: Holds `power` and `updates`, changed in place.
        inputs: Centred rows, shape (rows, features).
        rate: eta, at least the weight of this batch.

    Returns:
        What the batch counts for; None where it is silent.

    Raises:
        Diverged: Its power is not finite; nothing has moved.
    """
    return hear_power_(state, present_power(inputs), rate)


def hear_power_(state: State, present: float, rate: float) -> Heard | None:
    """As `hear_`, of a batch whose mean power is known already, and finite."""
    if present <= SILENT:
        return None
    updates = int(state["updates"].add_(1))
    power = float(state["power"])
    counted = min(present, LOUDEST * power) if power > 0 else present
    power = power + max(rate, 1 / updates) * (counted - power)
    state["power"].fill_(power)
    return Heard(power, counted / present, updates, present)


class HeardGroups(NamedTuple):
    """What a rule takes in of a batch of every group of a layer: as `Heard`, each of shape (groups,).

    Attributes:
        heard: Whether the group's batch was more than silence; where not, nothing of it may move.
        power: c, double precision; 1 where nothing has been heard yet.
        scale: What the second moment counts for, double precision; 1 where silent.
        updates: How many batches the group has heard.
        present: p, the mean power of this batch, double precision.
    """

    heard: Tensor
    power: Tensor
    scale: Tensor
    updates: Tensor
    present: Tensor


def hear_groups_(states: State, inputs: Tensor, rate: float) -> HeardGroups:
    """`hear_` for every group of a layer at once, each with a power of its own.

    Args:
        states: Hold `power` and `updates`, shape (groups,), changed in place.
        inputs: Centred rows, shape (groups, rows, features).
        rate: eta, at least the weight of this batch.

    Returns:
        What the batch of each group counts for.

    Raises:
        Diverged: A power is not finite; nothing has moved.
    """
    return hear_group_powers_(states, row_squares(inputs.flatten(1)) / inputs[0].numel(), rate)


def row_squares(rows: Tensor) -> Tensor:
    """The squared norm of every row in double precision, shape (..., rows); for many short rows, a product is fast."""
    wide = rows.double()
    squares: Tensor = (wide * wide) @ wide.new_ones(rows.shape[-1])
    return squares


def hear_group_powers_(states: State, present: Tensor, rate: float) -> HeardGroups:
    """As `hear_groups_`, of batches whose mean powers are known already, shape (groups,), double precision."""
    power, updates = states["power"], states["updates"]
    if not bool((present < math.inf).all()):
        raise Diverged("the activity is not finite, or too large to work with.")
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
    r"""The power that a layer is used to, to which an absolute floor refers.

    $$c^* \leftarrow c^* (c / c^*)^{\eta / 20}, \quad c / c^* \text{ taken within } [e^{-1}, e]$$

    It moves by a factor of e in 20 / eta updates at most, up or down: neither one loud batch nor a silence of some
    hundred updates changes it much. So a layer that falls nearly silent keeps its floor for a while; after a lasting
    change of scale the floor follows.

    Args:
        state: Holds `remembered`, changed in place.
        power: c > 0.
        rate: eta, at which c moves.

    Returns:
        The power c*.
    """
    memory = float(state["remembered"]) or power
    memory *= math.exp(rate / 20 * min(max(math.log(power / memory), -1.0), 1.0))
    state["remembered"].fill_(memory)
    return memory


def remember_groups_(states: State, heard: HeardGroups, rate: float) -> Tensor:
    """`remember_` for every group of a layer at once, shape (groups,); what is silent moves nothing."""
    memory = torch.where(states["remembered"] > 0, states["remembered"], heard.power)
    moved = memory * ((heard.power / memory).log().clamp(-1, 1) * (rate / 20)).exp()
    states["remembered"].copy_(torch.where(heard.heard, moved, states["remembered"]))
    return moved


def newest_weight(rate: float, updates: int, own_rate: float) -> float:
    r"""Weight of the newest batch in a running covariance: 4 / (t + 4) at first, then the rate.

    $$\eta_t = \max(\eta, 4 / (t + 4)) \text{ while } 4 / (t + 4) > \eta_0, \quad \eta \text{ afterwards}$$

    An average in which where it began counts for about $24\, t^{-4}$ after t updates, until the rate takes over:
    a plain average, 1 / t, forgets a wrong start only as 1 / t, and the rate alone as $e^{-\eta t}$. A schedule
    that anneals the rate later has its way: with 4 / t for ever, all samples would be worth less than half of them.

    Args:
        rate: eta, in [0, 1], as a schedule may have set it.
        updates: t, the number of updates, this one included.
        own_rate: eta_0, that of the rule.
    """
    early = 4 / (updates + 4)
    return max(rate, early) if early > own_rate else rate
