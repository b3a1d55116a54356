"""Sequences of a fixed length, x[batch, n, ...], and the same steps packed as rows, without those beyond each end."""

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.forms import Form
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.copies import copy, fill
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.loop import Loop, Writing
from netc.compiler.program.tasks import Buffer, all_of
from netc.dsl.structs import replace


@lowers(Form.TO_STEPS)
def to_steps(lowering: Lowering, value: Value) -> None:
    """Gathers the steps of all samples, row after row."""
    x, index = value.operands
    view = lowering.read(x)
    if view.strides[0] != view.strides[1] * int(x.type.dims[1]):
        buffer = Buffer(lowering.storage.type_of(x))
        copy(lowering, x, buffer)
        view = all_of(buffer)
    loop = Loop(lowering, value.type.dims)
    step = loop.load(lowering.read(index), index.type, (1,) + (0,) * (value.type.rank - 1))
    line = loop.load(view, x.type, (0, *view.strides[2:]), indirect=(step, view.strides[1]))
    loop.emit([(line, value, lowering.output(value))])


@lowers(Form.FROM_STEPS)
def from_steps(lowering: Lowering, value: Value) -> None:
    """Scatters each row to the step of the sample that it belongs to.

    No two rows belong to the same step; steps without a row are zero.
    """
    y, index = value.operands
    target = lowering.output(value)
    if names_in(str(y.type.rows)):
        fill(lowering, value, 0.0, target)
    loop = Loop(lowering, y.type.dims)
    step = loop.load(lowering.read(index), index.type, (1,) + (0,) * (y.type.rank - 1))
    rows = replace(target, strides=(0, *target.strides[2:]))
    loop.emit([(loop.operand(y), value, rows)], Writing(indirect=(step, target.strides[1])))
