"""The number of elements of dimensions, some of which are known only when a program runs."""

from netc.compiler.ir.forms import Form
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.sizes import count_of
from netc.compiler.program.kernels import StoredCount
from netc.compiler.program.tasks import Pointer, Task


@lowers(Form.EXTENT)
def extent(lowering: Lowering, value: Value) -> None:
    """Adds a kernel that stores a number that it takes as an argument."""
    buffer = lowering.output(value).memory
    lowering.program.tasks.append(
        Task(StoredCount(value.type.dtype), (Pointer(buffer),), (count_of(value),), frozenset({buffer}), None, (value,))
    )
