"""The curves of runs by epoch: losses, metrics and watched values, for a page, and as an SVG file."""

import math
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from netc.dsl.structs import replace
from netc.runtime.data.stored import Array
from netc.runtime.insight.drawing.plots import (
    BOTTOM,
    LEFT,
    Frame,
    Point,
    evenly,
    legend,
    moved,
    series,
    svg_file,
    words,
)
from netc.runtime.insight.drawing.scales import Numbers, numbers_axis
from netc.runtime.insight.sections import Curve, Curves, Heading, Note, Section, left_out
from netc.runtime.metric_names import epoch_numbers, watched
from netc.runtime.metric_values import MetricValue, number_of

Rows = Sequence[Mapping[str, MetricValue]]  # a row for each epoch, as in metrics.jsonl
_MOST_EPOCHS = 500  # of a curve
_MOST_POINTS = 24_000  # of all curves of a page
_MOST_PANELS = 24
_WIDTH, _HEIGHT, _COLUMNS = 460.0, 260.0, 3
SMALL_WIDTH, _SMALL_HEIGHT = 330.0, 190.0  # of a panel among other outputs
_TITLE = 22.0  # the height of a title in a file, in pixels
_LEAST_RATIO = 3.0  # of the largest and the least number, for which a logarithmic axis is worth showing
_PARTS = ("train", "valid", "test")  # in the order of their colours
_STATISTICS = ("mean", "std", "min", "max")  # of a watched value
_WATCHED = (("mean", "s0", 1), ("least", "s8", 3), ("largest", "s8", 4))  # a line: name, colour, place of its numbers


class _Line(Struct, frozen=True):
    """A curve of a panel: its name, its class in the style sheet, and its points, NaN where an epoch lacks it."""

    name: str
    kind: str
    points: Sequence[Point]


class _Panel(Struct, frozen=True):
    """Curves with the same axes, and the bands around the mean of a watched value: x, lower and upper end."""

    title: str
    lines: Sequence[_Line]
    bands: Sequence[Sequence[tuple[float, float, float]]] = ()


class _Look(Struct, frozen=True):
    """The settings of a panel: its vertical axis (None: as the numbers need), its size, and up to which epoch."""

    is_log: bool | None = False
    xlabel: str = "epoch"
    width: float = _WIDTH
    height: float = _HEIGHT
    last: float = math.nan


def curve_sections(runs: Mapping[str, Rows], kept: int | None = None) -> Iterator[Section]:
    """The curves of one run, or of several in the same plots by name; `kept` is the epoch whose parameters are used."""
    panels, step = _panels(runs)
    if not panels:
        return
    yield Heading("Curves")
    yield Curves([_curve(panel, kept) for panel in panels[:_MOST_PANELS]])
    yield from left_out(len(panels), _MOST_PANELS, "metrics")
    if step > 1:
        yield Note(f"One of every {step:,} epochs is drawn.")
    if kept is not None:
        yield Note(f"The vertical line is epoch {kept}, whose parameters are used.")


def small_curves(metrics: Rows, kept: int | None = None, epochs: int | None = None) -> list[tuple[str, str]]:
    """A title and an `<svg>` element, readable without a style sheet, for the losses and for each metric.

    The legends have the last numbers. The horizontal axis ends at `epochs`; a dashed line marks the epoch `kept`.
    """
    rows = [{"epoch": row["epoch"], **epoch_numbers(row)} for row in metrics]
    look = _Look(None, "epoch", SMALL_WIDTH, _SMALL_HEIGHT, math.nan if epochs is None else epochs)
    panels = [replace(panel, lines=[_with_last(line) for line in panel.lines]) for panel in _panels({"": rows})[0]]
    return [(panel.title, _drawn(panel, look, kept)) for panel in panels if panel.lines]


def _with_last(line: _Line) -> _Line:
    return replace(line, name=f"{line.name} {line.points[-1][1]:.4g}")


def draw(metrics: Rows) -> bytes:
    """An SVG file with a panel for the losses, one for each metric and one for each watched value.

    `metrics` has a row for each epoch. Of many epochs evenly spaced ones are drawn, of many panels the first ones.
    """
    panels, step = _panels({"": metrics})
    shown = panels[:_MOST_PANELS]
    columns = max(1, min(len(shown), _COLUMNS))
    xlabel = f"epoch, one of every {step}" if step > 1 else "epoch"
    parts = list[str]()
    for i, panel in enumerate(shown):
        title, markup = words(panel.title, LEFT, 15, "start", 50), _drawn(panel, _Look(xlabel=xlabel), None)
        x, y = _WIDTH * (i % columns), (_HEIGHT + _TITLE) * (i // columns)
        parts.append(moved(title + moved(markup, 0, _TITLE), x, y))
    height = (_HEIGHT + _TITLE) * -(-len(shown) // columns)
    if len(panels) > len(shown):
        parts.append(
            words(f"{len(panels) - len(shown):,} more metrics are in metrics.jsonl", LEFT, height + 15, "start", 80)
        )
        height += _TITLE
    return svg_file(_WIDTH * columns, height, parts)


def draw_rates(rates: Array, losses: Array, means: Array, steepest: float) -> bytes:
    """An SVG file with the losses of a learning-rate range test and their running mean, by the logarithm of the rate.

    A line marks the rate at which the loss falls fastest.
    """
    entries = (("s8", "loss of a step"), ("s0", "running mean"), ("s3 dashed", f"falls fastest: {steepest:.1g}"))
    parts, top = legend(entries, 560)
    low, high = float(means.min()), float(means.max())
    margin = 0.1 * (high - low) or 1.0
    axis = Numbers(low - margin, high + margin)
    frame = Frame(560, 360, numbers_axis(rates.tolist(), True), axis, "learning rate", "loss", top=top)
    inside = [loss if axis.low <= loss <= axis.high else math.nan for loss in losses.tolist()]
    parts.append(frame.trace("s8", zip(rates.tolist(), inside, strict=True)))
    parts.append(frame.trace("s0", zip(rates.tolist(), means.tolist(), strict=True)))
    parts.append(frame.trace("s3 dashed", [(steepest, axis.low), (steepest, axis.high)]))
    return svg_file(560, 360, [frame.svg(parts)])


def _panels(runs: Mapping[str, Rows]) -> tuple[list[_Panel], int]:
    """The panels of runs, and one of how many epochs they show."""
    titles = dict.fromkeys(
        _title(name) for rows in runs.values() for row in rows for name in row if _is_drawn(name, row)
    )
    longest = max(map(len, runs.values()), default=0)
    curves = max(1, 2 * len(runs) * min(len(titles), _MOST_PANELS))
    most = max(2, min(_MOST_EPOCHS, _MOST_POINTS // curves))
    chosen = {run: [rows[i] for i in evenly(len(rows), most)] for run, rows in runs.items()}
    panels = [panel for title in titles for panel in _panels_of(title, chosen)]
    return panels, max(1, -(-longest // most))


def _is_drawn(name: str, row: Mapping[str, MetricValue]) -> bool:
    return "." in name and isinstance(row[name], int | float)


def _title(name: str) -> str:
    """`loss` for `valid.loss`, `h` for `valid.watch.h.mean`."""
    return watched(name) or name.partition(".")[2]


def _panels_of(title: str, runs: Mapping[str, Rows]) -> Iterator[_Panel]:
    """The panel of a metric; of a watched value one for each run and part of the data."""
    names = dict.fromkeys(
        name for rows in runs.values() for row in rows for name in row if _is_drawn(name, row) and _title(name) == title
    )
    if watched(next(iter(names))) is not None:
        for run, rows in runs.items():
            for start in dict.fromkeys(name.rpartition(".")[0] for name in names):
                yield _watched(f"{title} {run}".strip(), start, rows)
        return
    lines = []
    for number, (run, rows) in enumerate(runs.items()):
        for name in names:
            points = [(number_of(row.get("epoch")), number_of(row.get(name))) for row in rows]
            if any(math.isfinite(y) for _, y in points):
                part = name.partition(".")[0]
                order = _PARTS.index(part) if part in _PARTS else len(_PARTS)
                kind = series(number) + (" dashed" if part == "train" else "") if len(runs) > 1 else series(order)
                lines.append(_Line(f"{run} {part}".strip(), kind, points))
    yield _Panel(title, lines)


def _watched(title: str, start: str, rows: Rows) -> _Panel:
    """A watched value: its mean, one standard deviation around it, its range."""
    points = [
        (number_of(row.get("epoch")), *(number_of(row.get(f"{start}.{name}")) for name in _STATISTICS)) for row in rows
    ]
    lines = [_Line(name, kind, [(point[0], point[i]) for point in points]) for name, kind, i in _WATCHED]
    spread = [(x, mean - std, mean + std) for x, mean, std, _, _ in points]
    return _Panel(title, lines, [[(x, low, high) for x, _, _, low, high in points], spread])


def _curve(panel: _Panel, kept: int | None) -> Curve:
    """A panel as a page shows it: with both axes, and the numbers that are shown under the mouse."""
    values = _values(panel)
    has_log = bool(values) and min(values) > 0 and max(values) > _LEAST_RATIO * min(values)
    epochs = sorted({x for line in panel.lines for x, _ in line.points})
    points = [dict(line.points) for line in panel.lines]
    linear, logarithmic = _Look(False), _Look(True)
    frame = _frame(panel, linear)
    ends = [frame.at(epoch, frame.y.low)[0] for epoch in (epochs[0], epochs[-1])] if epochs else [0.0, 0.0]
    numbers = {
        "x": epochs,
        "names": [line.name for line in panel.lines],
        "numbers": [[_digits(line.get(epoch, math.nan)) for epoch in epochs] for line in points],
        "pixels": [*ends, frame.top, frame.height - BOTTOM],
    }
    return Curve(panel.title, _drawn(panel, linear, kept), _drawn(panel, logarithmic, kept) if has_log else "", numbers)


def _digits(number: float) -> float | None:
    """A number with five digits; None if it is not finite."""
    return float(f"{number:.5g}") if math.isfinite(number) else None


def _values(panel: _Panel) -> list[float]:
    """All finite numbers of a panel."""
    numbers = [y for line in panel.lines for _, y in line.points]
    numbers += [y for band in panel.bands for _, *ends in band for y in ends]
    return [number for number in numbers if math.isfinite(number)]


def _legend(panel: _Panel, look: _Look) -> tuple[list[str], float]:
    return legend([(line.kind, line.name) for line in panel.lines], look.width)


def _frame(panel: _Panel, look: _Look) -> Frame[Numbers, Numbers]:
    """The axes of a panel."""
    xs = [x for line in panel.lines for x, _ in line.points]
    epochs = numbers_axis([*xs, look.last], False, is_whole=True)
    y, top = numbers_axis(_values(panel), look.is_log), _legend(panel, look)[1]
    return Frame(look.width, look.height, epochs, y, look.xlabel, "", top=top)


def _drawn(panel: _Panel, look: _Look, kept: int | None) -> str:
    """A panel as an `<svg>` element."""
    frame, parts = _frame(panel, look), _legend(panel, look)[0]
    if kept is not None and frame.x.low <= kept <= frame.x.high:
        parts.append(frame.trace("guide", [(kept, frame.y.low), (kept, frame.y.high)]))
    parts += [frame.band("s0", band) for band in panel.bands]
    parts += [frame.trace(line.kind, line.points) for line in panel.lines]
    return frame.svg(parts, panel.title)
