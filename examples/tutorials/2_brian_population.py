"""
# A Brian2 population of your own

From a model that fires in correlation to one that does not: your equations, two lines of lateral inhibition, a report
that says whether it is there, a picture before and after, the rates kept, and the control that a sceptic asks for.
"""

# %%
# ## What you need
#
# `pip install '.[study,brian]'` in a checkout, or a release file with the same extras. With numpy
# everything below takes a minute or two of processor time on one core, without a compiler; the time at the foot of this
# page is that of the busy machine that made it. For anything longer say `"cython"`: Brian2 then compiles every object
# once, which takes minutes, and runs several times as fast.

import logging
import textwrap

import matplotlib.pyplot as plt
import numpy as np
from brian2 import (
    Hz,
    Network,
    NeuronGroup,
    SpikeMonitor,
    StateMonitor,
    TimedArray,
    defaultclock,
    ms,
    mV,
    prefs,
    second,
    seed,
)

import neuro_decorr as nd

prefs.codegen.target = "numpy"
seed(1)
count = 30

# %%
# ## Correlated input
#
# Three sources that every neuron hears, each with weights of its own, all positive: neurons that share a source fire
# together. A source changes every 50 ms. Replace this cell by your stimulus; anything that drives the neurons will do.

generator = np.random.default_rng(1)
mixing = generator.exponential(size=(3, count))
sources = generator.normal(size=(200 * 20, 3))
shared = TimedArray(sources @ mixing * 2.5 * mV, dt=50 * ms)

# %%
# ## The model: equations of your own
#
# Leaky integrate-and-fire neurons with two conductances, relative to that of the leak:
#
# $$
# \tau \frac{dv}{dt} = E_L - v + I(t) + g_e\, (E_e - v) + g_i\, (E_i - v) + \text{noise}
# $$
#
# Nothing in it knows of decorrelation. That there is a variable which an inhibitory spike can raise, `g_i`, is all that
# is needed.

EQUATIONS = """
dv/dt = (-65*mV - v + 13*mV + shared(t, i) + g_e*(0*mV - v) + g_i*(-80*mV - v))/(15*ms)
        + 5*mV*xi*(15*ms)**-0.5 : volt (unless refractory)
dg_e/dt = -g_e/(5*ms) : 1
dg_i/dt = -g_i/(10*ms) : 1
"""


def population(step):
    """Neurons at rest (-65 mV), integrated with a time step (a quantity in seconds)."""
    neurons = NeuronGroup(
        count, EQUATIONS, threshold="v > -50*mV", reset="v = -65*mV", refractory=3 * ms, method="euler", dt=step
    )
    neurons.v = -65 * mV
    return neurons


def measured(recording):
    """Mean absolute correlation of counts in bins of 50 ms, the same of independent neurons, and the mean rate (Hz)."""
    summary = nd.metrics.summary(recording, bin=0.05, intervals=False)
    correlation = summary["mean_absolute_correlation"]
    return correlation.estimate, correlation.floor, summary["mean_rate"].estimate


# %%
# ## Which time step?
#
# Brian2's own is 0.1 ms. A longer one saves most of the time of all that follows, and changes the model: look by how
# much, before anything learns. The time step must divide the refractory period, and stay well below the shortest time
# constant, here 5 ms. A published model keeps its own step.

defaultclock.dt = 1 * ms
for step in (0.1 * ms, 1 * ms):
    neurons = population(step)
    spikes = SpikeMonitor(neurons)
    Network(neurons, spikes).run(2 * second)
    plain = nd.recording.from_brian(spikes)
    print(f"dt {step / ms:.1f} ms: {measured(plain)[-1]:.1f} Hz")

# %%
# ## The population before
#
# Columns of spikes are the common input: neurons say the same at the same time.

figure, axes = plt.subplots(2, 1, figsize=(6.8, 4), layout="constrained", sharex=True, height_ratios=[1, 1.8])
seconds = np.arange(0, 2, 0.01)
for unit, colour in zip((0, 1, 2), ("#0072B2", "#E69F00", "#009E73"), strict=True):
    axes[0].plot(seconds, shared(seconds * second, unit) / mV, color=colour, label=f"neuron {unit}")
axes[0].set_title("A  shared input of three neurons", loc="left", fontsize=10)
axes[0].set(ylabel="input (mV)")
axes[0].legend(fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
for unit, times in enumerate(plain.window(0, 2).times):
    axes[1].plot(times, np.full(len(times), unit), "k|", markersize=4)
axes[1].set_title("B  spikes", loc="left", fontsize=10)
axes[1].set(xlabel="time (s)", ylabel="neuron")
plt.show()

# %%
# ## What the synapses learn
#
# Every pair of neurons inhibits each other with a weight that begins at zero. Each spike raises a trace $x$ of its
# neuron, which decays within 50 ms, and
#
# $$
# \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \bar x_i), \qquad
# \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \bar x_j)
# $$
#
# with $\bar x$ the slow mean of the trace. Weights grow while two neurons coincide more often than their rates explain,
# and rest where the covariance of their spikes is zero, or at a bound. More inhibition alone would silence everybody: a
# slow bias keeps each neuron at the rate that it has without it.
#
# The learning has phases, and ends. Measure only after `rule.learnt`: while weights move they follow the very spikes
# that you measure. The defaults take 400 s of model time, and are what a result needs; with numpy a step takes
# 0.3 to 0.5 ms of processor time, so that this is about 3 minutes in steps of 1 ms and half an hour in steps of 0.1 ms.
# Here every phase is much shorter, and `rate` and the homeostasis faster, so that this page is done sooner.

DURATIONS = {"baseline": 20, "calibration": 15, "probing": 16, "learning": 25, "annealing": 25, "consolidation": 13}
before, after = DURATIONS["baseline"], 20  # seconds of measuring
schedule = nd.brian.Schedule(
    **{name: DURATIONS[name] * second for name in ("baseline", "learning", "annealing", "consolidation")}
)
rule = nd.brian.get(
    "lateral_covariance",
    schedule=schedule,
    homeostasis=nd.brian.Homeostasis(
        calibration=DURATIONS["calibration"] * second, rate=1 * Hz, average_time=4 * second
    ),
    gain=nd.brian.Gain(probing=DURATIONS["probing"] * second),
    rate=5e-3,
)

# %%
# ## The two lines
#
# `drive` is your statement of what an inhibitory spike of weight `w` does, to your variable, in your unit. The gain of
# the drive is measured while the model runs, so that `w` counts spikes. With the default probing of 40 s the unit need
# not be of the right size; shorten the probing, as here, only if it is of the right order. The report says if the
# probing was too short. A conductance must not be negative, so the bias, which has both signs, goes to the excitatory
# one here; with currents one drive serves both.

neurons = population(1 * ms)
lateral = rule.synapses(neurons, drive="g_i_post += 0.1*w", bias_drive="g_e_post += 0.1*bias")
lateral.connect(condition="i != j")

# %%
# ## Run: measure, learn, measure
#
# Monitors are Brian2's own. The neurons' companion, a group beside yours, holds what the plasticity knows of them. The
# input after the learning is the next part of the same sources, which the weights have never heard.

spikes = SpikeMonitor(neurons)
weights = StateMonitor(lateral, "w", record=range(0, len(lateral), 15), dt=1 * second)
bias = StateMonitor(lateral.companions.target, "bias_rate", record=True, dt=1 * second)
network = Network(neurons, lateral, spikes, weights, bias)
network.run(rule.learnt)
network.run(after * second)

# %%
# ## Is it there?
#
# `report()` compares what is left with what independent neurons would show in a recording of 100 s, looks at weights
# and rates, and says what to raise. It is a verdict on this input: weights cancel the correlations that they learnt
# from.

print("\n".join(textwrap.fill(line, 90) for line in str(lateral.report()).splitlines()))

# %%
# *Not converged* means that the weights rest and leave more than 1.5 times the correlation of independent neurons, here
# because the schedule is so short. One step along the advice (`rate=1.7e-3`, 75 s of learning and of annealing, sources
# that last as long) took this population from 2.36 to 1.83 times, and advised 7e-4 with 185 s of each. The default rate
# and schedule came below 1.5 in all populations of 100 neurons in the guide to lateral plasticity in Brian2.

# %%
# ## The course of weights and bias
#
# Weights that end flat have arrived. If they still climb when the annealing begins, learning was too short or `rate`
# too small; if they scatter until its end, `rate` was too large.

begins = np.cumsum([0, *DURATIONS.values()])
figure, axes = plt.subplots(2, 1, figsize=(6.8, 4.4), layout="constrained", sharex=True)
axes[0].plot(weights.t / second, weights.w.T, color="#0072B2", linewidth=0.6, alpha=0.5)
axes[0].set_title("A  some of the weights", loc="left", fontsize=10)
axes[0].set(ylabel="weight (spikes)")
axes[1].plot(bias.t / second, bias.bias_rate.T, color="#D55E00", linewidth=0.6, alpha=0.5)
axes[1].set_title("B  bias of every neuron", loc="left", fontsize=10)
axes[1].set(xlabel="time (s)", ylabel="bias (spikes a second)")
for name, start in zip([*DURATIONS, "held"], begins, strict=True):
    for panel in axes:
        panel.axvline(start, color="0.8", linewidth=0.8, zorder=0)
    axes[0].annotate(
        name, (start + 0.5, 0.97), xycoords=("data", "axes fraction"), rotation=90, va="top", fontsize=8, color="0.4"
    )
plt.show()

# %%
# ## Before and after, in a picture
#
# The same neurons, weights at zero and weights held. Below, the correlations of counts of all pairs.

recording = nd.recording.from_brian(spikes)
end = float(rule.learnt / second)
parts = {"before": recording.window(0, before), "after": recording.window(end, end + after)}
figure, axes = plt.subplots(2, 2, figsize=(6.8, 5.2), layout="constrained", height_ratios=[1, 1.4])
for column, (name, part) in enumerate(parts.items()):
    for unit, times in enumerate(part.window(part.start, part.start + 2).times):
        axes[0, column].plot(times - part.start, np.full(len(times), unit), "k|", markersize=3)
    axes[0, column].set_title(f"{'AB'[column]}  {name}: spikes", loc="left", fontsize=10)
    axes[0, column].set(xlabel="time (s)", ylabel="neuron")
    matrix = np.corrcoef(part.counts(0.05).astype(float).T) - np.eye(count)
    image = axes[1, column].imshow(matrix, cmap="RdBu_r", vmin=-0.8, vmax=0.8)
    axes[1, column].set_title(f"{'CD'[column]}  {name}: correlations", loc="left", fontsize=10)
    axes[1, column].set(xlabel="neuron", ylabel="neuron")
figure.colorbar(image, ax=axes[1], label="correlation of counts, 50 ms", shrink=0.9)
plt.show()

# %%
# ## Are the rates kept?
#
# A population that falls silent is uncorrelated too. So look at the rate of every neuron, and at the distribution of
# all pairs beside that of neurons that are independent: the same counts, shifted in time by another lag for each
# neuron.

pairs = np.triu_indices(count, k=1)
counts = {name: part.counts(0.05).astype(float) for name, part in parts.items()}
lags = generator.integers(20, len(counts["after"]) - 20, size=count)
counts["independent"] = np.stack([np.roll(counts["after"][:, unit], lags[unit]) for unit in range(count)], axis=1)
figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.1), layout="constrained")
bins = np.linspace(-0.4, 1, 57)
looks = {"before": ("0.6", 1.5), "after": ("#D55E00", 1.5), "independent": ("k", 1)}
for name, (colour, width) in looks.items():
    values = np.corrcoef(counts[name].T)[pairs]
    axes[0].hist(values, bins=bins, histtype="step", density=True, color=colour, linewidth=width, label=name)
axes[0].set_title("A  correlations of all pairs", loc="left", fontsize=10)
axes[0].set(xlabel="correlation of counts, 50 ms", ylabel="density of pairs")
axes[0].legend(fontsize=9)
each = {name: counts[name].mean(axis=0) / 0.05 for name in parts}
axes[1].plot(each["before"], each["after"], ".", color="#D55E00")
limits = [0, 1.1 * max(each["before"].max(), each["after"].max())]
axes[1].plot(limits, limits, color="k", linewidth=0.8)
axes[1].set_title("B  rate of every neuron", loc="left", fontsize=10)
axes[1].set(xlabel="before (Hz)", ylabel="after (Hz)", xlim=limits, ylim=limits, aspect="equal")
plt.show()

for name, part in parts.items():
    correlation, independent, rate = measured(part)
    print(f"{name:7s} mean |correlation| {correlation:.3f} (independent: {independent:.3f}), {rate:.1f} Hz")

# %%
# ## The control: the same inhibition, of the wrong pairs
#
# Does *what was learnt* decorrelate, or would inhibition of that strength do it anyhow? Every neuron keeps its incoming
# weights, but from other neurons: each column of the matrix is permuted. The weights are held, so that they stay there.

matrix = nd.brian.weights_to_matrix(lateral)  # presynaptic rows, postsynaptic columns, NaN where there is no synapse
permuted = matrix.copy()
for column in range(count):
    others = np.arange(count) != column
    permuted[others, column] = generator.permutation(matrix[others, column])
nd.brian.set_weights(lateral, permuted)
network.run(10 * second)
correlation, independent, rate = measured(nd.recording.from_brian(spikes).window(end + after, end + after + 10))
print(f"permuted mean |correlation| {correlation:.3f} (independent: {independent:.3f}), {rate:.1f} Hz")

# %%
# What permuted weights take away is what any inhibition of this strength does to common input: with three sources that
# are all positive, most of the weights are alike. What remains above the learnt weights is their pattern.
#
# ## What goes wrong, and what the error says

slips = {
    "a variable that the neurons do not have": lambda: rule.synapses(neurons, drive="g_inh_post += w"),
    "a drive without the weight": lambda: rule.synapses(neurons, drive="g_i_post += 0.1"),
    "a time without a unit": lambda: nd.brian.Schedule(learning=60),
    "a rule with a typing error": lambda: nd.brian.get("lateral_covarance"),
}
logging.disable(logging.WARNING)
for slip, action in slips.items():
    try:
        action()
    except nd.errors.NeuroDecorrError as error:
        print(f"- {slip}:", textwrap.fill(f"{type(error).__name__}: {error}", 80), "", sep="\n")
logging.disable(logging.NOTSET)

# %%
# - **Not converged**: the report says what to change. Mostly it is `rate` or the length of the phases.
# - **Neurons that are driven in opposition** stay anticorrelated, since inhibition cannot mend that;
#   `smallest_weight=-1.0` allows weights of both signs.
# - **Neurons with a `w` of their own**, as in the adaptive exponential model: give the weight another name,
#   `rule.synapses(neurons, drive="I_post -= 100*w_lateral*pA", weight="w_lateral")`. The rest stays as above, since
#   `weights_to_matrix` and `set_weights` take the weight by its name.
# - **The gain was not measured**: the report says why, and what to change.
# - **Weights at their largest**: the drive is too weak for its unit; without a gain (`gain=None`) it is yours to find.
#
# ## In C++ standalone
#
# All of it is equations and statements, so it compiles. Set the device before anything else, and build once, after the
# last `run`; weights, monitors and the report can be read then. `set_weights` between runs, as in the control above,
# has to be a program of its own.
#
# ```python
# set_device("cpp_standalone", build_on_run=False)
# ...                                    # the model and the two lines, as above
# network.run(rule.learnt)
# network.run(40 * second)
# device.build()
# print(lateral.report())
# ```

# %%
# ## What to try next
#
# - The default schedule, `nd.brian.get("lateral_covariance")`: it comes nearer to independent neurons.
# - `nd.brian.get("feedback_inhibition", interneurons=6)`: interneurons with N k synapses instead of N^2, Dale's law
#   kept.
# - `lateral.connect(condition="i != j", p=0.2)`: how few connections are enough?
# - `neuro-decorr run spiking_decorrelation`: the same with controls, several seeds and doses.
