"""Synapses that transmit and learn; their delay acts on the transmission alone, the plasticity has no delay."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import numpy as np
from brian2 import Synapses, have_same_dimensions, ms

from neuro_decorr.errors import InvalidValue


class Orders(NamedTuple):
    """Orders in the slot `synapses`; a spike transmits the weight before its own plasticity.

    Attributes:
        transmission: Order of the transmission of a presynaptic spike to the target.
        learning_pre: Order of the plasticity at a presynaptic spike.
        learning_post: Order of the plasticity at a postsynaptic spike.
    """

    transmission: int
    learning_pre: int
    learning_post: int


def _delay(view: str) -> property:
    """Make the property of the delay of the transmission for one of the two views that Brian2 has of a variable."""

    def get(synapses: LateralSynapses) -> Any:
        synapses._part()
        _check_delay(0 * ms, synapses._drive)
        return getattr(synapses.pre.variables["delay"], view)("delay", synapses.pre)

    def change(synapses: LateralSynapses, delay: Any) -> None:
        get(synapses).set_item("True", delay, level=2)  # the level of the user's names in an expression

    return property(get, change, doc="Delay of the transmission; the plasticity has none.")


def _check_delay(delay: Any, drive: str | None) -> None:
    """Raise InvalidValue for a delay that is not one time, or if nothing is transmitted."""
    if drive is None:
        raise InvalidValue(
            "drive=None: nothing is transmitted that could have a delay, and the plasticity has none; leave the delay "
            "out, or give a drive."
        )
    if np.ndim(delay) != 0 or isinstance(delay, str) or not have_same_dimensions(delay, ms):
        raise InvalidValue(
            f"delay must be one time for all synapses, such as 2*ms, got {delay!r}; set the delays of single synapses "
            "after connecting, by synapses.delay = '2*ms*rand()'."
        )


@final
class LateralSynapses(Synapses):  # type: ignore[misc]  # Brian2 carries no types
    """Synapses of Brian2 whose `delay` acts on the transmission and never on the plasticity.

    Without delays a presynaptic spike transmits and learns in one pathway, `pre`, which reads a synapse once instead of
    twice. With delays there are two pathways, `pre` for the transmission and `learning_pre` for the plasticity.
    """

    def __init__(
        self,
        source: Any,
        target: Any,
        drive: str | None,
        learning: tuple[str, str],
        orders: Orders,
        weight: str,
        **options: Any,
    ) -> None:
        """Make synapses that are not connected yet.

        Args:
            source: Presynaptic group.
            target: Postsynaptic group.
            drive: Statement of the effect of a spike on the target; None for none.
            learning: Statements of the plasticity at presynaptic and at postsynaptic spikes; empty for none.
            orders: Orders of transmission and plasticity.
            weight: Name of the weight.
            **options: Options of Brian2's synapses; `delay` is the delay of the transmission for all synapses.
        """
        self._drive, self._orders, self._in_one = drive, orders, False
        self._weight = weight  # Brian2 refuses names with a leading _ as variables, so that no variable is hidden
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
        """Give the plasticity a separate pathway without a delay."""
        if self._in_one:
            self._in_one = False
            self.pre.code, self.pre.order = self._drive, self._orders.transmission
            self.learning_pre.active = True

    delay, delay_ = _delay("get_addressable_value_with_unit"), _delay("get_addressable_value")
