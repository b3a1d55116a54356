"""The progress of `netc.train`: curves in a notebook, a bar in an interactive terminal, nothing in a script.

A display is asked often and draws seldom, so that training does not wait for it.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from netc.commands.compilation import compiling
from netc.commands.display import Display as Region
from netc.commands.display import is_suited, printed_above
from netc.commands.epochs import Epochs
from netc.commands.status import Status
from netc.compiler.model import Model
from netc.compiler.targets.compilation import listened_to
from netc.dsl.quoting import html_text
from netc.notebook.html import beside, curves, metrics_table, run_html
from netc.runtime.runs.run import Run
from netc.runtime.trainer import Report

_EVERY = 0.5  # seconds between two drawings in a notebook, which sends each as a message


class Display(Protocol):
    """Shows a training."""

    def started(self, run: Run) -> None:
        """The run is compiled, and its training begins."""

    def compiling(self, compiled: int, count: int) -> None:
        """Shows how many kernels are compiled."""

    def update(self, report: Report) -> None:
        """Training goes on within an epoch."""

    def epoch(self) -> None:
        """The run has the metrics of one more epoch."""


class Nothing:
    """The display of a script."""

    def started(self, run: Run) -> None: ...

    def compiling(self, compiled: int, count: int) -> None: ...

    def update(self, report: Report) -> None: ...

    def epoch(self) -> None: ...


@contextmanager
def progress_in(model: Model, is_wanted: bool | None) -> Iterator[Display]:
    """The display for the environment of this process. If `is_wanted` is None, only interactive sessions have one."""
    shell = _shell()
    is_notebook = getattr(shell, "kernel", None) is not None
    is_interactive = is_notebook or ((shell is not None or hasattr(sys, "ps1")) and sys.stderr.isatty())
    if not (is_interactive if is_wanted is None else is_wanted):
        yield Nothing()
    elif is_notebook:
        notebook = NotebookDisplay(model)
        with listened_to(notebook.compiling):
            try:
                yield notebook
            finally:
                notebook.close()
    elif is_suited(is_error=True):
        terminal = TerminalDisplay(model)
        with printed_above(terminal.region), listened_to(terminal.compiling):
            yield terminal
    else:
        yield Nothing()


def _shell() -> Any:
    """The shell of IPython that this process runs, in a terminal or for a notebook; None without one."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


class NotebookDisplay:
    """An output of the cell that is written again and again: a bar, the curves so far, and the last metrics."""

    def __init__(self, model: Model) -> None:
        from IPython.display import display

        self._model, self._run = model, None  # type: tuple[Model, Run | None]
        self._report: Report | None = None
        self._drawn = time.monotonic()
        self._handle = display(self._bundle(self._bar("starting", None)), raw=True, display_id=True)

    def started(self, run: Run) -> None:
        self._run = run

    def compiling(self, compiled: int, count: int) -> None:
        if self._is_due():
            self._draw(self._bar(f"compiling: {compiled} of {count} kernels", compiled / count))

    def update(self, report: Report) -> None:
        self._report = report
        if self._is_due():
            self._draw(self._training())

    def epoch(self) -> None:
        self._report = None
        if self._is_due():
            self._draw(self._training())

    def close(self) -> None:
        """Draws the run as it is now for good; removes the output of one that has not begun."""
        self._draw(run_html(self._run) if self._run is not None else "")

    def _training(self) -> str:
        """The bar, and what the epochs so far show."""
        run, report, epochs = self._run, self._report, self._model.train.epochs
        assert run is not None
        done = len(run.metrics)
        share = done + (report.done / report.samples if report is not None else 0.0)
        facts = f", {report.samples_per_second:,.0f} samples/s" if report is not None else ""
        bar = self._bar(f"epoch {min(done + 1, epochs)} of {epochs}{facts}", share / epochs)
        if not done:
            return bar
        return beside(bar, [curves(run.metrics, epochs=epochs), metrics_table(run.metrics)])

    def _bar(self, text: str, share: float | None) -> str:
        value = f" value='{share:.4f}'" if share is not None else ""
        style = "font-family:system-ui,sans-serif;font-size:13px"
        return f"<div style='{style}'><progress style='width:16em'{value}></progress> {html_text(text)}</div>"

    def _is_due(self) -> bool:
        return time.monotonic() - self._drawn >= _EVERY

    def _draw(self, html: str) -> None:
        self._drawn = time.monotonic()
        self._handle.update(self._bundle(html), raw=True)

    def _bundle(self, html: str) -> dict[str, str]:
        return {"text/html": html, "text/plain": repr(self._run) if self._run is not None else "training"}


class TerminalDisplay:
    """A line with a bar at the bottom of the terminal, as `netc train` has it, that goes away at the end."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._epochs: Epochs | None = None
        self._status = Status("starting")
        self.region = Region(lambda width, _: [(self._status.text(width), "status")], is_error=True)

    def started(self, run: Run) -> None:
        self._run, self._epochs = run, Epochs(self._model, run.metrics)
        self._status = self._epochs.begins(len(run.metrics))

    def compiling(self, compiled: int, count: int) -> None:
        self._status = compiling(compiled, count)

    def update(self, report: Report) -> None:
        assert self._epochs is not None
        self._status = self._epochs.status(report)

    def epoch(self) -> None:
        assert self._epochs is not None
        self._epochs.take(self._run.metrics[-1])
        self._status = self._epochs.begins(len(self._run.metrics))
