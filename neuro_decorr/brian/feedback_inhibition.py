"""Feedback inhibition by spiking interneurons that learn the leading common modes and cancel them: N k synapses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2 import Hz, NeuronGroup, Quantity, second

from neuro_decorr.brian._at_run import point_to_user
from neuro_decorr.brian._checks import check_choice, check_count, event_names, number, quantity
from neuro_decorr.brian._contents import FILLING
from neuro_decorr.brian._registry import register
from neuro_decorr.brian._rule import SpikingRule
from neuro_decorr.brian._strings import assigned, declared
from neuro_decorr.brian._synapses import LateralSynapses, Orders
from neuro_decorr.brian.homeostasis import Homeostasis
from neuro_decorr.errors import InvalidValue

_PHASE = 0.618
"""Of the first interneuron, in steps between two of them. From 0, charges would meet the threshold exactly after
whole numbers of time steps, and the rounding of a target of Brian2 would decide in which step they spike."""


_ANSWER = FILLING
"""When interneurons spike, as an order of the slot `synapses`: within the time step of the spikes that they hear."""


@register
@dataclass(frozen=True, kw_only=True)
class FeedbackInhibition(SpikingRule):
    r"""k inhibitory interneurons hear the population, inhibit it, and learn its leading common modes.

    Every synapse is reciprocal: with the weight w_kj >= 0 neuron j excites interneuron k, which inhibits j (Dale's law
    is kept). An interneuron is a perfect integrator: each spike of j adds w_kj to its charge, and at the threshold
    theta it spikes and loses theta. Over any time it so counts the weighted spikes of the population, to within one
    spike, $n_k = \sum_j w_{kj} n_j / \theta$. The weight changes by

    $$
    \text{spike of } k:\; w_{kj} \leftarrow w_{kj} + \eta\, (x_j - \bar x_j), \qquad
    \text{spike of } j:\; w_{kj} \leftarrow w_{kj} - \eta\, \bigl((1 + \kappa) (x_j - \bar x_j) +
    \tfrac{\kappa}{2}\bigr) \frac{w_{kj}}{\theta}
    $$

    with the trace x of `lateral_covariance`, in which a spike of the same time step counts half. The first part is
    Hebbian. The second takes off what neuron j itself contributed to the spikes of k, and kappa times that and half a
    spike. With C the covariance of the traces and V its diagonal, for traces of a decay tau, on average

    $$\dot w_k = \frac{\eta}{\theta \tau}\, (C - V - \kappa V')\, w_k, \qquad V' = V + \tfrac{\tau}{2} \rho$$

    (rho: rates, a diagonal matrix), since $\langle S_i x_j \rangle + \langle S_j x_i \rangle = 2 C_{ij} / \tau$ in a
    stationary state; in time steps of dt tau stands for 2 dt / (1 - exp(-2 dt / tau)). So the weights grow along common
    modes, those in which the population varies more than its neurons each on their own, and rest where these are down
    to C w = (V + kappa V') w: for trains as variable as Poisson's, V' = 2 V, 1 + 2 kappa times the private variance.
    Shared by N neurons, that is a correlation of 2 kappa / N a mode.
    This is Oja's rule, with the feedback of the inhibition, not the length of w, as what ends the growth. Several
    interneurons share the modes among them: only their span is learnt. Where there are fewer than modes, it is that of
    the leading ones, as any other span is unstable. kappa must not be too small: for kappa = 0 nothing ends the growth
    of inhibition in a mode that is cancelled already.

    What a synapse back from k onto j sees is the same, so that one of its own, started anywhere, comes to the same
    weight; here one number stands for both.

    Weights are zero when connected. They grow from spontaneous spikes of the interneurons, regular and each at a phase
    of its own, in some 1 / (eta lambda / (theta tau)) log(theta / eta). Modes of mixed sign, which Dale's law leaves to
    differences between interneurons, take much longer than a positive one: lambda is their variance.

    Source: circuit of Lipshutz, Pehlevan, Chklovskii (2023), Interneurons accelerate learning dynamics in recurrent
    neural networks for statistical adaptation, arXiv:2209.10634, with Dale's law as in King, Zylberberg, DeWeese
    (2013), doi:10.1523/JNEUROSCI.4188-12.2013; Oja (1982), doi:10.1007/BF00275687.

    Attributes:
        interneurons: k, at least the number of common sources; with mixed signs up to twice as many.
        threshold: theta, so many weights make an interneuron spike: more of them, and it spikes less and each of its
            spikes says more.
        excess: kappa, half of the common variance that may be left in a mode, relative to the private one.
        spontaneous_rate: Of interneurons that hear nothing.
        mean_time: Averaging time of the means of the traces, several seconds.
    """

    name = "feedback_inhibition"
    title = "k spiking interneurons learn the leading common modes and cancel them, Dale's law kept"
    equation = (
        "w <- w + rate (x_j - <x_j>) at a spike of interneuron k, "
        "w <- w - rate ((1 + excess) (x_j - <x_j>) + excess / 2) w / threshold at a spike of j"
    )
    fixed_point_text = "common modes down to (1 + 2 excess) times the private variance, the leading ones first"
    locality = "trace of the neuron, weight, spikes of both"
    cost = "2 k a spike of a neuron, 2 N a spike of an interneuron"
    source = "Lipshutz et al. 2023, arXiv:2209.10634; King et al. 2013, doi:10.1523/JNEUROSCI.4188-12.2013"
    seen = ("deviation",)
    decorrelates = True
    sees_source = False

    rate: float = number(1e-2, above=0)
    interneurons: int = 8
    threshold: float = number(5.0, above=0)
    excess: float = number(0.5, above=0)
    spontaneous_rate: Quantity = quantity(5 * Hz)
    mean_time: Quantity = quantity(10 * second, above="trace_time", companion=True)
    homeostasis: Homeostasis | None = field(default_factory=Homeostasis)

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity outside its range, or of other units; negative weights.
        """
        super().__post_init__()
        check_count(self, "interneurons")
        check_choice(self, "same_step", "pre_first")
        if self.smallest_weight < 0:
            raise InvalidValue(
                f"{self.name}: smallest_weight must be at least 0, since the weight excites one way and inhibits the "
                f"other (Dale's law), got {self.smallest_weight!r}; modes of mixed sign need more interneurons instead."
            )

    @property
    def _orders(self) -> Orders:
        """A spike of a neuron is heard, interneurons spike (`_ANSWER`), and these spikes are transmitted."""
        return Orders(transmission=_ANSWER + 1, learning_pre=_ANSWER + 2, learning_post=_ANSWER - 1)

    @property
    def _entering(self) -> dict[int, float]:
        """Half of a spike before all, and half after all: two of the same step are one pair, in both directions."""
        return {min(self._orders) - 1: 0.5, max(self._orders) + 1: 0.5}

    @property
    def on_pre(self) -> str:
        """A spike of the interneuron: the trace of the neuron against its mean."""
        return self._step("target_deviation")

    @property
    def on_post(self) -> str:
        """A spike of the neuron: it excites, and takes off what it excites of its own."""
        own = self._step("-((1 + excess)*target_deviation + excess/2)*w/threshold_pre")
        return f"charge_pre += w\n{own}"

    @property
    def namespace(self) -> dict[str, Any]:
        """With the excess."""
        return {**super().namespace, "excess": self.excess}

    @property
    def equations(self) -> str:
        """The equations of the interneurons, which spike at `charge >= threshold` and then lose the threshold."""
        return "dcharge/dt = threshold*spontaneous_rate : 1\n" + declared(self._interneuron_values)

    @property
    def _interneuron_values(self) -> dict[str, Any]:
        """The values of the shared parameters in `equations`, by name."""
        return {"threshold": self.threshold, "spontaneous_rate": self.spontaneous_rate}

    @property
    def _parts(self) -> dict[str, str]:
        interneurons = {
            f"{self.interneurons} interneurons, threshold='charge >= threshold' (synapses, order {_ANSWER}), "
            "reset='charge -= threshold' (resets, order 0)": self.equations,
            "parameters of the interneurons": assigned(self._interneuron_values),
        }
        return interneurons | super()._parts

    def synapses(
        self,
        source: Any,
        target: Any = None,
        drive: str | None = "",
        *,
        on_event: str | dict[str, str] = "spike",
        **options: Any,
    ) -> LateralSynapses:
        """Interneurons for a population, and the synapses between them: connect them as any others.

        Args:
            source: The population, a group or a subgroup; it must spike.
            target: None, or the population again: interneurons inhibit those whom they hear.
            drive: What a spike of an interneuron does to the population, with the weight `w`, such as
                `'gi_post -= w*mV'`; None to learn from spike trains alone.
            on_event: Which event of the population counts as a spike.
            **options: As of `SpikingRule.synapses`.

        Returns:
            `brian2.Synapses` from the interneurons (`synapses.source`, to be recorded as any group) to the
            population, not connected yet, every weight zero.

        Raises:
            InvalidValue: As `SpikingRule.synapses`; another target.
        """
        if target is not None and target is not source:
            raise InvalidValue(
                f"{self.name}: its interneurons inhibit the neurons that they hear, so give one group, "
                "rule.synapses(neurons, drive='gi_post -= w*mV')."
            )
        interneurons = NeuronGroup(
            self.interneurons,
            self.equations,
            threshold="charge >= threshold",
            reset="charge -= threshold",
            method="euler",
            clock=getattr(source, "clock", None),
            name="interneurons*",
            namespace={},
        )
        for name, value in self._interneuron_values.items():
            setattr(interneurons, name, value)
        interneurons.thresholder["spike"].when, interneurons.thresholder["spike"].order = "synapses", _ANSWER
        interneurons.charge = self.threshold * (np.arange(self.interneurons) + _PHASE) / self.interneurons
        events = {"pre": "spike", "post": event_names(on_event)["post"]}
        synapses = super().synapses(interneurons, source, drive, on_event=events, **options)
        synapses.contained_objects.append(interneurons)
        point_to_user(synapses)
        return synapses
