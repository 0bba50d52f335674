"""What a rule for rate units is: the library's rule, in the equations and statements of Brian2."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from brian2 import Quantity, Synapses, ms
from brian2.core.namespace import get_local_namespace

from neuro_decorr.brian._at_run import point_to_user
from neuro_decorr.brian._checks import plain_numbers
from neuro_decorr.brian._device import check_device
from neuro_decorr.brian._strings import assigned, printed, refuse
from neuro_decorr.brian.rates._place import Place, check_linear, check_place
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules import Rule


@dataclass(frozen=True, kw_only=True)
class RateRule(ABC):
    r"""A rule of the library for lateral synapses of rate units, updated once for every stimulus.

    $$\tau \dot x = -x + z - M x$$

    The activity x settles while a stimulus z is held, at $(I + M)^{-1} z$, and then M moves by the library's
    update for a batch of this one stimulus. `nd.rules` describes the rule; what differs here is said by the subclass.

    Everything that Brian2 runs is a string that can be printed, pasted and edited; nothing is a network operation, so
    all of it compiles. In the strings `output`, `inhibition` and `inputs` stand for the variables of the user's group.

    Attributes:
        rate: eta, per stimulus.
    """

    described: ClassVar[type[Rule]]
    """The rule of the library."""
    needs_inputs: ClassVar[bool] = False
    """Whether it learns from the drive z as well as from the activity x."""
    needs_linear_units: ClassVar[bool] = False
    """Whether it goes astray where units rectify or saturate."""
    linked: ClassVar[tuple[str, ...]] = ()
    """What synapses of two units see of them, such as `source_output`, and of the layer."""
    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    fixed_point_text: ClassVar[str]
    locality: ClassVar[str]
    cost: ClassVar[str]
    source: ClassVar[str]

    rate: float = 1e-3

    def __post_init__(self) -> None:
        """Check the parameters, as the library's rule checks them.

        Raises:
            InvalidValue: A parameter outside its range.
        """
        plain_numbers(self)
        self.library  # noqa: B018  # it checks itself

    @property
    def library(self) -> Rule:
        """The same rule of `nd.rules`, with the same parameters."""
        return self.described(**vars(self))

    @property
    @abstractmethod
    def model(self) -> str:
        """The equations of the synapses."""

    @property
    @abstractmethod
    def on_stimulus(self) -> str:
        """What the synapses do at the end of every stimulus, which is the beginning of the next."""

    @property
    @abstractmethod
    def namespace(self) -> dict[str, Any]:
        """The values of the shared parameters in `model`, by name."""

    @abstractmethod
    def _parts(self) -> dict[str, str]:
        """What is added beside the synapses, for print(rule): text by heading."""

    @abstractmethod
    def _make(self, place: Place, options: dict[str, Any]) -> Synapses:
        """The synapses with their companions, in a place that was checked."""

    def __str__(self) -> str:
        """Everything that is added to the user's model, to be read and pasted."""
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
        """Lateral synapses with this rule within a group of rate units, which stays as it is.

        The weights move at the multiples of `hold`, at the beginning of the next stimulus: n stimuli from the start
        make n - 1 updates. A stimulus that was under way when the synapses first ran teaches nothing.

        Args:
            group: A NeuronGroup with equations such as `dx/dt = (-x + z - inhibition)/tau : 1`, or a subgroup.
            output: Name of its activity x.
            inhibition: Name of the variable that takes the lateral input, a parameter in the units of x; these
                synapses set it at every time step, so no others may.
            inputs: Name of its drive z, held through each stimulus, whose mean over stimuli should be zero; needed by
                the rules `lateral` and `interneuron_local`.
            scale: The activity that counts as 1 in the rule, where x has units.
            hold: How long each stimulus lasts: whole time steps of the group.
            least_hold: Time constants of x that a stimulus must last. Below about 5 the activity is not settled, and
                the weights go elsewhere; 0 allows everything.
            time_constant: Of x; derived from the group's equations where None.
            **options: Any others of `brian2.Synapses`, such as name and namespace.

        Returns:
            A plain `brian2.Synapses`, not connected yet, every weight zero; its `companions` are `nd.brian.Companions`.

        Raises:
            InvalidValue: Names, units or times that do not fit, or an option that is the rule's own.
            UnknownName: A variable that the group lacks.
            Unsupported: Another device than Brian2's own.
        """
        check_device()
        refuse(self, options, {"model", "on_pre", "on_post", "on_event", "source", "target"})
        if "delay" in options:
            raise InvalidValue(
                "sums over synapses come without a delay in Brian2, so rate rules have none; "
                "nd.settle(..., method='continuous', delay=...) is where inhibition comes late."
            )
        place = Place(group, output, inhibition, inputs, Quantity(scale), hold)
        check_place(place, self.needs_inputs, least_hold, time_constant, get_local_namespace(1))
        if self.needs_linear_units:
            check_linear(place, self.name)
        options["namespace"] = {**(place.whole.namespace or {}), **(options.get("namespace") or {})}
        synapses = self._make(place, options)
        point_to_user(synapses)
        return synapses
