"""The bytes that each kernel call reads and writes in a step, each counted once however often it is used.

The accesses of a loop, or the loops of a product, say which elements a call touches: the product of the counts along
which an access moves, at most the buffer. Knows no cache and no time.
"""

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct

from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.program.kernels import FIRST_EQUAL_ACCESSES, Contraction, FirstEqual, StoredCount
from netc.compiler.program.nests import Access, Line, Nest
from netc.compiler.program.product import WALKS, Product
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, Task

_NO_TRAFFIC = ("order", "scratch")  # kinds of buffers that are not counted


class Touch(Struct, frozen=True):
    """The bytes of one buffer that a call reads and writes in a step, over all its rows."""

    read: int = 0
    written: int = 0

    @property
    def nbytes(self) -> int:
        """The bytes that move."""
        return self.read + self.written

    @property
    def distinct(self) -> int:
        """The bytes of the buffer that are touched."""
        return max(self.read, self.written)


def steps_of(task: Task, sizes: Sizes) -> int:
    """Returns the number of steps of a task's scan in a step of these sizes, or 1 for a task outside of scans."""
    if task.walk is None:
        return 1
    return max(-(-size_of(task.walk.dim, sizes) // size_of(BATCH, sizes)), 1)


def calls_of(task: Task, sizes: Sizes) -> int:
    """Returns how often a task is called in a step of these sizes, for all its rows or for those of a scan's step."""
    return max(steps_of(task, sizes) - task.skips_last, 1)


def rows_of(task: Task, sizes: Sizes) -> int:
    """Returns the rows of a task's axis; those of a step of its scan if it belongs to one."""
    if task.walk is not None:
        return size_of(task.walk.dim, sizes) // steps_of(task, sizes)
    if task.axis is None:
        return 1
    return size_of(BATCH if task.axis == SHARDS else task.axis, sizes)


def walked_rows(task: Task, sizes: Sizes) -> int:
    """Returns the rows of all calls of a scan's task, in a step of these sizes."""
    return rows_of(task, sizes) * calls_of(task, sizes)


def traffic(task: Task, sizes: Sizes) -> dict[Buffer, Touch]:
    """Returns what a task touches of each buffer in a step of these sizes."""
    match task.kernel:
        case Nest():
            touches = list(_of_nest(task, task.kernel, sizes))
        case Contraction():
            touches = list(_of_product(task, sizes))
        case StoredCount():
            touches = [(task.pointers[0], 1, True)]
        case _:
            touches = list(_of_whole_buffers(task, sizes))
    steps, calls = steps_of(task, sizes), calls_of(task, sizes)
    read: dict[Buffer, int] = {}
    written: dict[Buffer, int] = {}
    for pointer, elements, is_written in touches:
        if pointer.buffer.kind not in _NO_TRAFFIC:
            times = pointer.buffer.type.shape(1)[0] if pointer.shard else 1
            sums = written if is_written else read
            sums[pointer.buffer] = sums.get(pointer.buffer, 0) + elements * times * pointer.buffer.type.itemsize
    result = {}
    for buffer in dict.fromkeys((*read, *written)):
        largest = buffer.type.nbytes(sizes)
        if buffer.type.is_varying and steps > 1:
            largest //= steps
        result[buffer] = Touch(*(min(sums.get(buffer, 0), largest) * calls for sums in (read, written)))
    return result


def number_of(count: Count, task: Task, sizes: Sizes) -> int:
    """Returns a count as a number, for all rows of the task."""
    return count.value(rows_of(task, sizes), sizes)


def accesses_of(task: Task, sizes: Sizes) -> int:
    """Returns how many single elements a task loads and stores at addresses that depend on other elements."""
    if not isinstance(task.kernel, FirstEqual):
        return 0
    (count,) = task.counts
    return FIRST_EQUAL_ACCESSES * number_of(count, task, sizes)


def _of_nest(task: Task, nest: Nest, sizes: Sizes) -> Iterable[tuple[Pointer, int, bool]]:
    """Yields for each access of a nest its pointer, its elements, and whether it writes."""
    counts = iter([number_of(count, task, sizes) for count in task.counts])
    extents = [next(counts) if extent is None else extent for extent in nest.extents]
    lines = {line.name: line for line in nest.lines}
    for access in nest.loads():
        if access.pointer is not None:
            yield task.pointers[access.pointer], _elements(access, extents, lines), False
    for output in nest.outputs:
        assert output.target.pointer is not None
        pointer, elements = task.pointers[output.target.pointer], _elements(output.target, extents, lines)
        yield pointer, elements, True
        if nest.combine is not None:
            yield pointer, elements, False


def _elements(access: Access, extents: list[int], lines: Mapping[str, Line]) -> int:
    """The elements that an access touches: the product of the extents along which it, or its index, moves."""
    moves = [stride != 0 for stride in access.strides]
    if access.indirect is not None:
        index = lines[access.indirect[0]].value
        along = [stride != 0 for stride in index.strides] if isinstance(index, Access) else [True] * len(moves)
        moves = [direct or indirect for direct, indirect in zip(moves, along, strict=True)]
    return math.prod(extent for extent, is_moved in zip(extents, moves, strict=True) if is_moved)


def _of_product(task: Task, sizes: Sizes) -> Iterable[tuple[Pointer, int, bool]]:
    """Yields for each operand of a product, and for its result, what `_of_nest` yields for an access."""
    product = Product.of(task.pointers, task.counts, Count)

    def elements(operand: str) -> int:
        loops = [getattr(product, name) for name in WALKS[operand]]
        return math.prod(number_of(loop.count, task, sizes) for loop in loops if getattr(loop, operand).factor)

    yield product.a, elements("a"), False
    yield product.b, elements("b"), False
    if product.has_start.factor:
        yield product.start, elements("start"), False
    yield product.c, elements("c"), True


def _of_whole_buffers(task: Task, sizes: Sizes) -> Iterable[tuple[Pointer, int, bool]]:
    """Yields whole buffers: those that a task writes, and the others, which it reads."""
    buffers = {pointer.buffer: pointer for pointer in task.pointers}
    for buffer, pointer in buffers.items():
        yield pointer, buffer.type.size(sizes), buffer in task.writes
