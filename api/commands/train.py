"""`netc train M.net`: trains, shows how it goes, leaves a run."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netc.commands import options
from netc.commands.terminal import Ticker, figures, matrices, number, say, table

if TYPE_CHECKING:
    from netc.runtime.figures import Figure, Row
    from netc.runtime.runs.run import Run

_NO_FIGURES = ("epoch", "seconds", "samples_per_second")  # of an epoch's row
_FEW = 32  # samples that gradients are looked at while training
_WANTED = 0.25  # the share of the steps that they are to reach
_LONG = 2_000  # steps, more than which are not looked at then: `netc diagnose` takes its time


def train(
    file: Annotated[Path | None, typer.Argument(metavar="M.net", help="The model's file.")] = None,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many epochs, in place of what the file says.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder (default: runs/NAME).")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Go on with a run that was interrupted; by a changed file, if one is given too."
        ),
    ] = None,
    strict: options.Strict = False,
    threads: options.Threads = None,
) -> None:
    """Train a model. Ctrl-C, SIGTERM and SIGHUP keep a checkpoint; `--resume RUN` goes on to the same bits. `--set width=8,16,32` trains a run for each value.

    Example: netc train examples/iris.net --epochs 20
    """
    several = options.combinations(settings)
    if len(several) > 1 and resume is not None:
        raise typer.BadParameter("a run goes on with one value, not with several", param_hint="--set")
    if len(several) == 1:
        _train(file, settings, epochs, out, resume, strict, threads)
        return
    names, told = options.swept(settings), list[tuple[dict[str, str], "Mapping[str, Figure]"]]()
    for one in several:
        chosen = {name: value for name, value in (setting.split("=", 1) for setting in one) if name in names}
        if told:
            say()
        say(", ".join(f"{name} = {value}" for name, value in chosen.items()))
        base = out or Path("runs") / (file or Path("model")).stem
        folder = base.with_name("-".join([base.name, *(f"{name}={_plain(value)}" for name, value in chosen.items())]))
        told.append((chosen, _train(file, one, epochs, folder, None, strict, threads)))
    say()
    _compare(names, told)


def _plain(value: str) -> str:
    """A value as part of a folder's name."""
    return "".join(letter if letter.isalnum() or letter in "._-+" else "_" for letter in value)


def _compare(names: Sequence[str], told: "Sequence[tuple[Mapping[str, str], Mapping[str, Figure]]]") -> None:
    """The runs of a sweep side by side: what was set, and what each came to."""
    columns = [name for name, value in told[0][1].items() if isinstance(value, float) and "watch." not in name]
    rows = [[*names, *columns]]
    for chosen, found in told:
        cells = (found.get(name) for name in columns)
        rows.append(
            [*(chosen[name] for name in names), *(number(one) if isinstance(one, float) else "" for one in cells)]
        )
    table(rows, right=range(len(names), len(rows[0])))


def _train(
    file: Path | None,
    settings: list[str] | None,
    epochs: int | None,
    out: Path | None,
    resume: Path | None,
    strict: bool,
    threads: int | None,
) -> "Mapping[str, Figure]":
    """One run, from its beginning or where it was left, and what it came to: on the test part, or in the last epoch."""
    from netc.runtime.insight.curves import draw
    from netc.runtime.insight.diagnose import diagnose, longest
    from netc.runtime.runs.checkpoint import write_whole
    from netc.runtime.trainer import Report, refuse_lost_loss
    from netc.runtime.trainer import train as train_run

    if resume is not None:
        run = _resumed(resume, file, settings, epochs, threads)
    elif file is not None:
        run = _started(file, settings, epochs, out, strict, threads)
    else:
        raise typer.BadParameter("give a file to train, or --resume RUN")
    total = run.model.train.epochs
    warned: set[str] = set()  # of gradients, told once
    with Ticker() as ticker:

        def progress(report: Report) -> None:
            ticker.update(
                report.epoch, report.epochs, report.done, report.samples, report.loss, report.samples_per_second
            )

        def epoch(row: "Row") -> None:
            told = figures(row, _NO_FIGURES)
            ticker.line(f"epoch {row['epoch']}/{total}  {told}  {row['samples_per_second']:,.0f} samples/s")
            if row["epoch"] in (1, total) and longest(run) <= _LONG:
                found = {one.title.partition(":")[0]: one for one in diagnose(run, _FEW, _WANTED).findings}
                options.warn([one for title, one in found.items() if title not in warned], strict=False)
                warned.update(found)

        try:
            train_run(run, total, progress, epoch)
        except KeyboardInterrupt:
            with suppress(OSError):  # the terminal is gone
                say(is_error=True)
                say(f"interrupted; netc train --resume {run.folder} goes on", is_error=True)
            raise
    write_whole(run.folder / "curves.svg", draw(run.metrics))
    if "test" in run.load_data().parts:
        found = run.evaluate("test")
        refuse_lost_loss(run, "test", found)
        say(f"test  {figures(found)}")
        matrices(found)
        return found
    last = run.metrics[-1] if run.metrics else {}
    return {name: value for name, value in last.items() if name not in _NO_FIGURES}


def _started(
    file: Path, settings: list[str] | None, epochs: int | None, out: Path | None, strict: bool, threads: int | None
) -> "Run":
    """A new run in a folder of its own."""
    from netc.runtime.data.dataset import load
    from netc.runtime.data.spec import parse_data
    from netc.runtime.program import Program
    from netc.runtime.runs import run as runs

    model, given = options.load(file, settings, strict)
    spec = parse_data(model)
    dataset = load(model, spec)
    options.warn(dataset.warnings, strict)
    for note in dataset.notes:
        say(note)
    model = replace(model, train=replace(model.train, epochs=epochs or model.train.epochs))
    program = Program(model, threads=threads)
    program.training(dataset.parts["train"])  # what cannot be trained leaves no folder
    run = runs.start(model, out or Path("runs") / file.stem, given, dataset, spec, program)
    count = sum(type_.size(1) for type_ in model.parameters.values())
    sizes = ", ".join(f"{len(next(iter(part.values()))):,} {name}" for name, part in dataset.parts.items())
    say(f"{file}: {count:,} parameters, {sizes} samples -> {run.folder}")
    if run.loaded is not None:
        say(run.loaded.describe())
    return run


def _resumed(
    resume: Path, file: Path | None, settings: list[str] | None, epochs: int | None, threads: int | None
) -> "Run":
    """A run where it was left, by a changed file if one is given."""
    from netc.runtime.runs import run as runs
    from netc.runtime.runs.resume import adopt, has_changed

    run = runs.open_run(resume, threads, to_train=True)
    if file is not None:
        for change in adopt(run, options.load(file, settings)[0]):
            say(f"changed: {change.what}")
        run = runs.open_run(resume, threads, to_train=True)
    elif (changed := has_changed(run)) is not None:
        say(f"{changed} was changed meanwhile; `netc train {changed} --resume {resume}` goes on by it")
    run.model = replace(run.model, train=replace(run.model.train, epochs=epochs or run.model.train.epochs))
    run.load_data()
    say(f"going on with {run.folder}: {run.progress.epoch} of {run.model.train.epochs} epochs done")
    return run
