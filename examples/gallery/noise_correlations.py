"""
# Noise correlations under two conditions

Trials of one condition share the stimulus; what they do not share is noise. Two conditions are compared by
their counts, with intervals, and beside what independent units with the same drifts show.
"""

# %%
# ## A session of 120 trials, written and read as NWB
#
# Sixteen units; in the trials `attend` their common gain varies less than in the trials `ignore`.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neuro_decorr as nd

generator = np.random.default_rng(0)
trials, units, length = 120, 16, 0.5
conditions = np.where(generator.random(trials) < 0.5, "attend", "ignore")
spread = np.where(conditions == "attend", 0.1, 0.35)
gains = np.exp(spread * generator.normal(size=trials))
rates = 20.0 * generator.uniform(0.5, 1.5, size=units)
starts = np.arange(trials) * 1.0
times = []
for rate in rates:
    counts = generator.poisson(gains * rate * length)
    times.append(np.sort(np.repeat(starts, counts) + length * generator.random(counts.sum())))
recording = nd.recording.from_times(
    times, 0.0, float(trials), trials=nd.recording.Trials(starts, starts + length, conditions.tolist())
)
path = Path(tempfile.mkdtemp()) / "session.nwb"
nd.recording.save(recording, path)
recording = nd.recording.load(path)
print(recording)

# %%
# ## Correlations of what trials do not share

found = nd.metrics.noise_correlations(recording)
print(found.to_frame().to_string(float_format="{:.3g}".format))
compared = nd.metrics.noise_comparison(recording, "attend", "ignore")
change = compared.rows["mean_correlation"]
print(f"ignore - attend: {change.difference:+.2f} [{change.low:.2f}, {change.high:.2f}], p = {change.p_value:.4f}")

# %%
# ## The picture

table = found.to_frame()
rows = table.drop(index="all conditions")
figure, axes = plt.subplots(figsize=(3.6, 3), layout="constrained")
for place, (_, row) in enumerate(rows.iterrows()):
    below, above = row["mean"] - row["low"], row["high"] - row["mean"]
    axes.errorbar(place, row["mean"], [[below], [above]], marker="o", capsize=3, color="#0072B2")
    axes.fill_between([place - 0.2, place + 0.2], row["null_low"], row["null_high"], color="0.85")
axes.set_xticks(range(len(rows)), rows.index)
axes.set(ylabel="mean noise correlation (95 % interval)", xlim=(-0.5, len(rows) - 0.5))
axes.axhline(0, color="0.6", linewidth=0.8)
plt.show()

# %%
# ## What to try next
#
# - Your own session: `nd.recording.load("session.nwb", condition="COLUMN")`, with the column of your table of trials.
# - `nd.metrics.signal_noise_correlation` sets noise beside signal correlations.
# - `neuro-decorr analyse session.nwb --trials attend --against ignore --bin 500ms --html page.html` draws all of it;
#   `--bin 500ms` counts once per trial, since a trial lasts 500 ms.
