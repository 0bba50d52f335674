"""
# A network that learns without backpropagation

Node perturbation adds noise to every unit and correlates it with the change of the loss: no backward pass, no
transposed weights. It is slow where inputs are correlated. Lateral inhibition in front of every layer removes the
correlations.
"""

# %%
# ## Images of clothes, and a network for each arm
#
# 4,200 images of Fashion-MNIST that come with the library. Three arms with the same weights, data and noise: nothing;
# centring, the control; and sixteen interneurons in front of every layer.

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from neuro_decorr.data import batches, fashion, stream

ARMS = {
    "nothing": (None, 0.03),
    "centring": (nd.rules.get("center"), 0.03),
    "interneurons": (nd.rules.get("interneuron", interneurons=16, damping=10.0), 0.05),
}
COLOURS = {"nothing": "0.5", "centring": "#0072B2", "interneurons": "#D55E00"}


def train(rule, learning_rate, seed, epochs=4):
    """Test accuracy (a fraction) after each epoch of node perturbation, as a list."""
    data = fashion(seed=seed)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, 100), nn.LeakyReLU(), nn.Linear(100, 100), nn.LeakyReLU(), nn.Linear(100, 10))
    plasticity = None
    if rule is not None:
        model = nd.decorrelate(model)
        plasticity = nd.Plasticity(model, rule, row_fraction=0.5)
    credit = nd.credit.get("node_perturbation", model, seed=seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=learning_rate)
    course = []
    for epoch in range(epochs):
        for x, y in batches(*data.train, 64, stream(seed, f"order {epoch}")):
            optimiser.zero_grad()
            credit.backward(F.cross_entropy, x, y)  # fills .grad, as loss.backward() would
            optimiser.step()
            if plasticity is not None:
                plasticity.step()
        with torch.no_grad():
            correct = model.eval()(data.test.inputs).argmax(dim=1) == data.test.targets
        model.train()
        course.append(correct.double().mean().item())
    return course


# %%
# ## Two seeds each
#
# Each arm has the best of three learning rates (0.03, 0.05, 0.06) on one other seed. The protocol `natural_images`
# chooses rates on equal budgets and validation images.

courses = {name: torch.tensor([train(*arm, seed) for seed in range(2)]) for name, arm in ARMS.items()}

# %%
# ## Learning curves

figure, axes = plt.subplots(figsize=(4.2, 3), layout="constrained")
for name, course in courses.items():
    epochs = range(1, course.shape[1] + 1)
    axes.plot(epochs, course.mean(dim=0), color=COLOURS[name], label=name)
    axes.fill_between(epochs, course.amin(dim=0), course.amax(dim=0), color=COLOURS[name], alpha=0.2, linewidth=0)
    print(f"{name:13s} test accuracy after {course.shape[1]} epochs {course[:, -1].mean():.2f}")
axes.set(xlabel="epoch", ylabel="test accuracy", title="Node perturbation, mean and range of 2 seeds")
axes.title.set_fontsize(9)
axes.legend(fontsize=8)
plt.show()

# %%
# ## What to try next
#
# - `nd.credit.get("local_forward_gradient", model, seed=0)`: forward only and without noise in the activity.
# - `nd.credit.table()` lists every credit assignment with its bias, locality and cost.
# - `neuro-decorr run natural_images` measures the same with tuned rates, controls and intervals.
