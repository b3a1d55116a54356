"""Padding of images. Decides which values are written with their padding from the start: those a convolution reads so.

Such a value lies inside of its padded form: its producer writes it there, other users read it there with the strides
of the wider rows, and nothing is copied. Where that is not possible (a view, an input, two different paddings), the
pad is a kernel of its own, which `netc explain` and `netc profile` show.
"""

from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.types import fixed_size
from netc.compiler.ir.value import Value
from netc.compiler.lowering.copies import fill
from netc.compiler.lowering.loop import LoopContext
from netc.compiler.lowering.units import Fusion
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.shape import Pad, pad
from netc.compiler.program.tasks import Buffer, StridedView, all_of
from netc.dsl.structs import replace


def padded_forms(graph: Graph, fusion: Fusion) -> dict[Value, Value]:
    """Returns the padded form of each value that is written with its padding from the start."""
    roots, forms = set(graph.results.values()), dict[Value, Value]()
    for padded in graph.values(pad):
        (value,) = padded.operands
        step = padded.attributes_as(Pad).step
        if value in forms or value in roots or padded in roots or any(apart != 1 for apart in step):
            continue
        if value.type.is_batched and value in fusion.unit_of and _writes_anywhere(value):
            forms[value] = padded
    return forms


def _writes_anywhere(value: Value) -> bool:
    """Whether the kernel of a value can write rows that are not contiguous."""
    return value.role is Role.CONTRACTION or isinstance(value.attributes, Interleave) or isinstance(value.lower, Scalar)


def inside_of(padded: Value) -> StridedView:
    """Returns the view of the operand inside of a padded value; its buffer is not set."""
    strides, offset = list(contiguous(padded.type.dims)), 0
    pad = padded.attributes_as(Pad)
    for axis, first, apart in zip(pad.axes, pad.before, pad.step, strict=True):
        offset += first * strides[axis]
        strides[axis] *= apart
    return StridedView(None, tuple(strides), offset)


def write_padding(lowering: LoopContext, padded: Value, buffer: Buffer) -> None:
    """Writes the padding around the operand of a padded value.

    If there are gaps between the rows of the operand, the whole buffer is filled.
    """
    pad, view, dims = padded.attributes_as(Pad), all_of(buffer), list(padded.type.dims)
    if any(apart != 1 for apart in pad.step):
        fill(lowering, padded, pad.fill, view)
        return
    for axis, first, last in zip(pad.axes, pad.before, pad.after, strict=True):
        size, stride = fixed_size(dims[axis]), view.strides[axis]
        for start, count in ((0, first), (size - last, last)):
            if count:
                dims[axis] = count
                fill(lowering, padded, pad.fill, replace(view, offset=view.offset + start * stride), tuple(dims))
        dims[axis] = size - first - last
        view = replace(view, offset=view.offset + first * stride)
