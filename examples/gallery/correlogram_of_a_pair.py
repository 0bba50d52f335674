"""
# Is this pair synchronous? A correlogram with its bands

A peak in a correlogram may come from rates that rise and fall together. Spikes jittered within short windows keep the
rates and lose the precise timing: what leaves their band is finer than the window.
"""

# %%
# ## A pair that shares a rate, and one that shares spikes too

import matplotlib.pyplot as plt
import numpy as np

import neuro_decorr as nd

generator = np.random.default_rng(0)
seconds, step = 600.0, 0.001
time = np.arange(0, seconds, step)
slow = np.repeat(generator.gamma(4, 2.5, size=int(seconds / 0.1)), 100)  # 10 Hz on average, new every 100 ms


def train(rate):
    """Spike times (s) of a Poisson neuron of the given rates (Hz), one for each time step."""
    return time[generator.random(len(time)) < rate * step]


shared = train(np.full(len(time), 0.8))
a, b = train(slow), train(slow)
c = np.unique(np.concatenate([train(slow), shared + 0.002]))  # two milliseconds after a's extra spikes
a = np.unique(np.concatenate([a, shared]))
recording = nd.recording.from_times([a, b, c[c < seconds]], 0.0, seconds, ["a", "b", "c"], duplicates="drop")

# %%
# ## Correlograms, pointwise and simultaneous bands

figure, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True, layout="constrained")
for panel, letter, other in zip(axes, "AB", ("b", "c"), strict=True):
    found = nd.metrics.pair_correlogram(recording, "a", other, jitter=0.02, surrogates=299)
    lags = 1e3 * np.asarray(found.lags)
    panel.fill_between(lags, found.simultaneous_low, found.simultaneous_high, color="0.9", label="simultaneous band")
    panel.fill_between(lags, found.low, found.high, color="0.75", label="pointwise band")
    panel.plot(lags, found.counts, drawstyle="steps-mid", color="#D55E00", linewidth=1)
    panel.set_title(f"{letter}  a and {other}: p = {found.p_value:.3f}", loc="left", fontsize=9)
    panel.set(xlabel="lag (ms)")
axes[0].set_ylabel("pairs of spikes")
axes[0].legend(fontsize=7, loc="lower right")
plt.show()

# %%
# ## What to try next
#
# - `neuro-decorr analyse FILE --pair a,c` draws the same from a file.
# - A window of 100 ms instead of 20 ms asks for slower coincidences: `jitter=0.1`.
# - `nd.metrics.lagged_covariance`: all pairs and lags at once.
