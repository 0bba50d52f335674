"""Rule for rate units: a rule of `nd.rules` in equations and statements of Brian2."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from brian2 import Quantity, Synapses, ms
from brian2.core.namespace import get_local_namespace

from neuro_decorr.brian._at_run import Compiled, point_to_user
from neuro_decorr.brian._checks import plain_numbers
from neuro_decorr.brian._device import check_device
from neuro_decorr.brian._strings import assigned, printed, refuse
from neuro_decorr.brian.rates._place import Place, check_linear, check_place
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules import Rule


@dataclass(frozen=True, kw_only=True)
class RateRule(ABC):
    r"""Rule of `nd.rules` for lateral synapses of rate units, updated once for every stimulus.

    $$\tau \dot x = -x + z - M x$$

    While a stimulus z is held, the activity x settles at $(I + M)^{-1} z$; then M changes by the update of the rule in
    `nd.rules` for a batch of this one stimulus. `nd.rules` describes the rule, the subclass describes the differences.

    Brian2 runs nothing but strings, which a user can print, paste and edit; there is no network operation, so that
    everything compiles. In the strings `output`, `inhibition` and `inputs` stand for the variables of the user's group.

    Attributes:
        rate: $\eta$, per stimulus.
    """

    described: ClassVar[type[Rule]]
    """Class of the rule in `nd.rules`."""
    needs_inputs: ClassVar[bool] = False
    """True if the rule learns from the drive z as well as from the activity x."""
    needs_linear_units: ClassVar[bool] = False
    """True if the rule fails with units that rectify or saturate."""
    linked: ClassVar[tuple[str, ...]] = ()
    """Variables of the two units, such as `source_output`, and of the layer that the synapses read."""
    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    fixed_point_text: ClassVar[str]
    locality: ClassVar[str]
    cost: ClassVar[str]
    source: ClassVar[str]

    rate: float = 1e-3

    def __post_init__(self) -> None:
        """Check the parameters, as the rule in `nd.rules` checks them.

        Raises:
            InvalidValue: A parameter is out of range.
        """
        plain_numbers(self)
        self.library  # noqa: B018  # making the rule checks the parameters

    @property
    def library(self) -> Rule:
        """Rule of `nd.rules` with the same parameters."""
        return self.described(**vars(self))

    @property
    @abstractmethod
    def model(self) -> str:
        """Equations of the synapses."""

    @property
    @abstractmethod
    def on_stimulus(self) -> str:
        """Statements of the synapses at the end of every stimulus, which is the beginning of the next."""

    @property
    @abstractmethod
    def namespace(self) -> dict[str, Any]:
        """Values of the shared parameters in `model`, by name."""

    @abstractmethod
    def _parts(self) -> dict[str, str]:
        """Text of the additions beside the synapses, by heading, for print(rule)."""

    @abstractmethod
    def _make(self, place: Place, options: dict[str, Any]) -> Synapses:
        """Make the synapses with their companions, in a place that was checked."""

    def __str__(self) -> str:
        """All additions to the user's model, as text to read and to paste."""
        parts = {
            "model of the synapses": self.model,
            "parameters of the synapses": assigned(self.namespace),
            "synapses, at the end of every stimulus": self.on_stimulus,
        }
        return printed(self, parts | self._parts())

    def synapses(
        self,
        group: Any,
        *,
        output: str,
        inhibition: str,
        inputs: str = "",
        scale: Any = 1,
        hold: Quantity = 100 * ms,
        least_hold: float = 5.0,
        time_constant: Quantity | None = None,
        **options: Any,
    ) -> Synapses:
        """Make lateral synapses with this rule within a group of rate units; the group is not changed.

        The weights change at multiples of `hold`, at the beginning of the next stimulus: n stimuli from the start make
        n - 1 updates. A stimulus that began before the first run of the synapses makes no update.

        Args:
            group: A NeuronGroup with equations such as `dx/dt = (-x + z - inhibition)/tau : 1`, or a subgroup.
            output: Name of the variable of the activity x.
            inhibition: Name of the variable that receives the lateral input, a parameter in the units of x. These
                synapses set it at every time step, so no other synapses may set it.
            inputs: Name of the variable of the drive z, constant during each stimulus, with a mean over stimuli near
                zero; needed by the rules `lateral` and `interneuron_local`.
            scale: Activity that counts as 1 in the rule; needed if x has units.
            hold: Duration of each stimulus, a whole number of time steps of the group.
            least_hold: Number of time constants of x that a stimulus must last. Below about 5 the activity is not
                settled, and the weights go to other values; 0 allows any duration.
            time_constant: Time constant of x; None: derived from the group's equations.
            **options: Other options of `brian2.Synapses`, such as name and namespace.

        Returns:
            `brian2.Synapses`, not connected yet, every weight zero; its `companions` are `nd.brian.Companions`.

        Raises:
            InvalidValue: Names, units or times do not fit, or an option is set by the rule.
            UnknownName: The group lacks a variable.
            Unsupported: The device is none of Brian2's own.
        """
        check_device()
        refuse(self, options, {"model", "on_pre", "on_post", "on_event", "source", "target"})
        if "delay" in options:
            raise InvalidValue(
                "rate rules have no delay, since Brian2 sums over synapses without one; leave the delay out, or use "
                "nd.settle(..., method='continuous', delay=...) for delayed inhibition."
            )
        place = Place(group, output, inhibition, inputs, Quantity(scale), hold)
        check_place(place, self.needs_inputs, least_hold, time_constant, get_local_namespace(1))
        if self.needs_linear_units:
            check_linear(place, self.name)
        options["namespace"] = {**(place.whole.namespace or {}), **(options.get("namespace") or {})}
        synapses = self._make(place, options)
        synapses.contained_objects.append(Compiled(synapses))
        point_to_user(synapses)
        return synapses
