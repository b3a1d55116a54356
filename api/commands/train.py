"""`netc train M.net`: trains a model, shows the progress, and saves a run."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netc.commands import options
from netc.commands.terminal import Ticker, matrices, metrics_text, number, say, table

if TYPE_CHECKING:
    from netc.runtime.metric_values import MetricValue, Row
    from netc.runtime.runs.run import Run

_NO_METRICS = ("epoch", "seconds", "samples_per_second")  # fields of an epoch's row that are not metrics
_FEW = 32  # samples whose gradients are diagnosed during training
_REACH = 0.25  # the share of the steps that gradients should reach
_LONG = 2_000  # longer sequences are not diagnosed during training: `netc diagnose` takes long for them


@dataclass(frozen=True, slots=True)
class _Request:
    """What the options ask of one run."""

    file: Path | None
    settings: list[str]
    epochs: int | None
    out: Path | None
    fold: int | None
    strict: bool
    threads: int | None


def train(
    file: Annotated[Path | None, typer.Argument(metavar="M.net", help="The model's file.")] = None,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of epochs, instead of the file's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder (default: runs/NAME).")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Resume a run that was interrupted, with a changed file if M.net is given too."
        ),
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="The validation part of a split into folds.")
    ] = None,
    strict: options.Strict = False,
    threads: options.Threads = None,
) -> None:
    """Train a model. Ctrl-C, SIGTERM and SIGHUP save a checkpoint; `--resume RUN` continues it to the same bits.
    `--set width=8,16,32` trains a run for each value.

    Example: netc train examples/iris.net --epochs 20
    """
    combinations = options.combinations(settings)
    if len(combinations) > 1 and resume is not None:
        raise typer.BadParameter("a run is resumed with one value, not with several", param_hint="--set")
    if fold is not None and resume is not None:
        raise typer.BadParameter("a run keeps its fold", param_hint="--fold")
    request = _Request(file, settings or [], epochs, out, fold, strict, threads)
    if len(combinations) == 1:
        _train(request, resume)
        return
    names, results = options.swept(settings), list[tuple[dict[str, str], "Mapping[str, MetricValue]"]]()
    for settings_of_run in combinations:
        chosen = {
            name: value for name, value in (setting.split("=", 1) for setting in settings_of_run) if name in names
        }
        if results:
            say()
        say(", ".join(f"{name} = {value}" for name, value in chosen.items()))
        base = out or Path("runs") / (file or Path("model")).stem
        folder = base.with_name("-".join([base.name, *(f"{name}={_plain(value)}" for name, value in chosen.items())]))
        results.append((chosen, _train(replace(request, settings=settings_of_run, out=folder))))
    say()
    _compare(names, results)


def _plain(value: str) -> str:
    """A value as part of a folder's name."""
    return "".join(letter if letter.isalnum() or letter in "._-+" else "_" for letter in value)


def _compare(names: Sequence[str], results: "Sequence[tuple[Mapping[str, str], Mapping[str, MetricValue]]]") -> None:
    """Prints the runs of a sweep as a table: the settings and the metrics of each."""
    from netc.runtime.metric_names import watched

    columns = [name for name, value in results[0][1].items() if isinstance(value, float) and watched(name) is None]
    rows = [[*names, *columns]]
    for chosen, metrics in results:
        values = (metrics.get(name) for name in columns)
        cells = (number(value) if isinstance(value, float) else "" for value in values)
        rows.append([*(chosen[name] for name in names), *cells])
    table(rows, right=range(len(names), len(rows[0])))


def _train(request: _Request, resume: Path | None = None) -> "Mapping[str, MetricValue]":
    """Trains one run, new or resumed. Returns its metrics on the test part, or those of the last epoch without one."""
    from netc.runtime.insight.curves import draw
    from netc.runtime.insight.diagnose import diagnose, longest
    from netc.runtime.runs.checkpoint import write_whole
    from netc.runtime.trainer import Report
    from netc.runtime.trainer import train as train_run

    if resume is not None:
        run = _resumed(resume, request)
    elif request.file is not None:
        run = _started(request.file, request)
    else:
        raise typer.BadParameter("give a file to train, or --resume RUN")
    total = run.model.train.epochs
    warned: set[str] = set()  # warnings about gradients that were shown
    with Ticker() as ticker:

        def progress(report: Report) -> None:
            ticker.update(
                report.epoch, report.epochs, report.done, report.samples, report.loss, report.samples_per_second
            )

        def epoch(row: "Row") -> None:
            metrics = metrics_text(row, _NO_METRICS)
            ticker.line(f"epoch {row['epoch']}/{total}  {metrics}  {row['samples_per_second']:,.0f} samples/s")
            if row["epoch"] in (1, total) and longest(run) <= _LONG:
                findings = diagnose(run, _FEW, _REACH).findings
                by_title = {finding.title.partition(":")[0]: finding for finding in findings}
                options.warn([finding for title, finding in by_title.items() if title not in warned], strict=False)
                warned.update(by_title)

        try:
            train_run(run, total, progress, epoch)
        except KeyboardInterrupt:
            with suppress(OSError):  # the terminal is gone
                say(is_error=True)
                say(f"interrupted; netc train --resume {run.folder} continues", is_error=True)
            raise
    write_whole(run.folder / "curves.svg", draw(run.metrics))
    return _final_metrics(run)


def _final_metrics(run: "Run") -> "Mapping[str, MetricValue]":
    """Evaluates a trained run on the test part and prints it. Without one, returns the metrics of the last epoch."""
    from netc.runtime.trainer import refuse_lost_loss

    if "test" not in run.load_data().parts:
        last = run.metrics[-1] if run.metrics else {}
        return {name: value for name, value in last.items() if name not in _NO_METRICS}
    tested = run.evaluate("test")
    refuse_lost_loss(run, "test", tested)
    say(f"test  {metrics_text(tested)}")
    matrices(tested)
    return tested


def _started(file: Path, request: _Request) -> "Run":
    """Starts a new run in a folder of its own."""
    from netc.runtime.data.dataset import load
    from netc.runtime.data.spec import parse_data
    from netc.runtime.program import Program
    from netc.runtime.runs import run as runs

    model, constants = options.load(file, request.settings, request.strict, request.fold)
    dataset = load(model, parse_data(model))
    options.warn(dataset.warnings, request.strict)
    for note in dataset.notes:
        say(note)
    for part, remarks in dataset.remarks.items():
        for remark in remarks:
            say(f"note: {part}, {remark}")
    model = replace(model, train=replace(model.train, epochs=request.epochs or model.train.epochs))
    program = Program(model, threads=request.threads)
    program.training(dataset.parts["train"])  # a model that cannot be trained leaves no folder
    run = runs.start(model, request.out or Path("runs") / file.stem, constants, dataset, program)
    count = sum(type_.size(1) for type_ in model.parameters.values())
    sizes = ", ".join(f"{len(next(iter(part.values()))):,} {name}" for name, part in dataset.parts.items())
    say(f"{file}: {count:,} parameters, {sizes} samples -> {run.folder}")
    if run.loaded is not None:
        say(run.loaded.describe())
    return run


def _resumed(resume: Path, request: _Request) -> "Run":
    """Opens a run to continue it, with a changed file if the request names one."""
    from netc.runtime.runs import run as runs
    from netc.runtime.runs.resume import adopt, has_changed

    run = runs.open_run(resume, request.threads, to_train=True)
    if request.file is not None:
        fold = run.info.fold if run.info is not None else None
        for change in adopt(run, options.load(request.file, request.settings, fold=fold)[0]):
            say(f"changed: {change.what}")
        run = runs.open_run(resume, request.threads, to_train=True)
    elif (changed := has_changed(run)) is not None:
        say(f"{changed} has changed since; `netc train {changed} --resume {resume}` continues with the changed file")
    run.model = replace(run.model, train=replace(run.model.train, epochs=request.epochs or run.model.train.epochs))
    run.load_data()
    say(f"resuming {run.folder}: {run.progress.epoch} of {run.model.train.epochs} epochs done")
    return run
