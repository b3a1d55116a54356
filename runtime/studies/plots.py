"""The plots of a study's page: each one shows the trials of a `View` in another way."""

import math
from collections.abc import Callable, Iterator, Sequence

from netc.runtime.insight.drawing.bars import Bar, bar_chart
from netc.runtime.insight.drawing.plots import BOTTOM, Frame, Mark, dot, line, svg, words
from netc.runtime.insight.drawing.scales import Categories, Numbers, Scale, numbers_axis
from netc.runtime.insight.sections import Plot
from netc.runtime.studies.finished import path_of
from netc.runtime.studies.importance import Importance
from netc.runtime.studies.results import Mean
from netc.runtime.studies.rounds import Trial
from netc.runtime.studies.search import Outcome
from netc.runtime.studies.space import Varying
from netc.runtime.studies.view import View, on_axis, setting_axis

_WIDE, _NARROW = 640.0, 318.0  # pixels
MOST_STRIPS, MOST_CURVES = 20, 200
_BAR = 22.0  # the height of a bar or a strip, in pixels
_ABSENT = 26.0  # how far below an axis a setting lies that a trial does not have


def history(view: View) -> Plot:
    """The value of each trial by its number, and the best one so far."""
    better = view.spec.compare[0]
    numbers = [trial.number for trial in view.trials]
    frame = Frame(_WIDE, 260, numbers_axis(numbers, False, is_whole=True), view.metric_axis(0), "trial", better.metric)
    marks = [
        frame.dot(view.mark(trial, is_long=True), trial.number, view.means[trial.number][0].value)
        for trial in view.drawn
        if trial.number in view.means
    ]
    best = list[tuple[float, float]]()
    leader = math.nan
    for trial in view.trials:
        value = view.means[trial.number][0].value if trial.outcome is Outcome.COMPLETE else math.nan
        if not math.isnan(value) and better.improves(value, leader):
            best += [(trial.number, leader)] if best else []
            best.append((trial.number, value))
            leader = value
    if best:
        best.append((view.trials[-1].number, leader))
    shown = [frame.line(Mark("best"), best)] if len(best) > 1 else []
    return Plot(frame.svg([*shown, *marks]), "Each trial, and the best one so far as a line.")


# ------------------------------------------------------------------ parallel coordinates


def parallel(view: View) -> Plot:
    """An axis for each setting and each metric, and a line through them for each trial."""
    axes: list[tuple[str, Scale]] = [(varying.name, setting_axis(varying)) for varying in view.spec.space]
    axes += [(better.metric, view.metric_axis(number)) for number, better in enumerate(view.spec.compare)]
    step = max(112.0, 960.0 / (len(axes) + 0.5))
    width, height, top = step * (len(axes) - 0.4) + 40, 340.0, 34.0
    names = [varying.name for varying in view.spec.space]
    absent = next((i for i, name in enumerate(names) if any(name not in trial.settings for trial in view.drawn)), None)
    bottom = height - (_ABSENT + 22 if absent is not None else 16)

    def across(number: int) -> float:
        return 40 + step * number

    parts = list[str]()
    for number, (name, _) in enumerate(axes):
        x = across(number)
        parts.append(f'<path class="axis" d="M{x:.1f} {top:g}V{bottom:g}"/>')
        parts.append(words(name, x, top - 16, "middle" if number else "start", int(step / 7), "strong"))
    if absent is not None:
        parts.append(words("does not vary", across(absent), bottom + _ABSENT + 17, "middle" if absent else "start", 20))
    for trial in view.drawn:
        if trial.number in view.means:
            points = [
                (across(number), height_of(view, trial, number, axis, (top, bottom)))
                for number, (_, axis) in enumerate(axes)
            ]
            parts.append(view.mark(trial, is_long=True).around(line(points)))
    for number, (_, axis) in enumerate(axes):  # above the lines
        for tick, text in axis.ticks(8):
            y = bottom - tick * (bottom - top)
            parts.append(words(text, across(number) + 5, y + 4, "start", int(step / 7.4)))
    return Plot(svg(width, height, "parallel coordinates", parts), "A line for each trial.")


def height_of(view: View, trial: Trial, number: int, axis: Scale, ends: tuple[float, float]) -> float:
    """The height at which the line of a trial crosses an axis from `ends[1]`, the bottom, to `ends[0]`."""
    top, bottom = ends
    settings = view.spec.space
    if number >= len(settings):
        return bottom - axis.position(view.means[trial.number][number - len(settings)].value) * (bottom - top)
    name = settings[number].name
    if name not in trial.settings:
        return bottom + _ABSENT
    return bottom - axis.position(on_axis(trial.settings[name], axis)) * (bottom - top)


# ------------------------------------------------------------------ settings


def importance_bars(importance: Importance) -> Plot:
    """A bar for each setting: its share."""
    rows = [(name, share, "") for name, share in importance.shares.items()]
    rows += [(name, share, f", among {count} trials") for name, (share, count) in importance.conditional.items()]
    bars = [Bar(name, share, f"{share:.0%}{among}") for name, share, among in rows]
    chart = bar_chart(bars, f"importance for {importance.metric}")
    return Plot(chart, f"{importance.metric}, by {importance.method}")


def slices(view: View) -> list[Plot]:
    """The first compared metric by the value of each setting."""
    return [_slice(view, varying) for varying in view.spec.space]


def _slice(view: View, varying: Varying) -> Plot:
    axis = setting_axis(varying)
    frame = Frame(_NARROW, 210, axis, view.metric_axis(0), varying.name, view.spec.compare[0].metric)
    having = [trial for trial in view.drawn if trial.number in view.means and varying.name in trial.settings]
    dots = [
        frame.dot(view.mark(trial), on_axis(trial.settings[varying.name], axis), view.means[trial.number][0].value)
        for trial in having
    ]
    return Plot(frame.svg(dots))


# ------------------------------------------------------------------ metrics


def fronts(view: View) -> list[Plot]:
    """Each further compared metric by the first one, and the front as a line."""
    first, *others = view.spec.compare
    plots = list[Plot]()
    for number, better in enumerate(others, 1):
        frame = Frame(480, 320, view.metric_axis(0), view.metric_axis(number), first.metric, better.metric)

        def point(trial: Trial, number: int = number) -> tuple[float, float]:
            means = view.means[trial.number]
            return means[0].value, means[number].value

        complete = [trial for trial in view.drawn if trial.outcome is Outcome.COMPLETE]
        dots = [frame.dot(view.mark(trial), *point(trial)) for trial in complete]
        front = sorted(point(trial) for trial in view.front if trial in complete)
        lines = [frame.line(Mark("best"), front)] if len(front) > 1 and len(others) == 1 else []
        plots.append(Plot(frame.svg([*lines, *dots])))
    return plots


def strips(view: View) -> Plot:
    """The first compared metric of each training of the best trials, with their mean and its standard error."""
    shown, metric = view.ranked[:MOST_STRIPS], view.spec.compare[0].metric
    rows = [
        (
            f"trial {trial.number}",
            [reached.metrics[metric] for reached in trial.reached],
            view.means[trial.number][0],
            view.mark(trial),
        )
        for trial in shown
    ]
    return strip_plot(rows, metric, "Dots: each training. Bar: the mean with its standard error.")


def strip_plot(
    rows: Sequence[tuple[str, Sequence[float], Mean, Mark]], metric: str, caption: str, width: float = _WIDE
) -> Plot:
    """A row for each trial or metric: its values as dots, their mean as a line, and the standard error as a bar."""
    ends = [value for _, values, mean, _ in rows for value in (*values, *_bounds(mean))]
    frame = Frame(
        width,
        len(rows) * _BAR + BOTTOM + 10,
        numbers_axis(ends),
        Categories([name for name, *_ in rows][::-1]),
        metric,
        "",
        left=80,
    )
    marks = list[str]()
    for name, values, mean, mark in rows:
        x, y = frame.at(mean.value, name)
        low, high = (frame.at(bound, name)[0] for bound in _bounds(mean))
        has_bar = high > low or not values
        bar = f'<path d="M{low:.1f} {y:.1f}H{high:.1f}M{x:.1f} {y - 8:.1f}v16"/>' if has_bar else ""
        marks.append(mark.around(bar + "".join(dot(*frame.at(value, name), "") for value in values)))
    return Plot(frame.svg(marks), caption)


def _bounds(mean: Mean) -> tuple[float, float]:
    error = 0.0 if math.isnan(mean.error) else mean.error
    return mean.value - error, mean.value + error


def curves(view: View) -> Plot | None:
    """The first compared metric by epoch, for each trial; None if none was looked at before its end."""
    drawn = view.drawn[-MOST_CURVES:] if len(view.drawn) > MOST_CURVES else view.drawn
    paths = [(trial, [(epoch, mean.value) for epoch, mean in path_of(trial, view.spec)]) for trial in drawn]
    if all(len(path) < 2 for _, path in paths):
        return None
    epochs = [epoch for _, path in paths for epoch, _ in path]
    values = [value for _, path in paths for _, value in path]
    frame = Frame(
        _WIDE, 300, numbers_axis(epochs, is_whole=True), numbers_axis(values), "epoch", view.spec.compare[0].metric
    )
    return Plot(frame.svg(_curves(frame, view, paths)), "Given up trials end in a cross.")


def _curves(
    frame: Frame[Numbers, Numbers], view: View, paths: Sequence[tuple[Trial, list[tuple[int, float]]]]
) -> Iterator[str]:
    for trial, path in paths:
        if path:
            mark = view.mark(trial)
            marks = line([frame.at(*point) for point in path]) if len(path) > 1 else ""
            yield mark.around(marks + dot(*frame.at(*path[-1]), mark.kind))


def legend(view: View) -> Plot:
    """Says what the colours and marks mean."""
    steps = [Mark("complete", quality=quality).around(dot(0, 0, "complete")) for quality in range(0, 101, 20)]
    better = view.spec.compare[0]
    entries: list[tuple[Callable[[float], str], str, float]] = [
        (lambda x: "".join(_moved(mark, x + 9 * i) for i, mark in enumerate(steps)), "worst to best", 54),
        (lambda x: Mark("winner").around(dot(x, 12, "winner")), "winner", 9),
        (lambda x: Mark("pruned").around(dot(x, 12, "pruned")), "given up", 9),
    ]
    parts, x = list[str](), 8.0
    for draw, text, indent in entries:
        parts += [draw(x), words(text, x + indent, 16, "start", 40)]
        x += indent + 7 * min(40, len(text)) + 22
    direction = "higher" if better.is_higher else "lower"
    return Plot(svg(x, 24, "legend", parts), f"{better.metric}: {direction} is better.")


def _moved(mark: str, x: float) -> str:
    return f'<g transform="translate({x:g} 12)">{mark}</g>'
