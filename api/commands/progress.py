"""The progress of trainings and studies on a terminal. Without a terminal it is plain lines."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from netc.commands.compilation import compiling
from netc.commands.display import Display, Line, is_suited
from netc.commands.epochs import Epochs, status_of
from netc.commands.interrupts import NOTHING, Interrupts
from netc.commands.metric_table import BEST, MetricTable
from netc.commands.quantities import lasting, number
from netc.commands.status import Status
from netc.commands.terminal import is_silent, metrics_text, say
from netc.compiler.targets.compilation import listened_to

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.runtime.metric_values import Row
    from netc.runtime.studies.rounds import Standing
    from netc.runtime.trainer import Report
    from netc.runtime.training.decisions import Best

_NOTE = 40  # columns behind a row of a fold


class Ticker:
    """Shows where a training is: on a terminal as a line at the bottom, below a table of the epochs that are done.

    Elsewhere only the lines of epochs are printed. Under a launcher of ranks there is no region: it gives its processes
    a terminal even if it has none.
    """

    def __init__(self, is_launched: bool = False, is_verbose: bool = False) -> None:
        is_live = is_suited() and not is_launched and not is_silent()
        self._display = Display(self._lines) if is_live else None
        self.interrupts = Interrupts()
        self._is_launched = is_launched
        self._is_verbose = is_verbose
        self._stack = ExitStack()
        self._status = Status("starting")
        self._since: float | None = None  # when the task of the status began, if its time is of interest
        self._compiling: Status | None = None
        self._compiling_since = 0.0
        self._epochs: Epochs | None = None
        self._table: MetricTable | None = None
        self._rows = 0  # below the last heads of a table

    @property
    def is_live(self) -> bool:
        """Whether there is a region at the bottom of the terminal."""
        return self._display is not None

    def __enter__(self) -> Self:
        if not self._is_launched:
            self._stack.enter_context(self.interrupts)
        if self._display is not None or self._is_verbose:
            self._stack.enter_context(listened_to(self.compiling))
        if self._display is not None:
            self._stack.enter_context(self._display)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def doing(self, task: str, kept: str = NOTHING, command: str | None = None) -> None:
        """Shows what is done from now on. With `--verbose`, prints how long the task before took.

        `kept` and `command` are said if it is interrupted, as in `Interrupts.at`.
        """
        if task:
            self.interrupts.at(f"while {task}", kept, command)
        if self._is_verbose and self._since is not None:
            say(f"{self._status.task}: {lasting(time.monotonic() - self._since)}")
        self._status, self._since = Status(task), time.monotonic() if task else None
        if self._display is not None:
            self._display.refresh()

    def compiling(self, compiled: int, count: int) -> None:
        """Shows how many kernels are compiled. With `--verbose`, prints how long that took."""
        if compiled == 0:
            self._compiling_since = time.monotonic()
        self._compiling = compiling(compiled, count) if compiled < count else None
        if self._is_verbose and compiled == count:
            say(f"compiling {count} kernels: {lasting(time.monotonic() - self._compiling_since)}")

    def trains(self, model: "Model", rows: Sequence["Row"] = ()) -> None:
        """Says which model is trained from now on; `rows` are its epochs that are done."""
        self.doing("")
        self._epochs = Epochs(model, rows)
        self._status = self._epochs.begins(len(rows))

    def took(self, row: "Row") -> bool:
        """Takes the row of an epoch that is done. Returns whether it is the best one so far."""
        return self._epochs is not None and self._epochs.take(row)

    @property
    def best(self) -> "Best | None":
        """The best epoch of the training, and its metric."""
        return self._epochs.best if self._epochs is not None else None

    def update(self, report: "Report", prefix: str = "") -> None:
        """Shows the progress in an epoch. The prefix stands before it."""
        if self._display is not None:
            epochs = self._epochs
            self._status = status_of(report, prefix) if epochs is None else epochs.status(report, prefix)

    def epoch(self, row: "Row", total: int) -> None:
        """Prints the line of an epoch that is done."""
        from netc.runtime.metric_names import epoch_numbers

        label = f"{row['epoch']}/{total}"
        is_best = self.took(row)
        if self._display is None or self._is_verbose:
            say(f"epoch {label}  {metrics_text(epoch_numbers(row))}  {row['samples_per_second']:,.0f} samples/s")
            return
        assert self._epochs is not None
        names = [*epoch_numbers(row)]
        important = [self._epochs.metric, "train.loss", "valid.loss"]
        self._row(("epoch", f"{total}/{total}"), label, row, (names, important), is_best=is_best)

    def fold(self, number: int, count: int, metrics: Mapping[str, Any], facts: Sequence[str]) -> None:
        """Prints the line of a fold that is done."""
        from netc.runtime.metric_names import single_numbers

        if self._display is None or self._is_verbose:
            say(f"fold {number}/{count}  {metrics_text(metrics)}  ({'; '.join(facts)})")
            return
        label, note = f"{number}/{count}", ", ".join(fact.partition(":")[0] for fact in facts)
        self._row(("fold", f"{count}/{count}"), label, metrics, ([*single_numbers(metrics)], []), note)

    def _row(
        self,
        first: tuple[str, str],
        label: str,
        row: Mapping[str, Any],
        metrics: tuple[list[str], list[str]],
        note: str = "",
        is_best: bool = False,
    ) -> None:
        """Prints a row of a table, below its heads if the table is new or the terminal has another width."""
        assert self._display is not None
        width = self._display.width
        if self._table is None or self._table.width != width:
            table_width = width - _NOTE if note else width
            self._table, self._rows = MetricTable(first[0], len(first[1]), *metrics, table_width, has_time=not note), 0
            self._table.width = width
            for head in filter(None, self._table.heads()):
                self._display.line((head, "head"))
            if self._table.left_out:
                rest = f"not shown, for want of room: {', '.join(self._table.left_out)}"
                self._display.line((rest[: width - 1], "aside"))
        line = self._table.line(label, row)
        self._display.line((f"{line}  {note}" if note else line, ""), (f" {BEST}" * is_best, "best"))
        self._rows += 1

    def _lines(self, width: int, height: int) -> list[Line]:
        """The lines of the region: the heads of the table once they have left the screen, and where the training is."""
        lines = list[Line]()
        if self._table is not None and self._rows > height - 5:
            lines += [(head, "head") for head in self._table.heads()]
        lines.append(((self._compiling or self._status).text(width), "status"))
        if self._compiling is None and self._epochs is not None and (text := self._epochs.standing()):
            lines.append((text[: width - 1], ""))
        return lines


class StudyTicker(Ticker):
    """Shows how far a study is, with the best value of its metric so far, and prints a line after each round."""

    def __init__(self, is_launched: bool = False) -> None:
        super().__init__(is_launched)
        self._metric, self._resume, self._finished, self._values = "", "", 0, list[float]()
        self._most = 0  # trials of the round that is running
        self._begin: tuple[float, int] | None = None  # when, and after how many trials that were finished before

    def searches(self, metric: str, resume: str) -> None:
        """Says by which metric the trials are compared, and which command goes on with the study."""
        self._metric, self._resume = metric, resume

    def study(self, standing: "Standing") -> None:
        """Shows where a study stands."""
        facts = [f"{standing.running} running"] if standing.running else []
        facts += [f"{standing.pruned} given up"] if standing.pruned else []
        if standing.best is not None:
            facts.append(f"best {self._metric} {number(standing.best_value)} (trial {standing.best})")
        total = f"/{standing.total}" if standing.total is not None else ""
        task = f"{standing.finished}{total} trials"
        kept, finishing = "every trial that is done is saved", "each training ends after its epoch"
        self.interrupts.at(f"after {task}", kept, self._resume, finishing)
        if standing.finished > self._finished:
            self._finished = standing.finished
            self._values.append(standing.best_value)
            say("  ".join([task, *facts]))
        self._most = max(self._most, standing.running) if standing.running else 0
        ended = standing.finished + max(self._most - standing.running, 0)
        done = min(ended / standing.total, 1.0) if standing.total else None
        self._status = Status(task, done, tuple(reversed(facts)), [*self._values], self._left(standing))

    def _left(self, standing: "Standing") -> float | None:
        """The seconds until the trials are done, None if that is not known yet."""
        now = time.monotonic()
        if self._begin is None:
            self._begin = now, standing.finished
        begin, before = self._begin
        if standing.total is None or standing.finished == before:
            return None
        return (now - begin) / (standing.finished - before) * (standing.total - standing.finished)

    def update(self, report: "Report", prefix: str = "") -> None:
        """Shows the progress of the winner's training."""
        super().update(report, prefix or "the winner: ")
