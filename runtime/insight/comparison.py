"""One HTML page that compares runs: their metrics with intervals, curves in the same plots, and what differs in them.

Each run is evaluated on its own data, once.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from netc.dsl.quoting import bounded
from netc.runtime.insight.curves import curve_sections
from netc.runtime.insight.drawing.plots import Frame, Mark, series
from netc.runtime.insight.drawing.scales import Categories, numbers_axis
from netc.runtime.insight.pages import page_html
from netc.runtime.insight.report import part_of_run
from netc.runtime.insight.sections import Heading, Note, Plot, Plots, Section, Source, Table, left_out
from netc.runtime.insight.words import shortened
from netc.runtime.metric_names import single_numbers
from netc.runtime.metric_values import Intervals, MetricValues
from netc.runtime.runs.run import Run

MOST_RUNS = 8
_MOST_METRICS, _MOST_PLOTS, _MOST_LINES = 40, 12, 2_000
_WIDTH, _ROW = 340.0, 26.0  # of a plot and of a run in it, in pixels


class _Evaluated(Struct, frozen=True):
    """A run under the name that it has on the page, and its metrics on `part`; none if it does not keep its data."""

    name: str
    run: Run
    part: str | None
    metrics: MetricValues
    intervals: Intervals


def comparison_page(runs: Sequence[Run]) -> str:
    """The whole page, for at most MOST_RUNS runs."""
    names = _names(runs)
    evaluated = [_evaluated(name, run) for name, run in zip(names, runs, strict=True)]
    title = " and ".join(names) if len(names) == 2 else f"{len(names)} runs"
    return page_html(shortened(title), "compared", list(_sections(evaluated)))


def _names(runs: Sequence[Run]) -> list[str]:
    """The names of the folders, or their paths where two have the same name."""
    names = [run.folder.resolve().name for run in runs]
    return [name if names.count(name) == 1 else str(run.folder) for name, run in zip(names, runs, strict=True)]


def _evaluated(name: str, run: Run) -> _Evaluated:
    part = part_of_run(run)
    metrics, intervals = run.evaluate_with_intervals(part) if part is not None else ({}, {})
    return _Evaluated(name, run, part, metrics, intervals)


def _sections(runs: Sequence[_Evaluated]) -> Iterator[Section]:
    """All sections of the page in order."""
    for each in runs:
        for change in each.run.data_changes:
            yield Note(f"{each.name}: {change.title}")
    yield Heading("Metrics")
    yield from _metrics(runs)
    yield from curve_sections({shortened(each.name): each.run.metrics for each in runs})
    yield Heading("Settings")
    yield _settings(runs)
    yield from _differences(runs)


# ------------------------------------------------------------------ metrics


def _numbers(each: _Evaluated) -> dict[str, float]:
    return single_numbers(each.metrics)


def _metrics(runs: Sequence[_Evaluated]) -> Iterator[Section]:
    """A row for each metric with its intervals, then a plot of these for each metric that several runs have."""
    names = [*dict.fromkeys(name for each in runs for name in _numbers(each))]
    if not names:
        yield Note("No run keeps its data, so nothing could be evaluated.")
        return
    rows = [(shortened(name), *(_metric_text(each, name) for each in runs)) for name in names[:_MOST_METRICS]]
    heads = [f"{shortened(each.name)}, {each.part}" if each.part else shortened(each.name) for each in runs]
    yield Table(("metric", *heads), rows)
    yield Note(
        "In brackets is the 95 % bootstrap interval of a metric, over the samples of this part of the run's data."
    )
    yield from left_out(len(names), _MOST_METRICS, "metrics")
    shared = [name for name in names if sum(name in _numbers(each) for each in runs) > 1]
    yield Plots([_plot(runs, name) for name in shared[:_MOST_PLOTS]])


def _metric_text(each: _Evaluated, name: str) -> str:
    value = _numbers(each).get(name)
    if value is None:
        return ""
    interval = each.intervals.get(name)
    return f"{value:.4g}" + (f" [{interval[0]:.4g}, {interval[1]:.4g}]" if interval is not None else "")


def _plot(runs: Sequence[_Evaluated], name: str) -> Plot:
    """The metric of each run as a dot on the line of its interval."""
    having = [(number, each) for number, each in enumerate(runs) if name in _numbers(each)]
    ends = [end for _, each in having for end in (*each.intervals.get(name, ()), _numbers(each)[name])]
    rows = Categories([bounded(each.name, 40) for _, each in having][::-1])
    frame = Frame(_WIDTH, len(having) * _ROW + 60, numbers_axis(ends, False), rows, shortened(name), "", left=110)
    marks = list[str]()
    for number, each in having:
        mark, row = Mark(series(number), title=f"{each.name}: {_metric_text(each, name)}"), bounded(each.name, 40)
        if name in each.intervals:
            marks.append(frame.line(mark, [(end, row) for end in each.intervals[name]]))
        marks.append(frame.dot(mark, _numbers(each)[name], row))
    return Plot(frame.svg(marks, f"{name} of each run"))


# ------------------------------------------------------------------ differences


def _settings(runs: Sequence[_Evaluated]) -> Table:
    """A column for each run."""
    columns = [_facts(each.run) for each in runs]
    names = dict.fromkeys(name for column in columns for name, fact in column.items() if fact)
    rows = [(name, *(shortened(column.get(name, "")) for column in columns)) for name in names]
    return Table(("", *(shortened(each.name) for each in runs)), rows)


def _facts(run: Run) -> Mapping[str, str]:
    info, best = run.info, run.kept_epoch()
    seconds = sum(float(row["seconds"]) for row in run.metrics if isinstance(row["seconds"], float))
    facts = {
        "file": run.model.source.file_name,
        "parameters": f"{sum(type_.size(1) for type_ in run.model.parameters.values()):,}",
        "epochs": f"{len(run.metrics):,}",
        "epoch that is used": "" if best is None else str(best),
        "seconds of training": f"{seconds:.3g}",
        "seed": str(run.program.seed),
        "batch": str(run.model.train.batch),
        "precision": run.model.train.precision,
    }
    if info is not None:
        facts |= {"members": str(len(info.members))} if info.members else {}
        facts |= {"fold": str(info.fold)} if info.fold is not None else {}
        facts |= {f"--set {name}": str(value) for name, value in info.set.items()}
        facts |= {name: version for name, version in info.versions.items() if name == "netc"}
    return facts


def _differences(runs: Sequence[_Evaluated]) -> Iterator[Section]:
    """The lines in which the file of each run differs from that of the first."""
    first, *others = runs
    yield Heading("The files")
    for each in others:
        lines = _difference(first, each)
        if not lines:
            yield Note(f"The files of {shortened(first.name)} and {shortened(each.name)} are the same.")
            continue
        yield Heading(f"From {shortened(first.name)} to {shortened(each.name)}", 3)
        yield Source("\n".join(lines[:_MOST_LINES]), is_difference=True)
        yield from left_out(len(lines), _MOST_LINES, "lines")


def _difference(first: _Evaluated, other: _Evaluated) -> list[str]:
    """The changed lines with three around them, `-` before those of the first file and `+` before the others."""
    before, now = (each.run.model.source.text.splitlines() for each in (first, other))
    return [*difflib.unified_diff(before, now, lineterm="", n=3)][2:]
