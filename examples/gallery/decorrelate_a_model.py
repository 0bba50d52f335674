"""
# Decorrelate the layers of a model of your own

A rule in front of every layer removes the correlations between the layer's inputs while the weights learn. This is what
the first layer of a small network receives before and after.
"""

# %%
# ## A model and correlated inputs
#
# Thirty inputs share one strong common mode, as neighbouring pixels or neurons with a common drive do.

import matplotlib.pyplot as plt
import torch
from torch import nn

import neuro_decorr as nd

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(30, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 3))


def batch(samples: int) -> torch.Tensor:
    """Inputs, shape (samples, 30): independent noise, and a component of variance 2.25 that all inputs share."""
    return torch.randn(samples, 30) + 1.5 * torch.randn(samples, 1)


# %%
# ## One line for the structure, one for the rule
#
# `decorrelate` keeps every layer's class, name and weights and adds a submodule `decorrelation` to it.
# `Plasticity` moves the lateral weights in there; it is called like an optimiser. `damping=0` whitens fully; the
# default leaves weak directions alone and caps the strong ones. The task here is to learn the mean of the inputs, and
# the signs of two of them.

model = nd.decorrelate(network)
plasticity = nd.Plasticity(model, nd.rules.get("whitening", damping=0.0))
optimiser = torch.optim.SGD(model.parameters(), lr=0.05)

held_out = batch(2000)
before = nd.metrics.layer_inputs(model, held_out)["0"]
for _ in range(300):
    x = batch(64)
    targets = torch.stack([x.mean(dim=1), x[:, 0].sign(), x[:, 1].sign()], dim=1)
    optimiser.zero_grad()
    (model(x) - targets).square().mean().backward()
    optimiser.step()
    plasticity.step()
after = nd.metrics.layer_inputs(model, held_out)["0"]

# %%
# ## What the first layer receives
#
# Correlations of all pairs of inputs, on samples that nothing was learnt from.

figure, axes = plt.subplots(1, 2, figsize=(6.5, 3), layout="constrained")
for panel, (letter, title, inputs) in zip(
    axes, [("A", "before learning", before), ("B", "after 300 batches", after)], strict=True
):
    correlations = torch.corrcoef(torch.as_tensor(inputs).T) - torch.eye(30)
    image = panel.imshow(correlations, cmap="RdBu_r", vmin=-1, vmax=1)
    panel.set_title(f"{letter}  {title}", loc="left", fontsize=9)
    panel.set(xlabel="input", ylabel="input")
figure.colorbar(image, ax=axes, label="correlation", shrink=0.8)
plt.show()

print("mean |correlation| before:", round(nd.metrics.summary(before)["mean_absolute_correlation"].estimate, 3))
print("mean |correlation| after: ", round(nd.metrics.summary(after)["mean_absolute_correlation"].estimate, 3))

# %%
# ## The plain network back
#
# `fold` multiplies the lateral weights into the layers: the same function, nothing of this library in it.

plain = nd.fold(model).eval()
print(plain)
print("largest difference of the outputs:", f"{(plain(held_out) - model.eval()(held_out)).abs().max().item():.1e}")

# %%
# ## What to try next
#
# - Another rule: `nd.rules.get("interneuron", interneurons=8, damping=0.3)` is the cheap one for wide layers.
# - `skip=("4",)` leaves a layer as it is; `print(nd.coverage(model))` tells what is decorrelated and why.
# - `compensate=True` in `Plasticity` keeps every layer's function while the lateral weights move.
