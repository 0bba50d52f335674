"""Matrices of weights are those of the synapses, whatever variables their neurons have."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import NeuronGroup, Synapses, ms, nS

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue

COUNT = 4
OWN = "dw/dt = -w/(100*ms) : {unit}\nlevel : 1 (shared)"
WEIGHTS = np.random.default_rng(0).random((COUNT, COUNT))


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def cells(unit: str = "1") -> NeuronGroup:
    """Neurons with a `w` of their own, as those of Izhikevich (1) and the adaptive exponential ones (amp)."""
    group = NeuronGroup(
        COUNT, f"dg/dt = -g/(5*ms) : 1\n{OWN.format(unit=unit)}", threshold="g < -1", reset="g = 0", name="cells"
    )
    group.w_ = [1.0, 2.0, 3.0, 4.0]
    return group


def by_synapse(synapses: Synapses, values: np.ndarray) -> np.ndarray:
    """Values of the synapses as a matrix, one after the other."""
    matrix = np.full((COUNT, COUNT), np.nan)
    for i, j, value in zip(synapses.i[:], synapses.j[:], values, strict=True):
        matrix[i, j] = value
    return matrix


@pytest.mark.parametrize("unit", ["1", "amp"])
@pytest.mark.parametrize("name", ["lateral_covariance", "vogels", "feedback_inhibition"])
def test_the_default_is_the_weight_of_the_rule(name: str, unit: str) -> None:
    """And the neurons' own w stays."""
    parameters = {"interneurons": COUNT} if name == "feedback_inhibition" else {}
    group = cells(unit)
    synapses = nd.brian.get(name, **parameters).synapses(group, drive="g_post -= w_lateral", weight="w_lateral")
    synapses.connect(condition="i != j")
    nd.brian.set_weights(synapses, WEIGHTS)
    assert np.array_equal(group.w_[:], [1.0, 2.0, 3.0, 4.0])
    assert np.array_equal(synapses.w_lateral[:], WEIGHTS[synapses.i[:], synapses.j[:]])
    found = nd.brian.weights_to_matrix(synapses)
    assert np.array_equal(found, by_synapse(synapses, synapses.w_lateral[:]), equal_nan=True)
    assert np.array_equal(found, nd.brian.weights_to_matrix(synapses, "w_lateral"), equal_nan=True)


@pytest.mark.parametrize("part", [slice(None), slice(1, 3)], ids=["all", "part"])
@pytest.mark.parametrize("variable", [None, "w", "w_pre", "w_post", "level", "level_pre", "g"])
def test_a_variable_of_the_neurons_is_refused(variable: str | None, part: slice) -> None:
    """The default too, for synapses that no rule made and that have no w; of a part of the neurons too."""
    group = cells()
    target = group if part == slice(None) else group[part]
    synapses = Synapses(group, target, "strength : 1")
    synapses.connect()
    message = r"belongs to the neurons.*choose one .*\bstrength\b"
    with pytest.raises(InvalidValue, match=message) as reading:
        nd.brian.weights_to_matrix(synapses, variable)
    with pytest.raises(InvalidValue, match=message) as setting:
        nd.brian.set_weights(synapses, np.ones((COUNT, len(target))), variable)
    assert str(reading.value) == str(setting.value) and "\n" not in str(reading.value)
    assert ("'w' (the default)" if variable is None else repr(variable)) in str(reading.value)
    assert np.array_equal(group.w[:], [1.0, 2.0, 3.0, 4.0])


def test_synapses_of_other_makers_keep_their_w_and_its_unit() -> None:
    """A matrix has no units: numbers in the base unit, in and out."""
    group = NeuronGroup(COUNT, "g : siemens")
    synapses = Synapses(group, group, "w : siemens\nother : 1")
    synapses.connect()
    nd.brian.set_weights(synapses, 1e-9 * WEIGHTS)
    np.testing.assert_allclose(by_synapse(synapses, synapses.w[:] / nS), WEIGHTS)
    np.testing.assert_array_equal(nd.brian.weights_to_matrix(synapses), 1e-9 * WEIGHTS)
    nd.brian.set_weights(synapses, WEIGHTS, "other")
    np.testing.assert_array_equal(by_synapse(synapses, synapses.other[:]), WEIGHTS)


def test_the_error_of_two_synapses_of_one_pair_names_the_weight() -> None:
    synapses = nd.brian.get().synapses(cells(), drive="g_post -= strength", weight="strength")
    synapses.connect(i=[0, 0], j=[1, 1])
    with pytest.raises(InvalidValue, match=r"synapses\.strength\[:\]"):
        nd.brian.weights_to_matrix(synapses)


@pytest.mark.parametrize("wrong", ["drive", "bias_drive"])
def test_the_error_of_units_names_the_weight_or_the_bias(wrong: str) -> None:
    drives = {"drive": "g_post -= w_lat", "bias_drive": "g_post += bias"}
    drives[wrong] += "*mV"
    unitless = {"drive": "w_lat", "bias_drive": "bias"}[wrong]
    with pytest.raises(InvalidValue, match=rf"{unitless} has none.* such as {unitless}\*mV or {unitless}\*nS"):
        nd.brian.get().synapses(cells(), weight="w_lat", **drives)
