"""Feedback inhibition by k spiking interneurons that learn and cancel the leading common modes, with N k synapses."""

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
"""Phase of the first interneuron, in units of the distance between two. With a phase of 0, charges would reach the
threshold exactly after whole numbers of time steps, and the rounding of a target of Brian2 would decide in which step
they spike."""


_ANSWER = FILLING
"""Order in the slot `synapses` at which interneurons spike: within the time step of the spikes that excite them."""


@register
@dataclass(frozen=True, kw_only=True)
class FeedbackInhibition(SpikingRule):
    r"""Feedback inhibition by k interneurons that the population excites; they learn its leading common modes.

    Every synapse is reciprocal: with the weight $w_{kj} \ge 0$ neuron j excites interneuron k, which inhibits j (Dale's
    law holds). An interneuron is a perfect integrator: each spike of j adds $w_{kj}$ to its charge, and at the
    threshold $\theta$ it spikes and loses $\theta$. In any time it therefore counts the weighted spikes of the
    population, to within one spike, $n_k = \sum_j w_{kj} n_j / \theta$. The weight changes by

    $$
    \text{spike of } k:\; w_{kj} \leftarrow w_{kj} + \eta\, (x_j - \bar x_j), \qquad
    \text{spike of } j:\; w_{kj} \leftarrow w_{kj} - \eta\, \bigl((1 + \kappa) (x_j - \bar x_j) +
    \tfrac{\kappa}{2}\bigr) \frac{w_{kj}}{\theta}
    $$

    with the trace x of `lateral_covariance`, in which a spike of the same time step counts half. The first part is
    Hebbian. The second part subtracts the contribution of neuron j to the spikes of k, $\kappa$ times that
    contribution, and $\kappa / 2$ spikes. With C the covariance of the traces, V its diagonal, $\rho$ the diagonal
    matrix of rates and $\tau$ the decay time of the traces, the mean change is

    $$\dot w_k = \frac{\eta}{\theta \tau}\, (C - V - \kappa V')\, w_k, \qquad V' = V + \tfrac{\tau}{2} \rho$$

    since $\langle S_i x_j \rangle + \langle S_j x_i \rangle = 2 C_{ij} / \tau$ in a stationary state. In time steps of
    dt, $\tau$ is replaced by $2\, dt / (1 - e^{-2 dt / \tau})$. The weights therefore grow along common modes, in which
    the population varies more than independent neurons would, until $C w = (V + \kappa V') w$. For trains as variable
    as Poisson trains, $V' = 2 V$, so that the variance of such a mode is $1 + 2 \kappa$ times the private variance; for
    a mode that N neurons share this is a correlation of $2 \kappa / N$.

    This is Oja's rule, except that the feedback of the inhibition ends the growth of w, not its length. Several
    interneurons learn a common span of modes, not one mode each. If there are fewer interneurons than modes, they learn
    the span of the leading modes, as any other span is unstable. $\kappa$ must not be too small: for $\kappa = 0$
    nothing ends the growth of inhibition in a mode that is already cancelled.

    A separate synapse back from k onto j would read the same spikes and traces and reach the same weight from any
    start; here one number holds both weights.

    Weights are zero when connected. They grow from spontaneous spikes of the interneurons, which are regular and have
    different phases, in a time of about $(\theta \tau / (\eta \lambda)) \log(\theta / \eta)$ with the variance
    $\lambda$ of the mode. Modes of mixed sign take much longer than a positive mode: by Dale's law only differences
    between interneurons can represent them.

    Cost: 2 k updates of a weight per spike of a neuron, 2 N per spike of an interneuron; one float per synapse.

    Source: circuit of Lipshutz, Pehlevan, Chklovskii (2023), Interneurons accelerate learning dynamics in recurrent
    neural networks for statistical adaptation, arXiv:2209.10634, with Dale's law as in King, Zylberberg, DeWeese
    (2013), doi:10.1523/JNEUROSCI.4188-12.2013; Oja (1982), doi:10.1007/BF00275687.

    Attributes:
        interneurons: Number k of interneurons, at least the number of common sources; with mixed signs up to twice as
            many.
        threshold: $\theta$, in units of the weights. With a higher threshold an interneuron spikes less often, and each
            of its spikes stands for more spikes of the population.
        excess: $\kappa$, half of the common variance that remains in a mode, relative to the private variance.
        spontaneous_rate: Rate of interneurons without input (Hz).
        mean_time: Averaging time of the means of the traces (time units), several seconds.
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
            InvalidValue: A number or a quantity is out of range or has other units; weights may become negative.
        """
        super().__post_init__()
        check_count(self, "interneurons")
        check_choice(self, "same_step", "pre_first")
        if self.smallest_weight < 0:
            raise InvalidValue(
                f"{self.name}: smallest_weight must be at least 0, got {self.smallest_weight!r}, since one weight is "
                "both an excitatory and an inhibitory one (Dale's law); for modes of mixed sign use more interneurons."
            )

    @property
    def _orders(self) -> Orders:
        """Orders: spikes of neurons excite interneurons, these spike (`_ANSWER`), and their spikes are transmitted."""
        return Orders(transmission=_ANSWER + 1, learning_pre=_ANSWER + 2, learning_post=_ANSWER - 1)

    @property
    def _entering(self) -> dict[int, float]:
        """Half of a spike enters before all plasticity and half after it: two spikes of one step count as one pair."""
        return {min(self._orders) - 1: 0.5, max(self._orders) + 1: 0.5}

    @property
    def on_pre(self) -> str:
        """Plasticity at a spike of the interneuron: the trace of the neuron less its mean."""
        return self._step("target_deviation")

    @property
    def on_post(self) -> str:
        """Excitation and plasticity at a spike of the neuron: its own contribution is subtracted from the weight."""
        own = self._step("-((1 + excess)*target_deviation + excess/2)*w/threshold_pre")
        return f"charge_pre += w\n{own}"

    @property
    def namespace(self) -> dict[str, Any]:
        """Values of the shared parameters in `model`, by name, with the excess."""
        return {**super().namespace, "excess": self.excess}

    @property
    def equations(self) -> str:
        """Equations of the interneurons, which spike at `charge >= threshold` and then lose the threshold."""
        return "dcharge/dt = threshold*spontaneous_rate : 1\n" + declared(self._interneuron_values)

    @property
    def _interneuron_values(self) -> dict[str, Any]:
        """Values of the shared parameters in `equations`, by name."""
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
        """Make interneurons for a population and the synapses between them; connect these like any others.

        Args:
            source: The population, a group or a subgroup; it must spike.
            target: None, or the population again: interneurons inhibit the neurons that excite them.
            drive: Effect of a spike of an interneuron on the population, a statement with the weight `w`, such as
                `'gi_post -= w*mV'`; None to learn from spike trains alone.
            on_event: Event of the population that counts as a spike.
            **options: Options of `SpikingRule.synapses`.

        Returns:
            `brian2.Synapses` from the interneurons (`synapses.source`, a group that monitors can record) to the
            population, not connected yet, every weight zero.

        Raises:
            InvalidValue: As for `SpikingRule.synapses`; or the target is another group.
            UnknownName: As for `SpikingRule.synapses`.
            Unsupported: As for `SpikingRule.synapses`.
        """
        if target is not None and target is not source:
            raise InvalidValue(
                f"{self.name}: the interneurons inhibit the neurons that excite them, so give one group, "
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
