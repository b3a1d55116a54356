"""The running sum along an axis."""

from netc.compiler.ir.forms import Form
from netc.compiler.ir.types import fixed_size
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.loop import Loop, Writing
from netc.compiler.operations.running import RunningSum
from netc.compiler.program.nests import Reduction
from netc.compiler.program.scalars import Binary, Name, number
from netc.compiler.program.tasks import StridedView
from netc.dsl.structs import replace


@lowers(Form.RUNNING_SUM)
def running_sum(lowering: Lowering, value: Value) -> None:
    """Adds a loop that stores the sum so far at each point. A reversed one walks its memory backwards."""
    (operand,) = value.operands
    attributes = value.attributes_as(RunningSum)
    (axis,) = attributes.over

    def walked(view: StridedView) -> StridedView:
        if not attributes.is_reversed:
            return view
        strides, last = list(view.strides), fixed_size(value.type.dims[axis]) - 1
        offset = view.offset + last * strides[axis]
        strides[axis] = -strides[axis]
        return replace(view, offset=offset, strides=tuple(strides))

    loop = Loop(lowering, value.type.dims, (axis,))
    view = walked(lowering.read(operand))
    line = loop.load(view, operand.type, view.strides)
    # -0.0, unlike 0.0, leaves every number as it is
    addition = Reduction(number(-0.0, value.type.dtype), Binary("+", Name("a"), Name("b")))
    loop.emit([(line, value, walked(lowering.output(value)))], Writing(reduction=addition, is_running=True))
