"""Synapses that transmit and learn, whose delay is of the transmission alone: plasticity sees spikes as they happen."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import numpy as np
from brian2 import Synapses, have_same_dimensions, ms

from neuro_decorr.errors import InvalidValue


class Orders(NamedTuple):
    """When synapses act, as orders of the slot `synapses`: a spike transmits the weight that there was before it.

    Attributes:
        transmission: A presynaptic spike reaches the target.
        learning_pre: The plasticity at a presynaptic spike.
        learning_post: The plasticity at a postsynaptic spike.
    """

    transmission: int
    learning_pre: int
    learning_post: int


def _delay(view: str) -> property:
    """The delay of the transmission, as that of any synapses of Brian2, which has two views of a variable."""

    def get(synapses: LateralSynapses) -> Any:
        synapses._part()
        _check_delay(0 * ms, synapses._drive)
        return getattr(synapses.pre.variables["delay"], view)("delay", synapses.pre)

    def change(synapses: LateralSynapses, delay: Any) -> None:
        get(synapses).set_item("True", delay, level=2)  # where names of an expression are the user's

    return property(get, change, doc="Delay of the transmission; the plasticity has none.")


def _check_delay(delay: Any, drive: str | None) -> None:
    """Raise InvalidValue for a delay that is not one time, or where nothing is transmitted."""
    if drive is None:
        raise InvalidValue("drive=None: nothing is transmitted that could have a delay, and the plasticity has none.")
    if np.ndim(delay) != 0 or isinstance(delay, str) or not have_same_dimensions(delay, ms):
        raise InvalidValue(
            f"delay must be one time for all synapses, such as 2*ms, got {delay!r}; set those of single synapses after "
            "connecting, synapses.delay = '2*ms*rand()'."
        )


@final
class LateralSynapses(Synapses):  # type: ignore[misc]  # Brian2 carries no types
    """Brian2's synapses in all but `delay`, which is of the transmission and never of the plasticity.

    Without delays a presynaptic spike transmits and learns in one pathway, `pre`, which reads a synapse once instead of
    twice. Delays part them into `pre`, which transmits, and `learning_pre`.
    """

    def __init__(
        self, source: Any, target: Any, drive: str | None, learning: tuple[str, str], orders: Orders, **options: Any
    ) -> None:
        """Not connected yet.

        Args:
            source: Presynaptic group.
            target: Postsynaptic group.
            drive: What a spike does to the target; None for nothing.
            learning: What presynaptic spikes and what postsynaptic ones do to the weight; empty for nothing.
            orders: When.
            **options: Of Brian2's synapses; `delay` is that of the transmission, for all synapses.
        """
        self._drive, self._orders, self._in_one = drive, orders, False
        named = dict(zip(("learning_pre", "learning_post"), learning, strict=True))
        on_pre, on_post = ({name: code} if code else {} for name, code in named.items())
        delays, delay = dict.fromkeys([*on_pre, *on_post], 0 * ms), options.pop("delay", None)
        if drive is not None:
            at_once = learning[0] != "" and orders.learning_pre == orders.transmission + 1
            self._in_one = at_once and delay is None
            on_pre["pre"] = f"{drive}\n{learning[0]}" if self._in_one else drive
        if delay is not None:
            _check_delay(delay, drive)
            delays["pre"] = delay
        super().__init__(source, target, on_pre=on_pre, on_post=on_post, delay=delays, **options)
        for name in (*on_pre, *on_post):
            getattr(self, name).order = orders.transmission if name == "pre" else getattr(orders, name)
        if self._in_one:
            self.pre.order = orders.learning_pre
            self.learning_pre.active = False

    def _part(self) -> None:
        """Let the plasticity have a pathway of its own, without a delay."""
        if self._in_one:
            self._in_one = False
            self.pre.code, self.pre.order = self._drive, self._orders.transmission
            self.learning_pre.active = True

    delay, delay_ = _delay("get_addressable_value_with_unit"), _delay("get_addressable_value")
