"""`neuro-decorr analyse`: known answers are inside the intervals, files appear, bad input is one line and code 2."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from examples.make_recordings import FOLDER, KNOWN
from neuro_decorr.cli import main
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import noise_correlations
from neuro_decorr.recording import Rates, SpikeTrains, Trials, load, save
from neuro_decorr.report.analyse import analyse
from neuro_decorr.report.options import Options
from neuro_decorr.report.results import Analysis

MODES = str(FOLDER / "shared_modes.npz")


def measure(analysis: Analysis, name: str, table: str = "summary") -> pd.Series:
    return analysis.table(table).set_index("measure").loc[name]


@pytest.mark.parametrize("name", ["single_interaction.nix", "compound_poisson.nwb"])
def test_the_known_correlation_is_inside_the_interval_and_far_from_chance(name: str) -> None:
    row = measure(analyse(Options(FOLDER / name, surrogates=39)), "mean_correlation")
    assert row["low"] < KNOWN[Path(name).stem] < row["high"]
    assert -0.02 < row["null_low"] < row["null_high"] < 0.02 < row["low"]


def test_a_manipulation_that_decorrelates() -> None:
    found = analyse(Options(Path(MODES), period="0s:50s", against="50s:100s", surrogates=0))
    table = found.table("comparison").set_index(["rates", "measure"])
    # Half of the pairs, less the diagonal, are within a group: 14 of 29 of them.
    row = table.loc["as recorded", "mean_correlation"]
    assert row["difference"] == pytest.approx(-KNOWN["shared_modes"] * 14 / 29, abs=0.02) and row["high"] < 0
    assert table.loc["matched", "mean_correlation"]["high"] < 0  # the rates are alike
    paired = table.loc["as recorded", "mean_correlation (paired)"]
    assert paired["high"] < 0 and paired["Cohen's d"] < -0.5 and paired["Cliff's delta"] < 0


def test_fewer_spikes_alone_are_no_decorrelation_at_matched_rates(tmp_path: Path) -> None:
    """The second half keeps a fifth of the spikes: r falls to a fifth, and not at matched rates."""
    generator = np.random.default_rng(0)
    times = []
    mother = np.sort(generator.uniform(0, 200, 200 * 40))
    for _ in range(10):
        train = mother[generator.random(len(mother)) < 0.2]
        kept = (train < 100) | (generator.random(len(train)) < 0.2)
        times.append(train[kept])
    path = save(SpikeTrains(times, 0, 200), tmp_path / "thinned.npz")
    found = analyse(Options(path, period="0s:100s", against="100s:200s", surrogates=0))
    table = found.table("comparison").set_index(["rates", "measure"])
    recorded, matched = (table.loc[rates, "mean_correlation"] for rates in ("as recorded", "matched"))
    assert recorded["first"] == pytest.approx(0.2, abs=0.03) and recorded["high"] < -0.1
    assert matched["low"] < 0 < matched["high"]
    rate = table.loc["as recorded", "mean_rate"]
    assert rate["second"] / rate["first"] == pytest.approx(0.2, abs=0.02)


def test_what_is_written_is_written_once_and_again_by_the_same_command(
    awkward: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["analyse", str(awkward), "--bin", "200ms", "--surrogates", "0", "--out", str(out)]
    assert main(arguments) == 0
    for name in ("activity", "correlations", "dimensions", "profiles"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 5000
    pictures = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}
    assert main(arguments) == 0  # the same again
    assert {path.name: path.read_bytes() for path in (out / "figures").iterdir()} == pictures
    assert main([*arguments, "--seed", "1"]) == 2
    assert "holds an analysis made with other options (seed); nothing is overwritten" in capsys.readouterr().err


def drifting(generator: np.random.Generator, shared: float) -> SpikeTrains:
    """Units whose rates drift up or down, each at its own pace; `shared` of the spikes of all come from one train."""
    mother = np.sort(generator.uniform(0, 120, 1200))
    times = []
    for _ in range(12):
        own = np.sort(generator.uniform(0, 120, 2400))
        slope = generator.uniform(-1, 1)
        own = own[generator.random(len(own)) < 0.5 * (1 + slope * (own / 60 - 1))]
        times.append(np.unique(np.concatenate([own, mother[generator.random(len(mother)) < shared]])))
    return SpikeTrains(times, 0, 120)


def test_drifts_are_told_removed_and_split_from_what_is_fast(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    nothing = save(drifting(generator, 0.0), tmp_path / "nothing.npz")
    found = analyse(Options(nothing, bin="500ms", surrogates=39))
    told = " ".join(found.parts[0].facts)
    assert "Chance by local shift: units drift" in told and "is removed" in told
    fast = found.table("slow_fast").set_index("part")
    assert fast.loc["slow", "mean_absolute_correlation"] > 2 * fast.loc["fast", "mean_absolute_correlation"]
    row = measure(found, "mean_absolute_correlation")
    # One recording; the size of the test is tested in tests/metrics.
    assert row["compared"] == pytest.approx((row["null_low"] + row["null_high"]) / 2, rel=0.25)
    asked = analyse(Options(nothing, bin="500ms", surrogates=0, high_pass="5s"))
    assert "slower than 5" in " ".join(asked.parts[0].facts)
    again = save(drifting(generator, 0.3), tmp_path / "something.npz")
    row = measure(analyse(Options(again, bin="500ms", surrogates=39)), "mean_absolute_correlation")
    assert row["compared"] > row["null_high"]


def test_a_shared_response_to_trials_is_no_noise_correlation(tmp_path: Path) -> None:
    """Independent units with one response: correlated as recorded, not after the mean response is removed."""
    generator = np.random.default_rng(1)
    starts = np.arange(60) * 1.0
    times: list[list[float]] = [[] for _ in range(8)]
    for start in starts.tolist():
        for unit in times:
            drawn = np.sort(generator.uniform(0, 1, generator.poisson(30)))
            unit.extend((start + drawn[generator.random(len(drawn)) < np.exp(-4 * drawn)]).tolist())
    trials = Trials(starts, starts + 1.0, ["a", "b"] * 30)
    path = save(SpikeTrains(times, 0, 60, trials=trials), tmp_path / "response.npz")
    found = analyse(Options(path, trials="a", against="b", bin="100ms", surrogates=39))
    row = measure(found, "mean_correlation")
    assert row["low"] > 0.1 and row["null_low"] < row["compared"] < row["null_high"]
    noise = found.table("noise").set_index("condition").loc["a"]
    assert noise["low"] < 0 < noise["high"] and noise["p_value"] > 0.05
    change = found.table("noise_comparison").set_index("measure").loc["mean_correlation"]
    assert change["low"] < 0 < change["high"]


def test_one_that_drifts_and_one_that_does_not_are_treated_alike(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    first = save(drifting(generator, 0.0), tmp_path / "first.npz")
    steady = SpikeTrains([np.sort(generator.uniform(0, 60, 600)) for _ in range(12)], 0, 60)
    second = save(steady, tmp_path / "second.npz")
    found = analyse(Options(first, against=str(second), bin="500ms", surrogates=0))
    for part in (found.parts[0], found.parts[2]):
        told = next(fact for fact in part.facts if fact.startswith("No surrogates"))
        assert "without fluctuations slower than 12 s" in told


def test_trials_of_a_condition() -> None:
    row = measure(analyse(Options(Path(MODES), trials="inhibited", surrogates=0)), "mean_correlation")
    assert row["low"] < 0 < row["high"]


def counted(path: Path, conditions: list[str]) -> dict[str, float]:
    """Mean correlation of the counts of whole trials after the mean of each condition is removed, by NumPy."""
    recording = load(path)
    trials = recording.trials
    edges = np.column_stack([trials.start, trials.stop])
    counts = np.array([np.diff(np.searchsorted(times, edges), axis=1)[:, 0] for times in recording.times]).T.astype(
        float
    )
    labels = np.array(trials.conditions)
    for name in set(trials.conditions):
        counts[labels == name] -= counts[labels == name].mean(axis=0)
    pairs = np.triu_indices(counts.shape[1], 1)
    return {
        name: np.corrcoef(counts[np.isin(labels, own)].T)[pairs].mean()
        for name, own in {**{one: [one] for one in conditions}, "all conditions": conditions}.items()
    }


@pytest.mark.parametrize("given", ["", "all", "control,inhibited"])
def test_noise_correlations_have_one_count_per_trial_and_need_no_option(given: str) -> None:
    found = analyse(Options(Path(MODES), trials=given, surrogates=0))
    noise = found.table("noise").set_index("condition")["mean"]
    expected = counted(Path(MODES), ["control", "inhibited"])
    assert noise.to_dict() == pytest.approx(expected)
    said = " ".join(found.parts[0].warnings)
    assert ("only the noise correlations use the 20 trials" in said) == (not given)
    assert ("such as --bin 5s for one count per trial" in said) == bool(given)


def test_trials_of_unequal_lengths_have_the_bins_of_the_other_measures_and_say_so(tmp_path: Path) -> None:
    source, starts = np.random.default_rng(2), 2.0 * np.arange(40)
    times = [np.sort(source.uniform(0, 80, 800)) for _ in range(4)]
    trials = Trials(starts, starts + np.tile([1.0, 1.01], 20), ["a"] * 40)
    path = save(SpikeTrains(times, 0, 80, trials=trials), tmp_path / "jitter.npz")
    for given in ("", "a"):
        found = analyse(Options(path, trials=given, surrogates=0))
        expected = noise_correlations(load(path), 0.05).rows["a"].mean
        assert found.table("noise")["mean"].tolist() == [expected]
        told = (
            "the noise correlations have bins of 0.05 s, since trials last 1 to 1.01 s; for one count per trial give "
        )
        assert f"{told}--bin 1s" in found.parts[0].warnings
    whole = analyse(Options(path, trials="a", bin="1s", surrogates=0))
    assert "bins of 1 s" in next(shown.caption for shown in whole.parts[0].tables if shown.name == "noise")


def test_a_width_that_is_given_is_that_of_noise_correlations_too() -> None:
    found = analyse(Options(Path(MODES), trials="control", against="inhibited", bin="100ms", surrogates=0))
    recording = load(MODES)
    row = found.table("noise").set_index("condition").loc["control"]
    assert row["mean"] == noise_correlations(recording, 0.1).rows["control"].mean
    change = found.table("noise_comparison").set_index("measure").loc["mean_correlation"]
    assert change["first"] == row["mean"] and not any("--bin" in line for line in found.parts[0].warnings)
    change = analyse(Options(Path(MODES), trials="control", against="inhibited", surrogates=0)).table(
        "noise_comparison"
    )
    expected = counted(Path(MODES), ["control", "inhibited"])
    row = change.set_index("measure").loc["mean_correlation"]
    assert (row["first"], row["second"]) == pytest.approx((expected["control"], expected["inhibited"]))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([MODES, "--bin", "50"], "--bin: got '50'; give a number with its unit"),
        ([MODES, "--block", "5"], "--block: got '5'; give a number with its unit"),
        ([MODES, "--high-pass", "-1s"], "--high-pass: got '-1s'; allowed are durations above zero"),
        ([MODES, "--sampling-rate", "30"], "--sampling-rate: got '30'; give a number with its unit (Hz, kHz)"),
        ([MODES, "--surrogate", "shift"], "--surrogate: got 'shift'; allowed: auto, circular_shift"),
        ([MODES, "--surrogates", "-1"], "--surrogates: got -1; allowed are 0 (none) or at least 19"),
        ([MODES, "--surrogates", "many"], "--surrogates"),
        ([MODES, "--seed", "-1"], "--seed: got -1"),
        ([MODES, "--duplicates", "keep"], "--duplicates: got 'keep'; allowed: error, drop"),
        ([MODES, "--layout", "columns"], "--layout: got 'columns'"),
        ([MODES, "--html", "full"], "--html: full is a directory"),
        ([MODES, "--html", "full/thesis.tex"], "is no page of this command; nothing is overwritten"),
        ([MODES, "--out", "text.nwb/out"], "--out: nothing can be written into"),
        ([MODES, "--trials", "control", "--against", "inhibted"], "or the conditions control, inhibited"),
        (
            [MODES, "--against", "other.npz"],
            "shares 0 labels of units with FILE, at least 2 are needed: got x, y, ...;",
        ),
        ([MODES, "--against", "volts.npz"], "--against: has rates V, but FILE has spikes; give two of the same kind"),
        (
            ["volts.npz", "--against", "hertz.npz"],
            "--against: has rates Hz, but FILE has rates V; give two of the same kind",
        ),
        ([MODES, "--block", "1ms"], "--block: got 0.001 s, shorter than a bin of 0.05 s"),
        ([MODES, "--pair", "a0"], "--pair: got 'a0'; give the labels of two different units, as in "),
        ([MODES, "--pair", "a0,a0"], "give the labels of two different units"),
        ([MODES, "--pair", "a0,zz"], "there is no unit 'zz'"),
        ([MODES, "--bin", "0s"], "allowed are durations above zero"),
        ([MODES, "--bin", "200s"], "--bin: got 200 s, wider than the 100 s"),
        ([MODES, "--bin", "10s"], "in 10 bins of 10 s"),
        ([MODES, "--bin", "1us"], "with 8e-06 spikes per unit and bin; needed are at least 0.0001"),
        (
            ["unequal.npz", "--trials", "a"],
            "they last 1 to 1.4 s and hold 20 to 28 bins of 0.05 s; all trials must hold",
        ),
        (
            [MODES, "--surrogate", "trial-shift"],
            "--surrogate: trial_shift exchanges trials; choose trials with --trials",
        ),
        (
            [MODES, "--trials", "control", "--surrogate", "dither"],
            "with --trials give auto, trial_shuffle or trial_shift",
        ),
        ([MODES, "--block", "50s", "--surrogates", "0"], "--block: got 2 blocks in the recording"),
        ([MODES, "--high-pass", "1ms"], "--high-pass: must be a finite number >= 0.1"),
        ([MODES, "--period", "5s"], "a period is START:END"),
        ([MODES, "--period", "5s:1s"], "the end must follow the start"),
        ([MODES, "--period", "50s:200s"], "choose a period that begins and ends inside"),
        ([MODES, "--trials", "contrl"], "did you mean 'control'?"),
        (["other.npz", "--trials", "a"], "the recording has none; give a table of them by --trial-table TABLE"),
        (
            ["plain.npz", "--trials", "a"],
            "plain.npz: trials: they have no conditions; name their column by --condition",
        ),
        ([MODES, "--against", "absent.npz"], "--against: absent.npz: there is no such file"),
        (["absent.npz"], "absent.npz: there is no such file"),
        (["silent.csv"], "silent.csv: recording: no spikes of 2 units from 0 to 10 s"),
        (["unsorted.csv"], "or ask for that with --sort."),
        (["few.npz", "--trials", "a"], "few.npz: trials: got 9; intervals need at least 10: choose more conditions"),
        (["text.nwb"], "text.nwb: holds csv, though its name says nwb"),
        ([MODES, "--out", "full"], "holds other files (thesis.tex)"),
        ([MODES, "--out", "text.nwb"], "--out: text.nwb is no directory; nothing is overwritten"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(SpikeTrains([[], []], 0, 10), tmp_path / "silent.csv")
    save(SpikeTrains([[1.0], [2.0]], 0, 10, ["x", "y"]), tmp_path / "other.npz")
    plain = Trials(np.arange(20.0), np.arange(20) + 1.0)
    save(SpikeTrains([[1.0], [2.0]], 0, 20, trials=plain), tmp_path / "plain.npz")
    few = Trials(np.arange(9.0), np.arange(9) + 0.5, ["a"] * 9)
    save(SpikeTrains([[1.0], [2.0]], 0, 10, trials=few), tmp_path / "few.npz")
    unequal = Trials(2 * np.arange(20.0), 2 * np.arange(20) + np.tile([1, 1.4], 10), ["a"] * 20)
    save(SpikeTrains([[1.0], [2.0]], 0, 40, trials=unequal), tmp_path / "unequal.npz")
    (tmp_path / "unsorted.csv").write_text("unit,time\na,2.5\na,1.5\nb,3.5\n")
    for name, quantity in (("volts", "V"), ("hertz", "Hz")):
        save(Rates(np.eye(50, 2), 0.05, quantity=quantity), tmp_path / f"{name}.npz")
    (tmp_path / "text.nwb").write_text("unit,time\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    assert main(["analyse", *arguments]) == 2
    said = capsys.readouterr()
    assert told in said.err and len(said.err.splitlines()) == 1 and said.out == ""


@pytest.mark.parametrize("option", ["--out", "--html"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o500)
    if os.geteuid() == 0:  # to whom every folder is open, but for those that the kernel keeps
        closed = Path("/proc")
    held = sorted(tmp_path.rglob("*"))
    assert main(["analyse", "absent.npz", option, str(closed / "new")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"neuro-decorr: {option}: nothing can be written into {closed} (")
    assert len(said.err.splitlines()) == 1 and said.out == "" and sorted(tmp_path.rglob("*")) == held


def test_counts_that_do_not_fit_the_memory_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuro_decorr.report.sample._memory", lambda: 1e6)
    with pytest.raises(InvalidValue, match=r"makes 10000 bins of 30 units, which need about 0.0048 GB; .* 0.001 GB"):
        analyse(Options(Path(MODES), bin="10ms"))


def test_milliseconds_read_as_seconds_make_too_many_bins_and_are_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuro_decorr.report.sample._memory", lambda: 1e6)
    times = np.random.default_rng(0).uniform(0, 60_000.0, 400)
    rows = "".join(f"{k % 2},{time}\n" for k, time in enumerate(np.sort(times)))
    (tmp_path / "a.csv").write_text(f"unit,time\n{rows}")
    with pytest.raises(InvalidValue, match=r"need about .* fewer units \(no unit fires .* milliseconds\?"):
        analyse(Options(tmp_path / "a.csv"))


@pytest.mark.parametrize(("step", "bin"), [(1 / 30, 2 / 30), (0.02, 0.04), (0.2, 0.2)])
def test_without_a_width_the_bins_of_rates_are_whole_steps(step: float, bin: float, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(400, 3))
    found = analyse(Options(save(Rates(values, step), tmp_path / "a.npz"), surrogates=0))
    assert f" samples of {bin:g} s" in " ".join(found.parts[0].facts)
    expected = np.corrcoef(values.reshape(-1, round(bin / step), 3).mean(axis=1), rowvar=False)
    np.testing.assert_allclose(found.table("pairs")["correlation"], expected[np.triu_indices(3, 1)], rtol=1e-5)


def test_what_independent_units_do_not_have_is_no_warning() -> None:
    found = analyse(Options(Path(MODES), trials="control", against="inhibited", surrogates=0))
    for part, told in zip(found.parts, (0, 1, 1), strict=True):
        assert sum(line.startswith("participation_ratio_both is withheld") for line in part.facts) == told
        assert not any("participation_ratio_both" in line for line in part.warnings)


def test_trials_that_were_all_left_out_are_told_where_they_are_asked_for(tmp_path: Path) -> None:
    """Such as trials in milliseconds beside spikes in seconds."""
    (tmp_path / "a.csv").write_text(
        "# trial_start = [0, 5000]\n# trial_stop = [1000, 6000]\nunit,time\n"
        + "".join(f"{unit},{time / 7}\n" for time in range(1, 400) for unit in "ab")
    )
    with pytest.raises(InvalidValue, match=r"trials: the recording has none .*2 of 2 trials are not wholly inside"):
        analyse(Options(tmp_path / "a.csv", trials="x"))


def test_a_users_own_file_with_the_note_that_it_carries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(load(MODES, period=(0, 20)), tmp_path / "mine.csv")
    assert main(["analyse", str(path), "--surrogates", "0"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "16 of 20 trials are not wholly inside 0 to 20 s: left out" in said
    assert "mean_absolute_correlation" in said


def test_the_correlogram_of_a_pair_is_of_the_trials_that_are_shown() -> None:
    found = analyse(Options(Path(MODES), trials="control", against="inhibited", pair="a0,a1", surrogates=0))
    recording = load(MODES)
    for prefix, condition in (("", "control"), ("against_", "inhibited")):
        trials = recording.trials.select([condition])
        inside = (np.concatenate([t[(t >= a) & (t < b)] for a, b in zip(trials.start, trials.stop, strict=True)])
                  for t in recording.select(["a0", "a1"]).times)  # fmt: skip
        first, second = (np.floor((times - trials.start[0]) / 1e-3 + 1e-8) for times in inside)
        lags = (second - first[:, None]).ravel()
        expected = [(lags == k).sum() for k in range(-50, 51)]
        assert found.table(f"{prefix}pair")["counts"].tolist() == expected
