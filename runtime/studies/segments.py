"""Trains the segments of a study's trials: each is a training with its own settings, or the next epochs of one.

`Segments` is built from a parsed file and trains any of them, several at a time. A segment and its result are plain
data, so that other processes and machines can train it too: each has a `Segments` of its own. The bits are those of
`netc train` with the same settings, whoever trains a segment and however the epochs are divided.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed

from msgspec import Struct

from netc.compiler.targets.machine import cores
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault
from netc.dsl.structs import replace
from netc.runtime import plugins
from netc.runtime.metric_values import Row
from netc.runtime.runs.run_info import Constant
from netc.runtime.runs.start_from import check_start_from, start_from
from netc.runtime.studies.helper import Fields, Helpers
from netc.runtime.studies.job import job_of
from netc.runtime.studies.shared import Prepared, Shared
from netc.runtime.studies.trial import Trial, without_times
from netc.runtime.trainer import train_claimed

_MOST_COPIED = 500_000_000  # bytes of data that each process may have for itself


class Segment(Struct, frozen=True):
    """A training, or a part of one, as plain data.

    `settings` replace values of the file as `--set` does, `fold` is the validation part of a split into folds, and
    `seed` replaces that of the `train` block. The training goes on until `until` epochs are done, or all epochs of the
    settings if there are fewer: from `state`, that of an earlier segment with the same settings, or from the beginning.
    """

    settings: Mapping[str, Constant]
    until: int
    fold: int | None = None
    seed: int | None = None
    state: bytes | None = None

    @property
    def fields(self) -> Fields:
        """The fields as plain values, which a helper process is sent."""
        return {**self.settings}, self.until, self.fold, self.seed, self.state


class SegmentResult(Struct, frozen=True):
    """The outcome of a segment, as plain data.

    `rows` have the metrics of each epoch of this segment, as metrics.jsonl does, but without times. `metrics` are those
    of the parameters that a run would be used with: of the epoch that `keep` has kept, or of the last one. `is_over`
    says that no epoch follows: all are done, or the training stopped by itself (`stopped` says why). With an `error`,
    such as a loss that is no longer a number, there are no metrics, and `rows` are those up to there.
    """

    epoch: int
    rows: tuple[Row, ...]
    metrics: Mapping[str, float]
    state: bytes | None
    is_over: bool
    stopped: str | None = None
    error: Diagnostic | None = None

    @property
    def fields(self) -> Fields:
        """All but an error, as a helper process returns it."""
        return self.epoch, self.rows, {**self.metrics}, self.state, self.is_over, self.stopped


class Segments:
    """Trains segments of a file. `constants` replace its values as `--set` does, unless a segment replaces them."""

    def __init__(self, file: syntax.File, constants: Mapping[str, Constant] | None = None) -> None:
        self.file = file
        self.constants = constants or {}
        self.shared = Shared(file)
        self._helpers = Helpers(self._job, self._is_shareable)

    def _job(self) -> object:
        return job_of(self.file.source, self.constants)

    def _is_shareable(self) -> bool:
        """Whether another process trains the same segments, and may read the data once more."""
        return plugins.are_installed() and self.shared.nbytes <= _MOST_COPIED

    def train_all(
        self,
        segments: Sequence[Segment],
        workers: int | None = None,
        on_done: Callable[[int, SegmentResult], object] = lambda number, result: None,
    ) -> list[SegmentResult]:
        """The results of segments, in their order; `workers` are trained at a time, by default one for each core.

        `on_done` is called in the calling thread as each is done, with its number in `segments`. Its exceptions, and
        KeyboardInterrupt, end the others after their epoch. Segments that take long are trained in several processes
        (helper.py).
        """
        results: dict[int, SegmentResult] = {}
        is_abandoned = threading.Event()
        count = max(min(workers or cores(), len(segments)), 1)
        with ThreadPoolExecutor(count) as pool:
            pending = {
                pool.submit(self._train_anywhere, segment, count, is_abandoned): number
                for number, segment in enumerate(segments)
            }
            try:
                for done in as_completed(pending):
                    results[pending[done]] = done.result()
                    on_done(pending[done], results[pending[done]])
            except BaseException:
                is_abandoned.set()
                self._helpers.end()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [results[number] for number in range(len(segments))]

    def _train_anywhere(self, segment: Segment, workers: int, is_abandoned: threading.Event) -> SegmentResult:
        """The result of a segment, from a helper process or this thread."""
        fields = self._helpers.train(segment.fields, is_abandoned)
        if fields is not None:
            epoch, rows, *others = fields
            return SegmentResult(epoch, tuple(rows), *others)
        with self._helpers.beside(workers):
            return self.train(segment, is_abandoned)

    def train(self, segment: Segment, is_abandoned: threading.Event | None = None) -> SegmentResult:
        """The result of one segment, trained on this thread alone. A Fault becomes the result's `error`.

        Raises CancelledError after an epoch if the segment is abandoned.
        """
        rows: list[Row] = []

        def take(row: Row) -> None:
            rows.append(without_times(row))
            if is_abandoned is not None and is_abandoned.is_set():
                raise CancelledError

        trial: Trial | None = None
        try:
            ready = self._prepared(segment)
            trial = self._trial(segment, ready)
            until = min(segment.until, trial.model.train.epochs)
            ending = train_claimed(trial, until, lambda report: None, take)
            metrics = {name: value for name, value in trial.chosen_row.items() if isinstance(value, float)}
            state, epoch = trial.state(), trial.progress.epoch
            return SegmentResult(epoch, tuple(rows), metrics, state, ending.is_over, ending.stopped)
        except Fault as fault:
            epoch = trial.progress.epoch if trial is not None else 0
            return SegmentResult(epoch, tuple(rows), {}, None, True, error=fault.diagnostics[0])
        finally:
            if trial is not None:
                self.shared.give_back(ready, trial.program)

    def trial(self, segment: Segment) -> Trial:
        """The trial of a segment, before its first step. Raises Fault for settings or data that are wrong."""
        return self._trial(segment, self._prepared(segment))

    def _prepared(self, segment: Segment) -> Prepared:
        return self.shared.prepared({**self.constants, **segment.settings}, segment.fold)

    def _trial(self, segment: Segment, ready: Prepared) -> Trial:
        model = ready.model
        if segment.seed is not None:
            model = replace(model, train=replace(model.train, seed=segment.seed))
        check_start_from(model)
        program = self.shared.take(replace(ready, model=model), model.train.seed)
        trial = Trial(model, program, ready.dataset, ready.undone)
        if segment.state is not None:
            trial.resume(segment.state)
        else:
            program.fit(ready.dataset.parts["train"])
            if model.train.start_from is not None:
                start_from(model, model.train.start_from, program)
        return trial
