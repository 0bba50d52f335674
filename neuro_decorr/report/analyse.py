"""The command `neuro-decorr analyse`: from a file to numbers, tables, figures and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, UnknownName, require
from neuro_decorr.recording import Rates, SpikeTrains, load
from neuro_decorr.report import details, drawing, results
from neuro_decorr.report.compare import Compared, compare
from neuro_decorr.report.details import Details
from neuro_decorr.report.labels import printable
from neuro_decorr.report.options import Options, listed, period, two
from neuro_decorr.report.picture import Picture, chosen, picture
from neuro_decorr.report.results import Analysis, Part, Table
from neuro_decorr.report.sample import Sample, sample
from neuro_decorr.study.progress import View

_PREFIXES = ("", "against_")
"""Put before the names of the files of the recording, and of the one it is compared with."""


@final
@dataclass(frozen=True)
class _Wanted:
    """One recording to be measured."""

    path: Path
    period: tuple[float, float] | None
    conditions: tuple[str, ...]
    title: str


def analyse(options: Options, *, figures: bool = False) -> Analysis:
    """Analyse a recording, and compare it with another one, another period or other trials of it.

    Args:
        options: What is analysed and how.
        figures: Whether the figures are drawn.

    Returns:
        What was found.

    Raises:
        InvalidValue: Whatever is wrong with the file or an option; one line.
    """
    method = options.method()
    wanted, recordings, taken = _taken(options)
    made = chosen(taken, method)
    with View() as view:
        view.stage("surrogates", options.surrogates * len(taken), 0)
        found = [picture(one, m, method, lambda: view.advance(0)) for one, m in zip(taken, made, strict=True)]
        beside = [_beside(one, options, prefix, figures) for one, prefix in zip(found, _PREFIXES, strict=False)]
        for number, (each, more) in enumerate(zip(wanted, beside, strict=True)):
            if number == 0 or (each.path, each.period) != (wanted[0].path, wanted[0].period):
                details.quality(found[number], more)
        parts = [_part(one, each.title, more) for one, each, more in zip(found, wanted, beside, strict=True)]
        if figures:
            view.line("figures")
            style = drawing.Style.of(*found)
            for one, part, more in zip(found, parts, beside, strict=True):
                part.sheets.extend(drawing.figures(one, style, part.title, more.prefix, options.seed))
                part.sheets.extend([*more.drawn(part.title, drawing.counted(one)), *more.sheets])
        if len(found) > 1:
            compared = compare(found[0], found[1], method)
            difference = _difference(compared, wanted, recordings[0], options.width)
            if figures:
                names = (parts[0].title, parts[1].title)
                difference.sheets.append(drawing.comparison(found[0], found[1], style, compared, names))
            parts.insert(1, difference)
    return Analysis(parts, options.record(), results.source([each.path for each in wanted]))


def _beside(made: Picture, options: Options, prefix: str, figures: bool) -> Details:
    found = details.always(made, prefix)
    if options.pair:
        details.pair(made, found, two(options.pair, made.sample.recording.units), options.seed)
    if figures:
        details.written(made, found, options.seed)
    return found


def _difference(compared: Compared, wanted: Sequence[_Wanted], recording: SpikeTrains | Rates, bin: float) -> Part:
    title = f"{wanted[1].title} (second) minus {wanted[0].title} (first)"
    found = Details("")
    found.tables.extend(compared.tables)
    found.warnings.extend(compared.warnings)
    one, other = wanted
    if (one.path, one.period) == (other.path, other.period) and len(one.conditions) == len(other.conditions) == 1:
        found.take(
            "noise_comparison",
            lambda: metrics.noise_comparison(recording, one.conditions[0], other.conditions[0], bin),
            "Noise correlations under the second condition against those under the first.", printed=True,
        )  # fmt: skip
    return Part(title, found.facts, found.warnings, found.tables)


def _taken(options: Options) -> tuple[list[_Wanted], list[SpikeTrains | Rates], list[Sample]]:
    width = options.width
    when = period(options.period) if options.period else None
    wanted = [_wanted(options.path, when, (), options.period)]
    recordings = [load(options.path, **options.reading(when))]
    if options.against:
        other = _against(options, recordings[0])
        wanted.append(other)
        same = (other.path, other.period) == (wanted[0].path, wanted[0].period)
        recordings.append(recordings[0] if same else load(other.path, **options.reading(other.period)))
        _check_comparable(recordings[0], recordings[1])
    taken = []
    for number, (each, recording) in enumerate(zip(wanted, recordings, strict=True)):
        conditions: Sequence[str] = each.conditions
        if options.trials and not conditions:
            conditions = listed(options.trials, () if recording.trials is None else recording.trials.conditions)
            wanted[number] = _wanted(each.path, each.period, tuple(conditions), options.period)
        try:
            if options.pair:  # before anything is computed
                two(options.pair, recording.units)
                if not isinstance(recording, SpikeTrains):
                    raise InvalidValue("--pair: the recording has rates and no spikes; leave the option out.")
            taken.append(sample(recording, width, conditions))
        except (InvalidValue, UnknownName) as error:
            raise InvalidValue(f"{each.path}: {error}") from error
    return wanted, recordings, taken


def _check_comparable(first: SpikeTrains | Rates, second: SpikeTrains | Rates) -> None:
    kinds = ["spikes" if isinstance(one, SpikeTrains) else f"rates {one.quantity}".strip() for one in (first, second)]
    if kinds[0] != kinds[1] and ("spikes" in kinds or "rates" not in kinds):  # which quantity may not be told
        raise InvalidValue(
            f"--against: holds {printable(kinds[1])}, FILE {printable(kinds[0])}; compare two of a kind."
        )
    if len(shared := set(first.units) & set(second.units)) < 2:
        named = [", ".join(map(printable, one.units[:4])) for one in (first, second)]
        raise InvalidValue(
            f"--against: {len(shared)} labels of units are those of FILE, at least 2 are needed: got {named[1]}, ...; "
            f"FILE has {named[0]}, ...; give the same units the same labels."
        )


def _against(options: Options, first: SpikeTrains | Rates) -> _Wanted:
    """What is compared with: a file, conditions of trials, or a period, in this order."""
    text = options.against
    if Path(text).exists():
        return _wanted(Path(text), None, (), "")
    when = period(options.period) if options.period else None
    conditions = () if first.trials is None or not options.trials else first.trials.conditions
    chosen = listed(text, conditions)
    if set(chosen) <= set(conditions):
        return _wanted(options.path, when, tuple(chosen), options.period)
    if ":" in text:
        return _wanted(options.path, period(text, "--against"), (), text)
    known = f"; with --trials conditions: {', '.join(sorted(set(conditions)))}" if conditions else ""
    raise InvalidValue(
        f"--against: {text}: there is no such file; allowed are another recording or a period such as 0s:60s{known}."
    )


def _wanted(path: Path, when: tuple[float, float] | None, conditions: tuple[str, ...], told: str) -> _Wanted:
    trials = f"trials {', '.join(conditions)}" if conditions else ""
    return _Wanted(path, when, conditions, printable(" ".join(filter(None, (path.name, told, trials)))))


def _part(made: Picture, title: str, more: Details) -> Part:
    taken, prefix = made.sample, more.prefix
    pandas = require("pandas", "recordings")
    first, second = np.triu_indices(len(made.units), 1)
    names = np.array([printable(unit) for unit in made.units])
    pairs = pandas.DataFrame(
        {"first": names[first], "second": names[second], "correlation": made.correlation[first, second]}
    )
    summary = (
        "Each measure with its 95 % interval and its floor: what independent units with these variances show at this "
        "number of samples."
    )
    if made.removed:
        summary += f" Compared: the measure without {made.removed}."
    if made.chance is not None:
        summary += " Null: the middle 95 % of surrogates, units that share nothing in time."
    facts = [repr(taken.recording), *map(printable, taken.recording.notes), *made.facts]
    if taken.silent:
        facts.append(f"Units that never vary, left out: {', '.join(map(printable, taken.silent[:20]))}.")
    without = f", without {made.removed}" if made.removed else ""
    tables = [
        Table(f"{prefix}summary", summary, made.table, True),
        Table(
            f"{prefix}pairs", f"Correlation of every pair in bins of {drawing.width(taken.bin)}{without}.", pairs, False
        ),
    ]
    warnings = [*getattr(made.summary, "warnings", ()), *more.warnings]
    return Part(title, [*facts, *more.facts], warnings, [tables[0], *more.tables, tables[1]])
