"""The progress of compilation, training and studies on a terminal. Without a terminal it is plain lines."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from netc.commands.quantities import number
from netc.commands.terminal import say
from netc.compiler.targets.compilation import listened_to
from netc.dsl.quoting import escaped

if TYPE_CHECKING:
    from netc.runtime.studies.rounds import Standing
    from netc.runtime.trainer import Report


@contextmanager
def compilation_shown() -> Iterator[None]:
    """Shows on a terminal how many kernels are compiled, in a line of the error stream that goes away at the end."""
    is_shown = False

    def show(compiled: int, count: int) -> None:
        nonlocal is_shown
        is_shown = compiled < count
        text = f"compiling: {compiled} of {count} kernels" if is_shown else ""
        with suppress(OSError):  # the terminal is gone
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield
        return
    with listened_to(show):
        try:
            yield
        finally:
            if is_shown:
                show(0, 0)


class Ticker:
    """Shows the running epoch as a progress bar on a terminal, and nothing elsewhere. While kernels are compiled, the
    bar shows these. Under a launcher of ranks there is none: it gives its processes a terminal even if it has none."""

    def __init__(self, is_launched: bool = False) -> None:
        self._bar: Any = None
        self._listening = ExitStack()
        if sys.stdout.isatty() and not is_launched:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeRemainingColumn(),
                transient=True,
            )
            self._task = self._bar.add_task("", total=None, facts="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._listening.enter_context(listened_to(self.compiling))
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        if self._bar is not None:
            with suppress(OSError):  # the terminal is gone
                self._bar.stop()

    def update(self, report: "Report") -> None:
        """Shows the progress in an epoch."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=f"epoch {report.epoch}/{report.epochs}",
                completed=(report.epoch - 1) * report.samples + report.done,
                total=report.epochs * report.samples,
                facts=f"loss {report.loss:.4f} {report.samples_per_second:,.0f} samples/s",
            )

    def compiling(self, compiled: int, count: int) -> None:
        """Shows how many kernels are compiled."""
        description = "compiling kernels" if compiled < count else ""
        self._bar.update(self._task, description=description, completed=compiled, total=count)

    def line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(escaped(text), highlight=False, markup=False)
        else:
            say(text)


class StudyTicker(Ticker):
    """Shows on a terminal how far a study is, as a bar with the best value of its metric so far. Elsewhere a line is
    printed after each round."""

    def __init__(self, metric: str) -> None:
        super().__init__()
        self._metric, self._finished = metric, 0

    def study(self, standing: "Standing") -> None:
        """Shows where a study stands."""
        facts = [f"{standing.running} running"] if standing.running else []
        facts += [f"{standing.pruned} given up"] if standing.pruned else []
        if standing.best is not None:
            facts.append(f"best {self._metric} {number(standing.best_value)} (trial {standing.best})")
        total = f"/{standing.total}" if standing.total is not None else ""
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=f"{standing.finished}{total} trials",
                completed=standing.finished,
                total=standing.total,
                facts=", ".join(facts),
            )
        elif standing.finished > self._finished:
            self._finished = standing.finished
            self.line("  ".join([f"{standing.finished}{total} trials", *facts]))
