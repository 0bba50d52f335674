"""
# Decorrelate a population in Brian2

Two lines after a model of your own: synapses that inhibit laterally and learn to decorrelate, while every neuron keeps
its rate. The population before and after, on input that the learning never saw.
"""

# %%
# ## Fifty integrate-and-fire neurons with three shared sources

import matplotlib.pyplot as plt
import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, TimedArray, defaultclock, ms, mV, prefs, second, seed

import neuro_decorr as nd

prefs.codegen.target = "auto"  # Cython, where there is a compiler
defaultclock.dt = 1 * ms
seed(1)
generator = np.random.default_rng(1)
count, before, between = 50, 40, 200  # neurons; seconds of measuring, of all phases of learning
mixing = np.abs(generator.normal(size=(3, count)))
sources = generator.normal(size=((between + 2 * before) * 20, 3))
shared = TimedArray((sources @ mixing) * 1.5 * mV, dt=50 * ms)
neurons = NeuronGroup(
    count,
    """dv/dt = (11*mV + shared(t, i) - inhibition - v)/(10*ms) + 4*mV*xi*(10*ms)**-0.5 : volt (unless refractory)
       dinhibition/dt = -inhibition/(20*ms) : volt""",
    threshold="v > 15*mV", reset="v = 0*mV", refractory=2 * ms, method="euler",
)  # fmt: skip

# %%
# ## The two lines, and a run: measure, learn, measure
#
# The schedule has the phases of the learning: rates are counted, the strength of the drive is found, weights learn,
# come to rest, and are held.

schedule = nd.brian.Schedule(
    baseline=before * second, learning=60 * second, annealing=60 * second, consolidation=40 * second
)
rule = nd.brian.get(
    "lateral_covariance",
    schedule=schedule,
    homeostasis=nd.brian.Homeostasis(calibration=20 * second),
    gain=nd.brian.Gain(probing=20 * second),
    rate=3e-3,
)
lateral = rule.synapses(neurons, drive="inhibition_post += w*mV")
lateral.connect(condition="i != j")

monitor = SpikeMonitor(neurons)
network = Network(neurons, lateral, monitor)
network.run(rule.learnt)
network.run(before * second)
print(lateral.report())

# %%
# ## Before and after

recording = nd.recording.from_brian(monitor)
end = float(rule.learnt / second)
periods = {"before": (0, before), "after": (end, end + before)}
figure, axes = plt.subplots(2, 2, figsize=(6.8, 5), layout="constrained", height_ratios=[1, 1.4])
for column, (name, (start, stop)) in enumerate(periods.items()):
    part = recording.window(start, stop)
    summary = nd.metrics.summary(part, bin=0.05)
    correlation, floor = summary["mean_absolute_correlation"].estimate, summary["mean_absolute_correlation"].floor
    rate = summary["mean_rate"].estimate
    print(f"{name:7s} mean |correlation| {correlation:.3f} (independent: {floor:.3f}), rate {rate:.1f} Hz")
    for unit, times in enumerate(part.window(start, start + 1).times):
        axes[0, column].plot(times - start, np.full(len(times), unit), "k.", markersize=1.5)
    axes[0, column].set_title(f"{'AB'[column]}  {name}: spikes of one second", loc="left", fontsize=9)
    axes[0, column].set(xlabel="time (s)", ylabel="neuron")
    matrix = np.corrcoef(part.counts(0.05).astype(float).T) - np.eye(count)
    image = axes[1, column].imshow(matrix, cmap="RdBu_r", vmin=-0.6, vmax=0.6)
    axes[1, column].set_title(f"{'CD'[column]}  correlations of counts, 50 ms", loc="left", fontsize=9)
    axes[1, column].set(xlabel="neuron", ylabel="neuron")
figure.colorbar(image, ax=axes[1], shrink=0.8)
plt.show()

# %%
# ## What to try next
#
# - The default schedule: 400 s, which comes nearer to independent neurons.
# - `feedback_inhibition`: interneurons with N k synapses instead of N^2.
# - `neuro-decorr run spiking_decorrelation`: the same with the controls, several seeds and doses.
