"""
# STDP and homeostasis that are known to be right

Two spikes, one formula, and yet many published implementations drift elsewhere than their equations say. Here the drift
of inhibitory STDP is measured between independent spike trains, beside its closed form, and then it brings a neuron to
its target rate.
"""

# %%
# ## The drift between Poisson neurons
#
# In the rule of Vogels et al. (2011) a weight moves by $\eta (x_i - 2 \rho_0 \tau)$ at a presynaptic spike and by
# $\eta x_j$ at a postsynaptic one. For independent spikes its mean drift is $2 \eta \tau \nu_j (\nu_i - \rho_0)$. Two
# hundred synapses a rate, from one neuron each.

import matplotlib.pyplot as plt
import numpy as np
from brian2 import Hz, Network, NeuronGroup, PoissonGroup, SpikeMonitor, defaultclock, ms, mV, prefs, second, seed

import neuro_decorr as nd

prefs.codegen.target = "numpy"  # so small that compiling would take longer
defaultclock.dt = 1 * ms
seed(0)
eta, tau, target, source_rate, duration = 1e-3, 0.02, 8.0, 15.0, 20.0
post_rates = np.repeat([2.0, 5.0, 8.0, 12.0, 18.0, 25.0], 200)
pre, post = PoissonGroup(len(post_rates), source_rate * Hz), PoissonGroup(len(post_rates), post_rates * Hz)
rule = nd.brian.get("vogels", rate=eta, target_rate=target * Hz, trace_time=tau * second, smallest_weight=-100.0)
synapses = rule.synapses(pre, post, drive=None)
synapses.connect(j="i")
Network(pre, post, synapses).run(duration * second)
measured = np.asarray(synapses.w).reshape(-1, 200) / duration

# %%
# ## A neuron that finds its rate
#
# A hundred inhibitory synapses onto ten neurons that excitation drives at different rates: whatever the drive, they
# come to the target.

inhibitory = PoissonGroup(100, 15 * Hz)
cells = NeuronGroup(
    10,
    """dv/dt = (drive + gi - v)/(20*ms) + 4*mV*xi*(20*ms)**-0.5 : volt (unless refractory)
       dgi/dt = -gi/(10*ms) : volt
       drive : volt""",
    threshold="v > 20*mV", reset="v = 0*mV", refractory=2 * ms, method="euler",
)  # fmt: skip
cells.drive = np.linspace(20, 30, 10) * mV
inhibition = nd.brian.get("vogels", rate=1e-2, target_rate=target * Hz).synapses(
    inhibitory, cells, drive="gi_post -= w*mV"
)
inhibition.connect()
monitor = SpikeMonitor(cells)
Network(inhibitory, cells, inhibition, monitor).run(40 * second)
spikes = nd.recording.from_brian(monitor, stop=40.0)
course = spikes.counts(2.0) / 2.0

# %%
# ## Both, beside what the equations say

figure, axes = plt.subplots(1, 2, figsize=(6.8, 3), layout="constrained")
line = np.linspace(0, 27, 50)
axes[0].plot(line, 2 * eta * tau * source_rate * (line - target), color="0.3", label="closed form")
error = 1.96 * measured.std(axis=1, ddof=1) / np.sqrt(200)
axes[0].errorbar(
    post_rates[::200], measured.mean(axis=1), error, fmt="o", color="#D55E00", markersize=4, label="200 synapses"
)
axes[0].axhline(0, color="0.8", linewidth=0.8)
axes[0].set_title("A  drift of the weight (95 % interval)", loc="left", fontsize=9)
axes[0].set(xlabel="postsynaptic rate (Hz)", ylabel="weight a second")
axes[0].legend(fontsize=7)
axes[1].plot(np.arange(len(course)) * 2.0 + 1.0, course, color="#0072B2", linewidth=0.7, alpha=0.7)
axes[1].axhline(target, color="0.3", linestyle="--", label="target")
axes[1].set_title("B  ten neurons of different drive", loc="left", fontsize=9)
axes[1].set(xlabel="time (s)", ylabel="rate (Hz)", ylim=(0, None))
axes[1].legend(fontsize=7)
plt.show()
off = np.abs(measured.mean(axis=1) - 2 * eta * tau * source_rate * (post_rates[::200] - target)) / error
print("drift, distance from the closed form in half widths of its interval:", off.round(2))
print(f"rates of the last 10 s: {course[-5:].mean():.1f} Hz (target {target:g})")

# %%
# ## What to try next
#
# - `lateral_covariance` instead of `vogels`: inhibition that removes correlations rather than rates.
# - `print(rule)` shows every equation and statement that the rule adds, to be pasted into a model of your own.
# - Which event counts as a spike, delays, same-step order: the page on Brian2.
