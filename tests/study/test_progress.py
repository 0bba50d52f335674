import io
import re

import pytest
from rich.console import Console

from neuro_decorr.study import Condition
from neuro_decorr.study.costs import Costs
from neuro_decorr.study.progress import View

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d "


def follow(console: Console | None = None) -> None:
    with View(console) as view:
        view.stage("stage 1 of 2 (select)", 4, 1)
        view.inside(0, "select rate=[0.1] seed=0", 3, 10)
        view.line("something [happened]")
        view.advance(0)
        view.stage("stage 2 of 2 (measure)", 3, 1, 1)
        view.inside(17, "not shown", 1, 2)
        view.summary("3 runs, 0.1 s")


def test_bars_over_runs_and_inside_a_run_on_a_terminal() -> None:
    text = io.StringIO()
    follow(Console(file=text, force_terminal=True, width=120))
    for part in ("stage 1 of 2", "stage 2 of 2", "something [happened]", "━"):
        assert part in text.getvalue()
    assert "not shown" not in text.getvalue()


@pytest.mark.parametrize("variable", [None, "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"])
def test_lines_of_a_log_where_there_is_no_terminal(
    variable: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No carriage return, no escape: whatever the environment says of colours."""
    if variable is not None:
        monkeypatch.setenv(variable, "1")
    follow()
    said = capfd.readouterr().err
    told = [
        "stage 1 of 2 (select): 1 of 4 runs",
        "something [happened]",
        "stage 2 of 2 (measure): 1 of 3 runs, 1 diverged",
        "stage 2 of 2 (measure): 3 runs, 0.1 s",
    ]
    assert re.fullmatch("".join(f"{LINE}{re.escape(line)}\n" for line in told), said)
    assert said.isprintable() or set(said) - set(filter(str.isprintable, said)) == {"\n"}


def test_a_terminal_without_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    text = io.StringIO()
    follow(Console(file=text, force_terminal=True, width=120, no_color=True))
    assert "━" not in text.getvalue() and "\r" not in text.getvalue()
    assert re.match(f"{LINE}stage 1 of 2", text.getvalue())


def test_no_color_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars need the cursor, not colours (no-color.org)."""
    monkeypatch.setenv("NO_COLOR", "1")
    text = io.StringIO()
    follow(Console(file=text, force_terminal=True, width=120))
    assert "━" in text.getvalue()
    colours = [code for codes in re.findall(r"\x1b\[([\d;]*)m", text.getvalue()) for code in codes.split(";")]
    assert not [code for code in colours if code.isdigit() and int(code) >= 30]


def test_a_bar_tells_the_time_left_of_runs_of_the_same_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of 1 s have ended in an instant; two of 3600 s are missing, each for one of two workers."""
    monkeypatch.setattr("neuro_decorr.study.progress.time.monotonic", lambda: 5.0)
    text, runs = io.StringIO(), [Condition("m", seed, {"arm": arm}) for arm in ("a", "b") for seed in range(3)]
    costs = Costs()
    costs.add("m", {"arm": "b"}, 3600)
    with View(Console(file=text, force_terminal=True, width=120)) as view:
        view.stage("stage 1 of 1", 6, 0, 0, 2, [*runs[:2], *runs[3:5]], costs)
        for run in runs[:2]:
            view.advance(0, condition=run, seconds=1)
    assert "1:00:00" in text.getvalue()
