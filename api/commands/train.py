"""`netc train M.net`: trains a model, shows the progress, and saves a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from netc.commands import options
from netc.commands.find_lr import find_lr
from netc.commands.launched import Launched, together
from netc.commands.next_steps import show_next_steps
from netc.commands.progress import Ticker
from netc.commands.run_to_end import run_to_end
from netc.commands.terminal import say, say_wrapped
from netc.commands.train_folds import FoldsRequest, is_folds, train_folds
from netc.dsl.plural import counted
from netc.dsl.structs import replace

if TYPE_CHECKING:
    from netc.runtime.runs.run import Run


class _Request(Struct, frozen=True):
    """The options for one run."""

    file: Path | None
    settings: list[str]
    epochs: int | None
    out: Path | None
    fold: int | None
    strict: bool
    threads: int | None
    trackers: Sequence[str]
    launched: Launched
    is_verbose: bool

    def ready(self) -> "_Request":
        """The request with the number of threads and the folder of this rank."""
        ranks = self.launched.ranks
        if ranks is None:
            return self
        request = replace(self, threads=self.launched.threads(self.threads))
        return request if ranks.rank == 0 else replace(request, out=self.launched.output_path(Path()), trackers=[])


# The options, in the order of the help page.
_File = Annotated[Path | None, typer.Argument(metavar="M.net", help="The model's file.")]
_Epochs = Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of epochs, instead of the file's.")]
_Out = Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder (default: runs/NAME).")]
_Resume = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Resume a run that was interrupted, with a changed file if M.net is given too."),
]
_Fold = Annotated[int | None, typer.Option(min=1, metavar="K", help="The validation part of a split into folds.")]
_Folds = Annotated[
    bool,
    typer.Option("--folds", help="Train a run for each fold, and print the mean of each metric over the folds."),
]
_FindLr = Annotated[
    bool,
    typer.Option("--find-lr", help="Try learning rates in a short training that raises them; draws NAME-lr.svg."),
]
_ChangedData = Annotated[bool, typer.Option("--changed-data", help="Resume a run although its data has changed since.")]
_Trackers = Annotated[
    list[str] | None,
    typer.Option("--log", metavar="KIND", help="Write metrics for tensorboard, mlflow or as csv. May be repeated."),
]


def train(
    file: _File = None,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    epochs: _Epochs = None,
    out: _Out = None,
    resume: _Resume = None,
    fold: _Fold = None,
    folds: _Folds = False,
    finds_rate: _FindLr = False,
    changed_data: _ChangedData = False,
    trackers: _Trackers = None,
    strict: options.Strict = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train a model. Ctrl-C, SIGTERM and SIGHUP save a checkpoint; `--resume RUN` continues it to the same bits.

    Example: netc train examples/iris.net --epochs 20
    """
    with options.loudness(quiet, verbose), together() as launched:
        _require_trackers(trackers or [])
        if finds_rate:
            if file is None or folds or resume is not None or fold is not None:
                raise typer.BadParameter("it takes M.net, and neither folds nor --resume", param_hint="--find-lr")
            find_lr(file, settings, out, strict, threads, launched)
            return
        if folds or (resume is not None and launched.agreed(is_folds(resume))):
            if fold is not None or changed_data:
                raise typer.BadParameter("every fold is trained alike: no --fold, no --changed-data")
            folds_request = FoldsRequest(
                file, settings, epochs, out, resume, strict, threads, trackers or [], launched, verbose
            )
            train_folds(folds_request)
            return
        if fold is not None and resume is not None:
            raise typer.BadParameter("a run keeps its fold", param_hint="--fold")
        if changed_data and resume is None:
            raise typer.BadParameter("it goes with --resume", param_hint="--changed-data")
        request = _Request(file, settings or [], epochs, out, fold, strict, threads, trackers or [], launched, verbose)
        _train(request.ready(), resume, changed_data)


def _train(request: _Request, resume: Path | None, may_change: bool) -> None:
    """Trains one run, new or resumed."""
    from netc.runtime.runs.claim import claimed

    with Ticker(request.launched.ranks is not None, request.is_verbose) as ticker:
        if resume is not None:
            with request.launched.claimed(resume) as folder:
                run = _resumed(folder, request, may_change, ticker)
                request.launched.share(run.load_data())
                run_to_end(run, request.trackers, ticker)
        else:
            if request.file is None:
                raise typer.BadParameter("give a file to train, or --resume RUN")
            run = _started(request.file, request, ticker)
            with claimed(run.folder):
                run_to_end(run, request.trackers, ticker)
    if ticker.is_live:
        show_next_steps(run)


def _require_trackers(names: Sequence[str]) -> None:
    """Raises BadParameter for a name that is not a tracker's. Raises E1012 if its package is not installed."""
    if names:
        from netc.runtime.trackers.tracker import require_trackers

        try:
            require_trackers(names)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--log") from None


def _started(file: Path, request: _Request, ticker: Ticker) -> "Run":
    """Starts a new run in a folder of its own."""
    from netc.runtime.runs.starting import data_of_new_run, start_run
    from netc.runtime.training.checks import check_training

    ticker.doing("reading the data")
    folder = request.out or Path("runs") / file.stem
    with request.launched.reading():
        model, constants = options.load(file, request.settings, request.strict, request.fold)
        model = replace(model, train=replace(model.train, epochs=request.epochs or model.train.epochs))
        dataset = data_of_new_run(model, folder)
    options.warn(dataset.warnings, request.strict)
    for note in dataset.notes:
        say_wrapped(note)
    for part, remarks in dataset.remarks.items():
        for remark in remarks:
            say_wrapped(f"note: {part}, {remark}")
    options.warn(check_training(model, dataset), request.strict)
    request.launched.share(dataset)
    ticker.doing("compiling")
    run = start_run(model, folder, constants, dataset, request.threads, request.launched.ranks)
    count = model.parameter_count
    sizes = ", ".join(f"{len(next(iter(part.values()))):,} {name}" for name, part in dataset.parts.items())
    say_wrapped(f"{file}: {counted(count, 'parameter')}, {sizes} samples -> {run.folder}")
    if run.loaded is not None:
        say_wrapped(run.loaded.describe())
    return run


def _resumed(resume: Path, request: _Request, may_change: bool, ticker: Ticker) -> "Run":
    """Opens a run to continue it, with a changed file if the request names one. The caller has claimed its folder."""
    from netc.dsl.parser import parse_file
    from netc.runtime.data.block.split import with_fold
    from netc.runtime.loading import load_model
    from netc.runtime.runs.opening import open_run
    from netc.runtime.runs.resume import adopt, hand_on_data, has_changed, kept_constants, take_data, with_constants
    from netc.runtime.runs.standing import moved_rate, standing
    from netc.runtime.training.checks import check_training

    ticker.doing("opening the run", f"{resume} is as it was")
    ranks = request.launched.ranks
    opened = open_run(resume, request.threads, to_train=True, ranks=ranks)
    before, fold = opened.model.train, opened.info.fold if opened.info is not None else None
    file = None if request.file is None else parse_file(request.file)
    constants = {**kept_constants(resume, file), **options.constants(request.settings)}
    if not may_change and (file is not None or request.settings or request.epochs is not None):
        with request.launched.reading():
            take_data(opened, may_change)  # refuses before anything of the run is changed
    if file is not None:
        model = options.checked(load_model(file if fold is None else with_fold(file, fold), constants))
    else:
        model = with_constants(resume, constants)
        if (changed := has_changed(opened)) is not None:
            hint = f"`netc train {changed} --resume {resume}` continues with the changed file"
            say(f"{changed} has changed since; {hint}")
    for change in adopt(opened, model, constants, request.epochs):
        say(f"changed: {change.what}")
    run = open_run(resume, request.threads, to_train=True, ranks=ranks)
    hand_on_data(opened, run)
    with request.launched.reading():
        dataset, changes = run.load_data(), run.data_changes
    epoch = take_data(run, may_change)
    options.warn([*changes, *check_training(run.model, dataset)], strict=False)
    if epoch is not None:
        say(f"epoch {epoch} begins anew")
    say_wrapped(f"resuming {run.folder}: {standing(run, before)}")
    if (moved := moved_rate(run, before)) is not None:
        say_wrapped(moved)
    return run
