"""The calls of a plan as the emulator does them: which kernel is called, and where each of its pointers stands.

Everything that does not change from step to step is computed once. Knows no memory yet.
"""

from collections.abc import Sequence

from msgspec import Struct

from netc.compiler.ir.strides import elements_of_row
from netc.compiler.ir.types import BATCH
from netc.compiler.program.kernels import form_of
from netc.compiler.program.schedule import PRIVATE, TABLES, Address, Count, Schedule
from netc.compiler.program.tasks import Buffer, Pointer, Task
from netc.compiler.targets.emulator.kernels import EmulatedKernel


class Spot(Struct, frozen=True):
    """A pointer in a call: its address, its buffer, and where in the memory the buffer begins.

    The offset into the buffer and the size of a row are in bytes. A buffer in private memory that `is_band` holds
    only the rows of the current frame; a table that `is_open` ends where the array ends that the run is given.
    """

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
        """Returns where a pointer of a task stands. `tag` marks the bytes that hold the buffer's values."""
        type_ = pointer.buffer.type
        offset = pointer.offset * type_.itemsize
        row_bytes = type_.itemsize * elements_of_row(type_.dims)
        is_band = address.memory == PRIVATE and bool(pointer.lead) and not address.lead
        is_open = address.memory >= TABLES and schedule.tables[address.memory - TABLES] == (0, 0)
        return cls(address, pointer.buffer, tag, address.offset - offset, offset, row_bytes, is_band, is_open)


class Placed(Struct, frozen=True):
    """A task at its position in the schedule, ready to be called."""

    task: Task
    kernel: EmulatedKernel
    spots: tuple[Spot, ...]
    counts: tuple[Count, ...]
    phase: int
    group: str

    def __str__(self) -> str:
        values = ", ".join(f"%{value.number} {value.operation}" for value in self.task.values)
        return f"phase {self.phase}, {self.group}, {form_of(self.task.kernel)} of {values}"


def passing_on(calls: Sequence[Placed], others: Sequence[Placed]) -> set[Buffer]:
    """Returns the buffers that a step of a scan writes before it reads them, and that no other call touches.

    Such a buffer is empty again when the next step begins.
    """
    outside = {pointer.buffer for placed in others for pointer in placed.task.pointers}
    passing: set[Buffer] = set()
    seen: set[Buffer] = set()
    for placed in calls:
        read = {placed.task.pointers[i].buffer for i in placed.kernel.memory.needs}
        written = {placed.task.pointers[i].buffer for i in placed.kernel.memory.writes}
        first_written = written - read - seen
        passing |= {buffer for buffer in first_written if buffer.kind == "temporary" and buffer.type.rows == BATCH}
        seen |= read | written
    return passing - outside
