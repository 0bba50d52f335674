"""
# Which rule leaves which spectrum

Centring, full whitening and damping do different things to the spectrum of a layer's inputs. Each rule
declares its fixed point in closed form; here it is beside what the rule learnt.
"""

# %%
# ## Inputs whose spectrum falls over three orders of magnitude

import matplotlib.pyplot as plt
import torch

import neuro_decorr as nd

torch.manual_seed(0)
units = 24
powers = torch.logspace(1.5, -1.5, units)
directions = torch.linalg.qr(torch.randn(units, units))[0]
root = directions * powers.sqrt()


def batch(samples):
    """Inputs, shape (samples, units), with the variances `powers` along `directions` and a mean of 2."""
    return torch.randn(samples, units) @ root.T + 2.0


# %%
# ## Four rules learn

RULES = {
    "center": nd.rules.get("center"),
    "whitening, damping 1": nd.rules.get("whitening", damping=1.0),
    "whitening, damping 0": nd.rules.get("whitening", damping=0.0),
    "interneuron, k = 4, damping 1": nd.rules.get("interneuron", interneurons=4, damping=1.0),
}


def spectrum_after(rule, updates=3000):
    """Variances of the decorrelated inputs along their principal axes, largest first, shape (units,)."""
    layer = nd.Decorrelation(units)
    plasticity = nd.Plasticity(layer, rule, row_fraction=1.0)
    for _ in range(updates):
        layer(batch(64))
        plasticity.step()
    with torch.no_grad():
        return torch.linalg.eigvalsh(torch.cov(layer.eval()(batch(20_000)).T)).flip(0)


# %%
# ## Learnt (marks) and declared (lines)

figure, axes = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
ranks = range(1, units + 1)
axes.semilogy(ranks, powers, color="0.6", linestyle=":", label="inputs")
for (name, rule), colour in zip(RULES.items(), ("#000000", "#0072B2", "#009E73", "#CC79A7"), strict=True):
    learnt = spectrum_after(rule)
    declared = rule.fixed_point((root @ root.T).double())
    expected = torch.linalg.eigvalsh(declared).flip(0)
    axes.semilogy(ranks, learnt, "o", markersize=3, color=colour, label=name)
    axes.semilogy(ranks, expected, color=colour, linewidth=0.8)
    print(f"{name:30s} condition {learnt[0] / learnt[-1]:8.1f}, declared {expected[0] / expected[-1]:8.1f}")
axes.set(xlabel="rank", ylabel="variance of the layer's inputs")
axes.legend(fontsize=7, ncols=2)
plt.show()

# %%
# ## What to try next
#
# - `nd.rules.table()` lists all rules with equation, fixed point, locality and source.
# - A rule of your own is a frozen dataclass; `nd.rules.suite.check(rule)` tests that it reaches what it declares.
# - `rule.stability_limit(covariance)` is the largest rate at which the rule stays stable.
