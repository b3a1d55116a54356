"""The plan of a program as plain data: its memory, its tables and its schedule. Knows no graph and no machine."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

from netc.compiler.ir.types import Sizes, Type
from netc.compiler.program.schedule import Call, Group, Schedule

if TYPE_CHECKING:
    from netc.compiler.program.gathers import Gathers
    from netc.compiler.program.tasks import Task

ALIGNMENT = 64
SLACK = 512  # the tile reads, and never uses, columns past the end of the last buffer


class Table(Struct, frozen=True):
    """Memory of the caller for an input or a result of a program: its index among the tables, and its type."""

    index: int
    type: Type


class CallLayout(Struct, frozen=True):
    """Everything about a plan that a caller of its code must know.

    `step_bytes` are the bytes by which each table moves on in a step (see Schedule.tables); `dims` are the varying
    dimensions, `gathers` those of the schedule, and `phases` is the number of its phases. The other fields are those of
    the plan.
    """

    sizes: Sizes
    shared: int
    private: int
    step_bytes: tuple[tuple[int, int], ...]
    dims: tuple[str, ...]
    inputs: dict[str, Table]
    results: dict[str, Table]
    gathers: "Gathers | None" = None
    phases: int = 0


class PlannedGroup(Struct, frozen=True):
    """A group of a plan with the number of its phase, and its calls, each with the task that it does."""

    phase: int
    group: Group
    calls: tuple[tuple[Call, "Task"], ...]


class Plan(Struct, frozen=True):
    """The memory and the schedule of a program, for steps of at most `sizes`.

    `shared` and `private` are the bytes of the shared arena and of each worker's own. `tasks` are in the order of the
    calls.
    """

    sizes: Sizes
    shared: int
    private: int
    schedule: Schedule
    inputs: dict[str, Table]
    results: dict[str, Table]
    tasks: tuple["Task", ...]

    def groups(self) -> Iterator[PlannedGroup]:
        """Yields the groups of all phases, in order. Raises ValueError if there are more calls than tasks."""
        tasks = iter(self.tasks)
        for number, phase in enumerate(self.schedule.phases):
            for group in phase:
                done = islice(tasks, len(group.calls))
                yield PlannedGroup(number, group, tuple(zip(group.calls, done, strict=True)))

    @property
    def call_layout(self) -> CallLayout:
        """Returns the part of the plan that a caller needs."""
        tables, dims, gathers = self.schedule.tables, self.schedule.dims, self.schedule.gathers
        phases = len(self.schedule.phases) if gathers is not None else 0
        arenas = self.shared, self.private
        return CallLayout(self.sizes, *arenas, tables, dims, self.inputs, self.results, gathers, phases)


def layout(names: Iterable[tuple[str, int]]) -> tuple[dict[str, int], int]:
    """Returns offsets for buffers of (name, bytes), one behind another, and the bytes of all of them with the slack."""
    offsets, at = {}, 0
    for name, size in names:
        offsets[name] = at
        at += aligned(size)
    return offsets, at + SLACK


def aligned(size: int) -> int:
    """Returns a number of bytes rounded up to a multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT
