"""The number of elements of dimensions, some of which are known only when a program runs."""

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.forms import Form
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.program.kernels import StoredCount
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Pointer, Task


@lowers(Form.EXTENT)
def extent(lowering: Lowering, value: Value) -> None:
    """Adds a kernel that stores a number that it takes as an argument."""
    dims = value.attributes_as(Dims).dims
    factor = 1
    for dim in dims:
        factor *= dim if isinstance(dim, int) else 1
    buffer = lowering.output(value).buffer
    assert buffer is not None
    count = Count(factor, next((dim for dim in dims if isinstance(dim, str)), "one"))
    lowering.program.tasks.append(
        Task(StoredCount(value.type.dtype), (Pointer(buffer),), (count,), frozenset({buffer}), None, (value,))
    )
