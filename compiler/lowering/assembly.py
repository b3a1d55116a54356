"""Values that are put together from their operands, each computed into its part of the buffer.

These are concat, pad and interleave.
"""

from netc.compiler.ir.attributes import Axis
from netc.compiler.ir.forms import Form
from netc.compiler.ir.types import fixed_size
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.copies import write_part
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.loop import Loop
from netc.compiler.lowering.padding import inside_of, write_padding
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.window import image_axes
from netc.dsl.structs import replace

_FEW_PARTS = 8  # operands of a `concat` that one loop copies


@lowers(Form.CONCAT)
def concat(lowering: Lowering, value: Value) -> None:
    """Copies the operands side by side: in one loop if they are few and of one shape, else one after another.

    Nothing is left to do if their producer has written them there (parts.py).
    """
    if value in lowering.views:
        return
    axis, target, start = value.attributes_as(Axis).axis, lowering.output(value), 0
    views = []
    for operand in value.operands:
        views.append(replace(target, offset=target.offset + start * target.strides[axis]))
        start += fixed_size(operand.type.dims[axis])
    if len({operand.type.dims for operand in value.operands}) == 1 and len(views) <= _FEW_PARTS:
        loop = Loop(lowering, value.operands[0].type.dims)
        names = [loop.operand(operand) for operand in value.operands]
        loop.emit([(name, value, view) for name, view in zip(names, views, strict=True)])
        return
    for operand, view in zip(value.operands, views, strict=True):
        write_part(lowering, value, operand, view)


@lowers(Form.PAD)
def pad(lowering: Lowering, value: Value) -> None:
    """Writes the padding and the operand inside of it, unless the operand's producer wrote both (padding.py)."""
    if value in lowering.views:
        return
    buffer = lowering.output(value).memory
    write_padding(lowering, value, buffer)
    write_part(lowering, value, value.operands[0], replace(inside_of(value), buffer=buffer))


@lowers(Form.INTERLEAVE)
def interleave(lowering: Lowering, value: Value) -> None:
    """Computes all parts of an interleaved image in one loop."""
    size, target = value.attributes_as(Interleave).size, lowering.output(value)
    h, w = image_axes(value.type)
    strides = tuple(stride * {h: size[0], w: size[1]}.get(axis, 1) for axis, stride in enumerate(target.strides))
    loop, outputs = Loop(lowering, value.operands[0].type.dims), []
    for n, part in enumerate(value.operands):
        offset = target.offset + n // size[1] * target.strides[h] + n % size[1] * target.strides[w]
        outputs.append((loop.operand(part), value, replace(target, strides=strides, offset=offset)))
    loop.emit(outputs)
