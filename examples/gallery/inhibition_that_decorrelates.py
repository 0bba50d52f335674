"""
# Inhibition that decorrelates instead of silencing

Blanket inhibition lowers correlations by lowering rates, and little more. Inhibition that learns covariances removes
the correlations and keeps rates near those before. The same population with none, with uniform inhibition of equal mean
weight, and with learnt weights.
"""

# %%
# ## A population with two shared sources
#
# Thirty neurons; the learning has 100 s. The weights are then put into copies of the population, which get new input.

import matplotlib.pyplot as plt
import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, TimedArray, defaultclock, ms, mV, prefs, second, seed

import neuro_decorr as nd

prefs.codegen.target = "auto"  # Cython, where there is a compiler
defaultclock.dt = 1 * ms
generator = np.random.default_rng(2)
count, phases, measured = 30, 146, 30
mixing = np.abs(generator.normal(size=(2, count)))
current = TimedArray(generator.normal(size=((phases + measured) * 20, 2)) @ mixing * 1.6 * mV, dt=50 * ms)
schedule = nd.brian.Schedule(learning=50 * second, annealing=50 * second, consolidation=20 * second)
rule = nd.brian.get(
    "lateral_covariance",
    rate=3e-3,
    schedule=schedule,
    homeostasis=nd.brian.Homeostasis(calibration=10 * second),
    gain=nd.brian.Gain(probing=16 * second),
)

neurons = NeuronGroup(
    count,
    """dv/dt = (11*mV + current(t, i) - inhibition - v)/(10*ms) + 4*mV*xi*(10*ms)**-0.5 : volt (unless refractory)
       dinhibition/dt = -inhibition/(20*ms) : volt""",
    threshold="v > 15*mV", reset="v = 0*mV", refractory=2 * ms, method="euler",
)  # fmt: skip
lateral = rule.synapses(neurons, drive="inhibition_post += w*mV")
lateral.connect(condition="i != j")
monitor = SpikeMonitor(neurons)
network = Network(neurons, lateral, monitor)
network.store()  # every condition begins here, and Brian2 compiles once


def simulate(weights=None):
    """The spikes of the last 30 s, in which weights are held; given ones are held from the start."""
    network.restore()
    seed(3)
    if weights is not None:
        nd.brian.freeze(lateral, homeostasis=True)
        lateral.w = weights
    network.run((phases + measured) * second)
    return nd.recording.from_brian(monitor).window(phases, phases + measured)


# %%
# ## Learnt first: its mean weight is that of the uniform control
#
# In the control the drive sees the weights in millivolts: the gain that the rule found belongs to the mean weight.

recordings = {"learnt": simulate()}
uniform = float(np.mean(lateral.w) * np.asarray(lateral.companions.target.weight_unit_).flat[0])
recordings |= {"uniform": simulate(uniform), "none": simulate(0.0)}

# %%
# *Not converged* means that held weights leave more than 1.5 times the correlation of independent neurons, since this
# page is short. The rate and the schedule that the report advises, 1.4e-3 with 110 s of learning and of annealing,
# converge: 1.30 times instead of 1.75.

# %%
# ## Rates and correlations

figure, axes = plt.subplots(1, 2, figsize=(6.6, 3), layout="constrained")
for place, (name, colour) in enumerate((("none", "0.5"), ("uniform", "#0072B2"), ("learnt", "#D55E00"))):
    summary = nd.metrics.summary(recordings[name], bin=0.05)
    for panel, measure in zip(axes, ("mean_rate", "mean_absolute_correlation"), strict=True):
        row = summary[measure]
        panel.errorbar(
            place, row.estimate, [[row.estimate - row.low], [row.high - row.estimate]], fmt="o", color=colour
        )
    correlation = summary["mean_absolute_correlation"]
    rate = summary["mean_rate"].estimate
    print(f"{name:8s} {rate:5.1f} Hz, mean |r| {correlation.estimate:.3f} (floor {correlation.floor:.3f})")
axes[1].axhline(correlation.floor, color="0.6", linestyle="--", linewidth=0.8, label="independent neurons")
axes[1].legend(fontsize=7)
axes[0].set_title("A  rate (95 % interval)", loc="left", fontsize=9)
axes[1].set_title("B  correlation of counts, 50 ms", loc="left", fontsize=9)
axes[0].set(ylabel="Hz", ylim=(0, None))
axes[1].set(ylabel="mean |r|", ylim=(0, None))
for panel in axes:
    panel.set_xticks(range(3), ("none", "uniform", "learnt"))
    panel.set_xlim(-0.5, 2.5)
plt.show()

# %%
# ## What to try next
#
# - Weights shuffled over pairs as a control: `nd.brian.set_weights`.
# - `neuro-decorr run spiking_decorrelation`: the same with every control, two seeds and four kinds of inputs.
# - Pairs that are driven in opposition: inhibition that is at least zero cannot decorrelate them.
