"""`netc train M.net`: trains, shows how it goes, leaves a run."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import Ticker, figures, matrices


def train(
    file: Annotated[Path | None, typer.Argument(metavar="M.net", help="The model's file.")] = None,
    settings: options.Settings = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How many epochs, in place of what the file says.")] = None,
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
    """Train a model. Ctrl-C keeps a checkpoint; `--resume RUN` goes on to the same bits.

    Example: netc train examples/iris.net --epochs 20
    """
    from netc.runtime import run as runs
    from netc.runtime.curves import draw
    from netc.runtime.data.dataset import load
    from netc.runtime.data.spec import parse_data
    from netc.runtime.program import Program
    from netc.runtime.resume import adopt, has_changed
    from netc.runtime.trainer import Report
    from netc.runtime.trainer import train as train_run

    if file is None and resume is None:
        raise typer.BadParameter("give a file to train, or --resume RUN")
    if resume is not None:
        run = runs.open_run(resume, threads, to_train=True)
        if file is not None:
            for change in adopt(run, options.load(file, settings)[0]):
                typer.echo(f"changed: {change.what}")
            run = runs.open_run(resume, threads, to_train=True)
        elif (changed := has_changed(run)) is not None:
            typer.echo(f"{changed} was changed meanwhile; `netc train {changed} --resume {resume}` goes on by it")
        run.dataset = load(run.model, run.spec, run.states)
        total = epochs or run.model.train.epochs
        typer.echo(f"going on with {run.folder}: {run.progress.epoch} of {total} epochs done")
    else:
        assert file is not None
        model, given = options.load(file, settings, strict)
        spec = parse_data(model)
        dataset = load(model, spec)
        options.warn(dataset.warnings, strict)
        total = epochs or model.train.epochs
        model = replace(model, train=replace(model.train, epochs=total))
        program = Program(model, threads=threads)
        program.training(dataset.parts["train"])  # what cannot be trained leaves no folder
        run = runs.start(model, runs.new_folder(out or Path("runs") / file.stem), given, dataset, spec, program)
        count = sum(type_.size(1) for type_ in model.parameters.values())
        typer.echo(
            f"{file}: {count:,} parameters, "
            + ", ".join(f"{len(next(iter(part.values()))):,} {name}" for name, part in dataset.parts.items())
            + f" samples -> {run.folder}"
        )
        if run.loaded is not None:
            typer.echo(run.loaded.describe())
    with Ticker() as ticker:

        def progress(report: Report) -> None:
            ticker.update(
                report.epoch, report.epochs, report.done, report.samples, report.loss, report.samples_per_second
            )

        try:
            train_run(
                run,
                total,
                progress,
                lambda row: ticker.line(
                    f"epoch {row['epoch']}/{total}  {figures(row, ('epoch', 'seconds', 'samples_per_second'))}  {row['samples_per_second']:,.0f} samples/s"
                ),
            )
        except KeyboardInterrupt:
            typer.echo(f"\ninterrupted; netc train --resume {run.folder} goes on", err=True)
            raise
    draw(run.metrics, run.folder / "curves.svg")
    assert run.dataset is not None
    if "test" in run.dataset.parts:
        found = run.evaluate("test")
        typer.echo(f"test  {figures(found)}")
        matrices(found)
