"""Six published models at the size of a test, as their authors would write them in Brian2, with given connections."""

from __future__ import annotations

from tests.brian.published.common import Published
from tests.brian.published.point_neurons import BRUNEL_2000, DESTEXHE_2009, IZHIKEVICH_2003
from tests.brian.published.structured import DIESMANN_1999, SONG_2000, WANG_BUZSAKI_1996

MODELS: dict[str, Published] = {
    "current": BRUNEL_2000,
    "conductance": DESTEXHE_2009,
    "izhikevich": IZHIKEVICH_2003,
    "hodgkin_huxley": WANG_BUZSAKI_1996,
    "own_stdp": SONG_2000,
    "subgroups_delays": DIESMANN_1999,
}
