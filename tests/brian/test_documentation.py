"""The page on Brian2: the model that it shows runs with the lines that it adds, the order that it states is the one."""

from __future__ import annotations

import re
from pathlib import Path

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, ms, scheduling_summary

import neuro_decorr as nd
from tests.brian.drop_in import builder, lateral_synapses, monitors, source, with_lines
from tests.brian.every_rule import population

PAGE = (Path(__file__).parent.parent.parent / "docs" / "brian.md").read_text()


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 0.1 * ms


def test_the_difference_that_is_shown_is_two_lines_on_a_published_model() -> None:
    (shown,) = re.findall(r"```diff\n(.*?)```", PAGE, flags=re.DOTALL)
    lines = shown.splitlines()
    assert {line[:2].strip() for line in lines} == {"", "+"}
    kept = "".join(f"{line[2:]}\n" for line in lines if not line.startswith("+"))
    added = tuple(line[2:].strip() for line in lines if line.startswith("+"))
    text = source("current_based")
    assert kept in text and len(added) == 2
    changed = with_lines(text, added)
    assert "".join(f"{line[2:]}\n" for line in lines) in changed
    network, plain = builder(changed, nd=nd)(count=400), builder(text)(count=400)
    for built in (network, plain):
        built.run(20 * ms)
    spikes = [monitors(built)[0] for built in (network, plain)]
    assert len(spikes[0].t) > 20 and np.array_equal(spikes[0].t, spikes[1].t)  # still counting rates: nothing learnt
    lateral = lateral_synapses(network)
    assert len(lateral.w[:]) == 400 * 399 and lateral.companions.target.trace[:].max() > 0.5


def test_the_order_that_is_stated() -> None:
    cells = population()
    lateral = nd.brian.get().synapses(cells, drive="gi_post -= w*mV", name="lateral")
    lateral.connect(condition="i != j")
    network = Network(cells, lateral)
    network.run(0.1 * ms)
    summary = scheduling_summary(network)
    entries = [(entry.when, str(entry.order), entry.name) for entry in summary.entries if entry.active]
    expected = [entry for entry in entries if entry[2].startswith("lateral")]
    rows = re.findall(r"^\| (\w+) \| (-?\d+) \| .* \| `(lateral\w+)` \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == 16 and rows == expected


def test_names_that_the_page_uses_are_there() -> None:
    """Parameters that a sweep can change, functions."""
    cells = population()
    lateral = nd.brian.get().synapses(cells, drive="gi_post -= w*mV")
    (synaptic, own) = re.findall(r"variables of the synapses \((.*?)\) and of\nthe companions \((.*?), those", PAGE)[0]
    assert set(re.findall(r"`(\w+)`", synaptic)) <= set(lateral.variables)
    assert {"trace_time", "mean_time"} == set(re.findall(r"`(\w+)`", own)) <= set(lateral.companions.target.variables)
    assert all(hasattr(nd.brian, name) for name in re.findall(r"nd\.brian\.(\w+)", PAGE))


def test_companions_hold_what_the_page_lists_and_only_where_it_says_so() -> None:
    (table,) = re.findall(r"^\| variable \|.*\n\|.*\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    rows = [[set(re.findall(r"`(\w+)`", cell)) for cell in line.split("|")[1:4:2]] for line in table.splitlines()]
    own_rate, given = nd.brian.Homeostasis(), nd.brian.Homeostasis(target_rate=5 * Hz)

    def held(name: str, **parameters: object) -> set[str]:
        lateral = nd.brian.get(name, **parameters).synapses(population(), drive="gi_post -= w*mV")
        return set(lateral.companions.target.variables)

    everything = held("lateral_covariance", homeostasis=own_rate, variance=nd.brian.Variance())
    assert set().union(*(names for names, _ in rows)) <= everything and len(rows) == 7
    assert "counted" in everything - held("lateral_covariance", homeostasis=given)
    least = held("vogels")
    for names, needed in rows:
        assert names <= least if not needed else names.isdisjoint(least)
