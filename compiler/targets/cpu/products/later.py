"""Prefetches of tiles for later calls (program/prefetched.py), spread over all tiles of a call.

A caller names some stretches of memory. A tile prefetches a line at each row of depth, `later_step` bytes behind the
one before (tile.py), through one stretch after another. The number of rows of depth of a call is known, so a step may
be less than a line, and the prefetches never delay the loads of tiles.
"""

import itertools

from netc.compiler.program import prefetched
from netc.compiler.targets.cpu.llvm.function import Function, Number, Record, Word, at_least, at_most

_STRETCHES = tuple(f"later_{i + 1}" for i in range(prefetched.MOST))
_BYTES = tuple(f"{name}_bytes" for name in _STRETCHES)
# Variables of a kernel: the end of the current stretch, the bytes to prefetch at each row of depth, and the following
# stretches. They begin as copies of the arguments, which a kernel does not write.
VARIABLES = ("later_end", "later_rate", *_STRETCHES, *_BYTES)
_NO_END = 1 << 40


def total(words: Record) -> Word:
    """Returns the bytes that a call prefetches."""
    first, *others = (words[name] for name in prefetched.NUMBERS)
    return sum(others, first)


def begin(words: Record, depths: Word) -> None:
    """Sets how much is prefetched at each of a call's `depths` rows of depth."""
    words["later_rate"], words["later"], words["later_end"] = total(words) // at_least(depths, 1) + 1, 0, 0
    for name, argument in zip(_STRETCHES + _BYTES, prefetched.POINTERS + prefetched.NUMBERS, strict=True):
        words[name] = words[argument]


def fetch_nothing(words: Record, near: Word) -> None:
    """Sets that tiles prefetch nothing new: always the address `near`."""
    words["later"], words["later_step"] = near, 0


def choose(function: Function, words: Record, near: Word) -> None:
    """Sets what the next tile prefetches: the next stretch, if the current one has ended; after the last, always the
    address `near`."""
    with function.when(words["later"] >= words["later_end"]):
        at, nbytes = words[_STRETCHES[0]], words[_BYTES[0]]
        is_last = nbytes <= 0
        words["later"] = is_last.choose(near, at)
        words["later_end"] = is_last.choose(near + _NO_END, at + nbytes)
        words["later_step"] = is_last.choose(0, words["later_rate"])
        for names in (_STRETCHES, _BYTES):
            for name, following in itertools.pairwise(names):
                words[name] = words[following]
        words[_BYTES[-1]] = 0


def limit_tiles(words: Record) -> None:
    """Limits the `tiles` of a call of a tile to those that the rest of the current stretch needs."""
    each = words["later_step"] * words["depth"] * words["runs"]
    words["tiles"] = at_most(words["tiles"], (words["later_end"] - words["later"]) // at_least(each, 1) + 1)


def move(words: Record, tiles: Number) -> None:
    """Moves the address on, behind what `tiles` tiles prefetch."""
    words["later"] = words["later"] + words["later_step"] * words["depth"] * words["runs"] * tiles
