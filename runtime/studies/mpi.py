"""A study over MPI: rank 0 chooses the trials, and all ranks train their segments, by mpi4py.futures.

The results are those of one machine, as only the order in which segments are done differs.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from netc.runtime.distributed.launch import launched_ranks, ranks_of_launch
from netc.runtime.studies.job import Job, job_of
from netc.runtime.studies.remote import train
from netc.runtime.studies.rounds import TrainAll
from netc.runtime.studies.segments import Segment, SegmentResult
from netc.runtime.studies.study import Study


@contextmanager
def pool() -> Iterator[Any]:
    """Yields the executor of the other ranks on rank 0, and None on these, where it returns once rank 0 is done.

    Raises E1013 like `ranks_of_launch`.
    """
    ranks = ranks_of_launch()
    from mpi4py.futures import MPICommExecutor

    try:
        with MPICommExecutor() as executor:
            yield executor
    finally:
        ranks.finish()  # a command ends without what Python does at its exit


def on_all_ranks(study: Study, executor: Executor) -> TrainAll:
    """Trains segments on all ranks, one at a time on each: the other ranks have theirs from `executor`."""
    job = job_of(study.folder.source, study.constants)

    def train_all(segments: Sequence[Segment], on_done: Callable[[int, SegmentResult], object]) -> None:
        waiting = queue.SimpleQueue[int]()
        for number in range(len(segments)):
            waiting.put(number)
        done = queue.SimpleQueue[tuple[int, SegmentResult | BaseException]]()
        threads = [
            threading.Thread(target=_serve, args=(waiting, done, train), daemon=True)
            for train in _trainers(job, segments, executor)
        ]
        for thread in threads:
            thread.start()
        for _ in segments:
            number, result = done.get()
            if isinstance(result, BaseException):
                raise result
            on_done(number, result)

    return train_all


def _trainers(job: Job, segments: Sequence[Segment], executor: Executor) -> list[Callable[[int], SegmentResult]]:
    """A function for each rank that trains the segment of a number there."""

    def here(number: int) -> SegmentResult:
        return train(job, segments[number])

    def there(number: int) -> SegmentResult:
        result: SegmentResult = executor.submit(train, job, segments[number]).result()
        return result

    return [here, *[there] * (launched_ranks() - 1)]


def _serve(
    waiting: "queue.SimpleQueue[int]",
    done: "queue.SimpleQueue[tuple[int, SegmentResult | BaseException]]",
    train: Callable[[int], SegmentResult],
) -> None:
    """Trains segments with one rank as long as there are any."""
    while True:
        try:
            number = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            done.put((number, train(number)))
        except BaseException as error:
            done.put((number, error))
