"""
# Your own recording, from a phy folder

From the folder that phy or Kilosort leaves to noise correlations with an interval, a floor and a null; then which of
the numbers to believe, and the same with one command. The session is made here, so that the right answer is known.
Put the path of your own folder in its place, and go through the same steps.

You need `pip install '.[study,recordings]'` in a checkout, or a release file with the same extras.
"""

# %%
# ## 1. A session whose answer is known
#
# Twenty units answer a stimulus of 0.5 s, 200 times, in random order under two conditions. In every trial one gain $g$
# multiplies the rates of all units. A unit with mean count $\lambda_i$ fires Poisson spikes, given the gain. With
# $\operatorname{Var} g = v$ the noise correlation of two units is known in closed form,
#
# $$
# r_{ij} = \frac{v\,\lambda_i \lambda_j}{\sqrt{(\lambda_i + v \lambda_i^2)(\lambda_j + v \lambda_j^2)}} .
# $$
#
# The gain varies by 10 % (standard deviation) in the trials `attend`, and by 30 % in the trials `ignore`.

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neuro_decorr as nd

UNITS, TRIALS, LENGTH, EVERY, HERTZ = 20, 200, 0.5, 1.5, 30_000
SPREAD = {"attend": 0.1, "ignore": 0.3}
REFRACTORY = 0.002  # s
generator = np.random.default_rng(5)
rates = generator.uniform(15, 45, size=UNITS)  # Hz, during the stimulus
starts = 1.0 + EVERY * np.arange(TRIALS)
conditions = generator.permutation(np.repeat(list(SPREAD), TRIALS // 2))
end = float(starts[-1] + EVERY)


def spikes_between(start, length, count):
    """Exactly `count` spikes, no two of them closer than the refractory period."""
    free = np.sort(generator.uniform(0, length - REFRACTORY * (count + 1), size=count))
    return start + free + REFRACTORY * np.arange(1, count + 1)


def session(spread, drift=0.0):
    """Spike times (s) of every unit; `drift` is the change of its rate over the session: every second unit goes up."""
    gains = 1 + np.array([spread[name] for name in conditions]) * generator.normal(size=TRIALS)
    trends = np.outer(np.linspace(-0.5, 0.5, TRIALS), np.resize([-1, 1], UNITS)) * drift
    answers = generator.poisson(LENGTH * rates * (1 + trends) * gains.clip(0)[:, None])  # (trials, units)
    rest = generator.poisson((EVERY - LENGTH) * 5.0, size=answers.shape)  # 5 Hz between the stimuli
    trains = []
    for unit in range(UNITS):
        parts = [spikes_between(a, LENGTH, n) for a, n in zip(starts, answers[:, unit], strict=True)]
        parts += [spikes_between(a + LENGTH, EVERY - LENGTH, n) for a, n in zip(starts, rest[:, unit], strict=True)]
        trains.append(np.sort(np.concatenate(parts)))
    return trains


# %%
# ## 2. What phy leaves behind
#
# A folder of arrays and tables: `spike_times.npy` counts samples, `params.py` has the sampling rate, and
# `cluster_group.tsv` has what you decided while you curated. Three clusters here are one artefact of the stimulator,
# which the sorter found on three channels, and one is multi-unit activity.

folder = Path(tempfile.mkdtemp()) / "phy"


def write_phy(folder, trains):
    """Write a new folder as phy does, from the spike times (s) of every unit."""
    artefact = starts + 0.01
    clusters = [
        *trains,
        artefact,
        artefact,
        artefact,
        np.unique(generator.integers(0, int(end * HERTZ), size=4000)) / HERTZ,
    ]
    groups = ["good"] * len(trains) + ["noise"] * 3 + ["mua"]
    times = np.concatenate([np.round(train * HERTZ).astype(np.uint64) for train in clusters])
    cluster = np.repeat(np.arange(len(clusters), dtype=np.int32), [len(train) for train in clusters])
    order = np.argsort(times, kind="stable")
    folder.mkdir(parents=True)
    np.save(folder / "spike_times.npy", times[order])
    np.save(folder / "spike_clusters.npy", cluster[order])
    (folder / "params.py").write_text(f"sample_rate = {HERTZ}\n")
    rows = "".join(f"{number}\t{group}\n" for number, group in enumerate(groups))
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n" + rows)


write_phy(folder, session(SPREAD))
print(*sorted(path.name for path in folder.iterdir()))

# %%
# ## 3. Read it
#
# A sorter does not write when the recording began and ended. Without `period` the window reaches from the first spike
# to the last, and a note says so. Everything that was left out or could not be known stands in the notes. If you merged
# clusters in phy, some spikes of a unit may be there twice, which is an error; `duplicates="drop"` keeps one of each.

recording = nd.recording.load(folder, quality=["good"], period=(0, end))
print(recording)
print(*recording.notes, sep="\n")

# %%
# ## 4. Are the units what they are taken for?
#
# Look at the sorting before you correlate anything: a neuron that was sorted twice correlates perfectly with its copy.
# `unit_quality` finds refractory violations, near-duplicates and units that come and go. The good units give no
# warning.

quality = nd.metrics.unit_quality(recording)
print(quality.to_frame()[["spikes", "rate", "violations", "violations_expected", "presence"]].head(4).round(2))
print("warnings, good units:", quality.warnings or "none")

# %%
# With `quality=["all"]` the artefact is among the units, and it is found.

everything = nd.metrics.unit_quality(nd.recording.load(folder, quality=["all"], period=(0, end)))
print(*everything.warnings, sep="\n")

# %%
# ## 5. The trials
#
# A phy folder holds no trials: your stimulus computer wrote them. A table with a row a trial is enough, as CSV, TSV or
# Parquet: the columns `start` and `stop` (or `onset` and `offset`) in seconds on the clock of the spikes, and the
# condition. If your table has several other columns, name the right one by `condition="COLUMN"` (in the command
# `--condition COLUMN`).

table = folder.parent / "trials.csv"
lines = [f"{start},{start + LENGTH},{name}\n" for start, name in zip(starts, conditions, strict=True)]
table.write_text("start,stop,condition\n" + "".join(lines))

recording = nd.recording.load(folder, quality=["good"], period=(0, end), trial_table=table)
counts, _ = recording.trial_counts()  # one count a trial and unit
print(recording)
print("counts:", counts.shape, "conditions:", sorted(set(recording.trials.conditions)))

# %%
# ## 6. Look at the spikes
#
# All units answer together, because the stimulus drives all of them. That is no noise correlation.

figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained", width_ratios=[2, 1])
for place, train in enumerate(recording.times):
    shown = train[(train > 0) & (train < 8)]
    axes[0].plot(shown, np.full(len(shown), place), "|", color="black", markersize=4)
for start in starts[starts < 8]:
    axes[0].axvspan(start, start + LENGTH, color="#E69F00", alpha=0.3, linewidth=0)
axes[0].set(xlabel="time (s)", ylabel="unit", xlim=(0, 8))
axes[0].set_title("A  spikes; shaded: the stimulus", loc="left", fontsize=9)
labels, fast = np.array(recording.trials.conditions), np.argsort(rates)[-2:]  # the two fastest units
for name, colour in (("attend", "#0072B2"), ("ignore", "#D55E00")):
    chosen = counts[labels == name][:, fast]
    axes[1].plot(chosen[:, 0], chosen[:, 1], "o", color=colour, markersize=3, alpha=0.6, label=name)
axes[1].set(xlabel=f"spikes of unit {fast[0]} in a trial", ylabel=f"spikes of unit {fast[1]} in a trial")
axes[1].set_title("B  one pair, 200 trials", loc="left", fontsize=9)
axes[1].legend(fontsize=8)
plt.show()

# %%
# ## 7. Noise correlations, with interval, floor and null
#
# The mean response to a condition is removed; what trials of one condition do not share is noise. Read a row like this:
#
# - `mean`, `low`, `high`: mean correlation of all pairs, with its 95 % interval (trials left out one after the other);
# - `null_low`, `null_high`: where the mean of independent units lies in 95 of 100 sessions, and `p_value`;
# - `mean_absolute` and its `floor_absolute`: the mean magnitude, and what independent units show with so few trials.

found = nd.metrics.noise_correlations(recording)
print(found.facts, "\n")
print(found.to_frame().T.to_string(float_format="{:.3g}".format))


def truth(spread):
    """Mean correlation of all pairs by the closed form."""
    scale = spread * np.sqrt(LENGTH * rates / (1 + spread**2 * LENGTH * rates))
    return np.outer(scale, scale)[np.triu_indices(UNITS, 1)].mean()


for name, spread in SPREAD.items():
    row = found.rows[name]
    print(f"{name}: {row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]; closed form {truth(spread):.3f}")

# %%
# Such an interval holds the true value in about 95 of 100 sessions.

# %%
# ## 8. The picture
#
# Grey bands are the null: where the mean of independent units lies.

figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), layout="constrained", width_ratios=[1, 1, 1.1])
for axis, name, letter in zip(axes, SPREAD, "AB", strict=False):
    shown = found.matrices[name] - np.eye(UNITS)
    image = axis.imshow(shown, cmap="RdBu_r", vmin=-0.7, vmax=0.7)
    axis.set(xlabel="unit", ylabel="unit" if letter == "A" else "")
    axis.set_title(f"{letter}  {name}", loc="left", fontsize=9)
figure.colorbar(image, ax=axes[1], shrink=0.8, label="noise correlation")
for place, (name, spread) in enumerate(SPREAD.items()):
    row = found.rows[name]
    axes[2].fill_between([place - 0.3, place + 0.3], row.null_low, row.null_high, color="0.85", linewidth=0)
    reach = [[row.mean - row.low], [row.high - row.mean]]
    axes[2].errorbar(place, row.mean, reach, marker="o", capsize=3, color="#0072B2", label="" if place else "measured")
    axes[2].plot(place, truth(spread), "D", markerfacecolor="none", color="black", label="" if place else "closed form")
axes[2].set_xticks(range(len(SPREAD)), list(SPREAD))
axes[2].set(ylabel="mean noise correlation", xlim=(-0.6, 1.6))
axes[2].set_title("C  100 trials each, 95 %", loc="left", fontsize=9)
axes[2].legend(fontsize=7, loc="upper left")
plt.show()

# %%
# ## 9. One condition against the other
#
# Two intervals that overlap do not tell whether two conditions differ; the interval of the difference does. The rates
# stand beside it, because correlations of counts grow with the rate. Here the rates do not differ, and the gain does.

compared = nd.metrics.noise_comparison(recording, "attend", "ignore")
print(compared.to_frame().to_string(float_format="{:.3g}".format))
print("warnings:", compared.warnings or "none")

# %%
# ## 10. A null from your own data: exchanged trials
#
# The null above is a calculation. Surrogates make the same statement from the data: each unit's trials of a condition
# are exchanged, which keeps the responses and destroys what units share trial by trial.

null = nd.metrics.signal_noise_correlation(recording, surrogates=199, seed=0).null
print(f"mean |r| {null.observed:.3f}; surrogates {null.surrogates.mean():.3f}; p = {null.p_value:.3f}")
print(f"{null.kind}: {null.reason}")

# %%
# ## 11. Which number to believe: a session in which units share nothing
#
# Correlations mislead where units drift. So here is a control without a common gain. Over the session the rates of half
# of the units go up by 60 %, those of the others go down, as when the electrode moves. These units share nothing. Five
# numbers:
#
# 1. the mean correlation of counts in bins of the whole session, in which the stimulus is a common input;
# 2. the mean magnitude of noise correlations without its floor;
# 3. its p-value by exchanged trials, a test that takes trials to be exchangeable, which drifting trials are not;
# 4. the p-value by the surrogates that the library chooses: it sees the drifts, removes what is slow, and shifts the
#    trials of each unit in their order;
# 5. the mean noise correlation with its interval and its null, which is as slow over the trials as the units are.

write_phy(folder.parent / "drifting", session({"attend": 0.0, "ignore": 0.0}, drift=0.6))
drifting = nd.recording.load(
    folder.parent / "drifting", quality=["good"], period=(0, end), trial_table=table, condition="condition"
)
sessions = {"one gain for all units": recording, "drifts, nothing shared": drifting}
pairs = np.triu_indices(UNITS, 1)
believed = {}
for name, each in sessions.items():
    whole = np.corrcoef(each.counts(0.5).T)[pairs].mean()
    row = nd.metrics.noise_correlations(each).rows["all conditions"]
    exchanged = nd.metrics.surrogate_null(each, bin=LENGTH, kind="trial_shuffle", cutoff=None, surrogates=199, seed=0)
    chosen = nd.metrics.surrogate_null(each, bin=LENGTH, surrogates=199, seed=0)
    believed[name] = row
    print(name)
    print(f"  1. bins of the whole session    r = {whole:+.2f}")
    print(f"  2. mean |r| without its floor   {row.mean_absolute:.2f}; the floor is {row.floor_absolute:.2f}")
    print(f"  3. trials exchanged anyway      p = {exchanged.p_value:.3f}")
    print(f"  4. {chosen.kind:28} p = {chosen.p_value:.3f}")
    print(f"  5. mean {row.mean:+.3f} [{row.low:+.3f}, {row.high:+.3f}]", end="; ")
    print(f"null [{row.null_low:+.3f}, {row.null_high:+.3f}], p = {row.p_value:.4f}")

# %%
# In the session of drifts the numbers 1 to 3 claim correlations that are not there. The numbers 4 and 5 do not: the
# magnitude is at its floor, and the mean lies inside its null. The interval alone would not do: these twenty units did
# drift against each other in this session, and the interval says how well that is known; the null says what drifts do.
# Believe the mean with its interval beside its null, or a magnitude beside its floor.

figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.7), layout="constrained")
for place, row in enumerate(believed.values()):
    axes[0].bar(place - 0.2, row.mean_absolute, 0.38, color="#D55E00", label="" if place else "mean |r|")
    axes[0].bar(place + 0.2, row.floor_absolute, 0.38, color="0.75", label="" if place else "floor")
    axes[1].fill_between([place - 0.3, place + 0.3], row.null_low, row.null_high, color="0.85", linewidth=0)
    axes[1].errorbar(
        place, row.mean, [[row.mean - row.low], [row.high - row.mean]], marker="o", capsize=3, color="#0072B2"
    )
axes[0].set(ylabel="magnitude of noise correlations")
axes[0].set_title("A  beside its floor", loc="left", fontsize=9)
axes[0].legend(fontsize=8)
axes[1].axhline(0, color="0.6", linewidth=0.8)
axes[1].set(ylabel="mean noise correlation")
axes[1].set_title("B  95 % interval and null, 200 trials", loc="left", fontsize=9)
for axis in axes:
    axis.set_xticks([0, 1], ["one gain", "drifts only"])
    axis.set(xlim=(-0.6, 1.6))
plt.show()

# %%
# ## 12. The same with one command
#
# In a terminal, beside the folder `phy` and the table `trials.csv`:
#
#     neuro-decorr analyse phy --quality good --period 0s:301s --trial-table trials.csv \
#         --trials attend --against ignore --bin 500ms --out results
#
# `--bin 500ms` counts once in each trial, since a trial lasts 500 ms. Noise correlations have one count per trial
# without it, too; the other measures would have bins of 50 ms. The command prints tables for both conditions and
# for their difference. In `results` it writes the tables, the figures, and `index.html`, one page with all of them and
# with how they were made, to send to a colleague.

results = folder.parent / "results"
command = [sys.executable, "-m", "neuro_decorr", "analyse", str(folder), "--quality", "good", "--period", f"0s:{end}s"]
command += ["--trial-table", str(table), "--trials", "attend", "--against", "ignore", "--bin", "500ms"]
said = subprocess.run([*command, "--out", str(results)], capture_output=True, text=True, check=True)
lines = said.stdout.splitlines()
begin = next(number for number, line in enumerate(lines) if "Noise correlations under the second" in line)
print(*lines[begin + 1 : begin + 6], sep="\n")
print(*sorted(path.name for path in results.iterdir()))

# %%
# The differences agree with those of step 9. One of the figures of the page:

image = plt.imread(results / "figures" / "comparison.png")
figure = plt.figure(figsize=(8, 8 * image.shape[0] / image.shape[1]))
axes = figure.add_axes((0, 0, 1, 1))
axes.imshow(image)
axes.axis("off")
plt.show()

# %%
# ## What to try next
#
# - Your own folder: `nd.recording.load("PATH", quality=["good"], trial_table="trials.csv", condition="COLUMN")`.
# - `nd.metrics.pair_profile(recording, bin=0.05, against="distance")`, if the folder has the places of the channels.
# - `nd.metrics.surrogate_null(recording, bin=0.02, kind="jitter")` asks for synchrony finer than the rates.
# - `nd.recording.save(recording, "session.nwb")` keeps units and trials in one file.
# - The page "Which number to believe" of the documentation says how often each of these errs.
