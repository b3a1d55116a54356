"""Event files of TensorBoard in a run's folder, written by tensorboardX: `tensorboard --logdir runs` shows all runs.

Each process writes a file of its own, with all epochs before, and then removes those of earlier ones.
"""

import time
from contextlib import suppress

from netc.dsl.diagnostics import fault
from netc.dsl.storage.files import reason
from netc.runtime.metric_values import Row, epoch_of
from netc.runtime.runs.checkpoint import path_span
from netc.runtime.runs.run import Run
from netc.runtime.trackers.epochs import scalars

_FILES = "events.out.tfevents.*"


class TensorBoardTracker:
    """Writes a scalar for each number of an epoch; earlier epochs have the times that their seconds lead to."""

    def __init__(self, run: Run) -> None:
        from tensorboardX import SummaryWriter

        self._folder = run.folder
        before = [*run.folder.glob(_FILES)]
        begin = time.time() - sum(scalars(row)["seconds"] for row in run.metrics)
        try:
            suffix = f".{time.time_ns()}"  # the library's own names change once a second
            self._writer = SummaryWriter(str(run.folder), filename_suffix=suffix, flush_secs=1)
            self._writer.add_text("model", f"```\n{run.model.source.text}\n```", walltime=begin)
            for row in run.metrics:
                begin += scalars(row)["seconds"]
                self._add(row, begin)
            self._writer.flush()
        except OSError as error:
            fault(
                "E1001", f"cannot write events of TensorBoard in `{run.folder}`", path_span(run.folder), reason(error)
            )
        for path in before:
            with suppress(OSError):
                path.unlink()

    def log(self, row: Row) -> None:
        try:
            self._add(row, time.time())
            self._writer.flush()
        except OSError as error:
            where = path_span(self._folder)
            fault("E1001", f"cannot write events of TensorBoard in `{self._folder}`", where, reason(error))

    def close(self, is_over: bool) -> None:
        self._writer.close()

    def _add(self, row: Row, at: float) -> None:
        for name, value in scalars(row).items():
            # TensorBoard groups names by what stands before a slash
            self._writer.add_scalar(name.replace(".", "/", 1), value, epoch_of(row), walltime=at)
