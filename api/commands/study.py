"""`netc study M.net`: searches for the best settings of a model, and trains and tests the winner."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netc.commands import options, terminal
from netc.commands.next_steps import quoted, show_commands
from netc.commands.progress import StudyTicker
from netc.commands.quantities import number
from netc.commands.terminal import metrics_text, say, say_wrapped, table

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.dsl import syntax
    from netc.runtime.data.dataset import Dataset
    from netc.runtime.studies.rounds import Rounds, TrainAll, Trial
    from netc.runtime.studies.study import Study

_SHOWN = 10  # trials in the table at the end


# The options, in the order of the help page.
_File = Annotated[Path | None, typer.Argument(metavar="M.net", help="The model's file.")]
_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Replace a `let` value or a setting of `train` in all trials."),
]
_Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="NAME=VALUES",
        help='Vary a setting, as in a `study` block: width=8,16,32, or "lr = log(1e-4, 1e-1)". May be repeated.',
    ),
]
_Trials = Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of trials, instead of the file's.")]
_Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="PATH",
        help="The study's folder (default: studies/NAME); with --report, the page's file.",
    ),
]
_Resume = Annotated[Path | None, typer.Option(metavar="STUDY", help="Go on with a study that was interrupted.")]
_Report = Annotated[
    Path | None,
    typer.Option(
        metavar="STUDY",
        help="Write a page about a study, also a running one: its trials, the importance of its settings "
        "(default: report.html in the study). Trains nothing.",
    ),
]
_Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of trainings at a time (default: one for each core). Any number gives the same table.",
    ),
]


def study(
    file: _File = None,
    settings: _Settings = None,
    vary: _Vary = None,
    plugins: options.Plugins = None,
    trials: _Trials = None,
    out: _Out = None,
    resume: _Resume = None,
    report: _Report = None,
    workers: _Workers = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Search for the settings with which a model is best, as its `study` block or `--vary` says, by a metric of the
    validation part. The winner is trained once more, and evaluated on the test part. Ctrl-C loses nothing; `--resume`
    goes on to the same bits. `mpiexec -n 64 netc study M.net` trains on all ranks.

    Example: netc study examples/iris.net --vary "lr = log(0.001, 0.1)" --trials 8
    """
    if report is not None:
        if file is not None or resume is not None or settings or vary or trials is not None:
            raise typer.BadParameter("a report takes no other option than --out", param_hint="--report")
        _report(report, out)
        return
    if (file is None) == (resume is None):
        raise typer.BadParameter("give a file, or --resume STUDY, or --report STUDY")
    if resume is not None and (settings or vary or out is not None):
        raise typer.BadParameter("a study goes on as it began: without --set, --vary and --out", param_hint="--resume")
    limit = [f"trials = {trials}"] if trials is not None else []

    def ready() -> "Study":
        return _opened(resume, limit) if resume is not None else _started(file, settings, vary, limit, out, strict)

    with terminal.quiet(quiet):
        _search(ready, workers)


def _search(ready: "Callable[[], Study]", workers: int | None) -> None:
    """Runs a study on this machine, or on all ranks if a launcher has started several."""
    from netc.dsl.diagnostics import Fault
    from netc.runtime.distributed.launch import launched_rank, launched_ranks
    from netc.runtime.studies import mpi

    if launched_ranks() == 1:
        with StudyTicker() as ticker:
            ticker.doing("reading the data")
            chosen = ready()
            _run(chosen, chosen.on_this_machine(workers), ticker)
        return
    try:
        with mpi.pool() as executor:
            if executor is not None:
                chosen = ready()
                with StudyTicker(is_launched=True) as ticker:
                    _run(chosen, mpi.on_all_ranks(chosen, executor), ticker)
    except Fault:
        if launched_rank() == 0:
            raise
        raise typer.Exit(1) from None  # rank 0 says the same


def _report(study: Path, out: Path | None) -> None:
    """Writes the page of a study."""
    from netc.runtime.runs.checkpoint import write_whole
    from netc.runtime.studies.report import page
    from netc.runtime.studies.store import open_folder

    path = out or study / "report.html"
    write_whole(path, page(open_folder(study)).encode())
    say(str(path))


def _opened(resume: Path, limit: Sequence[str]) -> "Study":
    from netc.runtime.studies.study import open_study

    chosen = open_study(resume, limit)
    say(f"going on with {chosen.folder.path}")
    return chosen


def _started(
    path: Path | None,
    settings: list[str] | None,
    vary: list[str] | None,
    limit: list[str],
    out: Path | None,
    strict: bool,
) -> "Study":
    from netc.dsl.parser import parse_file
    from netc.runtime.studies.study import start_study
    from netc.runtime.training.checks import check_training

    assert path is not None
    file = parse_file(path)

    def tell(model: "Model", dataset: "Dataset") -> None:
        options.warn([*model.warnings, *dataset.warnings, *check_training(model, dataset)], strict)
        for note in dataset.notes:
            say_wrapped(note)

    lines = [*_lines(file, vary), *limit]
    chosen = start_study(file, out or Path("studies") / path.stem, options.constants(settings), lines, tell)
    names = ", ".join(varying.name for varying in chosen.spec.space)
    say_wrapped(f"{path}: {names} by {chosen.spec.search.name} -> {chosen.folder.path}")
    return chosen


def _lines(file: "syntax.File", vary: list[str] | None) -> list[str]:
    """The lines of a study block that `--vary` stands for. Values alone make a grid, if the file has no study."""
    from netc.dsl import syntax
    from netc.runtime.studies.options import is_distribution, line_of

    lines, are_values = list[str](), True
    for setting in vary or ():
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not name or not text:
            raise typer.BadParameter(f"`{setting}` is not NAME=VALUES", param_hint="--vary")
        are_values = are_values and not is_distribution(text)
        lines.append(line_of(file, name, text))
    has_study = any(isinstance(item, syntax.Study) for item in file.items)
    return ["search = grid", *lines] if lines and are_values and not has_study else lines


def _run(chosen: "Study", train_all: "TrainAll", ticker: StudyTicker) -> None:
    """Runs the rounds of a study, then its winner, and shows the results."""
    from netc.runtime.runs.claim import claimed
    from netc.runtime.studies.winner import finish

    path = chosen.folder.path
    with claimed(path):
        try:
            ticker.searches(chosen.spec.compare[0].metric, f"netc study --resume {quoted(path)}")
            rounds = chosen.rounds(train_all, ticker.study)
            has_timed_out = rounds.run()
            ticker.trains(rounds.model)
            results = finish(chosen, rounds, has_timed_out, ticker.update)
        except KeyboardInterrupt:
            if not ticker.interrupts.are_answered:
                with suppress(OSError):  # the terminal is gone
                    say(is_error=True)
                    say(f"interrupted; netc study --resume {path} goes on", is_error=True)
            raise
    _show(chosen, rounds, results, ticker.is_live)


def _show(chosen: "Study", rounds: "Rounds", results: dict[str, Any], is_live: bool) -> None:
    """Prints the best trials, the metrics of the winner on the test part, and what to do next."""
    from netc.runtime.studies.rounds import ranked

    best = ranked(chosen.spec, rounds.finished)
    if results.get("front"):
        best = [trial for trial in best if trial.number in results["front"]]
        say("no other trial beats these in all metrics:")
    if best:
        _table(chosen, best[:_SHOWN])
    counts = [f"{results['trials']} trials"]
    counts += [f"{results[name]} {word}" for name, word in _OUTCOMES.items() if results[name]]
    if results["out_of_time"]:
        counts.append("ended by `time`, at the end of a round")
    say(f"{', '.join(counts)} -> {chosen.folder.path / 'trials.csv'}")
    if not best:
        message = next((trial.error(chosen.spec) for trial in rounds.finished), None)
        say(f"no trial has a value: {message}", is_error=True)
        raise typer.Exit(1)
    winner, run = results["best"], chosen.folder.path / results["run"]
    settings = ", ".join(f"{name} = {_cell(value)}" for name, value in winner["settings"].items())
    say_wrapped(f"best: trial {winner['trial']}, {settings} -> {run}")
    if all(better.metric.startswith("train.") for better in chosen.spec.compare):
        say_wrapped(
            "trials are compared by the samples that they were trained on; a validation part (`valid = 0.1` in the "
            "split, `compare = valid.loss`) would show which of them has learned what holds for others"
        )
    if "test" in results:
        say_wrapped(f"test  {metrics_text(results['test'])}")
    _show_next(chosen.folder.path, run, None if rounds.has_tried_all else 2 * results["trials"], is_live)


def _show_next(path: Path, run: Path, trials: int | None, is_live: bool) -> None:
    """Prints the commands that go on from a study, on a terminal one in a line.

    `trials` is how many a longer study would have; None if every combination was tried.
    """
    commands = [
        (f"netc study --report {path}", "a page about the study"),
        (f"netc report {run}", "a page about its winner"),
    ]
    if trials is not None:
        commands.append((f"netc study --resume {path} --trials {trials}", "more trials"))
    if is_live:
        show_commands(commands)
    else:
        say(f"next: {'; '.join(command for command, _ in commands)}")


_OUTCOMES = {"pruned": "given up", "failed": "failed"}


def _table(chosen: "Study", trials: "Sequence[Trial]") -> None:
    names = [varying.name for varying in chosen.spec.space]
    is_mean = len(trials[0].trainings) > 1
    heads = ["trial", *names]
    for better in chosen.spec.compare:
        heads += [better.metric, "+-"] if is_mean else [better.metric]
    rows = [[*heads, "epochs"]]
    for trial in trials:
        row = [str(trial.number), *(_cell(trial.settings.get(name)) for name in names)]
        for mean in trial.means(chosen.spec):
            row += [number(mean.value), number(mean.error)] if is_mean else [number(mean.value)]
        rows.append([*row, str(trial.epochs)])
    table(rows, right=range(len(rows[0])))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return number(value) if isinstance(value, int | float) else str(value)
