"""Rows of a table that a batch touches: the first of equal indices, and new values in place of old ones.

One worker does each task from the first index to the last, because several indices may name one row.
"""

from netc.compiler.ir.forms import Form
from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.copies import copy
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.gather import load_index
from netc.compiler.lowering.loop import Loop, Writing
from netc.compiler.program.kernels import FirstEqual
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Buffer, Pointer, Task, all_of
from netc.dsl.structs import replace


@lowers(Form.FIRST_EQUAL)
def first_equal(lowering: Lowering, value: Value) -> None:
    """Adds the kernel that looks up each element among those before it."""
    (index,) = value.operands
    view = lowering.read(index)
    if view.strides != contiguous(index.type.dims):
        buffer = Buffer(index.type)
        copy(lowering, index, buffer)
        view = all_of(buffer)
    result = lowering.output(value).memory
    slots = Buffer(replace(value.type, dims=(*value.type.dims, 2)), "scratch")
    count = Count(value.type.size(1), value.type.rows or "one")
    pointers = (Pointer(result), view.pointer(), Pointer(slots))
    lowering.program.tasks.append(Task(FirstEqual(), pointers, (count,), frozenset({result, slots}), None, (value,)))


@lowers(Form.PUT)
def put(lowering: Lowering, value: Value) -> None:
    """Stores rows into the memory of the table, if nothing else reads the table later, or into a copy of it."""
    table, index, rows, first = value.operands
    target = lowering.replaced(value, table)
    if target is None:
        target = lowering.output(value)
        copy(lowering, table, target.memory)
    loop = Loop(lowering, rows.type.dims)
    loop.is_whole = True  # equal indices store to one row
    view, axes = lowering.read(rows), (0,) * index.type.rank
    if view.strides != contiguous(rows.type.dims):
        buffer = Buffer(rows.type)
        copy(lowering, rows, buffer)
        view = all_of(buffer)
    number = load_index(lowering, loop, first)
    line = loop.load(
        view, rows.type, axes + view.strides[index.type.rank :], (number, view.strides[index.type.rank - 1])
    )
    stored = replace(target, strides=axes + target.strides[1:])
    indirect = (load_index(lowering, loop, index), target.strides[0])
    loop.emit([(line, value, stored)], Writing(indirect=indirect))
