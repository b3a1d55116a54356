"""Custom kernels: a plain function of a plug-in, called sample by sample."""

from collections.abc import Sequence

from netc.compiler.ir.forms import Form
from netc.compiler.ir.value import OPERATIONS, Own, Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.copies import copy
from netc.compiler.lowering.forms import lowers
from netc.compiler.program.schedule import Count, KernelSource
from netc.compiler.program.tasks import Buffer, Place, Pointer, Task, all_of
from netc.compiler.targets.cpu.own import Array, write_own
from netc.compiler.targets.machine import SCOPES


@lowers(Form.CUSTOM)
def custom(lowering: Lowering, value: Value) -> None:
    """Adds a call of the function for each sample, with the arrays of the result and of the operands."""
    lower = OPERATIONS[value.operation].lower
    assert isinstance(lower, Own)
    result = lowering.output(value)
    assert result.buffer is not None
    places = [result, *(_in_memory(lowering, operand) for operand in value.operands)]
    arrays, pointers = _arguments(places, (value, *value.operands))
    is_batched = value.type.is_batched
    text = write_own(lower.function, arrays, value.keywords, is_batched)
    counts = (Count(1, "rows"),) if is_batched else ()
    source = KernelSource("loop", text, len(pointers) + len(counts))
    axis = value.type.dims[0] if is_batched else None
    lowering.program.tasks.append(Task(source, pointers, counts, frozenset({result.buffer}), axis, (value,)))


def _in_memory(lowering: Lowering, operand: Value) -> Place:
    """Returns a place with a buffer to read an operand from: a range, which has no memory, is copied into one."""
    place = lowering.read(operand)
    if place.buffer is not None:
        return place
    buffer = Buffer(operand.type)
    copy(lowering, operand, buffer)
    return all_of(buffer)


def _arguments(places: Sequence[Place], values: Sequence[Value]) -> tuple[list[Array], tuple[Pointer, ...]]:
    """Returns the arrays of one sample and their pointers. Arrays in one buffer share an alias scope."""
    scopes: dict[Buffer, int] = {}
    arrays, pointers = [], []
    for i, (place, value) in enumerate(zip(places, values, strict=True)):
        assert place.buffer is not None
        lead = value.type.lead
        shape = tuple(int(dim) for dim in value.type.dims[lead:])
        apart = place.strides[0] if lead else 0
        scope = scopes.setdefault(place.buffer, min(len(scopes), SCOPES - 1))
        arrays.append(Array(i, scope, value.type.dtype, shape, place.strides[lead:], apart))
        pointers.append(Pointer(place.buffer, place.offset, apart))
    return arrays, tuple(pointers)
