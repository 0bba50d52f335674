"""
# Why it helps: descent in two dimensions

Two correlated inputs make the loss a narrow valley; gradient descent zigzags. Decorrelating the inputs turns the same
step into one along the natural gradient of the plain weights.
"""

# %%
# ## A linear unit with two inputs of correlation 0.95
#
# The unit learns w to reproduce a target. With D in front of it the effective weights are w D, so that a gradient
# step of w moves them by the gradient times D D^T.

import matplotlib.pyplot as plt
import torch

torch.manual_seed(0)
correlation = 0.95
covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
goal = torch.tensor([1.0, -0.6])


def gradient(weights):
    """Gradient of half the mean squared error, by the two weights, shape (2,)."""
    return covariance @ (weights - goal)


def descend(metric, rate, steps=40):
    """Weights at the start and after each step of gradient descent with a metric, shape (steps + 1, 2)."""
    weights = torch.zeros(2)
    path = [weights]
    for _ in range(steps):
        weights = weights - rate * metric @ gradient(weights)
        path.append(weights)
    return torch.stack(path)


# %%
# ## Two metrics, each at a quarter of its largest stable rate

powers, directions = torch.linalg.eigh(covariance)
whitening = (directions / powers.sqrt()) @ directions.T
METRICS = {"correlated inputs": torch.eye(2), "decorrelated inputs": whitening @ whitening.T}
paths = {}
for name, metric in METRICS.items():
    limit = 2 / torch.linalg.eigvals(metric @ covariance).real.max().item()
    paths[name] = descend(metric, 0.25 * limit)
    left = (paths[name][5] - goal).norm() / goal.norm()
    print(f"{name:20s} distance left after 5 steps: {left:.3f}")

# %%
# ## The paths of the effective weights

grid = torch.linspace(-1.2, 1.8, 120)
first, second = torch.meshgrid(grid, grid, indexing="xy")
apart = torch.stack([first - goal[0], second - goal[1]], dim=-1)
loss = 0.5 * torch.einsum("...i,ij,...j->...", apart, covariance, apart)
figure, axes = plt.subplots(figsize=(4.2, 3.6), layout="constrained")
axes.contour(grid, grid, loss, levels=[0.01, 0.05, 0.15, 0.4, 0.8, 1.6], colors="0.75", linewidths=0.8)
for (name, path), colour, mark in zip(paths.items(), ("#D55E00", "#0072B2"), ("o", "s"), strict=True):
    axes.plot(*path.T, marker=mark, markersize=3, color=colour, label=name)
axes.plot(*goal, "k*", markersize=10)
axes.set(xlabel="weight 1", ylabel="weight 2", xlim=(-0.6, 1.8), ylim=(-1.2, 0.9))
axes.legend(fontsize=8)
plt.show()

# %%
# ## What to try next
#
# - `correlation = 0.0`: both paths are the same.
# - `neuro-decorr run gradient_geometry` measures the angle to the natural gradient in networks that learn.
# - The same conditioning on the other side, of the gradient: `nd.conditioning.foof`.
