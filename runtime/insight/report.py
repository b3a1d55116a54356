"""One HTML page of a run with everything in it: curves, what the network gets wrong, its parameters, the file.

A page is read by a person, so each part of it has a bound and says what it leaves out.
"""

from collections.abc import Iterator

from netc.compiler.analysis.outline import outline_of
from netc.dsl.plural import counted
from netc.runtime.insight.calibration import calibration_sections
from netc.runtime.insight.codes import code_sections
from netc.runtime.insight.curves import curve_sections
from netc.runtime.insight.drawing.inline import inline_picture
from netc.runtime.insight.explanations import explanation_sections
from netc.runtime.insight.first_convolution import convolution_sections
from netc.runtime.insight.histograms import histogram_sections
from netc.runtime.insight.mistakes import mistake_sections
from netc.runtime.insight.pages import page_html
from netc.runtime.insight.permutation import importance_sections, permutation_importance
from netc.runtime.insight.reconstructions import reconstruction_sections
from netc.runtime.insight.sections import (
    Heading,
    Note,
    Section,
    Summary,
    Table,
    file_sections,
    left_out,
)
from netc.runtime.insight.words import shortened, time_text
from netc.runtime.metric_names import single_numbers
from netc.runtime.metric_values import Interval, Intervals, MetricValues
from netc.runtime.runs.run import Run

_MOST_METRICS, _MOST_PARAMETERS, _MOST_MEMBERS = 60, 300, 100


def page(run: Run) -> str:
    """The whole page. Runs the model once over the test part, or over the last part that the data has."""
    count = run.model.parameter_count
    seconds = sum(float(row["seconds"]) for row in run.metrics if isinstance(row["seconds"], float))
    members = len(run.info.members) if run.info is not None else 0
    training = (
        f"{members} members" if members else f"{counted(len(run.metrics), 'epoch')}, {time_text(seconds)} of training"
    )
    subtitle = f"{run.folder.resolve().name}: {count:,} parameters, {training}"
    return page_html(run.model.source.file_name, subtitle, list(_sections(run)))


def _sections(run: Run) -> Iterator[Section]:
    """All sections of the page in order."""
    part = part_of_run(run)
    for change in run.data_changes:
        yield Note(f"{change.title}; {change.hint}" if change.hint else change.title)
    if part is not None:
        metrics, intervals = run.evaluate_with_intervals(part)
        yield from _summary(part, metrics, intervals)
        if intervals:
            yield Note("Below each metric is its 95 % bootstrap interval, over the samples of this part.")
    yield from _members(run)
    yield from curve_sections({"": run.metrics}, run.kept_epoch())
    yield from histogram_sections(run.metrics)
    if part is None:
        yield Note("Left out: all that looks at samples, because the arrays that the run was trained on are not kept.")
    else:
        yield from _of_samples(run, part)
    yield from _parameters(run)
    picture = inline_picture(outline_of(run.model), run.model)
    yield from file_sections(run.model.source.text, "run's", picture)


def _of_samples(run: Run, part: str) -> Iterator[Section]:
    """The sections that look at the samples of a part of the data; then which of them this model has not, and why."""
    importances = permutation_importance(run, part)
    columns = [importance.unit.name for importance in importances]
    missing: list[str] = []
    for needs, sections in (
        ("the worst mistakes (an output that a loss compares with a target)", mistake_sections(run, part, columns)),
        (
            "the importance of columns (two columns or more that a loss depends on)",
            importance_sections(importances, part),
        ),
        ("attributions (such an output, computed from numbers)", explanation_sections(run, part)),
        ("calibration (probabilities of classes, or intervals)", calibration_sections(run, part)),
        ("reconstructions (a loss that compares with an input)", reconstruction_sections(run, part)),
        ("codes (an output from which a reconstruction is computed)", code_sections(run, part)),
        ("kernels (a convolution)", convolution_sections(run, part)),
    ):
        present = list(sections)
        yield from present
        if not present:
            missing.append(needs)
    if missing:
        yield Note(f"Left out, with what each needs: {'; '.join(missing)}.")


def part_of_run(run: Run) -> str | None:
    """The part of the data that is looked at; None if the run was trained on arrays, which it does not keep."""
    if run.model.data is None:
        return None
    parts = run.load_data().parts
    return next(name for name in ("test", "valid", "train") if name in parts)


def _summary(part: str, metrics: MetricValues, intervals: Intervals) -> Iterator[Section]:
    """The metrics that are numbers, with their intervals, without those of watched values."""
    numbers = single_numbers(metrics)
    shown = list(numbers.items())[:_MOST_METRICS]
    yield Summary(
        [(f"{part} {shortened(name)}", f"{value:.4g}", _interval_text(intervals.get(name))) for name, value in shown]
    )
    yield from left_out(len(numbers), _MOST_METRICS, "metrics")


def _interval_text(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def _members(run: Run) -> Iterator[Section]:
    """A row for each member of an ensemble."""
    members = run.info.members if run.info is not None else ()
    if not members:
        return
    yield Heading("Members")
    if run.spec.split.way == "folds" and not run.spec.split.fold:
        yield Note("The validation rows of each member are training rows of others.")
    rows = [
        (
            member.run,
            str(member.epochs),
            str(member.seed),
            "" if member.fold is None else str(member.fold),
            ", ".join(f"{name} = {value}" for name, value in member.set.items()),
        )
        for member in members[:_MOST_MEMBERS]
    ]
    yield Table(("run", "epochs", "seed", "fold", "set"), rows)
    yield from left_out(len(members), _MOST_MEMBERS, "members")


def _parameters(run: Run) -> Iterator[Section]:
    """A row for each parameter: its shape and how its numbers are distributed."""
    yield Heading("Parameters")
    yield Table(
        ("name", "shape", "count", "mean", "std", "least", "largest"),
        [
            (
                name,
                str(list(array.shape)),
                f"{array.size:,}",
                *(f"{number:.3g}" for number in (array.mean(), array.std(), array.min(), array.max())),
            )
            for name, array in list(run.program.parameters.items())[:_MOST_PARAMETERS]
        ],
    )
    yield from left_out(len(run.program.parameters), _MOST_PARAMETERS, "parameters")
