"""One HTML page of a cross-validation: the metrics of each fold, their means with standard errors, and the curves."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from netc.runtime.insight.drawing.plots import Frame, Mark
from netc.runtime.insight.drawing.scales import numbers_axis
from netc.runtime.insight.pages import page_html
from netc.runtime.insight.sections import Heading, Note, Plot, Plots, Section, Summary, Table, file_sections
from netc.runtime.insight.words import time_text
from netc.runtime.runs.listing import Listed
from netc.runtime.runs.metrics import whole_rows
from netc.runtime.studies.folds import read_folds
from netc.runtime.studies.listing import listed, means_of_parts
from netc.runtime.studies.plots import strip_plot
from netc.runtime.studies.results import Mean
from netc.runtime.studies.view import error_text

_MOST_METRICS, _MOST_PLOTS, _MOST_EPOCHS = 40, 9, 500


def folds_page(folder: Path) -> str:
    """The page. Raises E1001 if the folder is not one of folds, or was changed by hand."""
    info, row = read_folds(folder), listed(folder)
    subtitle = f"{folder.resolve().name}: {row.epochs} of {info.folds} folds, {time_text(row.seconds)} of training"
    return page_html(info.name, subtitle, [*_sections(row), *file_sections(info.text, "run's")])


def _sections(row: Listed) -> Iterator[Section]:
    """All sections of the page in order, except the file."""
    parts = [part for part in row.parts if part.metrics]
    all_means = means_of_parts(row)
    names = [name for name in all_means if not name.startswith("train.")] or [*all_means]
    names = names[:_MOST_METRICS]
    if not names:
        yield Note("No fold is trained yet.")
        return
    means = {name: all_means[name] for name in names}
    yield Summary([(name, f"{mean.value:.4g}", error_text(mean)) for name, mean in means.items()])
    yield Note(f"Means over {len(parts)} folds; ± is their standard error.")
    yield Heading("Folds")
    rows = [
        (part.folder.name, str(part.kept or part.epochs), *(f"{part.metrics[name]:.4g}" for name in names))
        for part in parts
    ]
    rows.append(("mean", "", *(f"{mean.value:.4g}" for mean in means.values())))
    rows.append(("standard error", "", *("" if math.isnan(m.error) else f"{m.error:.2g}" for m in means.values())))
    yield Table(("fold", "epochs", *names), rows, [*(part.folder.name for part in parts), "mean", "error"])
    yield Plots([_strips(parts, name, means[name]) for name in names[:_MOST_PLOTS]])
    yield Heading("Curves")
    yield Plots([_curves(parts, name, means[name]) for name in names[:_MOST_PLOTS]])


def _strips(parts: Sequence[Listed], name: str, mean: Mean) -> Plot:
    """The metric of each fold, and their mean with its standard error."""
    rows = [
        (part.folder.name, [value := part.metrics[name]], Mean(value, math.nan), _mark(part, f"{name} {value:.4g}"))
        for part in parts
    ]
    rows.append(("mean", [], mean, Mark("winner", "mean", f"mean of {name}: {mean.value:.4g} {error_text(mean)}")))
    return strip_plot(rows, name, "The bar is the mean with its standard error.", width=480)


def _curves(parts: Sequence[Listed], name: str, mean: Mean) -> Plot:
    """The metric of each fold by epoch."""
    paths = [_path(part, name) for part in parts]
    points = [point for path in paths for point in path]
    epochs, values = [epoch for epoch, _ in points], [*(value for _, value in points), mean.value]
    frame = Frame(480, 240, numbers_axis(epochs, False, is_whole=True), numbers_axis(values), "epoch", name)
    lines = [frame.line(_mark(part), path) for part, path in zip(parts, paths, strict=True) if len(path) > 1]
    return Plot(frame.svg(lines))


def _mark(part: Listed, title: str = "") -> Mark:
    return Mark("complete", part.folder.name, f"{part.folder.name}: {title}" if title else part.folder.name, 100)


def _path(part: Listed, name: str) -> list[tuple[float, float]]:
    """The points of a curve, evenly spaced ones of many."""
    rows = [row for row in whole_rows(part.folder / "metrics.jsonl") if isinstance(row.get(name), float)]
    step = -(-len(rows) // _MOST_EPOCHS) or 1
    points = [(row["epoch"], row[name]) for row in rows[::step]]
    return [(epoch, value) for epoch, value in points if isinstance(epoch, int | float) and isinstance(value, float)]
