"""A plan as plain data: tasks in phases, with an address for every buffer. planning/plan.py makes it."""

from dataclasses import dataclass

from netc.compiler.ir.types import Sizes, Type
from netc.compiler.program.schedule import Schedule
from netc.compiler.program.tasks import Task


@dataclass(frozen=True, slots=True)
class Table:
    """Memory of the caller for an input or a result of a program: its index among the tables, and its type."""

    index: int
    type: Type


@dataclass(frozen=True, slots=True)
class Plan:
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
    tasks: tuple[Task, ...]
