"""Chooses which elements a nest prefetches, some iterations before it reads or writes them.

Two walks are measured to need it, because the processor does not foresee them; all others are left to it. The gradient
of a depthwise convolution's weights sums over windows: it reads short pieces of several rows at a time. And rows that
lie apart, as those inside of a padded image do, end before the processor has recognised them. Knows only the nest, no
text and no machine.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import Access, Nest
from netc.compiler.targets.machine import LINE

_AHEAD = 8192  # bytes between what is read and what is prefetched, measured to be far enough for memory
_LONG = 4096  # bytes of a row that the processor recognises in time


@dataclass(frozen=True, slots=True)
class Stretch:
    """Elements that lie side by side: `count` of them, from `start` on behind the place of an access."""

    access: Access
    start: int
    count: int


def stretches(
    nest: Nest, axis: int, steps: int, inside: Mapping[int, int], of_window: Collection[int]
) -> Iterator[Stretch]:
    """Yields what an iteration of a loop along an axis prefetches, if each takes `steps` points of the axis.

    `inside` has the number of points that an iteration takes along the axis and along each axis inside of it. The axes
    `of_window` are those along which an iteration reads the elements of a window.
    """
    for line in nest.lines:
        access = line.value
        if not isinstance(access, Access) or access.pointer is None or access.indirect is not None:
            continue
        if not any(access.strides[i] for i in of_window):
            continue
        nbytes, move = DTYPES[access.dtype].bytes, access.strides[axis] * steps
        reach = [access.strides[i] * (extent - 1) for i, extent in inside.items()]
        if move * nbytes < LINE or min(reach) < 0:
            continue
        span = sum(reach) + 1
        ahead = move * max(1, _AHEAD // (move * nbytes))
        yield Stretch(access, ahead + max(0, span - move), min(move, span))


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that lie apart along an axis; the axes inside of it are one row. The one `ahead` of a row is prefetched."""

    access: Access
    axis: int
    ahead: int


def gaps(nest: Nest) -> Iterator[Gap]:
    """Yields the loads and stores of a nest without folds whose rows lie apart."""
    for access in nest.accesses():
        nbytes, row = DTYPES[access.dtype].bytes, 1
        if access.pointer is None or access.indirect is not None:
            continue
        for axis in reversed(range(len(nest.extents))):
            stride, extent = access.strides[axis], nest.extents[axis]
            if stride > row > 1 and LINE <= row * nbytes <= _LONG:
                # a power of two, so that few texts differ
                yield Gap(access, axis, 1 << (_AHEAD // (stride * nbytes)).bit_length())
            if stride != row or extent is None:
                break
            row *= extent
