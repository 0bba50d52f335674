"""File of Optuna with the sweeps of a study, for Optuna's dashboard; made from the stored runs, never read back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro_decorr.study import files
from neuro_decorr.study.proposals import direction, quiet
from neuro_decorr.study.selection import Selection
from neuro_decorr.study.sweeps import Levels, Search, Trial
from neuro_decorr.study.tables import Tables

if TYPE_CHECKING:
    import optuna

NAME = "sweeps.journal"


def selections(stages: Sequence[Callable[..., Any]]) -> list[Selection]:
    """Find the selections to which stages belong.

    Args:
        stages: Stages of a protocol.
    """
    owners = [getattr(stage, "__self__", None) for stage in stages]
    return [one for number, one in enumerate(owners) if isinstance(one, Selection) and one not in owners[:number]]


def write_sweeps(stages: Sequence[Callable[..., Any]], configuration: Any, tables: Tables, directory: Path) -> None:
    """Write `DIR/sweeps.journal`: one study of Optuna for each condition that has a search, named by its levels.

    Where two selections of a protocol have the same condition, the second name gets a number.
    `optuna-dashboard sweeps.journal` shows the file as pages; a program opens it like this:

        storage = JournalStorage(JournalFileBackend("sweeps.journal"))
        optuna.load_study(study_name="arm=center", storage=storage)

    A trial is a setting: `complete` with its score; `pruned` with its scores by length of run; `fail` where a
    divergence left no score; `running` while it waits for a run. Where nothing was searched, no file is written.

    Args:
        stages: Stages of the protocol.
        configuration: Configuration of the protocol.
        tables: Tables of the study.
        directory: Directory of the study.

    Raises:
        MissingExtra: There is a search, and Optuna is not installed.
        Unwritable: The directory cannot be written.
    """
    searched = [
        (selection, levels, search, trials)
        for selection in selections(stages)
        for levels, trials in selection.trials(configuration, tables)
        for search in [selection.searching(configuration, levels)]
        if search is not None
    ]
    if not searched:
        return
    with quiet() as optuna, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        names: list[str] = []
        for selection, levels, search, trials in searched:
            names.append(study_name(levels))
            again = f" ({names.count(names[-1])})" if names.count(names[-1]) > 1 else ""
            made = optuna.create_study(
                storage=storage, study_name=names[-1] + again, direction=direction(selection.maximise)
            )
            made.set_user_attr("score", f"last {selection.column} of {selection.kind}, mean over seeds")
            made.add_trials([_frozen(trial, search) for trial in trials])
        files.write(directory / NAME, path.read_bytes())


def study_name(levels: Levels) -> str:
    """Return the name of the Optuna study of a condition.

    Args:
        levels: Levels of the condition.
    """
    return ", ".join(f"{name}={level}" for name, level in levels.items()) or "all"


def _frozen(trial: Trial, search: Search) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial  # here, since only callers have optuna

    states = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
        "waiting": TrialState.RUNNING,
    }
    # The value of a pruned trial is its last score; a failed trial has no value.
    value = trial.scores[-1] if trial.state in ("complete", "pruned") else None
    return create_trial(
        state=states[trial.state],
        value=value,
        params=dict(trial.setting),
        distributions=search.distributions(),
        intermediate_values=trial.values,
        user_attrs={"round": trial.round, "diverged runs": trial.diverged},
    )
