"""Spiking networks with a hidden layer that learns from its output error, broadcast through random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from brian2 import Clock, NeuronGroup, Synapses, mV

HIDDEN = """
dv/dt = (current + bias - v)/membrane_time : volt (unless refractory)
dcurrent/dt = -current/synaptic_time : volt
dmean_slope/dt = slope/trial : 1
slope = clip(v/(10*mV), 0, 1) : 1
bias : volt
signal : 1
count : 1
mean_count : 1
network : integer (constant)
learning_rate : 1 (constant)
centred : 1 (constant)
"""
END_OF_HIDDEN_TRIAL = """
bias += int(t > 0*second)*adapts(t - dt)*bias_rate*(pair_target/2 - count)
mean_count += adapts(t - dt)*(count - mean_count)/mean_trials
count = 0
signal = 0
mean_slope = 0
"""

DECISION = """
dv/dt = (current + bias - v)/membrane_time : volt (unless refractory)
dcurrent/dt = -current/synaptic_time : volt
bias : volt
count : 1
category : integer (constant)
network : integer (constant)
learning_rate : 1 (constant)
centred : 1 (constant)
"""
END_OF_DECISION_TRIAL = """
bias += int(t > 0*second)*adapts(t - dt)*bias_rate*(pair_target/2 - count)
count = 0
"""

WEIGHTS = "w : 1\neligibility : 1"
ON_INPUT_SPIKE = "current_post += w*mV\neligibility += learns(t)*slope_post"
LEARN_HIDDEN = """
w += learning_rate_post*signal_post*(eligibility - centred_post*learns(t - dt)*mean_count_pre*mean_slope_post)
eligibility = 0
"""
TARGET = "pair_target/2*(int({category} == label({t}))*2 + int({category} != label({t}))*(classes - 2)/(classes - 1))"
LEARN_OUTPUT = (
    "w += learning_rate_post*learns(t - dt)*(count_pre - centred_post*mean_count_pre)"
    f"*({TARGET.format(category='category_post', t='t - dt')} - count_post)"
)
ON_VERDICT = f"signal_post += learns(t)*feedback*{TARGET.format(category='category_pre', t='t')}"
ON_DECISION_SPIKE = "signal_post -= learns(t)*feedback"


@dataclass(frozen=True)
class Part:
    """Brian2 objects to run with the inputs, their settings, and the group whose spike counts are the decision."""

    objects: list[Any]
    settings: dict[str, Any]
    decides: NeuronGroup


def broadcast_feedback(
    inputs: NeuronGroup, networks: int, hidden: int, classes: int, neuron: dict[str, Any], times: dict[str, Clock]
) -> Part:
    r"""Make networks of one hidden layer on the same inputs; each learns from its own error.

    Every output neuron k has a target count T in a trial: twice that of 30 Hz if its class is shown, (K - 2)/(K - 1) of
    that of 30 Hz if not. It learns by the delta rule from its own error; the errors of all output neurons of a network
    reach every hidden neuron j through fixed random weights B instead of the transposed output weights:

    $$
    \Delta w_{ij} = \eta \sum_k B_{kj} (T_k - n_k)\,\big(e_{ij} - c\,\langle e_{ij} \rangle\big), \qquad
    e_{ij} = \sum_{\text{spikes of } i} \psi_j, \quad \langle e_{ij} \rangle = \bar n_i \bar \psi_j
    $$

    at the end of a trial; psi = v / threshold within [0, 1] stands for the derivative of a spiking neuron. B enters
    spike by spike: each output spike takes its column off the signal of the hidden neurons, and at the end of the trial
    the targets are added. With B = 0 the hidden layer stays as it was drawn: the control.

    Sources: Samadi, Lillicrap, Tweed (2017), Deep learning with dynamic spiking neurons and fixed feedback weights,
    doi:10.1162/NECO_a_00929; Lillicrap et al. (2016), doi:10.1038/ncomms13276; the pseudo-derivative as in Bellec et
    al. (2020), A solution to the learning dilemma for recurrent networks of spiking neurons,
    doi:10.1038/s41467-020-17236-y.

    Args:
        inputs: Input neurons with `mean_count`.
        networks: Number of networks.
        hidden: Number of hidden neurons of each network.
        classes: Number of output neurons of each network.
        neuron: Arguments common to all neurons: threshold, refractory, namespace, clock.
        times: Clocks by name, with "trial".

    Returns:
        Objects, settings and the output neurons.
    """
    shared = {name: neuron[name] for name in ("namespace", "clock")}
    steps = round(float(times["trial"].dt / neuron["clock"].dt))
    layer = NeuronGroup(
        networks * hidden, HIDDEN, reset="v = 0*mV\ncount += 1", method="euler", name="hidden", **neuron
    )
    decision = NeuronGroup(
        networks * classes, DECISION, reset="v = 0*mV\ncount += 1", method="euler", name="decisions",
        events={"verdict": f"t_in_timesteps % {steps} == {steps - 1}"}, **neuron,
    )  # fmt: skip
    decision.category = "i % classes"
    decision.network = "i // classes"
    layer.network = f"i // {hidden}"
    for group in (layer, decision):
        group.bias = 11 * mV
    below = Synapses(inputs, layer, WEIGHTS, on_pre=ON_INPUT_SPIKE, name="to_hidden", **shared)
    below.connect()
    above = Synapses(layer, decision, "w : 1", on_pre="current_post += w*mV", name="to_decisions", **shared)
    above.connect(condition="network_pre == network_post")
    feedback = Synapses(
        decision, layer, "feedback : 1 (constant)", on_pre={"spikes": ON_DECISION_SPIKE, "verdict": ON_VERDICT},
        on_event={"spikes": "spike", "verdict": "verdict"}, name="broadcast", **shared,
    )  # fmt: skip
    feedback.connect(condition="network_pre == network_post")
    below.run_regularly(LEARN_HIDDEN, clock=times["trial"], when="start", order=0)
    above.run_regularly(LEARN_OUTPUT, clock=times["trial"], when="start", order=0)
    layer.run_regularly(END_OF_HIDDEN_TRIAL, clock=times["trial"], when="start", order=1)
    decision.run_regularly(END_OF_DECISION_TRIAL, clock=times["trial"], when="start", order=1)
    settings = {
        "hidden_weights": below.w,
        "output_weights": above.w,
        "feedback": feedback.feedback,
        "hidden_learning_rate": layer.learning_rate,
        "hidden_centred": layer.centred,
        "output_learning_rate": decision.learning_rate,
        "output_centred": decision.centred,
    }
    return Part([layer, decision, below, above, feedback], settings, decision)
