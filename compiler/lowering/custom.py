"""Custom kernels: a plain function of a plug-in, called sample by sample."""

from collections.abc import Sequence

from netc.compiler.ir.forms import Custom, Form
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.program.kernels import ArrayArgument, CustomKernel
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Pointer, StridedView, Task, buffer_numbers


@lowers(Form.CUSTOM)
def custom(lowering: Lowering, value: Value) -> None:
    """Adds a call of the function for each sample, with the arrays of the result and of the operands."""
    lower = value.lowered_as(Custom)
    result = lowering.output(value)
    views = [result, *(lowering.read_in_memory(operand) for operand in value.operands)]
    arrays, pointers = _arguments(views, (value, *value.operands))
    is_batched = value.type.is_batched
    kernel = CustomKernel(value.operation, lower.function, arrays, tuple(value.keywords.items()), is_batched)
    counts = (Count(1, "rows"),) if is_batched else ()
    axis = value.type.dims[0] if is_batched else None
    lowering.program.tasks.append(Task(kernel, pointers, counts, frozenset({result.memory}), axis, (value,)))


def _arguments(
    views: Sequence[StridedView], values: Sequence[Value]
) -> tuple[tuple[ArrayArgument, ...], tuple[Pointer, ...]]:
    """Returns the arrays of one sample and their pointers."""
    pointers = [
        view.pointer(view.strides[0] if value.type.lead else 0) for view, value in zip(views, values, strict=True)
    ]
    arrays = []
    for number, (buffer, view, value) in enumerate(zip(buffer_numbers(pointers), views, values, strict=True)):
        lead = value.type.lead
        shape = tuple(int(dim) for dim in value.type.dims[lead:])
        arrays.append(
            ArrayArgument(number, buffer, value.type.dtype, shape, view.strides[lead:], pointers[number].lead)
        )
    return tuple(arrays), tuple(pointers)
