"""Checks what holds for every lowered program, also for one that was read from its printed form.

arguments  a task has as many pointers and counts as its kernel takes; `rows` has an axis to count
lines      an expression uses earlier lines alone, and an output a line of the nest
accesses   an access has a stride for each axis, and the element type of its buffer
writes     a task says that it writes exactly the buffers that its kernel stores to
"""

from collections.abc import Sequence

from netc.compiler.ir.types import DTYPES
from netc.compiler.program import attention, grouped, winograd
from netc.compiler.program.kernels import (
    AttentionKernel,
    Contraction,
    CustomKernel,
    FirstEqual,
    GroupedKernel,
    StoredCount,
    WinogradKernel,
)
from netc.compiler.program.nests import Access, Nest
from netc.compiler.program.product import BATCHES, DEPTHS, POINTERS, Product
from netc.compiler.program.scalars import names_of
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Buffer, Pointer, Task, Tasks, buffer_numbers


def verify_tasks(program: Tasks) -> None:
    """Raises AssertionError if a lowered program breaks one of the rules above."""
    for number, task in enumerate(program.tasks):
        try:
            _verify(task)
        except AssertionError as error:
            raise AssertionError(f"task {number}: {error}") from error


def _verify(task: Task) -> None:
    assert task.grain >= 1, "the grain is a number of rows"
    assert all(pointer.offset >= 0 for pointer in task.pointers), "a pointer before its buffer"
    assert task.axis is not None or all(count.per != "rows" for count in task.counts), "rows without an axis"
    match task.kernel:
        case Nest() as nest:
            _verify_nest(nest, task)
        case Contraction():
            _verify_contraction(task.kernel, task)
        case AttentionKernel():
            _verify_attention(task.kernel, task)
        case WinogradKernel():
            _verify_winograd(task.kernel, task)
        case GroupedKernel():
            _verify_grouped(task.kernel, task)
        case CustomKernel(arrays=arrays, is_batched=is_batched):
            _verify_arguments(task, len(arrays), int(is_batched))
            assert tuple(array.buffer for array in arrays) == buffer_numbers(task.pointers), "buffers of other pointers"
            _verify_writes(task, {task.pointers[arrays[0].pointer].buffer})
        case StoredCount():
            _verify_arguments(task, 1, 1)
            _verify_writes(task, {task.pointers[0].buffer})
        case FirstEqual():
            _verify_arguments(task, 3, 1)
            _verify_writes(task, {task.pointers[0].buffer, task.pointers[2].buffer})


def _verify_arguments(task: Task, pointers: int, counts: int) -> None:
    assert len(task.pointers) == pointers, f"the kernel takes {pointers} pointers, not {len(task.pointers)}"
    assert len(task.counts) == counts, f"the kernel takes {counts} counts, not {len(task.counts)}"


def _verify_writes(task: Task, stored: set[Buffer]) -> None:
    assert task.writes == stored, "the task writes other buffers than its kernel"


def _verify_nest(nest: Nest, task: Task) -> None:
    _verify_arguments(task, len(nest.buffers), nest.extents.count(None) + nest.sizes)
    assert nest.buffers == buffer_numbers(task.pointers), "buffers of other pointers"
    assert len(nest.folded) == len(nest.extents), "an axis of which nobody says whether it is folded"
    lines = set[str]()
    for line in nest.lines:
        if isinstance(line.value, Access):
            names = {line.value.indirect[0]} if line.value.indirect is not None else set[str]()
        else:
            names = names_of(line.value)
        assert names <= lines, f"{line.name} uses {sorted(names - lines)} before their lines"
        lines.add(line.name)
    for output in nest.outputs:
        assert output.line in lines, f"an output of {output.line}, which has no line"
        joined = names_of(output.fold.combine) - {"a", "b"} if output.fold is not None else set[str]()
        assert joined <= lines, f"a fold of {sorted(joined - lines)}, which have no lines"
        if output.fold is not None and isinstance(output.fold.initial, Access):
            moves = zip(output.fold.initial.strides, nest.folded, strict=True)
            assert not any(stride and is_folded for stride, is_folded in moves), "a fold with several beginnings"
        assert output.target.indirect is None or output.target.indirect[0] in lines, "an index without a line"
        assert output.target.pointer is not None, "an output without a buffer"
    assert nest.combine is None or len(nest.outputs) == 1, "a combination of several outputs"
    assert not nest.argmax or (len(nest.outputs) == 1 and nest.folded.count(True) == 1), "an index along several axes"
    is_fold = all(output.fold is not None for output in nest.outputs) and nest.folded.count(True) == 1
    assert is_fold or not nest.is_running, "results so far that are not those of folds along one axis"
    for access in nest.accesses():
        assert len(access.strides) == len(nest.extents), "an access without a stride for each axis"
        assert access.dtype in DTYPES, f"no element type is called {access.dtype}"
        if access.pointer is not None:
            assert access.pointer < len(task.pointers), f"there is no pointer p{access.pointer}"
            type_ = task.pointers[access.pointer].buffer.type
            assert type_.dtype == access.dtype, f"{access.dtype} in a buffer of {type_}"
    used = {access.pointer for access in nest.accesses() if access.pointer is not None}
    assert used == set(range(len(task.pointers))), "a pointer that no access uses"
    stored = (output.target.pointer for output in nest.outputs)
    _verify_writes(task, {task.pointers[pointer].buffer for pointer in stored if pointer is not None})


def _verify_contraction(kernel: Contraction, task: Task) -> None:
    product = Product.of(task.pointers, task.counts, Count)
    _verify_arguments(task, len(POINTERS), len(product.numbers))
    factor = "bf16" if kernel.of_pairs else kernel.dtype
    order = "i32" if kernel.gathered else kernel.dtype
    for names, dtype in ((("a", "b"), factor), (("c", "start", "pack"), kernel.dtype), (("order",), order)):
        for name in names:
            assert getattr(product, name).buffer.type.dtype == dtype, f"{name} is not {dtype}"
    if kernel.gathered:
        assert not kernel.of_pairs, "pairs of a gathered operand"
        single = (getattr(product, loop).count for loop in (*BATCHES, *DEPTHS) if loop != "depth")
        assert all(count == Count(1) for count in single), "a gathered operand in more loops than rows and depth"
    _verify_writes(task, {product.c.buffer, product.pack.buffer})


def _verify_attention(kernel: AttentionKernel, task: Task) -> None:
    names, numbers = attention.pointers(kernel.is_gradient), attention.numbers(kernel.is_gradient)
    _verify_arguments(task, len(names), len(numbers))
    pointers = dict(zip(names, task.pointers, strict=True))
    for name in (*kernel.pointers, *attention.SCRATCH):
        dtype = "i32" if name in kernel.tables else kernel.dtype
        assert pointers[name].buffer.type.dtype == dtype, f"{name} that are not {dtype}"
    for name in ("lengths", "packs_keys", "packs_queries"):
        count, expected = task.counts[numbers.index(name)], Count(int(getattr(kernel, name)))
        assert count == expected, f"{name} of the kernel is {expected}, and of the task {count}"
    written = (*attention.written(kernel.is_gradient), *attention.SCRATCH)
    _verify_writes(task, {pointers[name].buffer for name in written})


def _verify_winograd(kernel: WinogradKernel, task: Task) -> None:
    pointers, _ = _verify_convolution(kernel, task, winograd.pointers(kernel.part), winograd.numbers(kernel.part))
    _verify_writes(
        task, {pointers[name].buffer for name in (winograd.WRITTEN[kernel.part], "scratch") if name in pointers}
    )


def _verify_convolution(
    kernel: WinogradKernel | GroupedKernel, task: Task, names: Sequence[str], numbers: Sequence[str]
) -> tuple[dict[str, Pointer], dict[str, Count]]:
    """Returns the pointers and the counts of a task by name."""
    _verify_arguments(task, len(names), len(numbers))
    pointers = dict(zip(names, task.pointers, strict=True))
    for name, pointer in pointers.items():
        assert pointer.buffer.type.dtype == kernel.dtype, f"{name} that are not {kernel.dtype}"
    counts = dict(zip(numbers, task.counts, strict=True))
    assert counts.get("has_start", Count(0)) == Count(int(kernel.has_start)), (
        "a start of which the kernel does not know"
    )
    return pointers, counts


def _verify_grouped(kernel: GroupedKernel, task: Task) -> None:
    pointers, counts = _verify_convolution(kernel, task, grouped.pointers(kernel.part), grouped.numbers(kernel.part))
    columns = counts["columns"]
    assert columns.is_fixed, "columns that depend on the batch"
    rest = columns.factor % kernel.groups.positions
    assert kernel.groups.rest == rest, "strips of other columns than those of the image"
    _verify_writes(task, {pointers[grouped.WRITTEN[kernel.part]].buffer})
