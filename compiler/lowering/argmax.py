"""The index of the largest element along an axis."""

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Form
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.loop import Loop, Writing


@lowers(Form.ARGMAX)
def argmax(lowering: Lowering, value: Value) -> None:
    """Adds a loop that keeps the index of the largest element so far."""
    (operand,) = value.operands
    loop = Loop(lowering, operand.type.dims, value.attributes_as(Over).over)
    loop.emit([(loop.operand(operand), value, lowering.output(value))], Writing(argmax=True))
