"""What a rule for spiking populations is: a frozen description whose strings are Brian2's own."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from brian2 import Quantity, Synapses, ms

from neuro_decorr.brian import _companion, _drive, _reading
from neuro_decorr.brian._at_run import AtRun
from neuro_decorr.brian._checks import (
    check_choice,
    check_clashes,
    check_fields,
    check_group,
    check_step,
    number,
    quantity,
)
from neuro_decorr.brian._contents import FILLING, Contents
from neuro_decorr.brian._strings import assigned, declared, printed, refuse
from neuro_decorr.brian.gain import Gain
from neuro_decorr.brian.homeostasis import Homeostasis
from neuro_decorr.brian.schedule import Schedule
from neuro_decorr.brian.variance import Variance
from neuro_decorr.errors import InvalidValue

PRE_FIRST, POST_FIRST = (FILLING - 1, FILLING + 1), (FILLING + 1, FILLING - 1)
"""Orders of on_pre and on_post: what comes first does not see the spikes of the same time step, the other does."""


@dataclass(frozen=True, kw_only=True)
class SpikingRule(ABC):
    """A plasticity rule for the lateral synapses of a spiking population.

    A subclass is a frozen dataclass of the rule's parameters with units; it declares the class attributes and the
    statements below. Everything that Brian2 runs is a string that can be printed, pasted and edited; nothing is a
    network operation, so that all of it compiles.

    Attributes:
        rate: Change of the weight for a trace of one spike (dimensionless).
        trace_time: Decay of the spike traces, the time within which two spikes count as together.
        homeostasis: Keeps every postsynaptic neuron's rate; None for none.
        variance: Brings every postsynaptic neuron's count variance to a target; None for none.
        schedule: When it learns, and when everything is held; None to learn without end.
        gain: Measures what the drive does to rates, so that a spike of weight w takes w spikes; None to take the drive
            as it is.
        smallest_weight: Bound of the weights w while they learn.
        largest_weight: Bound of the weights w while they learn.
        same_step: Two spikes of one time step count as one pair: by `"pre_first"`, the published order, the plasticity
            at the presynaptic spike does not see the other one, and that at the postsynaptic spike does; by
            `"post_first"` the other way round.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    fixed_point_text: ClassVar[str]
    locality: ClassVar[str]
    cost: ClassVar[str]
    source: ClassVar[str]
    seen: ClassVar[tuple[str, ...]] = ("trace",)
    """Which variables of the two neurons' companions the plasticity sees."""
    seen_by_all: ClassVar[dict[str, str]] = {"pace": "1"}
    """Which variables of a companion that its neurons share, with their units; `pace` is a factor of the rate."""
    sees_source: ClassVar[bool] = True
    """Whether it sees those of the presynaptic neuron."""
    decorrelates: ClassVar[bool] = False
    """Whether its fixed point is without correlations, so that a report can say whether it is reached."""

    rate: float = number(1e-3, above=0)
    trace_time: Quantity = quantity(50 * ms, companion=True)
    smallest_weight: float = number(0.0)
    largest_weight: float = number(1.0, above="smallest_weight")
    homeostasis: Homeostasis | None = None
    variance: Variance | None = None
    schedule: Schedule | None = None
    gain: Gain | None = None
    same_step: Literal["pre_first", "post_first"] = "pre_first"

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity outside its range, or of other units.
        """
        check_fields(self)
        check_choice(self, "same_step", "pre_first", "post_first")
        for name, kind in (("homeostasis", Homeostasis), ("variance", Variance), ("schedule", Schedule), ("gain", Gain)):
            value = getattr(self, name)
            if not (value is None or isinstance(value, kind)):
                raise InvalidValue(f"{self.name}: {name} must be nd.brian.{kind.__name__}(...) or None, got {value!r}.")
        if self.variance is not None and not self._contents.centred:
            raise InvalidValue(
                f"{self.name}: a variance needs the mean of the traces, which this rule does not follow; use "
                "nd.brian.get('lateral_covariance', variance=...)."
            )

    @property
    @abstractmethod
    def on_pre(self) -> str:
        """The plasticity at a presynaptic spike."""

    @property
    @abstractmethod
    def on_post(self) -> str:
        """The plasticity at a postsynaptic spike; empty for none."""

    @property
    def model(self) -> str:
        """The equations of the synapses: the weight, its parameters, and the traces of the two neurons (linked)."""
        sides = ("source", "target") if self.sees_source else ("target",)
        linked = "\n".join(f"{side}_{name} : 1 (linked)" for side in sides for name in self.seen)
        linked += "".join(f"\n{name} : {unit} (linked, shared)" for name, unit in self.seen_by_all.items())
        linked += "" if self.gain is None else "\nweight_unit : 1 (linked)"
        moving = "moving = int(learning*pace > 0) : 1 (shared)"
        return f"w : 1\n{linked}\n{moving}\n{declared(self.namespace)}"

    @property
    def traces(self) -> str:
        """The equations of the companion that holds one set of traces a neuron, outside of the user's group."""
        return self._contents.equations

    @property
    def trace_values(self) -> dict[str, Any]:
        """The values of the shared parameters in `traces`, by name."""
        return self._contents.values

    @property
    def on_spike(self) -> dict[int, str]:
        """What a neuron's spike does to its companion, by the order within the slot `synapses` of a time step."""
        return self._contents.on_spike

    @property
    def on_step(self) -> str:
        """What the companion does at the end of every time step (`run_regularly(..., when="end")`)."""
        return self._contents.on_step

    @property
    def namespace(self) -> dict[str, Any]:
        """The values of the shared parameters in `model`, by name: what `synapses` sets them to.

        They are variables and not constants of a namespace, so that they can differ between runs of one compiled
        program (`device.run(run_args={synapses.learning_rate: 0})`).
        """
        return {
            "learning": 1.0,
            "learning_rate": self.rate,
            "smallest_weight": self.smallest_weight,
            "largest_weight": self.largest_weight,
        }

    @property
    def learnt(self) -> Quantity:
        """How long after the first run the weights and the bias are held for good.

        Raises:
            InvalidValue: No schedule.
        """
        if (schedule := self.schedule) is None:
            raise InvalidValue(
                "a rule without a schedule never ends to learn; give it schedule=nd.brian.Schedule(...)."
            )
        learning = schedule.learning + schedule.annealing + schedule.consolidation
        waiting = schedule.baseline + self._contents.calibration
        return waiting + learning if self.gain is None else waiting + self.gain.probing + learning

    @property
    def _contents(self) -> Contents:
        """Of the companions of the neurons."""
        own = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.metadata.get("companion")}
        parts = (self.homeostasis, self.variance, self.schedule, self.gain)
        return Contents(self.seen, own, *parts, self._entering)

    @property
    def _entering(self) -> dict[int, float]:
        """Which share of a spike the traces have from which order of the slot `synapses` on."""
        return {FILLING: 1.0}

    def __str__(self) -> str:
        """Everything that is added to the user's model, to be read and pasted."""
        return printed(self, self._parts)

    @property
    def _parts(self) -> dict[str, str]:
        """What is added, each part under its heading."""
        return {
            "model of the synapses": self.model,
            f"on_pre (synapses, order {self._orders[0]})": self.on_pre,
            f"on_post (synapses, order {self._orders[1]})": self.on_post,
            "parameters of the synapses": assigned(self.namespace),
            "companion, one set of traces a neuron": self.traces,
            **{f"at a neuron's spike (synapses, order {order})": text for order, text in self.on_spike.items()},
            "at the end of a time step": self.on_step,
            "parameters of the companion": assigned(self.trace_values),
        }

    def synapses(
        self,
        source: Any,
        target: Any = None,
        drive: str | None = None,
        *,
        bias_drive: str | None = None,
        weight: str = "w",
        delay: Any = None,
        **options: Any,
    ) -> Synapses:
        """Synapses that learn by this rule; connect them as any others.

        The groups stay as they are. What else is needed comes along: a companion with one set of traces a neuron,
        filled by the group's spikes, and where the rule keeps rates, a bias that is injected at every time step. All
        of it is in `contained_objects`, so that `run()` and `Network` find it.

        Args:
            source: Group of the presynaptic neurons, or a subgroup; it must spike.
            target: Group of the postsynaptic neurons, or a subgroup; the source where None.
            drive: What a presynaptic spike does, with the weight `w`, such as `'gi_post -= w*mV'`.
            bias_drive: What the bias of the rate homeostasis does at every time step, with `bias`, the number of spikes
                of weight 1 that it stands for, such as `'ge_post += bias*mV'`; where None, the drive with -bias for w.
            weight: Name of the weight in the synapses and in the drive; another one where your neurons have a `w`.
            delay: Of the transmission (the plasticity has none): a time, or `'heterogeneous'` for delays that are set
                after connecting, `synapses.transmission.delay = ...`. Where None, both share one pathway, which is
                faster and smaller.
            **options: Any others of `brian2.Synapses`, such as name, clock, method, namespace.

        Returns:
            A plain `brian2.Synapses`, not connected yet, every weight zero; its `companions` are `nd.brian.Companions`,
            and after a run its `report()` is an `nd.brian.Report`.

        Raises:
            InvalidValue: A group without spikes or with a variable of a name that the synapses need, a drive that does
                not fit, an option that is the rule's own.
        """
        refuse(self, options, {"model", "on_pre", "on_post", "on_event"})
        target = source if target is None else target
        check_group(source, "source")
        check_group(target, "target")
        if drive is None:
            raise InvalidValue(
                "drive says what an inhibitory spike does to your neurons: give it, such as drive='gi_post -= w*mV'."
            )
        check_clashes(self, weight, source, target)
        drives = self._drives(drive, bias_drive, source, target, weight)
        synapses = self._learning(source, target, self._scaled(drive, weight), weight, delay, options)
        _drive.check_units(drive, synapses, "drive")
        if "bias_drive" in drives:  # as free of units as w
            _drive.check_units(re.sub(r"\bbias\b", weight, drives["bias_drive"]), synapses, "bias_drive")
        self_drive = None
        if self.variance is not None:
            _drive.check_names(drive, target, target, weight, "drive")  # of a neuron onto itself
            self_drive = re.sub(rf"\b{weight}\b", self._scaled("self_weight", "self_weight"), drive)

        def check() -> None:
            check_step(self, target)
            for what, statement in drives.items():
                _drive.check_summed(statement, target, what)

        check()
        synapses.contained_objects.append(AtRun(check, target.clock, f"{synapses.name}_checks"))
        for what, statement in drives.items():
            _drive.tell_what_stays(statement, target, what)
        _companion.attach(
            self._contents,
            synapses,
            source if self.sees_source else None,
            target,
            shared=self.seen_by_all,
            bias_drive=drives.get("bias_drive"),
            self_drive=self_drive,
        )
        _reading.give_report(self, synapses, source, target, weight)
        return synapses

    def _scaled(self, drive: str, weight: str) -> str:
        """The drive of a weight in spikes, where the gain is measured."""
        return drive if self.gain is None else re.sub(rf"\b{weight}\b", f"({weight}*weight_unit)", drive)

    def _drives(self, drive: str, bias_drive: str | None, source: Any, target: Any, weight: str) -> dict[str, str]:
        """What a spike does, and the bias where there is one, by the name of the argument; their names are checked."""
        _drive.check_names(drive, source, target, weight, "drive")
        if bias_drive is not None:
            if self.homeostasis is None and self.gain is None:
                raise InvalidValue(f"bias_drive needs a homeostasis, and this '{self.name}' has homeostasis=None.")
            _drive.check_names(bias_drive, source, target, "bias", "bias_drive")
        elif self.homeostasis is not None or self.gain is not None:
            bias_drive = _drive.with_bias(drive, weight)
        return {"drive": drive} if bias_drive is None else {"drive": drive, "bias_drive": bias_drive}

    def _learning(
        self, source: Any, target: Any, drive: str, weight: str, delay: Any, options: dict[str, Any]
    ) -> Synapses:
        """Synapses that transmit and learn in the order of the rule, without what they read."""
        model, learning_pre, learning_post = (
            re.sub(r"\bw\b", weight, text) for text in (self.model, self.on_pre, self.on_post)
        )
        on_pre = _pathways(drive, learning_pre, delay, in_one=self._orders == PRE_FIRST)
        on_post = {"learning_post": learning_post} if learning_post else None
        if not (delay is None or isinstance(delay, str)):
            options["delay"] = {"transmission": delay}
        synapses = Synapses(source, target, model=model, on_pre=on_pre, on_post=on_post, **options)
        if "transmission" in on_pre:  # a spike transmits the weight that there was before it
            synapses.transmission.order = min(self._orders) - 1
            synapses.learning_pre.order = self._orders[0]
        if learning_post:
            synapses.learning_post.order = self._orders[1]
        _companion.set_values(synapses, self.namespace)
        return synapses

    @property
    def _orders(self) -> tuple[int, int]:
        """Of the plasticity at a presynaptic and at a postsynaptic spike, within the slot `synapses`."""
        return PRE_FIRST if self.same_step == "pre_first" else POST_FIRST

    def _step(self, change: str) -> str:
        """A bounded step of the weight; nothing before the start or while frozen, not even the bounds."""
        bounded = f"clip(w + learning*pace*learning_rate*({change}), smallest_weight, largest_weight)"
        return f"w = moving*{bounded} + (1 - moving)*w"


def _pathways(drive: str, learning: str, delay: Any, in_one: bool) -> dict[str, str]:
    """What a presynaptic spike does: two pathways where the transmission has a delay, otherwise one where it can be.

    One reads a synapse once instead of twice, and stores the list of every neuron's synapses once.
    """
    if delay is None and in_one:
        return {"transmission_learning_pre": f"{drive}\n{learning}"}  # in this order: the weight before the spike
    if isinstance(delay, str) and delay != "heterogeneous":
        raise InvalidValue(f"delay must be a time such as 2*ms, 'heterogeneous' or None, got {delay!r}.")
    return {"transmission": drive, "learning_pre": learning}
