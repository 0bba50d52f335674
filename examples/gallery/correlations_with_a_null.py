"""
# A correlation matrix with a null

A hundred pairs of independent neurons show correlations too: short recordings and slow rates make them. The matrix of a
recording means something beside what chance gives for the same units.
"""

# %%
# ## A population of which half shares a mode
#
# Thirty Poisson neurons, 120 s; the rates of the first ten follow one slow signal.

import matplotlib.pyplot as plt
import numpy as np

import neuro_decorr as nd

generator = np.random.default_rng(1)
step, seconds = 0.005, 120.0
time = np.arange(0, seconds, step)
mode = np.convolve(generator.normal(size=len(time)), np.exp(-np.arange(0, 0.5, step) / 0.1), mode="same")
rates = np.full((30, len(time)), 8.0)
rates[:10] *= np.exp(0.5 * mode / mode.std())
spikes = generator.random(rates.shape) < rates * step
times = [time[train] + step * generator.random(train.sum()) for train in spikes]
recording = nd.recording.from_times(times, 0.0, seconds)
print(recording)

# %%
# ## Measures with their intervals, floors and a null
#
# `floor` is what independent units with these variances show on average at this number of samples.

print(nd.metrics.summary(recording, bin=0.05))

# %%
# The null keeps every unit's own slow structure and destroys what units share: surrogates.

null = nd.metrics.surrogate_null(recording, bin=0.05, surrogates=200, seed=0)
print(f"mean |correlation| {null.observed:.4f}; surrogates {null.surrogates.mean():.4f}, p = {null.p_value:.3f}")
print(null.kind, "-", null.reason)

# %%
# ## The picture

counts = recording.counts(0.05).astype(float)
observed = np.corrcoef(counts.T)
rolls = generator.integers(20, len(counts) - 20, size=30)
shifted = np.corrcoef(np.stack([np.roll(column, shift) for column, shift in zip(counts.T, rolls, strict=True)]))
pairs = np.triu_indices(30, k=1)
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
image = axes[0].imshow(observed - np.eye(30), cmap="RdBu_r", vmin=-0.5, vmax=0.5)
axes[0].set_title("A  correlations of counts in 50 ms", loc="left", fontsize=9)
axes[0].set(xlabel="unit", ylabel="unit")
figure.colorbar(image, ax=axes[0], shrink=0.8)
bins = np.linspace(-0.2, 0.6, 41)
axes[1].hist(observed[pairs], bins, color="#D55E00", alpha=0.7, label="observed")
axes[1].hist(shifted[pairs], bins, histtype="step", color="0.2", label="shifted in time")
axes[1].set_title("B  all 435 pairs", loc="left", fontsize=9)
axes[1].set(xlabel="correlation", ylabel="pairs", yscale="log")
axes[1].legend(fontsize=8)
plt.show()

# %%
# ## What to try next
#
# - Your own file: `nd.recording.load("session.nwb")`, or a phy folder; `neuro-decorr analyse FILE --html page.html`.
# - `nd.metrics.parallel_analysis`: how many dimensions exceed chance; `nd.metrics.bin_profile`: the width of bins.
# - Which number to believe in a recording is a page of its own in the documentation.
