"""Lateral inhibition that brings coincidences to those of independent neurons at the target rate."""

from __future__ import annotations

from dataclasses import dataclass, field

from neuro_decorr.brian._registry import register
from neuro_decorr.brian._rule import SpikingRule
from neuro_decorr.brian.homeostasis import Homeostasis
from neuro_decorr.errors import InvalidValue


@register
@dataclass(frozen=True, kw_only=True)
class Foldiak(SpikingRule):
    r"""Lateral inhibition with the target of Foldiak and SAILnet: coincidences of independent neurons at target rates.

    $$
    \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \rho_i \tau), \qquad
    \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \rho_j \tau)
    $$

    Each spike raises the trace x by one, so that its mean is the rate times the trace time $\tau$. At the target rates
    $\rho$ the mean change is $\dot w_{ij} = \eta\, (c_{ij} - 2 \rho_i \rho_j \tau)$ with $c_{ij}$ the rate of
    coincidences that the traces count: the published $dW = \alpha (\langle y_i y_j \rangle - p^2)$. The homeostasis
    takes the place of the published adaptation of thresholds and is part of the rule; while rates are off target, the
    weights follow the rates. By default the targets are the neurons' own rates; the published p, one for all, is
    `Homeostasis(target_rate=...)`. In steps of dt, $\tau$ is replaced by $\tfrac{dt}{2} \coth(dt / (2 \tau))$, with
    which the weights of independent neurons at their targets do not drift, for any step.

    Cost: 2 N updates of a weight per spike in an all-to-all population of N neurons; one float per synapse.

    Source: Foldiak (1990), Forming sparse representations by local anti-Hebbian learning, doi:10.1007/BF02331346;
    Zylberberg, Murphy, DeWeese (2011), SAILnet, doi:10.1371/journal.pcbi.1002250.
    """

    name = "foldiak"
    title = "lateral inhibition towards the coincidences of independent neurons at the target rate"
    equation = "w <- w + rate (x_i - rho tau) at a spike of j, and with i and j exchanged"
    fixed_point_text = "<y_i y_j> = p^2 at rates p"
    locality = "traces and target rates of the two neurons"
    cost = "2 N a spike, all-to-all"
    source = "Foldiak 1990, doi:10.1007/BF02331346; Zylberberg et al. 2011, doi:10.1371/journal.pcbi.1002250"
    seen = ("trace", "expected")
    decorrelates = True

    homeostasis: Homeostasis | None = field(default_factory=Homeostasis)

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity is out of range, or there is no homeostasis.
        """
        super().__post_init__()
        if self.homeostasis is None:
            raise InvalidValue(
                f"{self.name}: homeostasis must be nd.brian.Homeostasis(...), got None; this rule takes its target "
                "rates from it."
            )

    @property
    def on_pre(self) -> str:
        """Plasticity at a presynaptic spike: the postsynaptic trace less its mean at the target rate."""
        return self._step("target_trace - target_expected")

    @property
    def on_post(self) -> str:
        """Plasticity at a postsynaptic spike: the presynaptic trace less its mean at the target rate."""
        return self._step("source_trace - source_expected")
