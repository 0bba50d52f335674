"""A folder as phy and Kilosort leave it, whose answer is known: `python examples/phy_folder.py phy` writes it.

24 good units on a probe of 64 channels: the lower twelve share a rate, so do the upper twelve. Counts in bins of 50 ms
correlate by about 0.23 within a half (see `make_recordings.KNOWN`; a refractory period of 2 ms makes the counts a
little more regular than there) and not at all between them. Four clusters of noise spike together all the time, one
cluster (`mua`) is independent of everything.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from examples import make_recordings

RATE = 30_000.0  # Hz
GOOD, NOISE, CHANNELS = 24, 4, 64
PITCH = 20.0  # micrometres between two channels along the probe
REFRACTORY = 2e-3  # s


def write(folder: Path, seed: int = 5, duration: float = 100.0) -> Path:
    """Write the folder.

    Args:
        folder: Where to.
        seed: Seed of the spikes.
        duration: Length of the recording (s).

    Returns:
        The folder.
    """
    generator = np.random.default_rng(seed)
    # `shared_modes` has independent units in its second half: the first is the whole of this recording.
    modes = make_recordings.shared_modes(seed, GOOD, 2, duration).window(0, duration)
    halves = [modes.times[k] for k in (*range(0, GOOD, 2), *range(1, GOOD, 2))]
    artefact = make_recordings.poisson(generator, 5.0, duration)
    clusters = [*halves, make_recordings.poisson(generator, 20.0, duration), *[artefact] * NOISE]
    samples = [(times * RATE).astype(np.int64) for times in clusters]
    samples = [times[np.diff(times, prepend=-RATE) >= REFRACTORY * RATE] for times in samples]
    # Clusters are numbered with holes, as after merging.
    number = np.repeat(3 * np.arange(len(clusters)), [len(times) for times in samples])
    together = np.concatenate(samples)
    order = np.argsort(together, kind="stable")
    channel = np.linspace(0, CHANNELS - 1, len(clusters)).astype(int)
    reach = np.exp(-np.abs(np.arange(CHANNELS) - channel[:, None]) / 3.0)
    wave = -np.sin(np.linspace(0, 2 * np.pi, 32))
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "spike_times": together[order, None],  # a column, as Kilosort has it
        "spike_clusters": number[order].astype(np.int32),
        "spike_templates": (number[order] // 3).astype(np.uint32),
        "templates": (wave[:, None] * reach[:, None, :]).astype(np.float32),
        "channel_map": np.arange(CHANNELS),
        "channel_positions": np.column_stack([np.arange(CHANNELS) % 2 * 32.0, np.arange(CHANNELS) * PITCH]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    said = ["good"] * GOOD + ["mua"] + ["noise"] * NOISE
    rows = "".join(f"{3 * k}\t{label}\n" for k, label in enumerate(said))
    (folder / "cluster_group.tsv").write_text(f"cluster_id\tgroup\n{rows}", encoding="utf-8")
    (folder / "params.py").write_text(f"dat_path = 'raw.bin'\nsample_rate = {RATE}\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
