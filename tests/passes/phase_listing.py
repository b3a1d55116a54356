"""Prints the phases of a program before they have addresses, for golden tests and the manifest."""

from collections.abc import Iterator, Sequence

from netc.compiler.planning.phases import TaskGroup
from netc.compiler.program.listing import Names, title
from netc.compiler.program.tasks import SHARDS, Task


def phase_lines(phases: Sequence[Sequence[TaskGroup]]) -> Iterator[str]:
    """The phases, the groups in each, and their tasks, with the buffers that they read and write."""
    names = Names(task for phase in phases for group in phase for task in group.tasks)
    for number, phase in enumerate(phases):
        yield f"phase {number}"
        for group in phase:
            yield f"  {group.kind}" if group.axis in (None, SHARDS) else f"  {group.kind} of {group.axis}"
            for task in group.tasks:
                yield f"    {title(task)}"
                yield f"      {_flow(task, names)}"


def _flow(task: Task, names: Names) -> str:
    read = [pointer.buffer for pointer in task.pointers if pointer.buffer not in task.writes]
    written = [pointer.buffer for pointer in task.pointers if pointer.buffer in task.writes]
    return " -> ".join(
        ", ".join(names.names[buffer] for buffer in dict.fromkeys(some)) or "nothing" for some in (read, written)
    )
