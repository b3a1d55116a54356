"""The source of a kernel for CPUs: text from which compile.py makes object code, and which is part of its key."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.kernels import Contraction, CustomKernel, Kernel, StoredCount
from netc.compiler.program.nests import Nest
from netc.compiler.program.product import WORDS
from netc.compiler.targets.cpu.custom import write_custom
from netc.compiler.targets.cpu.loops import write


@dataclass(frozen=True, slots=True)
class KernelSource:
    """`text` defines a function `kernel` of `arguments` int64, in the words of memory.py, math.py and sums.py.

    `form` is "loop", or "product" for the generic product of a dtype (then `text` is the dtype).
    """

    form: Literal["loop", "product"]
    text: str
    arguments: int


@lru_cache(maxsize=4096)
def source_of(kernel: Kernel) -> KernelSource:
    """Returns the source of a kernel. Raises ValueError if a custom kernel uses what kernels do not have."""
    match kernel:
        case Contraction(dtype):
            return KernelSource("product", dtype, len(WORDS))
        case Nest(extents=extents, buffers=buffers):
            return KernelSource("loop", write(kernel), len(buffers) + extents.count(None))
        case CustomKernel(arrays=arrays, is_batched=is_batched):
            return KernelSource("loop", write_custom(kernel), len(arrays) + is_batched)
        case StoredCount(dtype):
            text = f"def kernel(p0, n0):\n    store_{dtype}_0(p0, 0, {DTYPES[dtype].word}(n0))\n"
            return KernelSource("loop", text, 2)
