"""Analysis of a recording, from a file to numbers, tables, figures and a page: the command `neuro-decorr analyse`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from neuro_decorr.report.options import Options, as_options, listed, period, two
from neuro_decorr.report.picture import Picture, chosen, picture
from neuro_decorr.report.results import Analysis, Part, Table
from neuro_decorr.report.sample import Sample, sample
from neuro_decorr.study.progress import View

_PREFIXES = ("", "against_")
"""Prefixes of the file names of the recording, and of the one it is compared with."""


@final
@dataclass(frozen=True, eq=False)
class _Wanted:
    """Recording to be measured."""

    path: Path
    period: str  # as it was given; empty for the whole recording
    conditions: Sequence[str]
    recording: SpikeTrains | Rates

    @classmethod
    def read(cls, options: Options, path: Path, given: str, option: str = "--period") -> _Wanted:
        recording = load(path, **options.reading(period(given, option) if given else None))
        known = () if recording.trials is None else tuple(dict.fromkeys(recording.trials.conditions))
        every = options.trials == "all" and known and "all" not in known
        wanted = known if every else listed(options.trials, known) if options.trials else ()
        return cls(path, given, wanted, recording)

    @property
    def title(self) -> str:
        trials = f"trials {', '.join(self.conditions)}" if self.conditions else ""
        return printable(" ".join(filter(None, (self.path.name, self.period, trials))))


def analyse(options: Options, *, figures: bool = False) -> Analysis:
    """Analyse a recording, and compare it with another one, another period or other trials.

    Args:
        options: Options of the analysis.
        figures: True to draw the figures.

    Returns:
        The results.

    Raises:
        InvalidValue: The file or an option is wrong; the message is one line.
    """
    method, _ = options.method(), options.width()  # before anything is read
    wanted = [_Wanted.read(options, options.path, options.period)]
    width = options.width(getattr(wanted[0].recording, "step", None))
    if options.against:
        wanted.append(_against(options, wanted[0]))
        _check_comparable(wanted[0].recording, wanted[1].recording)
    taken = [_sample(each, options.pair, width) for each in wanted]
    with View(brief=True) as view:
        view.stage("surrogates", options.surrogates * len(taken), 0)
        made = zip(taken, chosen(taken, method), strict=True)
        found = [picture(one, surrogates, method, lambda: view.advance(0)) for one, surrogates in made]
        beside = [_beside(one, options, prefix, figures) for one, prefix in zip(found, _PREFIXES, strict=False)]
        for one, each, more in zip(found, wanted, beside, strict=True):
            if each is wanted[0] or each.recording is not wanted[0].recording:
                details.quality(one, more)
            if options.pair:
                details.pair(one, more, two(options.pair, each.recording.units), options.seed)
        parts = [_part(one, each.title, more) for one, each, more in zip(found, wanted, beside, strict=True)]
        if figures:
            view.line("figures")
            style = drawing.Style.of(*found)
            for one, part, more in zip(found, parts, beside, strict=True):
                part.sheets.extend(drawing.figures(one, style, part.title, more.prefix, options.seed))
                part.sheets.extend([*more.drawn(part.title, drawing.counted(one)), *more.sheets])
        if len(found) > 1:
            compared = compare(found[0], found[1], method)
            difference = _difference(compared, wanted[0], wanted[1], width, width if options.bin else None)
            if figures:
                names = (parts[0].title, parts[1].title)
                difference.sheets.append(drawing.comparison(found[0], found[1], style, compared, names))
            parts.insert(1, difference)
    return Analysis(parts, options.record(), results.source([each.path for each in wanted], options.trial_table))


def _against(options: Options, first: _Wanted) -> _Wanted:
    """Read `--against` as a file, as conditions of trials, or as a period, in this order."""
    text, trials = options.against, first.recording.trials
    if Path(text).exists():
        if options.trial_table:
            raise InvalidValue(
                f"--against: --trial-table has the trials of FILE, not those of {text}; save either recording with its "
                "trials, by recording.save(..., 'NAME.nwb'), and compare the two files."
            )
        return _Wanted.read(options, Path(text), "")
    known = set() if trials is None or not options.trials else set(trials.conditions)
    conditions = listed(text, known)
    if known and set(conditions) <= known:
        return replace(first, conditions=conditions)
    if ":" in text:
        return _Wanted.read(options, options.path, text, "--against")
    told = f", or the conditions {', '.join(sorted(known))}" if known else ""
    raise InvalidValue(
        f"--against: {text}: there is no such file; give another recording, a period such as 0s:60s{told}."
    )


def _sample(wanted: _Wanted, pair: str, width: float) -> Sample:
    try:
        if pair:  # before anything is computed
            two(pair, wanted.recording.units)
            if not isinstance(wanted.recording, SpikeTrains):
                raise InvalidValue("--pair: the recording has rates, no spikes; leave the option out.")
        return sample(wanted.recording, width, wanted.conditions)
    except (InvalidValue, UnknownName) as error:
        raise InvalidValue(f"{wanted.path}: {error}") from error


def _beside(made: Picture, options: Options, prefix: str, figures: bool) -> Details:
    found = details.always(made, prefix, made.sample.bin if options.bin else None)
    if figures:
        details.written(made, found, options.seed)
    return found


def _difference(compared: Compared, first: _Wanted, second: _Wanted, bin: float, given: float | None) -> Part:
    found = Details("", tables=compared.tables, warnings=compared.warnings)
    if first.recording is second.recording and len(first.conditions) == len(second.conditions) == 1:
        conditions = (first.conditions[0], second.conditions[0])
        trials = first.recording.trials
        assert trials is not None  # which have these conditions
        width = details.noise_bin(trials.select(conditions), bin, given)
        found.take(
            "noise_comparison",
            lambda: metrics.noise_comparison(first.recording, *conditions, width),
            "Noise correlations under the second condition against those under the first.", printed=True,
        )  # fmt: skip
    title = f"{second.title} (second) minus {first.title} (first)"
    return _told(title, found.facts, found.warnings, found.tables)


def _check_comparable(first: SpikeTrains | Rates, second: SpikeTrains | Rates) -> None:
    kinds = ["spikes" if isinstance(one, SpikeTrains) else f"rates {one.quantity}".strip() for one in (first, second)]
    if kinds[0] != kinds[1] and ("spikes" in kinds or "rates" not in kinds):  # a file may not name its quantity
        raise InvalidValue(
            f"--against: has {printable(kinds[1])}, but FILE has {printable(kinds[0])}; give two of the same kind."
        )
    if len(shared := set(first.units) & set(second.units)) < 2:
        named = [", ".join(map(printable, one.units[:4])) for one in (first, second)]
        raise InvalidValue(
            f"--against: shares {len(shared)} labels of units with FILE, at least 2 are needed: got {named[1]}, ...; "
            f"FILE has {named[0]}, ...; give the same units the same labels."
        )


def _part(made: Picture, title: str, more: Details) -> Part:
    taken, prefix = made.sample, more.prefix
    pandas = require("pandas", "recordings")
    first, second = np.triu_indices(len(made.units), 1)
    names = np.array([printable(unit) for unit in made.units])
    pairs = pandas.DataFrame(
        {"first": names[first], "second": names[second], "correlation": made.correlation[first, second]}
    )
    summary = (
        "Each measure with its 95 % interval and its floor: the value of independent units with these variances and "
        "this number of samples."
    )
    if made.removed:
        summary += f" Compared: the measure without {made.removed}."
    if made.chance is not None:
        summary += " Null: the middle 95 % of surrogates, in which the units share nothing in time."
    facts = [repr(taken.recording), *map(printable, taken.recording.notes), *made.facts]
    if taken.silent:
        facts.append(f"Left out, since they never vary: {', '.join(map(printable, taken.silent[:20]))}.")
    without = f", without {made.removed}" if made.removed else ""
    tables = [
        Table(f"{prefix}summary", summary, made.table, True),
        Table(
            f"{prefix}pairs", f"Correlation of every pair in bins of {drawing.width(taken.bin)}{without}.", pairs, False
        ),
    ]
    warnings = [*made.summary.warnings, *more.warnings]
    return _told(title, [*facts, *more.facts], warnings, [tables[0], *more.tables, tables[1]])


def _told(title: str, facts: Sequence[str], warnings: Sequence[str], tables: Sequence[Table]) -> Part:
    told = list(dict.fromkeys(map(as_options, warnings)))
    # This warning about nearly independent units is the ordinary case and no fault of the data.
    ordinary = [line for line in told if line.startswith("participation_ratio_both is withheld")]
    return Part(title, [*map(as_options, facts), *ordinary], [line for line in told if line not in ordinary], tables)
