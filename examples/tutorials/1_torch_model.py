"""
# A torch model of your own

From arrays to a result that a sceptic accepts: your data, your model, a rule in front of every layer, a network that
learns without backpropagation, the two controls that any claim needs, and the plain network back at the end.
"""

# %%
# ## What you need
#
# `pip install '.[study]'` in a checkout, or a release file with the same extra. Everything below runs on one core in
# about a minute. Replace the next two cells by your own arrays and your own `nn.Module`; the rest stays as it is.

import copy
import tempfile
import textwrap
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from neuro_decorr.data import batches, stream
from neuro_decorr.study import paired_difference

torch.set_num_threads(1)  # small matrices gain nothing from more

# %%
# ## Data: a population that encodes a direction
#
# A hundred neurons, each tuned to one of eight directions of a movement, in 4,000 trials. Four shared fluctuations
# (arousal, posture, ...) move all of them, each neuron with weights of its own, and every neuron has private noise.
# Activity is measured in standard deviations of that noise. The task is to read the direction out of one trial.

generator = np.random.default_rng(0)
neurons, directions, trials = 100, 8, 4000
preferred = generator.uniform(0, 2 * np.pi, neurons)
labels = generator.integers(directions, size=trials)
angle = labels[:, None] * 2 * np.pi / directions - preferred
tuning = 2 * np.exp(2 * (np.cos(angle) - 1))
shared = generator.normal(size=(trials, 4)) @ generator.normal(size=(4, neurons))
activity = 3 + tuning + shared + generator.normal(size=(trials, neurons))

# %%
# `from_arrays` splits trials three ways, every class in proportion: learn on the first part, choose on the second,
# report on the third. Before that it tells all that is wrong with the arrays. Images are flattened: a network that
# begins with a convolution needs `nn.Unflatten(1, (channels, height, width))` before it.

data = nd.data.from_arrays(activity, labels, seed=0)
print(data)

broken = activity.copy()
broken[3, 7] = np.nan
try:
    nd.data.from_arrays(broken, labels)
except nd.errors.InvalidValue as error:
    print("\nWith a hole in the recording:", textwrap.fill(str(error), 80), sep="\n")

# %%
# ## Look at the inputs before anything else
#
# The gain from decorrelation depends on how correlated your inputs are. Three numbers tell it: the mean absolute
# correlation (beside it the floor, what independent units would show in so many samples), the share of the leading
# direction in the variance, and the participation ratio $(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2$ of the eigenvalues
# $\lambda_i$ of the covariance, an effective number of dimensions.

order = np.argsort(preferred)
correlations = np.corrcoef(data.train.inputs[:, order].numpy().T)
spectrum = np.linalg.eigvalsh(np.cov(data.train.inputs.numpy().T))[::-1]

figure, axes = plt.subplots(1, 2, figsize=(7, 3.1), layout="constrained")
image = axes[0].imshow(correlations - np.eye(neurons), cmap="RdBu_r", vmin=-1, vmax=1)
axes[0].set_title("A  correlations of the inputs", loc="left", fontsize=10)
axes[0].set(xlabel="neuron, by preferred direction", ylabel="neuron")
figure.colorbar(image, ax=axes[0], label="correlation", shrink=0.85)
axes[1].semilogy(np.arange(1, neurons + 1), spectrum, ".", color="#0072B2")
axes[1].set_title("B  spectrum of the covariance", loc="left", fontsize=10)
axes[1].set(xlabel="direction, ranked by variance", ylabel="variance (s.d.$^2$ of private noise)")
plt.show()

inputs = nd.metrics.summary(data.train.inputs)
for name in ("mean_absolute_correlation", "leading_fraction", "participation_ratio"):
    measure = inputs[name]
    floor = "" if np.isnan(measure.floor) else f", floor {measure.floor:.3g}"
    print(f"{name:26s} {measure.estimate:.3g}, 95 % interval {measure.low:.3g} to {measure.high:.3g}{floor}")

# %%
# ## Why this spoils learning
#
# A layer $y = W x$ with errors $\delta$ at its outputs is updated by $\Delta W = -\eta\, \langle \delta x^T \rangle$.
# An error of the weights along an eigenvector of $\langle x x^T \rangle$ with eigenvalue $\lambda_i$ shrinks, for a
# squared loss, by the factor $1 - \eta \lambda_i$ in a step. The strongest direction limits the rate,
# $\eta < 2 / \lambda_1$; the weak ones then learn $\lambda_1 / \lambda_i$ times more slowly. Approximations of the
# gradient add noise that is strongest along the same leading directions.

# %%
# ## A model, and a decorrelation in front of every layer
#
# `decorrelate` returns a copy. Every layer keeps its class, its name and its weights, and gains a submodule
# `decorrelation`, which gives it $D (x - \mu)$ in the place of $x$. At first $D = I$ and $\mu = 0$: the copy computes
# what the model computes. `coverage` tells layer by layer what is decorrelated, and why something is not.


def network(seed):
    """Network of one hidden layer of 50 units, from (trials, neurons) to one logit for each direction."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(neurons, 50), nn.LeakyReLU(), nn.Linear(50, directions))


plain = network(seed=0)
model = nd.decorrelate(plain)
trial = data.test.inputs[:5]
print("largest difference of the outputs:", (model(trial) - plain(trial)).abs().max().item())
print(nd.coverage(model))

# %%
# ## A rule that moves D
#
# `Plasticity` is called like an optimiser: one `step()` after each batch. The rule here is `whitening`. At its fixed
# point a direction of variance $\lambda$ leaves with
#
# $$g^2\, \frac{\lambda}{1 + \lambda / (\text{damping} \cdot c)}$$
#
# where $c$ is the mean variance of the layer's inputs and $g$ one scalar that gives back the power that damping takes.
# Strong directions are capped, and weak ones keep their proportions, so that their noise is not blown up against the
# signal. `damping=1` is a choice, here not tuned; the page "Which rule, which rate" tells when to take another rule.

DAMPING = 1.0
rule = nd.rules.get("whitening", damping=DAMPING)
plasticity = nd.Plasticity(model, rule)
print(rule)

# %%
# ## One arm of the comparison, as a function
#
# All arms share everything but one thing: the same initial weights, the same batches and the same perturbations for the
# same seed. The credit is node perturbation: noise is added to the units, and the weights move along the noise that
# lowered the loss. `credit.backward` fills `.grad`, as `loss.backward()` would.
#
# - **nothing**: the plain network.
# - **centring**: the rule `center`, $D = I$. Inputs with a mean have one direction that is stronger than all others;
#   much of what is credited to decorrelation is the loss of this mean. It is the reference of every difference below.
# - **gradient side**: centring, and the gradient $G$ of every layer becomes
#   $g^2 \lambda\, G\, (S + \lambda I)^{-1}$, with $S$ the second moment of the layer's inputs and
#   $\lambda = \text{damping} \cdot c$ (`foof`, Benzing 2022). That is what a $D$ of the same damping does to the step,
#   without any $D$ in the network. It needs the inverse of a matrix, so it is not local; but whoever claims that a
#   *network* has to be decorrelated must compare with it.
# - **whitening**: the rule above.

ARMS = {"nothing": "0.5", "centring": "#0072B2", "gradient side": "#009E73", "whitening": "#D55E00"}


def accuracy(model, split):
    """Fraction of the trials of a split whose class the model tells."""
    with torch.no_grad():
        correct = model.eval()(split.inputs).argmax(dim=1) == split.targets
    model.train()
    return correct.double().mean().item()


def train(arm, learning_rate, seed, split, epochs=5):
    """Accuracies after each epoch, and the model; a run that diverges counts at chance from there on."""
    model, plasticity, signals = network(seed), None, None
    if arm != "nothing":
        model = nd.decorrelate(model)
        plasticity = nd.Plasticity(model, rule if arm == "whitening" else nd.rules.get("center"), row_fraction=0.5)
    if arm == "gradient side":
        signals = nd.conditioning.Signals(model, decay=0.9)
    credit = nd.credit.get("node_perturbation", model, seed=seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=learning_rate)  # of the copy: made after decorrelate
    course = []
    try:
        for epoch in range(epochs):
            for x, y in batches(*data.train, 64, stream(seed, f"order {epoch}")):
                optimiser.zero_grad()
                credit.backward(F.cross_entropy, x, y)
                for layer in signals or ():
                    layer.gradient = nd.conditioning.foof(layer.gradient, moment=layer.input_moment, damping=DAMPING)
                optimiser.step()
                if plasticity is not None:
                    plasticity.step()
            course.append(accuracy(model, split))
    except nd.errors.Diverged:
        course += [1 / directions] * (epochs - len(course))
    return course, model


# %%
# ## Did the rule do its work?
#
# Before any accuracy: look at what the layers receive, on trials that nothing was learnt from. `layer_inputs` collects
# it, behind the decorrelation; of convolutions all patches, or `patches="one"` of each image, since the floor counts
# rows as independent. Units that never vary, as behind a ReLU, make correlations NaN: `silent="drop"`. Panel B has the
# fixed point above, from the inputs alone; after a few passes of noisy batches the dots are near the line, not on it.

_, model = train("whitening", 0.01, seed=0, split=data.test)
before = data.test.inputs.numpy()
after = nd.metrics.layer_inputs(model, data.test.inputs)["0"]
variances = np.linalg.eigvalsh(np.cov(before.T))[::-1]
capped = variances / (1 + variances / (DAMPING * variances.mean()))
capped *= variances.sum() / capped.sum()  # g^2

figure, axes = plt.subplots(1, 2, figsize=(7, 3.1), layout="constrained")
image = axes[0].imshow(np.corrcoef(np.asarray(after)[:, order].T) - np.eye(neurons), cmap="RdBu_r", vmin=-1, vmax=1)
axes[0].set_title("A  what layer 0 receives now", loc="left", fontsize=10)
axes[0].set(xlabel="neuron, by preferred direction", ylabel="neuron")
figure.colorbar(image, ax=axes[0], label="correlation", shrink=0.85)
ranks = np.arange(1, neurons + 1)
axes[1].semilogy(ranks, variances, ".", color="0.6", label="before")
axes[1].semilogy(ranks, np.linalg.eigvalsh(np.cov(np.asarray(after).T))[::-1], ".", color="#D55E00", label="after")
axes[1].semilogy(ranks, np.sort(capped)[::-1], color="k", linewidth=1, label="fixed point")
axes[1].set_title("B  spectrum, test trials", loc="left", fontsize=10)
axes[1].set(xlabel="direction, ranked by variance", ylabel="variance (s.d.$^2$ of private noise)")
axes[1].legend(fontsize=9)
plt.show()

for name in ("mean_absolute_correlation", "participation_ratio"):
    values = [nd.metrics.summary(part)[name] for part in (before, after)]
    print(f"{name:26s} before {values[0].estimate:.3g}, after {values[1].estimate:.3g}, floor {values[1].floor:.3g}")

# %%
# ## Equal budgets
#
# Each arm wants a learning rate of its own: one rate for all favours the arm that it happens to suit. So each gets the
# same five rates, on one seed that is not measured later, and is judged on the validation trials. Look where the best
# one lies: at an edge of the grid the arm has not had its chance. A rule that looks harmful at the rate of the plain
# network often wants three times that rate: [why](../choosing.md#learning-rates-stay-valid).

RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
SELECTION_SEED = 100
chosen, figure = {}, plt.figure(figsize=(4.6, 3.2), layout="constrained")
for arm, colour in ARMS.items():
    validated = [train(arm, rate, SELECTION_SEED, data.validation)[0][-1] for rate in RATES]
    chosen[arm] = RATES[int(np.argmax(validated))]
    plt.semilogx(RATES, validated, ".-", color=colour, label=f"{arm}: {chosen[arm]:g}")
plt.axhline(1 / directions, color="k", linewidth=0.8, linestyle=":", label="chance")
plt.title("Every arm has the same five rates", loc="left", fontsize=10)
plt.xlabel("learning rate")
plt.ylabel("validation accuracy")
plt.legend(fontsize=8, title="chosen", title_fontsize=8)
plt.show()

# %%
# ## Paired seeds
#
# Five seeds, the same for all arms: the seed decides initial weights, order of trials and perturbations. A difference
# between arms is taken seed by seed, which removes what the seed does to both, and gets Student's interval over seeds.
# The split of the trials is one and the same, so that the intervals do not speak of other recordings.

SEEDS = range(5)
courses = {arm: np.array([train(arm, chosen[arm], seed, data.test)[0] for seed in SEEDS]) for arm in ARMS}

figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
for arm, colour in ARMS.items():
    epochs = np.arange(1, courses[arm].shape[1] + 1)
    axes[0].plot(epochs, courses[arm].T, color=colour, linewidth=0.6, alpha=0.5)
    axes[0].plot(epochs, courses[arm].mean(axis=0), color=colour, linewidth=2, label=arm)
    difference = paired_difference(courses[arm][:, -1], courses["centring"][:, -1])
    print(
        f"{arm:14s} test accuracy {courses[arm][:, -1].mean():.3f}, minus centring "
        f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}], n = {difference.n} seeds"
    )
    if arm != "centring":
        error = [[difference.mean - difference.low], [difference.high - difference.mean]]
        axes[1].errorbar(arm, difference.mean, yerr=error, fmt="o", markersize=4, capsize=4, color=colour)
axes[0].set_title("A  mean and every seed", loc="left", fontsize=10)
axes[0].set(xlabel="epoch", ylabel="test accuracy", xticks=epochs)
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
axes[1].axhline(0, color=ARMS["centring"], linewidth=1)
axes[1].set_title(f"B  minus centring, 95 %, {len(SEEDS)} seeds", loc="left", fontsize=10)
axes[1].set(xlim=(-0.5, 2.5), ylabel="difference of test accuracy")
plt.show()

# %%
# ## How to read it
#
# What the rule does beyond the loss of the mean is the difference between whitening and centring. What has to be in the
# network, rather than in the update alone, is the difference between whitening and the gradient side. Look at that one
# too, before you claim it:

difference = paired_difference(courses["whitening"][:, -1], courses["gradient side"][:, -1])
verdict = "ahead" if difference.low > 0 else "behind" if difference.high < 0 else "no difference that these seeds show"
print(
    f"whitening minus gradient side: {difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]: {verdict}"
)

# %%
# ## The plain network back
#
# `fold` multiplies $D$ into the weights behind it, $W \leftarrow W D$ and $b \leftarrow b - W D \mu$: the same
# function, nothing of this library in it, for ONNX, for a colleague, for the next experiment. A layer that had no bias
# gets one, which carries the mean: save the folded model as a whole, or load its state into layers with biases.

_, model = train("whitening", chosen["whitening"], seed=0, split=data.test)
folded = nd.fold(model).eval()
with torch.no_grad():
    gap = (folded(data.test.inputs) - model.eval()(data.test.inputs)).abs().max().item()
print(folded)
print(f"largest difference of the outputs: {gap:.1e}; accuracy {accuracy(folded, data.test):.3f}")

# %%
# ## Save, load, go on
#
# The model's `state_dict` holds $D$ and $\mu$, that of `Plasticity` what the rule remembers. Load both into objects
# that are made in the same way. Here the loaded copy goes on for one batch as the original does.

model.train()
plasticity = nd.Plasticity(model, rule)
path = Path(tempfile.mkdtemp()) / "checkpoint.pt"
torch.save({"model": model.state_dict(), "plasticity": plasticity.state_dict()}, path)

loaded = nd.decorrelate(network(seed=1))
theirs = nd.Plasticity(loaded, rule)
checkpoint = torch.load(path)
loaded.load_state_dict(checkpoint["model"])
theirs.load_state_dict(checkpoint["plasticity"])
for one, step in ((model, plasticity.step), (loaded, theirs.step)):
    one(data.train.inputs[:64])
    step()
print("the same D after one more step:", torch.equal(model[0].decorrelation.matrix, loaded[0].decorrelation.matrix))

# %%
# ## What goes wrong, and what the error says
#
# Each of these is a common slip. The messages say what was found, what is allowed, and how to mend it.


def message(action):
    """The error or the warning of an action, in words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            action()
        except (nd.errors.NeuroDecorrError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"
    return f"{caught[0].category.__name__}: {caught[0].message}" if caught else "nothing is said"


fresh = nd.decorrelate(network(seed=0))
learner = nd.Plasticity(fresh, rule)
slips = {
    "a name with a typing error": lambda: nd.rules.get("whitenning"),
    "a parameter that the rule does not have": lambda: nd.rules.get("whitening", dampng=1.0),
    "the plain model in place of the copy": lambda: nd.Plasticity(plain, rule),
    "a model that is decorrelated already": lambda: nd.decorrelate(fresh),
    "a layer that is not there": lambda: nd.decorrelate(plain, skip="head"),
    "step() without a forward pass": learner.step,
    "another number of inputs": lambda: fresh(data.test.inputs[:, :50]),
}
for slip, action in slips.items():
    lines = message(action).splitlines()
    print(f"- {slip}:", *(textwrap.fill(line, 80) for line in lines), "", sep="\n")

# %%
# Divergence has an error of its own, `Diverged`, which names the layer. It is a result, and a comparison must count it
# rather than drop it: `train` above counts it at chance.

careless = copy.deepcopy(fresh)
careless_step = nd.Plasticity(careless, rule).step


def diverge():
    """Train the careless model at a learning rate far too high, one update for each batch."""
    optimiser = torch.optim.SGD(careless.parameters(), lr=1e6)
    for x, y in batches(*data.train, 64):
        optimiser.zero_grad()
        F.cross_entropy(careless(x), y).backward()
        optimiser.step()
        careless_step()


print(textwrap.fill(message(diverge), 80))

# %%
# Two slips say nothing. An optimiser that was made **before** `decorrelate` moves the original, so the copy's weights
# stay: make it after. And without a `Plasticity`, or without its `step()`, D stays the identity: `coverage` then shows
# *no rule yet*.

late = network(seed=0)
optimiser = torch.optim.SGD(late.parameters(), lr=0.1)  # too early
late = nd.decorrelate(late)
weights = late[0].weight.detach().clone()
F.cross_entropy(late(data.train.inputs[:64]), data.train.targets[:64]).backward()
optimiser.step()
print("the copy has learnt:", not torch.equal(weights, late[0].weight))
print(nd.coverage(late))

# %%
# ## What to try next
#
# - `nd.credit.get("backprop", model)` in `train`, with a grid of rates of its own: how much is left of the difference?
# - `shared` times 0 in the data: without common modes expect little beyond centring.
# - `nd.rules.get("interneuron", interneurons=8)`: a few interneurons a layer, the cheap rule for wide layers.
# - `nd.credit.table()` lists every credit assignment with its bias, locality and cost.
# - The tutorial on a protocol makes a study of this: options, processes, a page, and going on after an interruption.
