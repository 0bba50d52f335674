"""`neuro-decorr analyse`: known answers are inside the intervals, files appear, bad input is one line and code 2."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from examples.make_recordings import FOLDER, KNOWN
from neuro_decorr.cli import main
from neuro_decorr.recording import SpikeTrains, load, save
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


def test_a_manipulation_that_decorrelates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["analyse", MODES, "--period", "0s:50s", "--against", "50s:100s", "--out", str(out)]
    assert main(arguments) == 0
    assert "mean_correlation" in capsys.readouterr().out
    table = pd.read_csv(out / "tables" / "comparison.csv").set_index("measure")
    # Half of the pairs, less the diagonal, are within a group: 14 of 29 of them.
    row = table.loc["mean_correlation"]
    assert row["low"] < -KNOWN["shared_modes"] * 14 / 29 < row["high"] < 0
    paired = table.loc["mean_correlation (paired)"]
    assert paired["difference"] == pytest.approx(row["difference"])  # the mean of differences, the difference of means
    assert paired["high"] < 0 and paired["Cohen's d"] < -0.5 and paired["Cliff's delta"] < 0
    names = ("activity", "correlations", "dimensions")
    for name in (*names, *(f"against_{name}" for name in names), "comparison"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 5000
    assert main(arguments) == 0  # the same again
    assert main([*arguments, "--seed", "1"]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


def test_trials_of_a_condition() -> None:
    row = measure(analyse(Options(Path(MODES), trials="inhibited", surrogates=0)), "mean_correlation")
    assert row["low"] < 0 < row["high"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([MODES, "--bin", "50"], "--bin: got '50'; give a number with its unit"),
        ([MODES, "--block", "5"], "--block: got '5'; give a number with its unit"),
        ([MODES, "--high-pass", "-1s"], "--high-pass: got '-1s'; allowed are durations above zero"),
        ([MODES, "--sampling-rate", "30"], "--sampling-rate: got '30'; give a number with its unit (Hz, kHz)"),
        ([MODES, "--surrogate", "shift"], "--surrogate: got 'shift'; allowed: auto, circular_shift"),
        ([MODES, "--surrogates", "-1"], "--surrogates: got -1; allowed are 0 (none) and 19 and more"),
        ([MODES, "--surrogates", "many"], "--surrogates"),
        ([MODES, "--seed", "-1"], "--seed: got -1"),
        ([MODES, "--duplicates", "keep"], "--duplicates: got 'keep'; allowed: error, drop"),
        ([MODES, "--layout", "columns"], "--layout: got 'columns'"),
        ([MODES, "--html", "full"], "--html: full is a directory"),
        ([MODES, "--html", "full/thesis.tex"], "is no page of this command; nothing is overwritten"),
        ([MODES, "--out", "text.nwb/out"], "--out: nothing can be written into"),
        ([MODES, "--trials", "control", "--against", "inhibted"], "with --trials conditions: control, inhibited"),
        ([MODES, "--bin", "0s"], "allowed are durations above zero"),
        ([MODES, "--bin", "200s"], "bin: got 200 s, wider than the 100 s"),
        ([MODES, "--bin", "10s"], "in 10 bins of 10 s"),
        ([MODES, "--period", "5s"], "a period is START:END"),
        ([MODES, "--period", "5s:1s"], "the end must follow the start"),
        ([MODES, "--period", "50s:200s"], "choose a period that begins and ends inside"),
        ([MODES, "--trials", "contrl"], "did you mean 'control'?"),
        ([MODES, "--against", "absent.npz"], "--against: absent.npz: there is no such file"),
        (["absent.npz"], "absent.npz: there is no such file"),
        (["silent.csv"], "silent.csv: recording: no spikes of 2 units from 0 to 10 s"),
        (["text.nwb"], "text.nwb: holds csv, though its name says nwb"),
        ([MODES, "--out", "full"], "holds something else (thesis.tex)"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(SpikeTrains([[], []], 0, 10), tmp_path / "silent.csv")
    (tmp_path / "text.nwb").write_text("unit,time\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    assert main(["analyse", *arguments]) == 2
    said = capsys.readouterr()
    assert told in said.err and len(said.err.splitlines()) == 1 and said.out == ""


def test_a_users_own_file_with_the_note_that_it_carries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(load(MODES, period=(0, 20)), tmp_path / "mine.csv")
    assert main(["analyse", str(path), "--surrogates", "0"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "16 of 20 trials are not wholly inside 0 to 20 s: left out" in said
    assert "mean_absolute_correlation" in said
