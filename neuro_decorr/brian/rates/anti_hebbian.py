"""Anti-Hebbian lateral plasticity of rate units in Brian2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from brian2 import Synapses

from neuro_decorr import rules
from neuro_decorr.brian._registry import register
from neuro_decorr.brian.rates import _companions
from neuro_decorr.brian.rates._place import Place
from neuro_decorr.brian.rates._rule import RateRule


@register
@dataclass(frozen=True, kw_only=True)
class AntiHebbian(RateRule):
    r"""Anti-Hebbian rule `nd.rules.AntiHebbian` in Brian2: lateral inhibition grows with the product of activities.

    $$M \leftarrow M + \eta\, (x x^T - p\, I)$$

    after every stimulus; the weight w of the synapse from j to i is $M_{ij}$, and activities are clipped at the
    saturation. With all-to-all connections, autapses included, the weights follow those of `nd.rules`, as far as the
    activity is settled and as long as the floor of `nd.rules` under the eigenvalues of I + M is not reached: a synapse
    has no access to eigenvalues, so there is no floor here. Units that are silent, or that are not held long enough to
    reach the power p, lose their self-inhibition until I + M is no longer positive definite and their activity
    diverges. Without autapses (`connect(condition="i != j")`) the rule only decorrelates, and a single unit cannot
    diverge in this way.

    Cost: $N^2$ per time step for the sums, as for any lateral synapses; $3 N^2$ per stimulus for learning; one float
    per synapse.

    Source: Foldiak (1989), Adaptive network for optimal linear feature extraction, Proc. IEEE/INNS IJCNN 1, 401-405;
    Plumbley (1993), Efficient information transfer and anti-Hebbian neural networks, Neural Networks 6.

    Attributes:
        rate: $\eta$, per stimulus; in units of amplitude / $p^{3/2}$.
        target: p, the power of every output at the fixed point, in squares of the scale.
        saturation: Largest activity that the plasticity takes, in multiples of $\sqrt p$; infinity as published.
    """

    described = rules.AntiHebbian
    name = rules.AntiHebbian.name
    title = rules.AntiHebbian.title
    equation = rules.AntiHebbian.equation
    fixed_point_text = rules.AntiHebbian.fixed_point_text
    locality = rules.AntiHebbian.locality
    cost = "N^2 a time step, 3 N^2 a stimulus"
    source = rules.AntiHebbian.source

    linked = ("source_output", "target_output")

    rate: float = 1e-3
    target: float = 1.0
    saturation: float = 10.0

    @property
    def model(self) -> str:
        """Equations of the weight, of the inhibition, and of the activities of the two units (linked)."""
        return _companions.pair_model(self)

    @property
    def on_stimulus(self) -> str:
        """Statement of the update M <- M + rate (x x^T - target I)."""
        product = "*".join(f"clip({side}_output, -largest_output, largest_output)" for side in ("target", "source"))
        return f"w += plastic*whole_stimulus*learning_rate*({product} - power_at_rest*int(i == j))"

    @property
    def namespace(self) -> dict[str, Any]:
        """Values of the shared parameters: learning, its rate, the target power and the largest activity."""
        most = self.saturation * self.target**0.5
        return {"learning": 1.0, "learning_rate": self.rate, "power_at_rest": self.target, "largest_output": most}

    def _parts(self) -> dict[str, str]:
        return {
            **_companions.pair_parts(self),
            "order": "start of a stimulus: synapses\nend of a time step: companion",
        }

    def _make(self, place: Place, options: dict[str, Any]) -> Synapses:
        return _companions.pairs(self, place, options)
