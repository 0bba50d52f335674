"""
# Interneurons whose synapses keep their sign

Dale's law: a neuron is excitatory or inhibitory. With `signs="fixed"` pairs of interneurons are excited and inhibit, no
synapse ever changes sign, and the fixed point is the same as without the constraint.
"""

# %%
# ## Three directions that all units share

import matplotlib.pyplot as plt
import torch

import neuro_decorr as nd

torch.manual_seed(0)
units = 40
common = torch.randn(3, units)


def batch(samples):
    """Inputs, shape (samples, units): independent noise and three common modes."""
    return torch.randn(samples, units) + torch.randn(samples, 3) @ common


# %%
# ## Free and fixed signs learn side by side

spectra, layers = {}, {}
for signs in ("free", "fixed"):
    torch.manual_seed(1)
    layer = nd.Decorrelation(units)
    rule = nd.rules.get("interneuron_local", interneurons=6, damping=1.0, signs=signs)
    plasticity = nd.Plasticity(layer, rule, row_fraction=1.0)
    for _ in range(1500):
        layer(batch(64))
        plasticity.step()
    with torch.no_grad():
        spectra[signs] = torch.linalg.eigvalsh(torch.cov(layer.eval()(batch(20_000)).T)).flip(0)
    layers[signs] = layer
before = torch.linalg.eigvalsh(torch.cov(batch(20_000).T)).flip(0)
for signs, spectrum in spectra.items():
    print(f"{signs:6s} largest variance {spectrum[0]:.2f} (before: {before[0]:.2f})")

# %%
# ## The spectrum, and who hears whom

figure, axes = plt.subplots(1, 2, figsize=(6.8, 3), layout="constrained")
axes[0].semilogy(before, "o", markersize=3, color="0.6", label="inputs")
for (signs, spectrum), colour, mark in zip(spectra.items(), ("#0072B2", "#D55E00"), ("s", "^"), strict=True):
    axes[0].semilogy(spectrum, mark, markersize=3, color=colour, label=f"signs {signs}")
axes[0].set_title("A  spectrum of the activity", loc="left", fontsize=9)
axes[0].set(xlabel="rank", ylabel="variance")
axes[0].legend(fontsize=7)
directions = layers["fixed"].transform_state()["directions"]
image = axes[1].imshow(directions, cmap="RdBu_r", aspect="auto", vmin=-0.5, vmax=0.5, interpolation="nearest")
axes[1].set_title("B  directions that are damped", loc="left", fontsize=9)
axes[1].set(xlabel="interneuron (pair)", ylabel="unit")
figure.colorbar(image, ax=axes[1], label="strength")
plt.show()

# %%
# ## What to try next
#
# - `recruit=0.5, fewest=2`: interneurons retire where inputs have fewer strong directions.
# - `connectivity=`: neighbourhoods or a fan-in instead of all-to-all, see `nd.rules.connectivity`.
# - `nd.brian.rates`: the same rule as synapses of rate units in Brian2.
