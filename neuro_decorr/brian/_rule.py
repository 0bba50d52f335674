"""Rule for spiking populations: a frozen description in strings that Brian2 compiles."""

from __future__ import annotations

import re
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from brian2 import Equations, Quantity, ms
from brian2.groups.group import CodeRunner

from neuro_decorr.brian import _companion, _drive, _probe, _reading
from neuro_decorr.brian._at_run import AtRun, Compiled, point_to_user
from neuro_decorr.brian._checks import (
    check_choice,
    check_clashes,
    check_fields,
    check_group,
    check_sampling,
    check_step,
    event_names,
    number,
    quantity,
)
from neuro_decorr.brian._contents import FILLING, Contents
from neuro_decorr.brian._device import check_device
from neuro_decorr.brian._model import MOVED_TIME, MOVING, own_equations, set_by_rule, tell_what_learns, with_own
from neuro_decorr.brian._printed import parts
from neuro_decorr.brian._strings import declared, printed, refuse
from neuro_decorr.brian._synapses import LateralSynapses, Orders
from neuro_decorr.brian.gain import Gain
from neuro_decorr.brian.homeostasis import Homeostasis
from neuro_decorr.brian.schedule import Schedule
from neuro_decorr.brian.variance import Variance
from neuro_decorr.errors import InvalidValue

_ORDERS = {"pre_first": Orders(FILLING - 2, FILLING - 1, FILLING + 1)}
_ORDERS["post_first"] = Orders(FILLING - 2, FILLING + 1, FILLING - 1)
"""Orders by `same_step`: plasticity before FILLING does not read the spikes of the same time step, after it does."""


@dataclass(frozen=True, kw_only=True)
class SpikingRule(ABC):
    """Plasticity rule for the lateral synapses of a spiking population.

    A subclass is a frozen dataclass of the rule's parameters with units; it declares the class attributes and the
    statements below. Brian2 runs nothing but strings, which a user can print, paste and edit; there is no network
    operation, so that everything compiles.

    Attributes:
        rate: Change of the weight for a trace of one spike (dimensionless).
        trace_time: Decay time of the spike traces (time units), within which two spikes count as a coincidence.
        homeostasis: Rate homeostasis of every postsynaptic neuron; None for none.
        variance: Target of every postsynaptic neuron's count variance; None for none.
        schedule: Phases of learning, after which everything is held; None to learn without end.
        gain: Measurement of the effect of the drive on rates, by the bias of the homeostasis, so that a spike of weight
            w removes w spikes; with None, or without a homeostasis, weights are in the units of the drive.
        smallest_weight: Lower bound of the weights w while they learn.
        largest_weight: Upper bound of the weights w while they learn.
        same_step: Order of two spikes in one time step, which count as one pair. With `"pre_first"`, as published, only
            the plasticity at the postsynaptic spike reads the other spike; with `"post_first"` it is the other way.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    fixed_point_text: ClassVar[str]
    locality: ClassVar[str]
    cost: ClassVar[str]
    source: ClassVar[str]
    seen: ClassVar[tuple[str, ...]] = ("trace",)
    """Variables of the two neurons' companions that the plasticity reads."""
    sees_source: ClassVar[bool] = True
    """True if the plasticity reads variables of the presynaptic neuron's companion."""
    decorrelates: ClassVar[bool] = False
    """True if the fixed point has no correlations, so that a report can tell if it is reached."""

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
            InvalidValue: A number or a quantity is out of range or has other units, or parameters do not fit together.
        """
        check_fields(self)
        check_choice(self, "same_step", "pre_first", "post_first")
        kinds = (("homeostasis", Homeostasis), ("variance", Variance), ("schedule", Schedule), ("gain", Gain))
        for name, kind in kinds:
            value = getattr(self, name)
            if not (value is None or isinstance(value, kind)):
                raise InvalidValue(f"{self.name}: {name} must be nd.brian.{kind.__name__}(...) or None, got {value!r}.")
        if self.variance is not None and not self._contents.centred:
            raise InvalidValue(
                f"{self.name}: a variance target needs the mean of the traces, which this rule does not compute; use "
                "nd.brian.get('lateral_covariance', variance=...)."
            )

    @property
    @abstractmethod
    def on_pre(self) -> str:
        """Statement of the plasticity at a presynaptic spike."""

    @property
    @abstractmethod
    def on_post(self) -> str:
        """Statement of the plasticity at a postsynaptic spike; empty for none."""

    @property
    def on_clock(self) -> str:
        """Statement of the plasticity once every half of a trace time; empty for none."""
        return ""

    @property
    def seen_by_all(self) -> dict[str, str]:
        """Units of the shared variables of a companion that the plasticity reads; `pace` multiplies the rate."""
        return {"pace": "1"}

    @property
    def model(self) -> str:
        """Equations of the synapses: the weight, its parameters, and the traces of the two neurons (linked)."""
        linked = "\n".join(f"{name} : 1 (linked)" for name in self._links if name not in self.seen_by_all)
        linked += "".join(f"\n{name} : {unit} (linked, shared)" for name, unit in self.seen_by_all.items())
        linked += "" if self._measured is None else f"\n{_probe.UNIT}"
        return f"w : 1\n{linked}\n{MOVING}\n{MOVED_TIME}\n{declared(self.namespace)}"

    @property
    def traces(self) -> str:
        """Equations of the companion, which holds one set of traces per neuron outside the user's group."""
        return self._contents.equations

    @property
    def trace_values(self) -> dict[str, Any]:
        """Values of the shared parameters in `traces`, by name."""
        return self._contents.values

    @property
    def on_spike(self) -> dict[int, str]:
        """Statements of the companion at a spike of its neuron, by the order in the slot `synapses`."""
        return self._contents.on_spike

    @property
    def on_step(self) -> str:
        """Statements of the companion at the end of every time step (`run_regularly(..., when="end")`)."""
        return self._contents.on_step

    @property
    def namespace(self) -> dict[str, Any]:
        """Values that `synapses` gives to the shared parameters in `model`, by name.

        The parameters are variables and not constants of a namespace, so that they can differ between runs of one
        compiled program (`device.run(run_args={synapses.learning_rate: 0})`).
        """
        return {
            "learning": 1.0,
            "learning_rate": self.rate,
            "smallest_weight": self.smallest_weight,
            "largest_weight": self.largest_weight,
        }

    @property
    def learnt(self) -> Quantity:
        """Time after the start of the first run at which the weights and the bias are held for good.

        Raises:
            InvalidValue: The rule has no schedule.
        """
        if (schedule := self.schedule) is None:
            raise InvalidValue(f"{self.name}: learning never ends; give the rule schedule=nd.brian.Schedule(...).")
        learning = schedule.learning + schedule.annealing + schedule.consolidation
        waiting = schedule.baseline + self._contents.calibration
        return waiting + learning if self._measured is None else waiting + self._measured.probing + learning

    @property
    def _contents(self) -> Contents:
        """Contents of the companions of the neurons."""
        own = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.metadata.get("companion")}
        held = (self.homeostasis, self.variance, self.schedule, self._measured)
        return Contents(self.seen, own, *held, self._entering, tuple(self.seen_by_all))

    @property
    def _entering(self) -> dict[int, float]:
        """Share of a spike that enters the traces, by the order in the slot `synapses`."""
        return {FILLING: 1.0}

    def __str__(self) -> str:
        """All additions to the user's model, as text to read and to paste."""
        return printed(self, self._parts)

    @property
    def _parts(self) -> dict[str, str]:
        """Text of the additions, by heading."""
        return parts(self, self._orders, self._links, self._measured)

    @property
    def _links(self) -> dict[str, str]:
        """Links from synapses to companions, as arguments of `linked_var`, by the names that the synapses use."""
        sides = {"source": "_synaptic_pre", "target": "_synaptic_post"}
        seen = {
            f"{side}_{name}": f"companions.{side}, '{name}', index='{index}'"
            for side, index in sides.items()
            if side == "target" or self.sees_source
            for name in self.seen
        }
        return seen | {name: f"companions.target, '{name}'" for name in self.seen_by_all}

    def synapses(
        self,
        source: Any,
        target: Any = None,
        drive: str | None = "",
        *,
        bias_drive: str | None = None,
        weight: str = "w",
        model: str | Equations = "",
        on_event: str | dict[str, str] = "spike",
        **options: Any,
    ) -> LateralSynapses:
        """Make synapses that learn by this rule; connect them like any others.

        The user's groups are not changed. The synapses contain all other objects in `contained_objects`, where `run()`
        and `Network` find them: a companion with one set of traces per neuron, which the group's spikes fill, and, for
        a rule with a rate homeostasis, the injection of a bias at every time step.

        Cost: as in the class attribute `cost`; one float per synapse, and a few per neuron.

        Args:
            source: Group of the presynaptic neurons, or a subgroup; it must spike.
            target: Group of the postsynaptic neurons, or a subgroup; None: the source.
            drive: Effect of a presynaptic spike, a statement with the weight `w`, such as `'gi_post -= w*mV'`. None
                learns from spike trains alone, for example of a `SpikeGeneratorGroup`, with a rule that has no
                homeostasis.
            bias_drive: Effect of the bias of the rate homeostasis at every time step, a statement with `bias`, the
                number of spikes of weight 1 to which the bias amounts, such as `'ge_post += bias*mV'`; None: the drive
                with -bias in place of w.
            weight: Name of the weight in the synapses and in the drive; choose another if your neurons have a `w`.
            model: Your own equations in the synapses. If they declare a parameter of the rule, such as
                `'learning : 1'`, every synapse has its own value, 0 until you set it.
            on_event: Event of a NeuronGroup with `events` that counts as a spike in learning and homeostasis: one name
                for both sides, or `{'pre': 'burst', 'post': 'spike'}`.
            **options: Other options of `brian2.Synapses`, such as name, clock, method, namespace and delay. The delay
                is that of the transmission, and the plasticity has none; the same holds for `synapses.delay = ...`
                after connecting.

        Returns:
            `brian2.Synapses`, not connected yet, every weight zero; its `companions` are `nd.brian.Companions`,
            and after a run its `report()` is an `nd.brian.Report`.

        Raises:
            InvalidValue: A group has no spikes, or has a variable of a name that the synapses need; a drive does not
                fit; an option is set by the rule.
            UnknownName: The group lacks a variable of a drive.
            Unsupported: The device is none of Brian2's own.
        """
        check_device()
        refuse(self, options, {"on_pre", "on_post"})
        target, events, own = source if target is None else target, event_names(on_event), own_equations(model)
        check_group(source, "source", events["pre"])
        check_group(target, "target", events["post"])
        check_clashes(self, weight, own, source, target)
        drives = self._drives(drive, bias_drive, source, target, weight)
        synapses = self._learning(source, target, drive, weight, own, events, options)
        for what, statement in drives.items():
            _drive.check_units(statement, synapses, what, weight)
        self._check_at_run(synapses, source, target, own, drives)
        for what, statement in drives.items():
            _drive.tell_what_stays(statement, target, what)
        _companion.attach(
            self._contents,
            synapses,
            source if self.sees_source else None,
            target,
            events=events,
            shared=self.seen_by_all,
            bias_drive=drives.get("bias_drive"),
            self_drive=self._self_drive(drive, target, weight),
        )
        _reading.give_report(self, synapses, source, target, weight, drive)
        synapses.contained_objects.append(Compiled(synapses))
        point_to_user(synapses)
        return synapses

    @property
    def _measured(self) -> Gain | None:
        """Measurement of the gain; None without one."""
        return None if self.homeostasis is None else self.gain

    def _scaled(self, drive: str, weight: str) -> str:
        """Drive of a weight in spikes if the gain is measured; otherwise the drive."""
        if self._measured is None:
            return drive
        return _probe.SCALE.format(weight=weight) + "\n" + re.sub(rf"\b{weight}\b", "scaled_weight", drive)

    def _drives(
        self, drive: str | None, bias_drive: str | None, source: Any, target: Any, weight: str
    ) -> dict[str, str]:
        """Check and return the statements of a spike and of the bias, by the name of the argument."""
        acting = [name for name in ("homeostasis", "variance") if getattr(self, name) is not None]
        if drive is None and acting:
            raise InvalidValue(
                f"drive=None acts on no neuron, so that {' and '.join(acting)} could not act; give a drive, such as "
                f"drive='gi_post -= {weight}*mV', or use nd.brian.get('{self.name}', {'=None, '.join(acting)}=None)."
            )
        if drive is not None:
            _drive.check_names(drive, source, target, weight, "drive")
        if bias_drive is not None:
            if self.homeostasis is None:
                raise InvalidValue(
                    f"bias_drive needs a homeostasis, and this '{self.name}' has homeostasis=None: leave it out."
                )
            _drive.check_names(bias_drive, source, target, "bias", "bias_drive")
        elif drive is not None and self.homeostasis is not None:
            bias_drive = _drive.with_bias(drive, weight)
        return {what: text for what, text in (("drive", drive), ("bias_drive", bias_drive)) if text is not None}

    def _self_drive(self, drive: str | None, target: Any, weight: str) -> str | None:
        """Drive of a neuron onto itself; None without a variance target."""
        if self.variance is None or drive is None:
            return None
        _drive.check_names(drive, target, target, weight, "drive")
        return self._scaled(re.sub(rf"\b{weight}\b", "self_weight", drive), "self_weight")

    def _check_at_run(
        self, synapses: LateralSynapses, source: Any, target: Any, own: Equations, drives: dict[str, str]
    ) -> None:
        """Check now and before every run what a user may change meanwhile: time steps, other synapses, `learning`."""
        made = weakref.proxy(synapses)  # a strong reference would be circular, and keep the names of deleted synapses
        sampling_time = self._sampling_time(source) if self.on_clock else None

        def check() -> None:
            check_step(self, target)
            if sampling_time is not None:
                check_sampling(self, source, sampling_time)
            tell_what_learns(made, own)
            for what, statement in drives.items():
                _drive.check_summed(statement, target, what)

        check()
        synapses.contained_objects.append(AtRun(check, target.clock, f"{synapses.name}_checks"))

    def _sampling_time(self, group: Any) -> Quantity:
        """Half of a trace time, rounded to whole time steps of a group, so that no sample falls within a step."""
        step = group.clock.dt
        return max(round(self.trace_time / 2 / step), 1) * step

    def _learning(
        self,
        source: Any,
        target: Any,
        drive: str | None,
        weight: str,
        own: Equations,
        events: dict[str, str],
        options: dict[str, Any],
    ) -> LateralSynapses:
        """Make synapses that transmit and learn in the order of the rule, without the companions that they read."""
        model, on_pre, on_post = (re.sub(r"\bw\b", weight, text) for text in (self.model, self.on_pre, self.on_post))
        transmission = None if drive is None else self._scaled(drive, weight)
        synapses = LateralSynapses(
            source,
            target,
            transmission,
            (on_pre, on_post),
            self._orders,
            weight,
            model=with_own(model, own),
            on_event={"pre": events["pre"], "learning_pre": events["pre"], "learning_post": events["post"]},
            **options,
        )
        _companion.set_values(synapses, set_by_rule(self, own))
        if self.on_clock:  # not run_regularly, which would also put the synapses into their source
            time, name = self._sampling_time(source), f"{synapses.name}_learning_clock"
            _companion.set_values(synapses, {"sampling_time": time})
            code, order = re.sub(r"\bw\b", weight, self.on_clock), self._orders.learning_pre
            times = {"dt": time, "when": "synapses", "order": order}
            synapses.contained_objects.append(CodeRunner(synapses, "stateupdate", code=code, name=name, **times))
        return synapses

    @property
    def _orders(self) -> Orders:
        """Orders of transmission and plasticity in the slot `synapses`."""
        return _ORDERS[self.same_step]

    def _step(self, change: str) -> str:
        """Statement of a bounded step of the weight; before the start or while frozen not even the bounds act."""
        bounded = f"clip(w + learning*pace*learning_rate*({change}), smallest_weight, largest_weight)"
        return f"w = moving*{bounded} + (1 - moving)*w"
