"""The source of each kernel: what compile.py makes object code from, and part of the kernel's key in the cache.

A loop's source is its text. Products, attention and Winograd's convolution are generic kernels, which serve all shapes:
their source only names the form and the element type.
"""

from functools import lru_cache
from typing import Literal

from msgspec import Struct
from msgspec.structs import astuple

from netc.compiler.ir.types import DTYPES
from netc.compiler.program import attention, grouped, winograd
from netc.compiler.program.kernels import (
    AttentionKernel,
    Contraction,
    CustomKernel,
    FirstEqual,
    GroupedKernel,
    Kernel,
    StoredCount,
    WinogradKernel,
)
from netc.compiler.program.nests import Nest
from netc.compiler.program.product import WORDS
from netc.compiler.targets.cpu.nests.loops import write, write_generic
from netc.compiler.targets.cpu.text.custom import write_custom

# A hash table with open addressing: slot by slot the number of the first element with a value, or -1. It is half full
# at most. A value is hashed by a multiplication (Knuth, The Art of Computer Programming 3, 6.4). An element that finds
# an empty slot compares itself, so that no branch depends on whether its value is new.
_FIRST_EQUAL = """\
def kernel(p0, p1, p2, n0):
    size = 2 * n0
    for i in range(size):
        store_i32_2(p2, i, I32(-1))
    for i in range(n0):
        value = int(load_i32_1(p1, i))
        slot = ((value * 2654435769) & 4294967295) * size >> 32
        first = int(load_i32_2(p2, slot))
        first = i if first < 0 else first
        while load_i32_1(p1, first) != value:
            slot = slot + 1 if slot + 1 < size else 0
            first = int(load_i32_2(p2, slot))
            first = i if first < 0 else first
        store_i32_2(p2, slot, I32(first))
        store_i32_0(p0, i, I32(first))
"""


Form = Literal[
    "loop",
    "product",
    "attention",
    "attention of one query",
    "attention gradient",
    "winograd transform",
    "winograd convolve",
    "winograd gradient",
    "grouped convolve",
    "grouped gradient",
]


_WINOGRAD: dict[winograd.Part, Form] = {
    "transform": "winograd transform",
    "convolve": "winograd convolve",
    "gradient": "winograd gradient",
}


class KernelSource(Struct, frozen=True):
    """The source of a kernel of `arguments` int64.

    If `form` is "loop", `text` defines a function `kernel`, which calls the built-ins of text/text_kernel.py. Otherwise
    the kernel is generic, and `text` is its element type: "f32", "bf16" for products of pairs, "bf16 in tiles" for
    large ones, "f32 of gathered rows" for a product with a gathered operand, "f32 8 8 3 3 7 0 1 0" for a convolution in
    groups (the numbers of grouped.Groups). A generic kernel has many arguments, few of which change from call to call,
    so its function takes the address of a record of them (schedule/records.py).
    """

    form: Form
    text: str
    arguments: int

    @property
    def reads_record(self) -> bool:
        """Whether the function takes the address of its arguments in place of them."""
        return self.form != "loop"

    @property
    def parameters(self) -> int:
        """The number of int64 parameters of the function."""
        return 1 if self.reads_record else self.arguments


@lru_cache(maxsize=4096)
def source_of(kernel: Kernel) -> KernelSource:
    """Returns the source of a kernel, with the numbers of its shape in a loop's text.

    Raises ValueError if a custom kernel uses a part of Python that kernels do not have.
    """
    match kernel:
        case Contraction(dtype, of_pairs, in_tiles, gathered):
            text = f"bf16{' in tiles' if in_tiles else ''}" if of_pairs else dtype
            text += f" of gathered {gathered}" if gathered else ""
            return KernelSource("product", text, len(WORDS))
        case AttentionKernel(dtype, is_gradient, _, has_one_query):
            count = len(attention.pointers(is_gradient) + attention.numbers(is_gradient))
            of_queries: Form = "attention of one query" if has_one_query else "attention"
            return KernelSource("attention gradient" if is_gradient else of_queries, dtype, count)
        case WinogradKernel(dtype, part):
            return KernelSource(_WINOGRAD[part], dtype, len(winograd.pointers(part) + winograd.numbers(part)))
        case GroupedKernel(dtype, part, groups):
            of_groups: Form = "grouped convolve" if part == "convolve" else "grouped gradient"
            numbers = map(int, astuple(groups))
            count = len(grouped.pointers(part) + grouped.numbers(part))
            return KernelSource(of_groups, " ".join(map(str, (dtype, *numbers))), count)
        case Nest():
            return KernelSource("loop", write(kernel), _arguments(kernel))
        case CustomKernel(arrays=arrays, is_batched=is_batched):
            return KernelSource("loop", write_custom(kernel), len(arrays) + is_batched)
        case StoredCount(dtype):
            text = f"def kernel(p0, n0):\n    store_{dtype}_0(p0, 0, {DTYPES[dtype].conversion}(n0))\n"
            return KernelSource("loop", text, 2)
        case FirstEqual():
            return KernelSource("loop", _FIRST_EQUAL, 4)


class GenericKernel(Struct, frozen=True):
    """The source that is compiled for a kernel and shared by kernels of other shapes. `numbers` are those of this
    kernel's shape, which follow its other arguments."""

    source: KernelSource
    numbers: tuple[int, ...] = ()


@lru_cache(maxsize=4096)
def generic_of(kernel: Kernel) -> GenericKernel:
    """Returns the generic form of a kernel's source, so that a model with other widths can use the same kernel."""
    if not isinstance(kernel, Nest):
        return GenericKernel(source_of(kernel))
    text, numbers = write_generic(kernel)
    return GenericKernel(KernelSource("loop", text, _arguments(kernel) + len(numbers)), numbers)


def _arguments(nest: Nest) -> int:
    """The number of addresses and counts that the kernel of a nest takes."""
    return len(nest.buffers) + nest.extents.count(None) + nest.sizes
