"""
# How many dimensions exceed chance

Eigenvalues above the edge of Marchenko and Pastur look like structure in slow activity of independent units. Surrogates
that keep every unit's own slowness give the edge that holds.
"""

# %%
# ## Slow units: independent, and with two shared modes

import matplotlib.pyplot as plt
import numpy as np

import neuro_decorr as nd

generator = np.random.default_rng(0)
samples, units, step = 4000, 30, 0.05


def slow(count):
    """Independent signals with an autocorrelation of 0.97 from one sample to the next, shape (samples, count)."""
    x = np.zeros((samples, count))
    noise = generator.normal(size=(samples, count))
    for t in range(1, samples):
        x[t] = 0.97 * x[t - 1] + np.sqrt(1 - 0.97**2) * noise[t]
    return x


independent = slow(units)
shared = slow(units) + 0.6 * slow(2) @ generator.normal(size=(2, units))

# %%
# ## Two edges

figure, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True, layout="constrained")
names = ("independent", "two shared modes")
for panel, letter, name, values in zip(axes, "AB", names, (independent, shared), strict=True):
    rates = nd.recording.Rates(values, step)
    found = nd.metrics.parallel_analysis(rates, surrogates=99, seed=1)
    edge = (1 + np.sqrt(units / samples)) ** 2
    eigenvalues = np.asarray(found.eigenvalues)
    panel.semilogy(range(1, units + 1), eigenvalues, "o", markersize=3, color="#0072B2")
    panel.axhline(edge, color="#D55E00", linestyle="--", label=f"Marchenko-Pastur: {(eigenvalues > edge).sum()} above")
    panel.axhline(found.edge, color="0.2", label=f"surrogates: {found.dimensions} above")
    panel.set_title(f"{letter}  {name}", loc="left", fontsize=9)
    panel.set(xlabel="rank")
    panel.legend(fontsize=7)
axes[0].set_ylabel("eigenvalue of the correlation matrix")
plt.show()

# %%
# ## What to try next
#
# - `nd.metrics.shared_variance`: the number of factors that held-out time supports.
# - `nd.metrics.dimensionality` has the participation ratio beside that of independent units.
# - The page on which number to believe says when each of them misleads.
