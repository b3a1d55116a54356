"""The elements that a call of a kernel reaches behind its pointers, read from the kernel as data.

For verify_plan and for the emulator. Offsets that are loaded from memory are left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from msgspec import Struct

from netc.compiler.program import attention, grouped, winograd
from netc.compiler.program.custom import reads_result_first
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
from netc.compiler.program.nests import Access, Nest
from netc.compiler.program.product import POINTERS, WALKS, Product
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Task

Interval = tuple[int, int]


class PointerUse(Struct, frozen=True):
    """The numbers of the pointers that a kernel uses.

    It loads from `reads` and stores to `writes`. It loads from `needs` before it has stored anything there, and stores
    to `scattered` at offsets that are loaded from memory.
    """

    reads: frozenset[int]
    writes: frozenset[int]
    needs: frozenset[int]
    scattered: frozenset[int] = frozenset()


def use_by(task: Task) -> PointerUse:
    """Returns how a task's kernel uses its pointers: a contraction reads `start` only if the task says so."""
    if isinstance(task.kernel, Contraction):
        return use_of(task.kernel, Product.of(task.pointers, task.counts, Count).has_start == Count(1))
    return use_of(task.kernel)


@lru_cache(maxsize=4096)
def use_of(kernel: Kernel, has_start: bool = True) -> PointerUse:
    """Returns how a kernel uses its pointers. `has_start` matters only for contractions."""
    match kernel:
        case Contraction():
            names = ("a", "b", *("start",) * has_start, *("order",) * bool(kernel.gathered))
            reads = frozenset(map(POINTERS.index, names))
            return PointerUse(reads, frozenset({POINTERS.index("c")}), reads)
        case AttentionKernel(is_gradient=is_gradient):
            names, written = attention.pointers(is_gradient), attention.written(is_gradient)
            stored = frozenset(map(names.index, written))
            loaded = frozenset(map(names.index, kernel.pointers)) - stored
            scattered = frozenset(names.index(name) for name in written if kernel.packs(name))
            return PointerUse(loaded, stored, loaded, scattered)
        case WinogradKernel(part=part, has_start=has_start):
            names = winograd.pointers(part)
            stored = frozenset({names.index(winograd.WRITTEN[part])})
            loaded = frozenset(names.index(name) for name in winograd.used(part, has_start)) - stored
            return PointerUse(loaded, stored, loaded)
        case GroupedKernel(part=of_groups, has_start=has_start):
            names = grouped.pointers(of_groups)
            stored = frozenset({names.index(grouped.WRITTEN[of_groups])})
            loaded = frozenset(names.index(name) for name in grouped.used(of_groups, has_start)) - stored
            return PointerUse(loaded, stored, loaded)
        case StoredCount():
            return PointerUse(frozenset(), frozenset({0}), frozenset())
        case FirstEqual():
            return PointerUse(frozenset({1, 2}), frozenset({0, 2}), frozenset({1}))
        case CustomKernel(arrays=(result, *operands)):
            needs = {array.pointer for array in operands}
            if reads_result_first(kernel.function):
                needs.add(result.pointer)
            return PointerUse(frozenset(needs), frozenset({result.pointer}), frozenset(needs))
        case Nest(outputs=outputs):
            loaded = _pointers(kernel.loads())
            stored = _pointers(output.target for output in outputs)
            if kernel.combine is not None:
                loaded |= stored
            scattered = _pointers(output.target for output in outputs if output.target.indirect is not None)
            return PointerUse(loaded, stored, loaded, scattered)
    raise AssertionError(f"no kernel: {kernel}")


def _pointers(accesses: Iterable[Access]) -> frozenset[int]:
    return frozenset(access.pointer for access in accesses if access.pointer is not None)


def reached(kernel: Kernel, counts: Sequence[int]) -> Iterator[tuple[int, Interval]]:
    """Yields for each access the number of its pointer, and the interval that is read or written, in elements.

    The elements of a custom kernel's arrays count as reached, all of them and no others.
    """
    match kernel:
        case Contraction():
            yield from _reached_by_product(kernel, counts)
        case AttentionKernel() | WinogradKernel() | GroupedKernel():
            yield from _reached_by_generic(kernel, counts)
        case StoredCount():
            yield 0, (0, 0)
        case FirstEqual():
            (count,) = counts
            if count:
                yield from ((0, (0, count - 1)), (1, (0, count - 1)), (2, (0, 2 * count - 1)))
        case CustomKernel(arrays=arrays):
            for array in arrays:
                extents, strides = (*counts, *array.shape), (*(array.apart for _ in counts), *array.strides)
                if all(extents):
                    yield array.pointer, _interval(extents, strides)
        case Nest():
            remaining = iter(counts)
            extents = tuple(next(remaining) if extent is None else extent for extent in kernel.extents)
            for access in kernel.accesses() if all(extents) else ():
                if access.pointer is not None and access.indirect is None:
                    yield access.pointer, _interval(extents, access.strides)


def _reached_by_product(kernel: Contraction, counts: Sequence[int]) -> Iterator[tuple[int, Interval]]:
    """Yields for each operand of a product the interval that is read or written, in elements from its pointer."""
    product = Product.of(POINTERS, counts, int)
    if kernel.gathered:
        count = getattr(product, kernel.gathered_loop).count
        if count:
            yield POINTERS.index("order"), (0, count - 1)
    for operand in WALKS:
        if operand == "a" and kernel.gathered:
            continue
        extents, strides = product.walk(operand)
        if all(extents) and (operand != "start" or product.has_start):
            yield POINTERS.index(operand), _interval(extents, strides)


def _reached_by_generic(
    kernel: AttentionKernel | WinogradKernel | GroupedKernel, counts: Sequence[int]
) -> Iterator[tuple[int, Interval]]:
    """Yields for each operand and result the interval that is read or written, in elements from its pointer."""
    for number, extents, strides in _walks(kernel, counts):
        if all(extents):
            yield number, _interval(extents, strides)


def _walks(
    kernel: AttentionKernel | WinogradKernel | GroupedKernel, counts: Sequence[int]
) -> Iterator[tuple[int, Sequence[int], Sequence[int]]]:
    """Yields for each operand and result the number of its pointer, its extents and its strides."""
    if isinstance(kernel, WinogradKernel):
        numbers = dict(zip(winograd.numbers(kernel.part), counts, strict=True))
        for name in winograd.used(kernel.part, kernel.has_start):
            yield winograd.pointers(kernel.part).index(name), *winograd.walk(name, numbers)
        return
    if isinstance(kernel, GroupedKernel):
        numbers = dict(zip(grouped.numbers(kernel.part), counts, strict=True))
        for name in grouped.used(kernel.part, kernel.has_start):
            yield grouped.pointers(kernel.part).index(name), *grouped.walk(name, kernel.groups, numbers)
        return
    numbers = dict(zip(attention.numbers(kernel.is_gradient), counts, strict=True))
    names = attention.pointers(kernel.is_gradient)
    for name in kernel.pointers:
        if attention.is_rows(name) or (name not in kernel.tables and kernel.packs(name)):
            continue
        axes = attention.axes_of(name)
        yield names.index(name), [numbers[size] for _, size in axes], [numbers[f"{name}_{axis}"] for axis, _ in axes]


def _interval(extents: Sequence[int], strides: Sequence[int]) -> Interval:
    """Returns the lowest and the highest offset of loops that run from end to end."""
    reach = [(extent - 1) * stride for extent, stride in zip(extents, strides, strict=True)]
    return sum(step for step in reach if step < 0), sum(step for step in reach if step > 0)
