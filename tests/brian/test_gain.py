"""The gain of a drive, as it is measured, against what it is for neurons of known rates."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, SpikeMonitor, Synapses, ms, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue

NEURONS, STEP, PERIOD, PERIODS, CALIBRATION = 20, 5.0, 0.2, 25, 0.2  # ms, s
PROBED = CALIBRATION + PERIOD * PERIODS


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


def integrators(name: str) -> NeuronGroup:
    """Perfect integrators: a spike that lowers v by c takes exactly c spikes, whatever the rate."""
    cells = NeuronGroup(
        NEURONS, "dv/dt = rate : 1\nrate : Hz", threshold="v > 1", reset="v -= 1", method="euler", name=name
    )
    cells.rate, cells.v = "(30 + 17*sin(i))*Hz", "i/20"
    return cells


def poisson(name: str) -> NeuronGroup:
    """Of rates that follow a current which decays."""
    return NeuronGroup(
        200,
        "dg/dt = -g/(2*ms) : Hz\nrate = 30*Hz + g : Hz",
        threshold="rand() < rate*dt",
        reset="",
        method="exact",
        name=name,
    )


def probed_rule(periods: int, **parameters: object) -> nd.brian.SpikingRule:
    gain = nd.brian.Gain(probing=PERIOD * periods * second, period=PERIOD * second)
    homeostasis = nd.brian.Homeostasis(calibration=CALIBRATION * second)
    return nd.brian.get("lateral_covariance", gain=gain, homeostasis=homeostasis, **parameters)


def probed(cells: NeuronGroup, drive: str, **parameters: object) -> Synapses:
    lateral = probed_rule(PERIODS, **parameters).synapses(cells, drive=drive, name=f"lateral_{cells.name}")
    lateral.connect(j="(i + 1) % N_post")
    return lateral


def test_the_gain_is_that_of_neurons_whose_rates_are_known() -> None:
    populations = {
        "weak": (integrators("weak"), "v_post -= 0.001*w", 0.001),
        # What is added to g at the start of a step decays before it is read.
        "poisson": (poisson("poisson"), "g_post -= 5*w*kHz", 5e3 * STEP / 1e3 / np.expm1(STEP / 2)),
    }
    brian2.seed(1)
    network, made = Network(), {}
    for name, (cells, drive, _) in populations.items():
        made[name] = probed(cells, drive)
        network.add(cells, made[name])
    counted = SpikeMonitor(populations["weak"][0])
    network.add(counted)
    before = made["weak"].report()
    assert before.gain is None and before.phase == "calibration"
    network.run((PROBED + 0.01) * second)
    for name, (_, _, expected) in populations.items():
        report = made[name].report()
        # 1200 Poisson spikes in each of some 15 periods, 0.2 of which are an answer: 3 %. Integrators are regular.
        assert report.gain == pytest.approx(expected, rel=0.13), name
        assert report.phase == "learning"
    # So a spike of weight 0.4 takes 0.4 spikes: from neuron 0 to neuron 1, the bias held at what it is.
    lateral = made["weak"]
    nd.brian.freeze(lateral, homeostasis=True)
    lateral.companions.target.bias_average = 0 * Hz
    counts = []
    for weight in (0, 0.4):
        lateral.w[0, 1] = weight
        so_far = counted.count[:].copy()
        network.run(1.5 * second)
        counts.append(counted.count[:] - so_far)
    assert counts[0][1] - counts[1][1] == pytest.approx(0.4 * counts[0][0], abs=0.04 * counts[0][0] + 1)
    assert np.abs(counts[0] - counts[1])[2:].max() <= 1


def test_a_drive_may_reach_what_stays_while_refractory() -> None:
    """Neurons 0 and 2 spike at once and are refractory: 1 hears both, of half a weight, and they neither each other
    nor, by the weight onto oneself, themselves."""
    cells = NeuronGroup(
        3, "dv/dt = 0/second : 1 (unless refractory)", threshold="v > 1", reset="v = 0", refractory=1 * second
    )
    cells.v = [2, 0.9, 2]
    lateral = nd.brian.get(variance=nd.brian.Variance()).synapses(cells, drive="v_post -= w")
    lateral.connect(condition="i != j")
    lateral.w = 0.25
    lateral.companions.target.self_weight = 0.5
    Network(cells, lateral).run(4 * STEP * ms)
    np.testing.assert_allclose(cells.v[:], [0, 0.4, 0], rtol=1e-12)


def test_nothing_is_probed_while_held_or_where_nobody_answers(caplog: pytest.LogCaptureFixture) -> None:
    """Not a spike differs while held; what is not measured is said."""
    cells, plain, inert = integrators("held"), integrators("plain"), integrators("inert")
    held, deaf = probed(cells, "v_post -= 0.001*w"), probed(inert, "v_post -= 0*w")
    nd.brian.freeze(held, homeostasis=True)
    monitors = SpikeMonitor(cells), SpikeMonitor(plain)
    Network(cells, plain, inert, held, deaf, *monitors).run((PROBED + 0.2) * second)
    np.testing.assert_array_equal(monitors[0].t, monitors[1].t)
    np.testing.assert_array_equal(monitors[0].i, monitors[1].i)
    for lateral, cause, warnings in ((held, "held", 0), (deaf, "no response", 1)):  # the user has held it on purpose
        report = lateral.report()
        assert report.gain is None and report.gain_failure == cause
        assert "was not measured" in report.advice[0] and str(report).splitlines()[1] == report.advice[0]
        assert caplog.text.count(report.advice[0]) == warnings
        assert float(np.asarray(lateral.companions.target.weight_unit_)) == 1


def test_a_probing_too_short_for_its_unit_is_told_with_a_remedy_that_works(caplog: pytest.LogCaptureFixture) -> None:
    """A grows e-fold a period from 1e-3 Hz, and must reach response * rate / gain, here 6e6 Hz or 6 Hz: 23 or 9."""
    periods, network, made = 14, Network(), {}
    drives = {"small": "v_post -= 1e-6*w_lateral", "sized": "v_post -= w_lateral", "silent": "v_post -= w_lateral"}
    for name, drive in drives.items():
        cells = integrators(name)
        if name == "silent":
            cells.rate = 0 * Hz
        made[name] = probed_rule(periods).synapses(cells, drive=drive, weight="w_lateral", name=f"lateral_{name}")
        made[name].connect(j="(i + 1) % N_post")
        network.add(cells, made[name])
    network.run((CALIBRATION + PERIOD * (periods + 2)) * second)
    reports = {name: lateral.report() for name, lateral in made.items()}
    assert {name: report.gain_failure for name, report in reports.items()} == {
        "small": "probing too short",
        "sized": None,
        "silent": "silent",
    }
    assert reports["sized"].gain == pytest.approx(1, rel=0.13)
    (line,) = [line for line in reports["small"].advice if "the gain" in line]
    assert "now 2.8 s" in line and "drive='v_post -= 1e-6*100*w_lateral'" in line
    assert str(reports["small"]).splitlines()[1] == line
    assert caplog.text.count(line) == 1 and "the neurons were silent" in reports["silent"].advice[0]
    assert not any("the gain" in line for line in reports["sized"].advice)


def test_weights_are_what_the_drive_makes_of_them_without_a_gain_or_a_homeostasis() -> None:
    for parameters in ({"gain": None}, {"homeostasis": None}):
        rule = nd.brian.get("lateral_covariance", **parameters)
        assert "weight_unit" not in str(rule)
        lateral = rule.synapses(integrators("cells*"), drive="v_post -= w")
        assert "weight_unit" not in lateral.variables and lateral.report().gain is None
    printed = str(nd.brian.get("lateral_covariance"))
    assert "scaled_weight = w*weight_unit" in printed and "probe_amplitude*probe_direction" in printed
    assert nd.brian.get("lateral_covariance").learnt == 400 * second
    assert nd.brian.get("lateral_covariance", gain=None).learnt == 360 * second
    assert nd.brian.Homeostasis().rate_of(measured=True) == 0.3 * Hz
    assert nd.brian.Homeostasis(rate=2 * Hz).rate_of(measured=True) == 2 * Hz
    with pytest.raises(InvalidValue, match="response must be"):
        nd.brian.Gain(response=0.0)
    with pytest.raises(InvalidValue, match=r"must be nd\.brian\.Gain"):
        nd.brian.get(gain=0.1)
