"""The command `neuro-decorr analyse`: from a file to numbers, tables and figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import load
from neuro_decorr.report import picture
from neuro_decorr.report.tables import save_table
from neuro_decorr.study import files
from neuro_decorr.study.progress import View

if TYPE_CHECKING:
    import pandas as pd

MARK = "analysis.json"
"""What was analysed and how; a directory without it is not ours to write into."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_TIME = re.compile(r"\s*(-?\d+\.?\d*(?:e-?\d+)?)\s*([a-z]+)\s*")


def analyse(
    path: Path,
    *,
    bin: str = "50ms",
    trials: str = "",
    period: str = "",
    against: str = "",
    out: Path | None = None,
    surrogates: int = picture.SURROGATES,
    seed: int = 0,
) -> list[tuple[str, pd.DataFrame]]:
    """Analyse a recording, and compare it with another one or another period of it.

    Args:
        path: File of a recording.
        bin: Width of a bin with its unit, such as `50ms` or `0.05s`.
        trials: Conditions, separated by commas: only bins in their trials.
        period: `START:END` with units, such as `0s:60s`.
        against: Another file, or another period of this one: it is compared with the first.
        out: Directory for tables and figures; none are written when None.
        surrogates: How many recordings with shifted units tell what chance gives; 0 for none.
        seed: Seed of surrogates and bootstrap.

    Returns:
        Tables with their titles: the summary, then the comparison and the other summary.

    Raises:
        InvalidValue: Whatever is wrong with the file or an option; one line.
        Unwritable: The directory cannot be written.
    """
    width = seconds(bin, "--bin")
    if width <= 0:
        raise InvalidValue(f"--bin: got {bin!r}; allowed are durations above zero, such as 50ms.")
    if surrogates < 0:
        raise InvalidValue(f"--surrogates: got {surrogates}; allowed are whole numbers from 0 (none) on.")
    conditions = [label.strip() for label in trials.split(",") if label.strip()]
    settings = {
        "file": str(path), "bin": width, "trials": conditions, "period": period, "against": against,
        "surrogates": surrogates, "seed": seed,
    }  # fmt: skip
    if out is not None:
        _check(out, settings)
    sources = [(path, period)]
    if against:
        is_period = not Path(against).is_file() and ":" in against
        sources.append((path, against) if is_period else (Path(against), ""))
    taken = []
    for file, when in sources:
        recording = load(file, period=_period(when) if when else None)
        try:
            taken.append(picture.sample(recording, width, conditions))
        except InvalidValue as error:
            raise InvalidValue(f"{file}: {error}") from error
    compared = picture.compare(taken[0], taken[1], seed) if against else None
    with View() as view:
        view.stage("surrogates", surrogates * len(taken), 0)
        made = [picture.picture(part, seed, surrogates, lambda: view.advance(0)) for part in taken]
        if out is not None:
            files.write(out / MARK, json.dumps(settings, indent=1) + "\n")
            for number, one in enumerate(made):
                view.line(f"figures of {sources[number][0].name}")
                picture.write(one, out, "against_" if number else "")
            if compared is not None:
                caption = "Second minus first; 95 % intervals by blocks."
                save_table(compared, out, "comparison", caption)
    titles = [" ".join(filter(None, (str(file), when))) for file, when in sources]
    result = [
        ("; ".join([f"{title}: {part.recording!r}", *part.recording.notes, one.facts]), one.table)
        for title, part, one in zip(titles, taken, made, strict=True)
    ]
    if compared is not None:
        result.insert(1, (f"{titles[1]} minus {titles[0]}", compared))
    return result


def seconds(text: str, option: str) -> float:
    """A time with its unit.

    Args:
        text: Such as `50ms` or `0.05s`.
        option: The option it was given to, for the error.

    Returns:
        Seconds.

    Raises:
        InvalidValue: No number with a unit of time.
    """
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise InvalidValue(
            f"{option}: got {text!r}; a time is a number with its unit ({', '.join(_UNITS)}), as in 50ms."
        )
    return float(match[1]) * _UNITS[match[2]]


def _period(text: str) -> tuple[float, float]:
    parts = text.split(":")
    if len(parts) != 2:
        raise InvalidValue(f"period: got {text!r}; a period is START:END, such as 0s:60s.")
    start, stop = (seconds(part, "period") for part in parts)
    if stop <= start:
        raise InvalidValue(f"period: got {text!r}; the end must follow the start, as in 0s:60s.")
    return start, stop


def _check(out: Path, settings: dict[str, object]) -> None:
    if not out.exists():
        return
    held = sorted(entry.name for entry in out.iterdir()) if out.is_dir() else None
    if held == []:
        return
    try:
        same = held is not None and json.loads((out / MARK).read_bytes()) == settings
    except (OSError, ValueError):
        same = False
    if not same:
        what = "is no directory" if held is None else f"holds something else ({', '.join(held[:3])})"
        raise InvalidValue(f"--out: {out} {what}; nothing is overwritten: choose another directory.")
