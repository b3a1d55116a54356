"""Loops that move or repeat elements: copies of values, constants, and rows of inputs in the order of the samples.

Knows no more of a lowering than a loop does.
"""

from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.lowering.loop import Loop, LoopContext
from netc.compiler.program.scalars import number
from netc.compiler.program.tasks import Buffer, StridedView, all_of


def copy(lowering: LoopContext, value: Value, target: Buffer) -> None:
    """Computes or copies a value into a whole buffer."""
    loop = Loop(lowering, value.type.dims)
    loop.emit([(loop.operand(value), value, all_of(target))])


def write_part(lowering: LoopContext, value: Value, operand: Value, target: StridedView) -> None:
    """Computes or copies an operand into a part of a value's buffer."""
    loop = Loop(lowering, operand.type.dims)
    loop.emit([(loop.operand(operand), value, target)])


def fill(
    lowering: LoopContext, value: Value, filling: object, target: StridedView, dims: tuple[Dim, ...] | None = None
) -> None:
    """Writes a number to all elements of a value, or to those of a part of it that has the dimensions `dims`."""
    loop = Loop(lowering, value.type.dims if dims is None else dims)
    loop.emit([(loop.add(number(filling, value.type.dtype)), value, target)])


def gather_rows(lowering: LoopContext, value: Value) -> StridedView:
    """Gathers the rows of an input for this step into a buffer."""
    loop = Loop(lowering, value.type.dims)
    buffer = Buffer(value.type)
    loop.emit([(loop.row(value), value, all_of(buffer))])
    return all_of(buffer)
