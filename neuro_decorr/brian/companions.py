"""Companions of the synapses of a rule, outside the user's groups: `synapses.companions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from brian2 import NeuronGroup

from neuro_decorr.errors import InvalidValue


@final
@dataclass(frozen=True)
class Companions:
    """Groups that hold the variables of the plasticity for each neuron: `synapses.companions`.

    A companion is a plain `NeuronGroup` with one entry for each neuron of the whole group, even if the synapses connect
    a part of it. Its variables can be read and recorded by monitors, and its shared parameters set between runs.

    Attributes:
        target: Companion of the postsynaptic neurons. For spikes it has `trace` (and `deviation`, `mean`), with a
            homeostasis `bias`, `bias_rate`, `bias_average`, `target_rate`, and with a variance target `self_weight`;
            shared are `trace_time`, `mean_time`, `elapsed` and the parameters of homeostasis, variance and schedule.
            For rates it has the last `output` and `inputs` of each unit. For `interneuron_local` it is the group of
            interneurons, with `gain`, `variance` and `power`.
    """

    target: NeuronGroup
    _source: NeuronGroup | None

    @property
    def source(self) -> NeuronGroup:
        """Companion of the presynaptic neurons: the same as `target` if both sides are in one group.

        Raises:
            InvalidValue: The plasticity reads no variable of the presynaptic neurons, so that they have no companion.
        """
        if self._source is None:
            raise InvalidValue(
                "the presynaptic neurons have no companion, since the plasticity of this rule reads no variable of "
                "them; use companions.target."
            )
        return self._source
