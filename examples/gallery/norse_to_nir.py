"""
# From Norse to NIR and back

A trainable spiking network with lateral weights leaves as a NIR file that simulators and chips read: the lateral
weights are folded into the synapses behind them, and the spikes stay the same.
"""

# %%
# ## A spiking network that learns, decorrelated

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import norse.torch
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd

torch.manual_seed(0)
network = norse.torch.SequentialState(
    nn.Linear(32, 60), nd.norse.LIF(60, threshold=0.3), nn.Linear(60, 4), nd.norse.LIF(4, threshold=0.3)
)
network = nd.decorrelate(network)
plasticity = nd.Plasticity(network, nd.rules.get("interneuron", interneurons=8))
optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)


def batch(samples):
    """Thirty steps of spikes; the class sets the rates of a quarter of the inputs, and a common drive those of all."""
    targets = torch.randint(4, (samples,))
    rates = 0.1 + 0.25 * F.one_hot(targets, 4).repeat_interleave(8, dim=1) + 0.1 * torch.rand(samples, 1)
    return (torch.rand(30, samples, 32) < rates).float(), targets


accuracies = []
for _ in range(60):
    spikes, targets = batch(64)
    optimiser.zero_grad()
    outputs, _ = network(spikes)
    counts = outputs.sum(dim=0)
    F.cross_entropy(counts, targets).backward()
    optimiser.step()
    plasticity.step()
    accuracies.append((counts.argmax(dim=1) == targets).double().mean().item())

# %%
# ## Written, and read again
#
# `to_nir` folds by itself; what is read is a plain network without anything of a rule in it.

path = Path(tempfile.mkdtemp()) / "network.nir"
nd.norse.to_nir(network.eval(), path)
read = nd.norse.from_nir(path)
held_out, targets = batch(200)
with torch.no_grad():
    ours, theirs = network(held_out)[0], read(held_out)[0]
print(read)
print("spikes that differ:", int((ours != theirs).sum()), "of", int(ours.sum()))

# %%
# ## What a chip is asked for

print(nd.norse.hardware_report(read, held_out))

# %%
# ## Learning, and the spikes before and after the file

figure, axes = plt.subplots(1, 2, figsize=(6.6, 2.8), layout="constrained")
axes[0].plot(accuracies, color="#0072B2")
axes[0].set_title("A  accuracy of a batch", loc="left", fontsize=9)
axes[0].set(xlabel="update", ylabel="accuracy", ylim=(0, 1.02))
for shift, (name, output, colour) in enumerate((("before", ours, "#0072B2"), ("after NIR", theirs, "#D55E00"))):
    step, unit = torch.nonzero(output[:, 0], as_tuple=True)
    axes[1].plot(step, unit + 0.3 * shift, "|", markersize=9, color=colour, label=name)
axes[1].set_title("B  output spikes of one sample", loc="left", fontsize=9)
axes[1].set(xlabel="time step", ylabel="class", xlim=(-1, 31), ylim=(-0.5, 3.8), yticks=range(4))
axes[1].legend(fontsize=7)
plt.show()

# %%
# ## What to try next
#
# - `convention="exponential"` for Rockpool; the table of readers is on the page on NIR.
# - `nd.norse.quantised(read, bits=8, inputs=held_out)`: weights of few bits, calibrated.
# - A file of somebody else's: `nd.norse.from_nir(path, trainable=True)`, then `nd.decorrelate`.
