"""
# Whiten data without ever getting NaN

ZCA whitening divides by the square roots of eigenvalues; constant columns, copies of columns and fewer samples than
columns make some of them zero. `nd.Whitener` is a transformer of scikit-learn that takes data at once or batch
by batch, and leaves directions without variance at zero.
"""

# %%
# ## Data that break the textbook formula
#
# Forty units, of which one is silent and two are copies of each other, seen in 30 samples.

import matplotlib.pyplot as plt
import numpy as np

import neuro_decorr as nd

generator = np.random.default_rng(0)
mixing = generator.normal(size=(40, 40)) / np.sqrt(40)


def samples(count):
    """Samples, shape (count, 40), of correlated channels; channel 3 is silent, and 8 copies 7."""
    x = generator.normal(size=(count, 40)) @ mixing + 2 * generator.normal(size=(count, 1))
    x[:, 3] = 0.0
    x[:, 8] = x[:, 7]
    return x


few = samples(30)
with np.errstate(all="ignore"):
    powers, directions = np.linalg.eigh(np.cov(few.T))
    textbook = (few - few.mean(axis=0)) @ (directions / np.sqrt(powers)) @ directions.T
print("textbook: NaN in", int(np.isnan(textbook).any(axis=1).sum()), "of 30 samples")
whitener = nd.Whitener().fit(few)
print(
    "Whitener: NaN in", int(np.isnan(whitener.transform(few)).any(axis=1).sum()), "- directions kept:", whitener.rank_
)

# %%
# ## Batch by batch
#
# `partial_fit` merges the moments of batches exactly. With `memory=` old samples fade, for statistics that drift.

whitener = nd.Whitener()
for _ in range(20):
    whitener.partial_fit(samples(100))
held_out = samples(5000)

# %%
# ## What little data do, and what shrinkage does about it
#
# Fitted on 60 samples, weak directions are blown up: variances on other data are far from one. `shrinkage="oas"`
# chooses how far the covariance is pulled towards a multiple of the identity, from the data alone.

sixty = samples(60)
fitted = {
    "60 samples": nd.Whitener().fit(sixty),
    "60 samples, shrinkage": nd.Whitener(shrinkage="oas").fit(sixty),
    "2,000 samples in batches": whitener,
}
figure, axes = plt.subplots(1, 2, figsize=(6.8, 3), layout="constrained")
for (name, one), mark in zip(fitted.items(), ("o", "s", "^"), strict=True):
    spectrum = np.linalg.eigvalsh(np.cov(one.transform(held_out).T))[::-1]
    axes[0].semilogy(np.arange(1, one.rank_ + 1), spectrum[: one.rank_], mark, markersize=3, label=name)
axes[0].axhline(1, color="0.6", linewidth=0.8)
axes[0].set_title("A  spectrum on held-out data", loc="left", fontsize=9)
axes[0].set(xlabel="rank", ylabel="variance", ylim=(3e-3, 1e2))
axes[0].legend(fontsize=7)
image = axes[1].imshow(np.cov(whitener.transform(held_out).T), cmap="RdBu_r", vmin=-1, vmax=1)
axes[1].set_title("B  covariance, 2,000 samples", loc="left", fontsize=9)
axes[1].set(xlabel="unit", ylabel="unit")
figure.colorbar(image, ax=axes[1], shrink=0.8)
plt.show()

# %%
# ## What to try next
#
# - `method="zca_cor"` for columns of different units, `method="pca"` for components by falling variance.
# - `make_pipeline(nd.Whitener(shrinkage="oas"), LogisticRegression())` decodes from whitened counts.
# - Inside a network that learns, put a rule in front of every layer instead: `nd.decorrelate`.
