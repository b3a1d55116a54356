"""Chooses which elements a nest prefetches, some iterations before it reads or writes them.

Four access patterns are measured to need it, because the processor does not foresee them; all others are left to it:

- the gradient of a depthwise convolution's weights, which reads short pieces of several rows in turn
- a depthwise convolution itself, which writes vectors of several short rows in turn
- rows with gaps between them, as those inside of a padded image: they end before the processor has recognised them
- rows that are found by their numbers: the samples of a batch, the rows of a table of embeddings

Knows only the nest, no text and no machine.
"""

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import Access, Nest
from netc.compiler.targets.machine import LINE

_AHEAD = 8192  # bytes between what is read and what is prefetched, measured to be far enough for memory
_LONG = 4096  # bytes of a row that the processor recognises in time


class Stretch(Struct, frozen=True):
    """`count` neighbouring elements, the first of them `start` elements behind the element of an access."""

    access: Access
    start: int
    count: int


def stretches(
    nest: Nest, axis: int, steps: int, inside: Mapping[int, int], of_window: Collection[int]
) -> Iterator[Stretch]:
    """Yields what each iteration of a loop along an axis prefetches. An iteration covers `steps` points of the axis.

    `inside` has the number of points that an iteration covers along the axis and along each axis inside of it.
    `of_window` are the axes along which an iteration reads the elements of a window; without any, nothing is
    prefetched.
    """
    loads = [line.value for line in nest.lines if isinstance(line.value, Access)]
    if not any(access.strides[i] for access in loads for i in of_window):
        return
    for access in loads:
        if access.pointer is None or access.indirect is not None:
            continue
        nbytes, move = DTYPES[access.dtype].bytes, access.strides[axis] * steps
        reach = [access.strides[i] * (extent - 1) for i, extent in inside.items()]
        if move * nbytes < LINE or min(reach) < 0:
            continue
        span = sum(reach) + 1
        ahead = move * max(1, _AHEAD // (move * nbytes))
        yield Stretch(access, ahead + max(0, span - move), min(move, span))


def written(nest: Nest, axis: int, steps: int) -> Iterator[Stretch]:
    """Yields what sums that are kept along the last axis prefetch of their results.

    Each iteration of a loop along `axis` covers `steps` points, and writes rows that follow one another.
    """
    row = nest.extents[-1]
    for output in nest.outputs:
        target = output.target
        nbytes = DTYPES[target.dtype].bytes
        if target.pointer is None or row is None or target.strides[-1] != 1 or target.strides[axis] != row:
            continue
        if row * nbytes >= LINE:
            move = row * steps
            yield Stretch(target, move * max(1, _AHEAD // (move * nbytes)), move)


class Gap(Struct, frozen=True):
    """Rows along an axis with gaps between them; the axes inside of it are one row. The row `ahead` rows later is
    prefetched."""

    access: Access
    axis: int
    ahead: int


def gaps(nest: Nest) -> Iterator[Gap]:
    """Yields the loads and stores of a nest without folds that have gaps between rows.

    Rows of several loads, or of several stores, may fill each other's gaps, as those of a pool's windows do. They need
    no prefetches: without, pools were measured to be 1.05 to 1.36 times as fast.
    """
    loads = [load for load in nest.loads() if load.pointer is not None]
    stores = [output.target for output in nest.outputs]
    for access in nest.accesses():
        nbytes, row = DTYPES[access.dtype].bytes, 1
        if access.pointer is None or access.indirect is not None:
            continue
        side_by_side = max(sum(_walk_alike(nest, access, other) for other in others) for others in (loads, stores))
        for axis in reversed(range(len(nest.extents))):
            stride, extent = access.strides[axis], nest.extents[axis]
            if stride > row * side_by_side and row > 1 and LINE <= row * nbytes <= _LONG:
                # a power of two, so that few texts differ
                yield Gap(access, axis, 1 << (_AHEAD // (stride * nbytes)).bit_length())
            if stride != row or extent is None:
                break
            row *= extent


class NumberedRow(Struct, frozen=True):
    """Rows of an access whose numbers an index has along an axis; the axes inside of it are one row. The row of the
    number that is `ahead` points later is prefetched."""

    access: Access
    index: Access
    axis: int
    ahead: int


def numbered_rows(nest: Nest) -> Iterator[NumberedRow]:
    """Yields the loads of a nest without folds that read rows, each as a whole, by numbers out of memory.

    Measured on Zen 4, in f32: 2,048 rows of 784 elements in shuffled order take 0.65 times as long with it, 4,096 rows
    of 256 out of a table of 20 MB 0.65, and 1.06 times as long out of one of 0.5 MB. A step with these 784 inputs takes
    0.96 times as long, or 1.02 if the rows follow one another. Rows of 12 KiB and more gain little or nothing.
    """
    values = {line.name: line.value for line in nest.lines}
    for access in nest.loads():
        if access.pointer is None or access.indirect is None:
            continue
        name, step = access.indirect
        index, nbytes = values[name], step * DTYPES[access.dtype].bytes
        if not isinstance(index, Access) or index.pointer is None or index.indirect is not None:
            continue
        axis = max((i for i, stride in enumerate(index.strides) if stride), default=None)
        if axis is None or not LINE <= nbytes <= _LONG:
            continue
        if not any(access.strides[: axis + 1]) and _is_contiguous(nest, access, axis + 1):
            yield NumberedRow(access, index, axis, _AHEAD // nbytes)


def _is_contiguous(nest: Nest, access: Access, first: int) -> bool:
    """Whether an access walks the axes from `first` on, at least one, as they lie in memory."""
    row = 1
    for stride, extent in reversed([*zip(access.strides, nest.extents, strict=True)][first:]):
        if stride != row:
            return False
        row *= extent or 0  # no stride is that of an axis around one of unknown extent
    return first < len(nest.extents)


def _walk_alike(nest: Nest, access: Access, other: Access) -> bool:
    """Whether two accesses have the same buffer and strides."""
    assert access.pointer is not None
    assert other.pointer is not None
    return nest.buffers[access.pointer] == nest.buffers[other.pointer] and access.strides == other.strides
