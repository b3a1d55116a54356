"""Finds the tasks of a scan whose results are read by the next step alone: the last step skips them.

    z = dc * gates'         a backward scan: the rows of z are read after it
    dc = z @ transpose(U)   the gradient of the initial state, which nobody reads: not in the last step

No number changes, also if samples differ in length: a sample that takes part in the last step has no later one, and
neither has a sample that has ended before.
"""

from collections.abc import Iterable, Sequence

from netc.compiler.planning.accesses import use_by
from netc.compiler.program.tasks import Buffer, Task, Tasks, Walk
from netc.dsl.structs import replace


def skip_last_steps(program: Tasks) -> list[Task]:
    """Returns the tasks of a program, with `skips_last` set where the last step of a scan needs no result of a task."""
    by_walk: dict[Walk | None, list[int]] = {}
    for number, task in enumerate(program.tasks):
        by_walk.setdefault(task.walk, []).append(number)
    readers = _readers(program.tasks)
    tasks = list(program.tasks)
    for walk, numbers in by_walk.items():
        if walk is not None:
            for number in _unread_at_last(program.tasks, numbers, readers):
                tasks[number] = replace(tasks[number], skips_last=True)
    return tasks


def _readers(tasks: Iterable[Task]) -> dict[Buffer, set[Walk | None]]:
    """The scans whose tasks read each buffer; None stands for the tasks outside of scans."""
    readers: dict[Buffer, set[Walk | None]] = {}
    for task in tasks:
        for buffer in read_by(task):
            readers.setdefault(buffer, set()).add(task.walk)
    return readers


def read_by(task: Task) -> set[Buffer]:
    """The buffers that a task loads from."""
    return {task.pointers[number].buffer for number in use_by(task).reads}


def _unread_at_last(
    tasks: Sequence[Task], numbers: Sequence[int], readers: dict[Buffer, set[Walk | None]]
) -> Iterable[int]:
    """Yields the numbers of the tasks of a walk whose results nothing reads later in its last step, or after it."""
    read_later: set[Buffer] = set()
    for number in reversed(numbers):
        task = tasks[number]
        is_read = any(
            buffer.kind not in ("temporary", "scratch")
            or readers.get(buffer, set()) - {task.walk}
            or buffer in read_later
            for buffer in task.writes
        )
        if is_read:
            read_later |= read_by(task)
        else:
            yield number
