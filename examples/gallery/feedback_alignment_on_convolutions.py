"""
# Feedback alignment on a convolutional network

Feedback alignment sends the error back through fixed random weights instead of the transposes of the forward ones. On
convolutions it often stalls. Here it learns clothes with and without interneurons in front of every layer, and the
angle between its gradient and backpropagation's is measured.
"""

# %%
# ## A small convolutional network
#
# `nd.credit.get` takes any `nn.Module`; convolutions get random kernels of their own for the way back.

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from neuro_decorr.data import batches, fashion, stream


def network():
    """Convolutional network of two convolutions and one linear layer: (batch, 784) pixels to (batch, 10) logits."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 5, stride=2), nn.LeakyReLU(),
        nn.Conv2d(16, 32, 5, stride=2), nn.LeakyReLU(),
        nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip


ARMS = {  # a rule, and the best of three learning rates (0.1, 0.2, 0.4) on one other seed
    "nothing": (None, 0.1),
    "centring": (nd.rules.get("center"), 0.4),
    "interneurons": (nd.rules.get("interneuron", damping=10.0), 0.4),
}


def cosine(model, credit, x, y):
    """The cosine between the credit's gradient and backpropagation's, over all weights."""
    found = []
    for backward in (lambda: credit.backward(F.cross_entropy, x, y), lambda: F.cross_entropy(model(x), y).backward()):
        model.zero_grad()
        backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    model.zero_grad()
    return F.cosine_similarity(*found, dim=0).item()


def train(rule, learning_rate, seed, epochs=3):
    """Test accuracy (a fraction) and cosine to backpropagation, each as a list with one value for each epoch."""
    data = fashion(seed=seed, training=2000)
    torch.manual_seed(seed)
    model, plasticity = network(), None
    if rule is not None:
        model = nd.decorrelate(model)
        plasticity = nd.Plasticity(model, rule, row_fraction=0.1)
    credit = nd.credit.get("feedback_alignment", model, seed=seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=learning_rate)
    accuracies, angles = [], []
    for epoch in range(epochs):
        for x, y in batches(*data.train, 64, stream(seed, f"order {epoch}")):
            optimiser.zero_grad()
            credit.backward(F.cross_entropy, x, y)
            optimiser.step()
            if plasticity is not None:
                plasticity.step()
        model.eval()
        with torch.no_grad():
            accuracies.append((model(data.test.inputs).argmax(1) == data.test.targets).double().mean().item())
        angles.append(cosine(model, credit, *(part[:256] for part in data.train)))
        model.train()
    return accuracies, angles


# %%
# ## Three arms, two seeds

figure, axes = plt.subplots(1, 2, figsize=(6.6, 3), layout="constrained")
for (name, arm), colour in zip(ARMS.items(), ("0.5", "#0072B2", "#D55E00"), strict=True):
    accuracies, angles = (torch.tensor(part) for part in zip(*(train(*arm, seed) for seed in range(1, 3)), strict=True))
    for panel, values in zip(axes, (accuracies, angles), strict=True):
        epochs = range(1, values.shape[1] + 1)
        panel.plot(epochs, values.mean(dim=0), color=colour, label=name)
        panel.fill_between(epochs, values.amin(dim=0), values.amax(dim=0), color=colour, alpha=0.2, linewidth=0)
    print(f"{name:13s} accuracy {accuracies[:, -1].mean():.2f}, cosine {angles[:, -1].mean():.2f}")
axes[0].set_title("A  accuracy: mean, range of 2 seeds", loc="left", fontsize=9)
axes[1].set_title("B  cosine to backpropagation, the same", loc="left", fontsize=9)
for panel in axes:
    panel.set(xlabel="epoch", xticks=range(1, 4))
axes[0].legend(fontsize=8)
plt.show()

# %%
# Two seeds and three passes show how it is done; the protocol `natural_images` measures it. Accuracy and angle need not
# go together: the arm that learns best is not the one whose gradient lies nearest to backpropagation's.

# %%
# ## What to try next
#
# - `kolen_pollack`, `weight_mirror` and `sign_symmetry` in the place of `feedback_alignment`.
# - `nd.Plasticity(..., compensate=True)` keeps every layer's function while the lateral weights move.
# - `neuro-decorr run natural_images --network convolutional` chooses learning rates and takes five seeds.
