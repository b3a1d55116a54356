"""The calls of a plan as the emulator does them: which kernel, and where each of its pointers stands.

Everything that does not change from step to step is worked out once. Knows no memory yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from netc.compiler.emulator.kernels import Kernel
from netc.compiler.ir.types import BATCH
from netc.compiler.kernels.schedule import PRIVATE, TABLES, Address, Count, Schedule
from netc.compiler.passes.tasks import Buffer, Pointer, Task, contiguous


@dataclass(frozen=True, slots=True)
class Spot:
    """A pointer in a call: its address, where its buffer begins, and how far it points into it. A buffer in private memory that `is_band` holds the rows at
    hand, a table that `is_open` as much as it is given."""

    address: Address
    buffer: Buffer
    tag: int
    low: int
    offset: int
    row_bytes: int
    is_band: bool
    is_open: bool

    @classmethod
    def of(cls, pointer: Pointer, address: Address, tag: int, schedule: Schedule) -> "Spot":
        type_ = pointer.buffer.type
        offset = pointer.offset * type_.itemsize
        row_bytes = type_.itemsize * contiguous(type_.dims)[0] if type_.dims else type_.itemsize
        is_band = address.memory == PRIVATE and bool(pointer.lead) and not address.lead
        is_open = address.memory >= TABLES and schedule.tables[address.memory - TABLES] == (0, 0)
        return cls(address, pointer.buffer, tag, address.offset - offset, offset, row_bytes, is_band, is_open)


@dataclass(frozen=True, slots=True)
class Placed:
    """A task at its place in the schedule, ready to be called."""

    task: Task
    kernel: Kernel
    spots: tuple[Spot | Count, ...]
    phase: int
    group: str

    def __str__(self) -> str:
        values = ", ".join(f"%{value.number} {value.operation}" for value in self.task.values)
        return f"phase {self.phase}, {self.group}, {self.task.kernel.form} of {values}"


def passing_on(calls: Sequence[Placed], others: Sequence[Placed]) -> set[Buffer]:
    """The buffers that a scan's step writes before it reads them, and that nothing else touches: empty again when a step begins."""
    outside = {pointer.buffer for placed in others for pointer in placed.task.pointers}
    passing: set[Buffer] = set()
    seen: set[Buffer] = set()
    for placed in calls:
        read = {placed.task.pointers[i].buffer for i in placed.kernel.memory.needs}
        written = {placed.task.pointers[i].buffer for i in placed.kernel.memory.writes}
        passing |= {one for one in written - read - seen if one.kind == "temporary" and one.type.rows == BATCH}
        seen |= read | written
    return passing - outside
