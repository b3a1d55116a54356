"""The values that are kept in 16 bits: those whose elements are all in bf16, on a machine whose products read them so.

Rounded values are such, and those that only move or repeat elements of rounded values. Loops read and write 16 bits as
f32; attention, convolutions in narrow groups and custom kernels read f32, so a value that they read is kept in f32.
"""

from collections.abc import Iterable, Mapping

from netc.compiler.ir.forms import Custom, Form, SpecialForm, View
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value
from netc.compiler.lowering import grouped
from netc.compiler.operations.elementwise import as_bf16, copied, paired
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.shape import Pad
from netc.compiler.program.tasks import StridedView
from netc.compiler.targets.machine import Machine
from netc.dsl.structs import replace

_READS_F32 = (Form.ATTENTION, Form.ATTENTION_GRADIENT)


class Storage:
    """Decides in which type the values of a graph are kept.

    `views` are those of leaves, and of other values as soon as they have one.
    """

    def __init__(self, values: Iterable[Value], views: Mapping[Value, StridedView], machine: Machine) -> None:
        self._views, self._is_used = views, machine.has_pairs
        self._is_narrow: dict[Value, bool] = {}
        for value in values if self._is_used else ():
            if _reads_f32(value) or grouped.reads_f32(value, machine):
                for operand in value.operands:
                    self._is_narrow.update(dict.fromkeys(_behind(operand), False))

    def type_of(self, value: Value) -> Type:
        """Returns the type of a buffer for a value: its own type, or that with elements of bf16."""
        return replace(value.type, dtype="bf16") if self._is_used and self._has_16_bits(value) else value.type

    def _has_16_bits(self, value: Value) -> bool:
        pending = [value]
        while pending:
            last = pending[-1]
            moved = _moved(last) if last not in self._is_narrow else ()
            if waiting := [operand for operand in moved if operand not in self._is_narrow and operand is not last]:
                pending += waiting
                continue
            pending.pop()
            if last not in self._is_narrow:
                self._is_narrow[last] = self._decide(last, moved)
        return self._is_narrow[value]

    def _decide(self, value: Value, moved: tuple[Value, ...]) -> bool:
        if value.type.dtype != "f32":
            return False
        if value.definition is as_bf16:
            return True
        view = self._views.get(value)
        if view is not None:
            return view.buffer is not None and view.buffer.type.dtype == "bf16"
        return bool(moved) and all(self._is_narrow[operand] for operand in moved)


def _reads_f32(value: Value) -> bool:
    lower = value.lower
    return isinstance(lower, Custom) or (isinstance(lower, SpecialForm) and lower.form in _READS_F32)


def _behind(value: Value) -> list[Value]:
    """A value, and those of which it only moves elements."""
    values, pending = dict[Value, None](), [value]
    while pending:
        last = pending.pop()
        if last not in values:
            values[last] = None
            pending += _moved(last)
    return list(values)


def _moved(value: Value) -> tuple[Value, ...]:
    """The operands of which a value only moves or repeats elements, beside zeros; none for any other value."""
    if not value.operands or value.role is Role.PART:
        return ()
    is_padded = isinstance(value.attributes, Pad) and value.attributes.fill == 0
    is_moved = isinstance(value.lower, View) or isinstance(value.attributes, Interleave)
    return value.operands if is_padded or is_moved or value.definition in (copied, paired) else ()
