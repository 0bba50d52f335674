"""
# A spiking network from Norse to NIR

A spiking network learns with two kinds of lateral inhibition: one that vanishes into the weights, and one that stays as
synapses between neurons. It leaves as a NIR file, comes back with the same spikes, and a table tells what it asks of a
chip.
"""

# %%
# ## What you need
#
# `pip install '.[study,norse]'` in a checkout, or a release file with the same extras. Everything below runs on one
# core in about a minute.

import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import nir
import norse.torch
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd

torch.set_num_threads(1)  # small matrices gain nothing from more
INPUTS, HIDDEN, CLASSES, STEPS = 40, 40, 4, 40  # steps of 1 ms

# %%
# ## Spikes as input, with a common drive
#
# Four classes; each raises the probability of a spike in a quarter of the inputs. A drive that differs from sample to
# sample raises it in all of them, so that all inputs are correlated. Sequences have the shape (steps, batch, units).


def batch(samples, generator):
    """Spikes (0 or 1), shape (STEPS, samples, INPUTS), and classes, shape (samples,)."""
    targets = torch.randint(CLASSES, (samples,), generator=generator)
    drive = torch.rand(samples, 1, generator=generator)
    own = F.one_hot(targets, CLASSES).repeat_interleave(INPUTS // CLASSES, dim=1)
    probability = 0.05 + 0.1 * own + 0.25 * drive
    return (torch.rand(STEPS, samples, INPUTS, generator=generator) < probability).float(), targets


held_out, truth = batch(400, torch.Generator().manual_seed(99))
figure, axes = plt.subplots(1, 2, figsize=(7, 3.1), layout="constrained")
step, unit = torch.nonzero(held_out[:, 0], as_tuple=True)
axes[0].plot(step, unit, "k|", markersize=4)
axes[0].set_title(f"A  one sample, of class {truth[0]}", loc="left", fontsize=10)
axes[0].set(xlabel="time (ms)", ylabel="input")
correlations = np.corrcoef(held_out.sum(dim=0).numpy().T) - np.eye(INPUTS)
image = axes[1].imshow(correlations, cmap="RdBu_r", vmin=-1, vmax=1)
axes[1].set_title("B  correlations of spike counts", loc="left", fontsize=10)
axes[1].set(xlabel="input", ylabel="input")
figure.colorbar(image, ax=axes[1], label="correlation", shrink=0.85)
plt.show()

# %%
# ## Neurons
#
# `nd.norse.LIF` has the dynamics of Norse's `LIFCell`, with parameters in the state dict:
#
# $$
# i_t = (1 - \Delta t / \tau_s)\, i_{t-1} + I_t, \qquad
# v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (i_t - v_{t-1}), \qquad z_t = \Theta(v_t - \theta)
# $$
#
# It takes whole sequences, and Norse's `SequentialState` carries its state.
#
# ## Two kinds of lateral inhibition
#
# **In front of a layer**: `nd.decorrelate` gives the layer $D z_t$ in the place of the spikes $z_t$, and a rule moves
# $D$. It is linear, so that afterwards $W \leftarrow W D$: it costs a chip nothing. `signal="trace"` lets it learn from
# spikes that are filtered as by the synapse. `center=False` leaves the mean in place: subtracted, it would be a
# constant current, which makes neurons fire at a silent sensor.
#
# **Between neurons**: in a `LateralLIF` every spike inhibits the others one step later, by weights that grow while two
# neurons coincide more often than their rates explain. It acts on the spikes themselves, and stays: N^2 more synapses.
# A homeostasis keeps every neuron near a target rate, as inhibition alone would silence them.


def network(arm, seed):
    """Spiking network of one arm: (steps, batch, INPUTS) to spikes (steps, batch, CLASSES), and the state."""
    torch.manual_seed(seed)  # the same first weights in all arms
    first, second = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, CLASSES)
    hidden = nd.norse.LIF(HIDDEN, threshold=0.3)
    if arm == "both":
        homeostasis = nd.norse.Homeostasis(target_rate=100.0, rate=30.0, average_time=0.5)
        rule = nd.norse.LateralCovariance(rate=1e-3, trace_time=0.01, mean_time=0.5, homeostasis=homeostasis)
        hidden = nd.norse.LateralLIF(HIDDEN, threshold=0.3, rule=rule)
    spiking = norse.torch.SequentialState(first, hidden, second, nd.norse.LIF(CLASSES, threshold=0.3))
    return spiking if arm == "plain" else nd.decorrelate(spiking, center=False, signal="trace")


print(nd.coverage(network("both", seed=0)))

# %%
# ## Training
#
# Weights learn by backpropagation through time with surrogate gradients; lateral weights by their own rules, one
# `step()` after each batch. `Plasticity` moves what stands in front of layers, `NeuronPlasticity` what is between
# neurons. The time constants of the latter are short here, because 60 batches of 40 ms are 2.4 s of a neuron's life.

ARMS = {"plain": "0.5", "in front of layers": "#0072B2", "both": "#D55E00"}


def train(arm, seed, updates=60):
    """Trained model of an arm, and its accuracy (a fraction) on the batch of each update."""
    model, generator = network(arm, seed), torch.Generator().manual_seed(seed)
    learning = []
    if arm != "plain":
        learning.append(nd.Plasticity(model, nd.rules.get("interneuron", interneurons=8, damping=1.0)))
    if arm == "both":
        learning.append(nd.norse.NeuronPlasticity(model))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    course = []
    for _ in range(updates):
        spikes, targets = batch(64, generator)
        optimiser.zero_grad()
        counts = model(spikes)[0].sum(dim=0)
        F.cross_entropy(counts, targets).backward()
        optimiser.step()
        for rule in learning:
            rule.step()
        course.append((counts.argmax(dim=1) == targets).double().mean().item())
    return model.eval(), course


SEEDS = range(3)
trained = {arm: [train(arm, seed) for seed in SEEDS] for arm in ARMS}

# %%
# ## Did it learn, and did inhibition decorrelate the hidden neurons?
#
# A hook collects the hidden spikes of held-out samples. Correlations are those of spike counts over samples, less the
# mean of each class: signal correlations are wanted. Three seeds show what to expect, and are no test.


def run(model):
    """Accuracy, and the hidden spikes (steps, samples, units), of the held-out samples."""
    kept = []
    handle = model[1].register_forward_hook(lambda *called: kept.append(called[2][0]))  # module, inputs, output
    with torch.no_grad():
        outputs, _ = model(held_out)
    handle.remove()
    return (outputs.sum(dim=0).argmax(dim=1) == truth).double().mean().item(), kept[0]


def noise_correlation(spikes):
    """Mean absolute noise correlation of spike counts, from spikes of shape (steps, samples, units)."""
    counts = spikes.sum(dim=0).double()
    for label in range(CLASSES):
        counts[truth == label] -= counts[truth == label].mean(dim=0)
    summary = nd.metrics.summary(counts, silent="drop", intervals=False)
    return summary["mean_absolute_correlation"].estimate


figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
for place, (arm, colour) in enumerate(ARMS.items()):
    courses = np.array([course for _, course in trained[arm]]).reshape(len(SEEDS), -1, 5).mean(axis=2)
    updates = np.arange(courses.shape[1]) * 5 + 2.5
    axes[0].plot(updates, courses.T, color=colour, linewidth=0.6, alpha=0.5)
    axes[0].plot(updates, courses.mean(axis=0), color=colour, linewidth=2, label=arm)
    results = [run(model) for model, _ in trained[arm]]
    accuracy = np.mean([result[0] for result in results])
    correlations = [noise_correlation(spikes) for _, spikes in results]
    axes[1].plot([place] * len(SEEDS), correlations, "o", color=colour, markersize=5)
    rate = np.mean([spikes.mean() * 1000 for _, spikes in results])
    print(f"{arm:19s} accuracy {accuracy:.3f}, hidden: |correlation| {np.mean(correlations):.3f}, {rate:.0f} Hz")
axes[0].set_title(f"A  mean and {len(SEEDS)} seeds", loc="left", fontsize=10)
axes[0].set(xlabel="update", ylabel="accuracy of five batches", ylim=(0.2, 1.02))
axes[0].legend(fontsize=9, loc="lower right")
axes[1].set_title("B  hidden neurons, held-out samples", loc="left", fontsize=10)
axes[1].set(xticks=range(3), xlim=(-0.5, 2.5), ylabel="mean absolute noise correlation")
axes[1].set_xticklabels([arm.replace(" of", "\nof") for arm in ARMS])
axes[1].set_ylim(bottom=0)
plt.show()

# %%
# ## Fold
#
# `nd.fold` multiplies each $D$ into the weights behind it. What is left holds layers of torch and neurons. The cell
# between neurons keeps its inhibition.

model = trained["both"][0][0]
folded = nd.fold(model)
with torch.no_grad():
    ours, plain_output = model(held_out)[0], folded(held_out)[0]
print(folded)
print("spikes that differ after folding:", int((ours != plain_output).sum()), "of", int(ours.sum()))

# %%
# ## Write it as NIR
#
# `to_nir` folds by itself as well. NIR has a node for each layer and population, with equations in continuous time and
# units of seconds; the inhibition between neurons becomes a Linear node in a cycle. Two things that NIR has no place
# for stand in the metadata: the time step, and the rule that made each weight.

path = Path(tempfile.mkdtemp()) / "network.nir"
graph = nd.norse.to_nir(model, path)
for name, node in graph.nodes.items():
    followers = ", ".join(target for source, target in graph.edges if source == name)
    print(f"{name:13s} {type(node).__name__:8s} -> {followers or 'nothing'}")
print(graph.metadata)
print("made by the rule:", graph.nodes["inhibition_1"].metadata or graph.nodes["neurons_1"].metadata["rule"])

# %%
# ## Read it back: the same spikes
#
# Any reader of NIR can take the file; here it is the library's own. What comes back is a `Graph`, an ordinary module.
# The comparison is spike by spike, on samples that nothing was learnt from.

read = nd.norse.from_nir(path).eval()
print(read)
with torch.no_grad():
    theirs = read(held_out)[0]
print("spikes that differ:", int((ours != theirs).sum()), "of", int(ours.sum()))

figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained", width_ratios=[1.6, 1])
for shift, (name, output, colour) in enumerate((("before", ours, "#0072B2"), ("from the file", theirs, "#D55E00"))):
    step, unit = torch.nonzero(output[:, 0], as_tuple=True)
    axes[0].plot(step, unit + 0.3 * shift, "|", markersize=9, color=colour, label=name)
axes[0].set_title("A  output spikes of one sample", loc="left", fontsize=10)
axes[0].set(xlabel="time (ms)", ylabel="class", xlim=(0, STEPS), yticks=range(CLASSES), ylim=(-0.6, CLASSES + 0.2))
axes[0].legend(fontsize=9, ncols=2, loc="upper center")
counts = ours.sum(dim=0).flatten(), theirs.sum(dim=0).flatten()
axes[1].plot(*counts, ".", color="#D55E00", markersize=3)
axes[1].axline((0, 0), slope=1, color="k", linewidth=0.6)
axes[1].set_title("B  every sample and class", loc="left", fontsize=10)
axes[1].set(xlabel="spikes before", ylabel="spikes from the file", aspect="equal")
plt.show()

# %%
# A file leaves our hands, so look at it with the package `nir` as well, which knows nothing of this library.

again = nir.read(path)
print({name: node.weight.shape for name, node in again.nodes.items() if hasattr(node, "weight")})

# %%
# ## What a chip is asked for
#
# A chip that computes at the arrival of spikes does one operation for every spike and every synapse that leaves its
# neuron. `hardware_report` counts them over one pass: synapses, fan-in and fan-out for its tables, operations and
# spikes for its energy, and the bits that keep each weight to one per cent of the norm.

reports = {arm: nd.norse.hardware_report(nd.fold(models[0][0]), held_out) for arm, models in trained.items()}
print(nd.norse.hardware_report(read, held_out))

# %%
# ## What the two kinds cost, and how few bits do
#
# The second kind has to be worth its price: compare its line above, accuracy and correlations, with that of the first
# alone. In front of layers there is nothing to pay in synapses; between neurons there is, and the operations tell how
# much of it is used. Rounded weights of the network from the file are judged on held-out samples. A calibration on a
# few samples chooses the rounding; the largest weights alone would do it badly, since folded weights spread widely.

calibration, _ = batch(64, torch.Generator().manual_seed(7))
bits = (2, 3, 4, 6, 8)


def accuracy(model):
    """Fraction of the held-out samples whose class the model tells."""
    with torch.no_grad():
        return (model.eval()(held_out)[0].sum(dim=0).argmax(dim=1) == truth).double().mean().item()


figure, axes = plt.subplots(1, 3, figsize=(7.2, 3), layout="constrained", width_ratios=[1, 1, 1.3])
for panel, letter, name in zip(axes, "AB", ("synapses", "operations"), strict=False):
    panel.bar(range(3), [getattr(report, name) for report in reports.values()], color=list(ARMS.values()), width=0.6)
    panel.set_title(f"{letter}  {name}", loc="left", fontsize=10)
    panel.set(xticks=range(3), ylabel=name + (" an inference" if name == "operations" else ""))
    panel.set_xticklabels(["plain", "in\nfront", "both"])
for name, inputs, style in (("by size", None, "o--"), ("calibrated", calibration, "o-")):
    values = [accuracy(nd.norse.quantised(read, bits=width, calibration=inputs)) for width in bits]
    axes[2].plot(bits, values, style, color="#D55E00", label=name)
    print(f"{name:10s}", dict(zip(bits, np.round(values, 3).tolist(), strict=True)))
axes[2].axhline(accuracy(read), color="k", linewidth=0.8, linestyle=":", label="32 bits")
axes[2].set_title("C  accuracy, rounded", loc="left", fontsize=10)
axes[2].set(xlabel="bits of a weight", ylabel="accuracy", xticks=bits)
axes[2].legend(fontsize=9)
plt.show()

# %%
# ## A silent sensor
#
# A chip that listens to a sensor mostly hears nothing. Then biases are all that drives it: those of the layers, and the
# one by which the homeostasis holds neurons at their target rate, which does not know that the input is gone. Look at
# what they cause before a network goes to hardware.

for arm, models in trained.items():
    silent = nd.norse.hardware_report(nd.fold(models[0][0]), torch.zeros(STEPS, 1, INPUTS))
    print(f"{arm:19s} spikes an inference: {reports[arm].spikes:.0f} with input, {silent.spikes:.0f} without")

# %%
# ## What goes wrong, and what the error says

adapting = norse.torch.SequentialState(nn.Linear(INPUTS, HIDDEN), nd.norse.AdaptiveLIF(HIDDEN))
refractory = norse.torch.SequentialState(nn.Linear(INPUTS, HIDDEN), nd.norse.LIF(HIDDEN, refractory_time=5e-3))
slips = {
    "one sample without its batch": lambda: read(held_out[:, 0]),
    "neurons that NIR does not have": lambda: nd.norse.to_nir(adapting),
    "a refractory time": lambda: nd.norse.to_nir(refractory),
    "a chip's report of a network that is not folded": lambda: nd.norse.hardware_report(model, held_out),
    "a time step above a time constant": lambda: nd.norse.from_nir(path, dt=0.02),
    "a file that is not there": lambda: nd.norse.from_nir("absent.nir"),
}
for slip, action in slips.items():
    try:
        action()
    except nd.errors.NeuroDecorrError as error:
        print(f"- {slip}:", textwrap.fill(f"{type(error).__name__}: {error}", 80), "", sep="\n")

# %%
# Norse's own exporter does not know what a $D$ is and stops: use `nd.norse.to_nir`, or fold first. Readers differ in
# two things that a file does not say, whether the weights hold $\Delta t / \tau$ already, and whether a spike subtracts
# the threshold: `convention=` and `reset_method=` of `to_nir` and `from_nir`; the guide on NIR has the table of
# readers.

# %%
# ## What to try next
#
# - `nd.norse.to_nir(model, path, convention="increment")` for SpikingJelly, `"exponential"` for Rockpool.
# - `center=True` in `network`: how many spikes does the silent sensor cause then?
# - `nd.norse.from_nir(path, trainable=True)` of somebody else's file, then `nd.decorrelate`, train, fold, write.
# - `nd.norse.LateralCovariance(connectivity=nd.rules.connectivity.FanIn(8))`: a tenth of the lateral synapses.
# - `nd.decorrelate(model, keep_sparsity=True)` where a chip has a small table of synapses for each neuron.
