"""Rows of a table that an index names: reads them (gather), or combines rows at their indices (scatter)."""

from netc.compiler.ir.forms import Form, Scatter
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.copies import fill
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.loop import Loop, Writing
from netc.dsl.structs import replace


@lowers(Form.GATHER)
def gather(lowering: Lowering, value: Value) -> None:
    """Reads a row of the table for each index."""
    table, index = value.operands
    loop = Loop(lowering, value.type.dims)
    row = load_index(lowering, loop, index)
    view = lowering.read(table)
    strides = (0,) * index.type.rank + view.strides[1:]
    line = loop.load(view, table.type, strides, indirect=(row, view.strides[0]))
    loop.emit([(line, value, lowering.output(value))])


@lowers(Form.SCATTER)
def scatter(lowering: Lowering, value: Value) -> None:
    """Combines each row of x with the row of the result that its index names.

    An index numbers the rows of the result in row-major order, also those along several axes.
    """
    x, index = value.operands
    lower = value.lowered_as(Scatter)
    target = lowering.output(value)
    numbered = value.type.rank - x.type.rank + index.type.rank  # axes of the result that the index numbers
    fill(lowering, value, float(lower.initial), target)
    loop = Loop(lowering, x.type.dims)
    row = load_index(lowering, loop, index)
    rows = replace(target, strides=(0,) * index.type.rank + target.strides[numbered:])
    indirect = (row, target.strides[numbered - 1])
    loop.emit([(loop.operand(x), value, rows)], Writing(indirect=indirect, combine=lower.combine))


def load_index(lowering: Lowering, loop: Loop, index: Value) -> str:
    """Returns the name of the index at a point of a loop whose first axes are those of the index."""
    view = lowering.read(index)
    return loop.load(view, index.type, view.strides + (0,) * (len(loop.space) - index.type.rank))
