import io

from rich.console import Console

from neuro_decorr.study.progress import View


def follow(terminal: bool) -> str:
    text = io.StringIO()
    with View(Console(file=text, force_terminal=terminal, width=120)) as view:
        view.stage("stage 1 of 2 (select)", 4, 1)
        view.inside(0, "select rate=[0.1] seed=0", 3, 10)
        view.line("something [happened]")
        view.advance(0)
        view.stage("stage 2 of 2 (measure)", 3, 0)
        view.inside(17, "not shown", 1, 2)
        view.summary("3 runs, 0.1 s")
    return text.getvalue()


def test_bars_over_runs_and_inside_a_run_on_a_terminal() -> None:
    text = follow(terminal=True)
    for part in ("stage 1 of 2", "stage 2 of 2", "something [happened]", "━"):
        assert part in text
    assert "not shown" not in text


def test_lines_only_when_it_is_no_terminal() -> None:
    assert follow(terminal=False) == "something [happened]\nstage 2 of 2 (measure): 3 runs, 0.1 s\n"
