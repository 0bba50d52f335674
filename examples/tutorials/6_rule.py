"""
# A rule of your own

A local rule, from its equation on paper to a class with a name: its fixed point tested against a closed form, its
stability limit measured, the checks that every rule of the library passes, and its place beside the built-in rules, in
front of a layer and in a network that learns.

It needs `neuro_decorr` with the extra `study`, which brings pandas and matplotlib, and half a minute on one core.
"""

# %%
# ## 1. The rule on paper
#
# Lateral weights $D$ give the outputs $x = D z$ of a layer with inputs $z$. We want a rule of which each synapse knows
# three things: the activities of the two units that it connects, and its own weight. Activity that two units share
# weakens the synapse between them, each unit excites itself, and every weight decays at the rate $\ell$, the leak:
#
# $$
# \Delta D_{ij} = \eta\, (\delta_{ij} - x_i x_j - \ell D_{ij}), \qquad
# D \leftarrow D + \eta\, (I - C - \ell D), \quad C = \langle x x^T \rangle .
# $$
#
# From $D = I$ on, $D$ keeps the eigenvectors of the covariance $S$ of the inputs. So the rule acts on each eigenvalue
# $\lambda$ of $S$ alone, with a gain $d$, and at rest $1 - \lambda d^2 - \ell d = 0$:
#
# $$
# d(\lambda) = \frac{2}{\ell + \sqrt{\ell^2 + 4 \lambda}}, \qquad C = \lambda\, d(\lambda)^2 .
# $$
#
# Strong directions end near power 1, weak ones keep theirs: with $\ell = 1$ a silent direction has gain 1. The
# derivative of one update at rest is $1 - \eta \sqrt{\ell^2 + 4 \lambda}$. Rest is stable as long as that lies between
# -1 and 1 for the largest eigenvalue,
#
# $$
# \eta < \frac{2}{\sqrt{\ell^2 + 4 \lambda_{\max}}} .
# $$

# %%
# ## 2. The rule as a class
#
# A rule is a frozen dataclass. Class attributes say in words what it does, fields are its parameters, and `problems`
# tells what is wrong with their values. `update_` changes the matrix of the state in place, and returns what it did to
# it, so that the weights behind the layer can be compensated. `register` gives the rule its name.

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from neuro_decorr import checks, study
from neuro_decorr.data import batches, digits, stream, with_common_modes
from neuro_decorr.rules import LowRankFactor, Replacement, Rule, register


@register
@dataclass(frozen=True, kw_only=True)
class LeakyLateral(Rule):
    """Anti-Hebbian lateral weights that decay: D <- D + rate (I - C - leak D)."""

    name, structure, equivariance = "leaky_lateral", "dense", "covariant"
    title, equation = "caps the power of strong directions", "D <- D + rate (I - C - leak D)"
    fixed_point_text, locality = "C = S d(S)^2", "activities of i and j, own weight"
    cost, source = "2 k d^2", "this tutorial"
    rate: float = 1e-2
    leak: float = 1.0

    def problems(self):
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.number("leak", self.leak, above=0)

    def update_(self, state, sample, rate):
        """Set D <- D + rate (I - C - leak D), shape (d, d), with C the second moment of the batch's outputs."""
        matrix, rows = state["matrix"], sample.outputs
        moment = rows.T @ rows / len(rows)
        growth = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device) - moment - self.leak * matrix
        return Replacement.apply_(matrix, matrix + rate * growth)

    def fixed_point(self, covariance):
        """Covariance S d(S)^2 of the outputs at rest, for inputs of covariance S, both (d, d)."""
        values, vectors = torch.linalg.eigh(covariance)
        gains = 2 / (self.leak + (self.leak**2 + 4 * values.clamp_min(0)).sqrt())
        return (vectors * values * gains**2) @ vectors.T

    def stability_limit(self, covariance):
        """Largest stable rate, 2 / sqrt(leak^2 + 4 lambda), with lambda the largest eigenvalue of the inputs."""
        return 2 / float((self.leak**2 + 4 * torch.linalg.eigvalsh(covariance)[-1]).sqrt())


# %%
# ## 3. It has a name now
#
# `get` finds it, with parameters that are checked, and the table of rules has a row of it. A value outside its range
# ends in one line.

rule = nd.rules.get("leaky_lateral", leak=1.0)
print(rule)
print(
    {name: text for name, text in nd.rules.table()[nd.rules.names().index("leaky_lateral")].items() if name != "cost"}
)
try:
    nd.rules.get("leaky_lateral", leak=-1)
except nd.errors.InvalidValue as error:
    print(error)

# %%
# ## 4. Does it reach its fixed point?
#
# The closed form of step 1, once more in NumPy and for single eigenvalues, cannot share a mistake with the class. A
# layer learns from samples whose covariance has eigenvalues from 0.01 to 30, and a last direction that is silent.

powers = np.array([30, 10, 3, 1, 0.3, 0.1, 0.03, 0.01, 0.0])
units = len(powers)
basis = torch.linalg.qr(torch.randn(units, units, generator=torch.Generator().manual_seed(0))).Q
root = basis * torch.tensor(powers).float().sqrt()


def gain_at_rest(power, leak):
    """The positive root of 1 - power d^2 - leak d = 0, by NumPy's polynomial solver."""
    return max(np.roots([-power, -leak, 1]).real) if power else 1 / leak


torch.manual_seed(1)
learnt = {}
for leak in (0.3, 1.0):
    layer = nd.Decorrelation(units)
    plasticity = nd.Plasticity(layer, nd.rules.get("leaky_lateral", leak=leak, rate=5e-3), row_fraction=1.0)
    for _ in range(2000):
        layer(torch.randn(128, units) @ root.T)
        plasticity.step()
    with torch.no_grad():
        outputs = layer.eval()(torch.randn(50_000, units) @ root.T) @ basis
    learnt[leak] = outputs.var(dim=0).numpy()
    expected = np.array([power * gain_at_rest(power, leak) ** 2 for power in powers])
    print(f"leak {leak}: largest deviation from the closed form {np.abs(learnt[leak] - expected).max():.3f}")

# %%
# ## 5. Where does stability end?
#
# With exact statistics, a small deviation from rest shrinks below the limit and not above it. Each point is one run of
# 400 updates at one rate, for inputs whose largest eigenvalue is 3.
#
# The limit speaks of small deviations. From $D = I$ on, the first update multiplies the gain of a direction by
# $1 - \eta\, (\lambda + \ell - 1)$. Keep that positive, too: with $\ell = 1$ choose $\eta < 1 / \lambda_{\max}$.

covariance = torch.diag(torch.tensor([3.0, 1.0, 0.3], dtype=torch.float64))
exact = torch.diag(torch.sqrt(3 * covariance.diagonal()))  # three rows whose second moment is the covariance
limit = rule.stability_limit(covariance)
fractions = np.concatenate([np.linspace(0.1, 0.9, 9), np.linspace(0.95, 1.3, 15)])
left = []
for fraction in fractions:
    state = rule.initial_state(3, dtype=torch.float64)
    state["matrix"] = torch.diag(torch.tensor([gain_at_rest(power, 1.0) for power in (3.0, 1.0, 0.3)])) + 1e-3
    for _ in range(400):
        outputs = exact @ state["matrix"].T
        rule.update_(state, nd.rules.Sample(exact, outputs, torch.zeros(3)), fraction * limit)
    found = state["matrix"] @ covariance @ state["matrix"].T
    left.append(float((found - rule.fixed_point(covariance)).norm()))

figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
grid = np.geomspace(0.005, 50, 100)
for leak, colour in ((0.3, "#0072B2"), (1.0, "#D55E00")):
    axes[0].loglog(grid, [power * gain_at_rest(power, leak) ** 2 for power in grid], color=colour, linewidth=1)
    axes[0].loglog(powers[:-1], learnt[leak][:-1], "o", color=colour, markersize=4, label=f"leak {leak}")
axes[0].loglog(grid, grid, ":", color="0.6", label="inputs")
axes[0].set(xlabel="power of a direction of the inputs", ylabel="power of the outputs")
axes[0].set_title("A  learnt (points), closed form (lines)", loc="left", fontsize=9)
axes[0].legend(fontsize=8)
axes[1].semilogy(fractions, np.maximum(np.nan_to_num(left, nan=10, posinf=10), 1e-16).clip(max=10), "o-", markersize=3)
axes[1].axvline(1, color="#D55E00", linestyle="--", label=f"declared limit, {limit:.2f}")
axes[1].set(xlabel="rate over the declared limit", ylabel="distance from rest after 400 updates")
axes[1].set_title("B  stability", loc="left", fontsize=9)
axes[1].legend(fontsize=8)
plt.show()

# %%
# ## 6. The checks of every rule
#
# `suite.check` runs in float64 what every rule of the library has to pass: the declared fixed point is reached from
# inputs of condition 1e4, the declared limit is where stability ends, outputs rotate with the inputs as `equivariance`
# says, a saved state goes on as if it had never stopped, the update is pure and in place, compensation keeps `W D` to
# 1e-9, silent units stay bounded and may wake, groups of units learn alone.

nd.rules.suite.check(rule)
print("passed:", ", ".join(check.__name__.removeprefix("check_") for check in nd.rules.suite.CHECKS))

# %%
# Each check asks what the class says of itself, so a wrong declaration fails, too.


@dataclass(frozen=True, kw_only=True)
class Mistaken(LeakyLateral):
    """`LeakyLateral` that declares twice its true stability limit."""

    name = "mistaken"

    def stability_limit(self, covariance):
        """Twice the largest stable rate."""
        return 2 * super().stability_limit(covariance)


try:
    nd.rules.suite.check_stability_limit(Mistaken())
except nd.rules.suite.CheckFailed as failed:
    print(failed)

# %%
# In the tests of your own project, let pytest name the checks:
#
#     import pytest
#     import neuro_decorr as nd
#     import my_rules  # the module with the class: importing it registers the rule
#
#     @pytest.mark.parametrize("check", nd.rules.suite.CHECKS, ids=lambda check: check.__name__)
#     def test_my_rule(check):
#         check(nd.rules.get("leaky_lateral"))

# %%
# ## 7. What an update returns
#
# `Replacement` is for a matrix that is made anew. If the update multiplies $D$ from the left by a matrix of low rank,
# say so: `LowRankFactor` stands for $D \leftarrow (p I - w L^T R)\, D$ with few rows, costs less, and compensates more
# cheaply. The relative gradient of whitening, $D \leftarrow D + \eta\, (I - C)\, D$, is such a rule (Cardoso and Laheld
# 1996). It takes the same course in every basis, but no synapse could compute it from its own two units. Other answers
# are `InverseFactor`, the implicit form of such a step, and `DenseFactor`, for any other factor.


@register
@dataclass(frozen=True, kw_only=True)
class RelativeGradient(Rule):
    """The relative gradient of whitening, with nothing that bounds silent units."""

    name, structure, equivariance = "relative_gradient", "dense", "general"
    title, equation, fixed_point_text = "whitens", "D <- D + rate (I - C) D", "C = I"
    locality, cost, source = "row of D", "4 k d^2", "Cardoso, Laheld 1996, doi:10.1109/78.553476"
    silent_units_bounded = False
    rate: float = 1e-2

    def update_(self, state, sample, rate):
        """Set D <- D + rate (I - C) D, shape (d, d), with C the second moment of the batch's outputs."""
        rows = sample.outputs
        return LowRankFactor(1 + rate, rate / len(rows), rows, rows).apply_(state["matrix"])

    def fixed_point(self, covariance):
        """Identity, shape (d, d)."""
        return torch.eye(len(covariance), dtype=covariance.dtype)

    def stability_limit(self, covariance):
        """One, for inputs of any covariance."""
        return 1.0


nd.rules.suite.check(nd.rules.get("relative_gradient"))
print("relative_gradient passes, too")

# %%
# ## 8. Beside the built-in rules
#
# Thirty units that share one common mode of twice their own amplitude, five seeds. Every rule gets the same batches.
# The built-in rules have their default parameters; ours gets half of $1 / \lambda_{\max}$, which is $1 / 121$ here. The
# figure shows the mean magnitude of correlations on new samples, and for our rule its value at rest.

RULES = {name: nd.rules.get(name) for name in ("center", "anti_hebbian", "lateral", "whitening")}
RULES["leaky_lateral"] = nd.rules.get("leaky_lateral", rate=0.5 / 121)
MARKS = (0, 10, 30, 100, 300, 600)
courses = np.zeros((len(RULES), 5, len(MARKS)))
for row, rule in enumerate(RULES.values()):
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)

        def batch(size, generator=generator):
            shared = 2 * torch.randn(size, 1, generator=generator)
            return torch.randn(size, 30, generator=generator) + shared

        layer = nd.Decorrelation(30)
        plasticity = nd.Plasticity(layer, rule, row_fraction=1.0)
        test = batch(4000)
        for update in range(MARKS[-1] + 1):
            if update in MARKS:
                with torch.no_grad():
                    found = nd.metrics.mean_absolute_correlation(layer.eval()(test))
                courses[row, seed, MARKS.index(update)] = found
                layer.train()
            layer(batch(64))
            plasticity.step()

figure, axes = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
for name, course, colour in zip(RULES, courses, ("0", "#E69F00", "#009E73", "#0072B2", "#D55E00"), strict=True):
    rows = [study.describe(values) for values in course.T]
    reach = [2.776 * row.standard_deviation / 5**0.5 for row in rows]  # Student's t with 4 degrees of freedom
    axes.errorbar(
        MARKS, [row.mean for row in rows], reach, color=colour, marker="o", markersize=3, capsize=2, label=name
    )
    print(f"{name:14} {rows[-1].mean:.3f} after {MARKS[-1]} updates")
rest = RULES["leaky_lateral"].fixed_point(torch.eye(30).double() + 4)
axes.axhline(float(rest[0, 1] / rest[0, 0]), color="#D55E00", linestyle=":", label="at rest, closed form")
axes.set_xscale("symlog", linthresh=10)
axes.set(xlabel="updates", ylabel="mean |correlation| of outputs", ylim=(0, None), xlim=(-1, 700))
axes.set_title("95 % intervals over five seeds", loc="left", fontsize=9)
axes.legend(fontsize=8)
plt.show()

# %%
# ## 9. By name, in a network that learns
#
# From here on the rule is one among others: every function that takes a rule takes this one. Digits with common modes
# added, two hidden layers, feedback alignment; three arms with the same five seeds. `center` is the control: a rule
# that helps no more than centring does has decorrelated nothing that matters.

ARMS = {"center": {}, "leaky_lateral": {"rate": 5e-3}, "whitening": {}}


def accuracy(arm, seed, epochs=8):
    """Validation accuracy (a fraction) of an arm after training on digits by feedback alignment."""
    images = with_common_modes(digits(seed), 1.0, seed)
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 60), nn.ReLU(), nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 10))
    network = nd.decorrelate(network)
    plasticity = nd.Plasticity(network, nd.rules.get(arm, **ARMS[arm]))
    credit = nd.credit.get("feedback_alignment", network, seed=seed)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.3)
    for epoch in range(epochs):
        for x, y in batches(*images.train, 64, stream(seed, f"order {epoch}")):
            optimiser.zero_grad()
            credit.backward(F.cross_entropy, x, y)
            optimiser.step()
            plasticity.step()
    with torch.no_grad():
        answers = network.eval()(images.validation.inputs).argmax(dim=1)
    return float((answers == images.validation.targets).double().mean())


scores = {arm: [accuracy(arm, seed) for seed in range(5)] for arm in ARMS}
figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.8), layout="constrained")
for place, arm in enumerate(ARMS):
    axes[0].plot(np.full(5, place), scores[arm], "o", color="0.5", markersize=4)
    axes[0].plot(place, np.mean(scores[arm]), "_", color="black", markersize=18)
    gain = study.paired_difference(scores[arm], scores["center"])
    if arm != "center":
        axes[1].errorbar(place - 1, gain.mean, [[gain.mean - gain.low], [gain.high - gain.mean]], marker="o", capsize=3)
    told = f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] over center, n = {gain.n}"
    print(f"{arm:14} {np.mean(scores[arm]):.2f}, {told}")
axes[0].set_xticks(range(3), list(ARMS))
axes[0].set(ylabel="validation accuracy", xlim=(-0.5, 2.5))
axes[0].set_title("A  five seeds (points), mean", loc="left", fontsize=9)
axes[1].axhline(0, color="0.6", linewidth=0.8)
axes[1].set_xticks(range(2), list(ARMS)[1:])
axes[1].set(ylabel="accuracy over center, paired", xlim=(-0.5, 1.5))
axes[1].set_title("B  95 % intervals, n = 5", loc="left", fontsize=9)
plt.show()

# %%
# All arms have one learning rate here, which may suit one of them best. Before you claim anything, give every arm the
# same search for its own: that is a study, and the tutorial "A protocol of your own" makes one. A protocol finds the
# rule by its name if it imports the module with the class.

# %%
# ## What to try next
#
# - `connectivity=nd.rules.connectivity.Groups(16)`, a parameter of every rule with a dense `D`, confines it to groups.
# - `fixed_point_up_to = "scale"` or `"unit_scales"`, where the fixed point of your rule leaves a scale free.
# - `largest_gain`, if you can say how large `D` may ever become; `needs`, if several processes train one network and
#   the rule reads less than all rows.
# - `nd.rules.table()` lists all rules; their classes, in `neuro_decorr.rules`, show what else a rule can declare.
# - In Brian2 a rule is a set of equations of a synapse; see `nd.brian.register`.
