r"""
# A protocol of your own

From an empty directory to the answer of a question that no protocol of the library asks. A protocol declares an
experiment: its question, what may be chosen, its conditions, one run, its figure. The study machinery does the rest:
options of the command line, paired seeds, equal searches for the learning rate, processes, progress, going on after a
kill, and the record of what made the results.

It needs `neuro_decorr` with the extra `study`, and a minute or two on one core. Every line that begins with `$` is what
you type in a terminal.
"""

# %%
# ## 1. The question
#
# Is it enough to decorrelate the input of a network, or must every layer do it?
#
# The task: handwritten digits with common modes added to every image. The network: two hidden layers, which learn by
# feedback alignment. Four arms: `none`; `center`, which subtracts the mean before every layer and is the control;
# `input`, a rule before the first layer alone; `every`, the same rule before every layer. Three decisions make the
# comparison fair, and they belong into the protocol, not into a reader's hope:
#
# - the learning rate is chosen for each arm by itself, from as many values, on seeds that are not measured;
# - all arms are measured with the same seeds, so that they can be compared pair by pair;
# - the choice looks at validation images, the result at test images.

# %%
# ## 2. An empty directory
#
# `neuro-decorr init` lays out a study directory: the library's own experiments in `protocols/`, the networks that they
# study in `models/`, their figures in `analysis/`, all of them to run and to edit. The command works there and in every
# folder below.

import importlib.util
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from neuro_decorr import study

home = Path(tempfile.mkdtemp()) / "study"


def arguments(command):
    """The command for this Python, so that it need not be on the path of a notebook."""
    first, *others = shlex.split(command)
    return [sys.executable, *(["-m", "neuro_decorr"] if first == "neuro-decorr" else []), *others]


def terminal(command, place=home, last=12):
    """Run a command as in a terminal and print the last lines of what it says."""
    said = subprocess.run(arguments(command), cwd=place, capture_output=True, text=True, check=False)
    print("$", command)
    print("\n".join((said.stderr + said.stdout).rstrip().splitlines()[-last:]), "\n")
    assert said.returncode == 0, said.stderr


terminal(f"neuro-decorr init {home.name}", home.parent)
print(*sorted(path.name for path in home.iterdir()))

# %%
# ## 3. What may be chosen
#
# Make the file `protocols/where.py`. It begins as the methods section of a paper would, and goes on with the choices.
# Each has a type, a default and a description. It becomes an option of the command, and a value outside its range is
# refused before anything runs.

FILE = home / "protocols" / "where.py"

CHOICES = '''\
"""Is it enough to decorrelate the input of a network, or must every layer do it?

Handwritten digits with common modes added to every image; two hidden layers of 50 units that learn by feedback
alignment. Arms: nothing; centring at every layer (the control); a rule at the input alone; the rule at every layer.
"""

from typing import Literal

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

import neuro_decorr as nd
from neuro_decorr import study
from neuro_decorr.data import batches, digits, stream, with_common_modes
from neuro_decorr.report import save_figure, save_sweep, save_table
from neuro_decorr.report.palette import looks

ARMS = ("none", "center", "input", "every")


class Configuration(study.Configuration):
    rule: Literal["whitening", "decorrelating", "interneuron"] = Field(
        "whitening", description="rule of the arms 'input' and 'every'"
    )
    strength: float = Field(1.0, ge=0, description="strength of the common modes; 0: digits as they are")
    learning_rates: tuple[float, ...] = Field((0.3, 1.0, 3.0), description="of which each arm chooses its own")
    epochs: int = Field(4, ge=1, description="passes over the training images")
'''

# %%
# ## 4. The conditions, and the selection of the learning rate
#
# A stage is a function that lists conditions, each with its seed. `study.Selection` makes both stages that a fair
# comparison needs. First every arm runs with every learning rate, on seeds from 1000 on. Then every arm runs with the
# rate that scored best, on the measured seeds 0, 1, 2, ..., the same for all arms. It refuses unequal budgets, and a
# column or table of the test split.
#
# One selection seed, the default, keeps this page short. It is enough where rates differ by more than seeds do; for a
# result that you publish select on several: `seeds=lambda _: 3`.

CONDITIONS = """

def arms(configuration):
    return [{"arm": arm} for arm in ARMS]


def settings(configuration, levels):
    return [{"learning_rate": rate} for rate in configuration.learning_rates]


SELECTION = study.Selection(
    conditions=arms, grid=settings, kind="curves", column="validation_accuracy", diverged=0.1
)
"""

# %%
# ## 5. One run
#
# A run is a function of the configuration and one condition. It records rows, each of a kind; every kind becomes a
# table. Everything random comes from the seed of the condition, so the same condition gives the same rows. A run that
# diverges says so: that is a result, which is kept and counted, and no failure.

RUN = """

def accuracy(network, split):
    with torch.no_grad():
        answers = network.eval()(split.inputs).argmax(dim=1)
    return (answers == split.targets).double().mean()


def run(configuration, condition, recorder):
    arm, seed = condition.factors["arm"], condition.seed
    images = with_common_modes(digits(seed), configuration.strength, seed)
    torch.manual_seed(seed)  # every arm begins with the same weights
    network = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 10))
    plasticity = None
    if arm != "none":
        network = nd.decorrelate(network, skip=("2", "4") if arm == "input" else ())
        plasticity = nd.Plasticity(network, nd.rules.get("center" if arm == "center" else configuration.rule))
    credit = nd.credit.get("feedback_alignment", network, seed=seed)
    optimiser = torch.optim.SGD(network.parameters(), lr=condition.factors["learning_rate"])
    for epoch in range(1, configuration.epochs + 1):
        network.train()
        for x, y in batches(*images.train, 64, stream(seed, f"order {epoch}")):
            optimiser.zero_grad()
            loss = credit.backward(F.cross_entropy, x, y)
            optimiser.step()
            if plasticity is not None:
                plasticity.step()
        recorder.row(
            "curves",
            epoch=epoch,
            validation_accuracy=accuracy(network, images.validation),
            test_accuracy=accuracy(network, images.test),
        )
        recorder.progress(epoch, configuration.epochs)
        if not loss.isfinite():
            raise nd.errors.Diverged(f"loss is {loss:.3g} in epoch {epoch}")
"""

# %%
# ## 6. The table, the figure, the finding
#
# The last function gets the tables by kind of row. Each has the columns `stage`, `seed`, the factors (here `arm` and
# `learning_rate`), `diverged`, and what was recorded. `tables.of("measure")` has the measured runs alone. What the
# function prints is kept as the finding. The first figure that it saves is the main figure of the page.

REPORT = """

def report(configuration, tables, directory):
    curves = tables.of("measure")["curves"]
    last = curves.groupby(["seed", "arm"])["test_accuracy"].last().unstack()
    gains = {arm: study.paired_difference(last[arm], last["center"]) for arm in ARMS}
    rows = [
        {"arm": arm, "test accuracy": last[arm].mean(), "over center": gain.mean, "from": gain.low, "to": gain.high}
        for arm, gain in gains.items()
    ]
    save_table(pd.DataFrame(rows), directory, "where", f"Test accuracy; 95 % intervals, {len(last)} paired seeds.")

    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3), layout="constrained")
    for place, (arm, look) in enumerate(zip(ARMS, looks(ARMS), strict=True)):
        courses = curves[curves["arm"] == arm].pivot(index="epoch", columns="seed", values="test_accuracy")
        axes[0].plot(courses.index, courses, color=look.colour, linewidth=0.5, alpha=0.5)
        axes[0].plot(courses.index, courses.mean(axis=1), label=arm, color=look.colour, linewidth=2)
        gain = gains[arm]
        reach = [[gain.mean - gain.low], [gain.high - gain.mean]]
        axes[1].errorbar(place, gain.mean, reach, marker="o", capsize=3, color=look.colour)
    axes[0].set(xlabel="epoch", ylabel="test accuracy")
    axes[0].set_title("A", loc="left", fontweight="bold")
    axes[0].locator_params(axis="x", integer=True)
    axes[1].axhline(0, color="0.6", linewidth=0.8)
    axes[1].set(ylabel="test accuracy over center", xticks=range(len(ARMS)), xticklabels=ARMS)
    axes[1].set_title("B", loc="left", fontweight="bold")
    figure.legend(loc="outside right upper", frameon=False)
    caption = f"A: accuracy by epoch, {len(last)} seeds and their mean. B: paired differences, 95 % intervals."
    save_figure(figure, directory, "where", caption)
    save_sweep(SELECTION, configuration, tables, directory)

    for row in rows:
        told = f"{row['over center']:+.2f} [{row['from']:+.2f}, {row['to']:+.2f}] over center"
        print(f"{row['arm']:8} {row['test accuracy']:.2f}, {told}")
    print(f"[from, to]: 95 % interval over {len(last)} paired seeds.")
"""

# %%
# ## 7. The declaration
#
# The object `PROTOCOL` ties these together. Its name is the name of the file.

DECLARATION = """

PROTOCOL = study.Protocol(
    name="where",
    question="Is it enough to decorrelate the input, or must every layer do it?",
    configuration=Configuration,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
"""

FILE.write_text(CHOICES + CONDITIONS + RUN + REPORT + DECLARATION, encoding="utf-8")
terminal("neuro-decorr run where --help", last=40)

# %%
# ## 8. Try one run, and test it
#
# A run needs no study around it: hand it a condition and a `Recorder`, and look at the rows. The same seed gives the
# same rows, the arms differ, and a learning rate beyond all reason diverges and says so. Such lines belong into
# `tests/test_where.py`, where pytest finds them; there the first line is `from protocols.where import PROTOCOL`.

spec = importlib.util.spec_from_file_location("where", FILE)
where = importlib.util.module_from_spec(spec)
spec.loader.exec_module(where)


def accuracies(arm, rate=0.3, seed=0):
    """Validation accuracy (a fraction) after each of two epochs of an arm."""
    recorder = study.Recorder()
    condition = study.Condition("measure", seed, {"arm": arm, "learning_rate": rate})
    where.PROTOCOL.run(where.PROTOCOL.configure({"epochs": 2}), condition, recorder)
    return [float(row["validation_accuracy"]) for row in recorder.rows["curves"]]


assert accuracies("input") == accuracies("input")
assert len({tuple(accuracies(arm)) for arm in where.ARMS}) == 4
try:
    accuracies("none", rate=1e30)
except where.nd.errors.Diverged as error:
    print("diverged:", error)

# %%
# ## 9. Before anything runs
#
# `--dry-run` lists what would run. A value that is not allowed is told in one line, and nothing is made.

terminal("neuro-decorr run where --seeds 3 --dry-run")
refused = subprocess.run(
    arguments("neuro-decorr run where --rule whitenning"), cwd=home, capture_output=True, text=True, check=False
)
print("$ neuro-decorr run where --rule whitenning")
print(refused.stderr.strip(), f"(exit code {refused.returncode})")

# %%
# ## 10. Run it, kill it, go on
#
# A study may be killed at any moment. A run is stored as a whole or not at all, so the same command computes what is
# missing and nothing else. Here the study is killed, as by `kill -9`, when four runs are stored.

command = "neuro-decorr run where --seeds 3 --workers 1"
running = subprocess.Popen(arguments(command), cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while running.poll() is None and len(list(home.glob("results/where/runs/*/*.json"))) < 4:
    time.sleep(0.05)
running.kill()
running.wait()
terminal("neuro-decorr status results/where")

# %%
# The same command once more:

terminal(command)

# %%
# Three seeds are few. More seeds extend a study and leave the selection alone: eight runs are new here.

terminal("neuro-decorr run where --seeds 5 --workers 1")

# %%
# ## 11. What the finding says
#
# `results/where/` holds the page `index.html`, the tables in `tables/`, the figures in `figures/`, all rows as Parquet
# in `rows/`, every run in `runs/`, and `provenance.json`: commands, seeds, versions and the machine, of all sessions.
# The main figure, as `report` made it:

results = home / "results" / "where"
print(*sorted(path.name for path in results.glob("[!.]*")))
image = plt.imread(results / "figures" / "where.png")
figure = plt.figure(figsize=(8, 8 * image.shape[0] / image.shape[1]))
axes = figure.add_axes((0, 0, 1, 1))
axes.imshow(image)
axes.axis("off")
plt.show()

# %%
# Read the finding with its intervals. If the interval of `input` excludes zero, decorrelating the input helps beyond
# centring. Whether every layer adds to that is the difference of `every` and `input`, a pair of its own. When this page
# was written the input alone helped, by .27, and every layer added about as much again:

tables = study.read_tables(results)
last = tables.of("measure")["curves"].groupby(["seed", "arm"])["test_accuracy"].last().unstack()
more = study.paired_difference(last["every"], last["input"])
print(f"every layer over the input alone: {more.mean:+.2f} [{more.low:+.2f}, {more.high:+.2f}], n = {more.n} seeds")

# %%
# It holds for this task, these sizes and this length of training, for five seeds, and for the best of the three
# learning rates that were tried. The finding does not say more. Where a rate was chosen at the edge of its grid, its
# last line tells so, and a better one may lie beyond: widen the grid and run again.

selected = tables.of("select")["curves"]
chosen = tables.of("measure")["curves"].groupby("arm")["learning_rate"].first()
figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
final = selected[selected["epoch"] == selected["epoch"].max()]
for place, (arm, colour) in enumerate(zip(where.ARMS, ("0.5", "0", "#0072B2", "#D55E00"), strict=True)):
    scores = final[final["arm"] == arm].sort_values("learning_rate")
    axes[0].semilogx(
        scores["learning_rate"], scores["validation_accuracy"], "o-", color=colour, markersize=4, label=arm
    )
    best = scores[scores["learning_rate"] == chosen[arm]]
    axes[0].plot(
        best["learning_rate"], best["validation_accuracy"], "o", markersize=10, markerfacecolor="none", color=colour
    )
    axes[1].plot(np.full(len(last), place), last[arm], "o", color=colour, markersize=4)
for _, row in last.iterrows():
    axes[1].plot(range(len(where.ARMS)), row[list(where.ARMS)], color="0.8", linewidth=0.8, zorder=0)
rates = sorted(set(final["learning_rate"]))
axes[0].set_xticks(rates, [f"{rate:g}" for rate in rates])
axes[0].minorticks_off()
axes[0].set(xlabel="learning rate", ylabel="validation accuracy", ylim=(0, 1.1))
axes[0].set_title("A  selection, one seed; ring: chosen", loc="left", fontsize=9)
axes[0].legend(fontsize=7, ncols=4, loc="upper center", columnspacing=0.8, handlelength=1.2)
axes[1].set_xticks(range(len(where.ARMS)), where.ARMS)
axes[1].set(ylabel="test accuracy")
axes[1].set_title("B  measured; lines join the arms of a seed", loc="left", fontsize=9)
plt.show()

# %%
# ## 12. When something changes
#
# - You change `report` alone: `neuro-decorr report results/where` makes tables, figures and page again, without a run.
# - You change the configuration: that is another study, with a directory of its own, for example
#   `neuro-decorr run where --rule interneuron --out results/interneuron`.
# - You change the run, a module that it imports, or the library: the command says what is different and stops.
#   `--accept-changed recompute` runs the stored runs again, `--accept-changed keep` leaves both in one table, on
#   record.

FILE.write_text(FILE.read_text(encoding="utf-8").replace("Linear(64, 50)", "Linear(64,  50)"), encoding="utf-8")
changed = subprocess.run(
    arguments("neuro-decorr run where --seeds 5"), cwd=home, capture_output=True, text=True, check=False
)
print("$ neuro-decorr run where --seeds 5")
print(changed.stderr.strip(), f"(exit code {changed.returncode})")

# %%
# ## What to try next
#
# - `neuro-decorr report results/where results/interneuron --out both.html` sets two studies side by side.
# - `--workers 8`, `--slurm`, `--timeout 1h`: processes and machines; see the guide "Studies: run, stop, go on".
# - A run that lasts hours goes on in its middle with `recorder.checkpoints(...)` around its loop.
# - `study.Search` in place of the grid lets Optuna propose learning rates, with equal budgets too.
# - `protocols/whitening.py`, in the directory that `init` made, is the shortest protocol of the library.
