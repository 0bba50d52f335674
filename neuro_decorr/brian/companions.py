"""What synapses of a rule bring along, outside of the user's groups: `synapses.companions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from brian2 import NeuronGroup

from neuro_decorr.errors import InvalidValue


@final
@dataclass(frozen=True)
class Companions:
    """The groups in which the plasticity holds what it knows of each neuron: `synapses.companions`.

    Each is a plain `NeuronGroup` with one entry for each neuron of the whole group, also where the synapses connect a
    part of it: to be read, recorded by monitors, and for shared parameters set between runs.

    Attributes:
        target: Of the postsynaptic neurons. For spikes `trace` (and `deviation`, `mean`), where there is a homeostasis
            `bias`, `bias_rate`, `bias_average`, `target_rate`, where there is a variance `self_weight`; shared are
            `trace_time`, `mean_time`, `elapsed` and the parameters of homeostasis, variance and schedule. For rates
            what each unit showed last, `output` and `inputs`; for `interneuron_local` the interneurons themselves, with
            `gain`, `variance` and `power`.
    """

    target: NeuronGroup
    _source: NeuronGroup | None

    @property
    def source(self) -> NeuronGroup:
        """Of the presynaptic neurons: the same group as `target` where both are of one group.

        Raises:
            InvalidValue: The plasticity sees nothing of its source.
        """
        if self._source is None:
            raise InvalidValue("the plasticity sees nothing of its source, which has no companion.")
        return self._source
