"""The bounds of a machine: how fast it computes, how fast bytes move through each level of its memory, and how long the
shortest call takes. Plain data.

A kernel cannot be faster than its work at these rates: a roofline. A target measures the rates of the machine that it
runs on. Knows no kernel and no plan.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct, field

Level = Literal["first cache", "second cache", "last cache", "memory"]
Stream = Literal["read", "write", "update", "copy"]
LEVELS: tuple[Level, ...] = ("first cache", "second cache", "last cache", "memory")  # from the core outwards
STREAMS: tuple[Stream, ...] = ("read", "write", "update", "copy")


class Work(Struct, frozen=True):
    """The least work of a kernel.

    `flops` are floating-point operations in `dtype`, which is bf16 for products of pairs of such numbers, and "bf16
    in tiles" for those of tiles; `divisions` and `roots` are those among them that have a unit of their own. `nbytes`
    are the bytes that it reads or writes, by the level that they lie in. `stream` says how it does so: it only reads,
    it only writes, it overwrites what it reads (`update`), or it writes elsewhere (`copy`). `accesses` are loads and
    stores of single elements at addresses that depend on other elements, such as those of a table that is searched.
    `calls` are calls of the kernel that follow each other, as the steps of a scan do.
    """

    flops: int = 0
    dtype: str = "f32"
    nbytes: Mapping[Level, int] = field(default_factory=dict)
    stream: Stream = "copy"
    divisions: int = 0
    roots: int = 0
    accesses: int = 0
    calls: int = 1


class Bound(Struct, frozen=True):
    """The shortest time that a machine can do some work in, and what limits it: `compute`, a level of memory, or the
    `call` itself."""

    name: str
    seconds: float


class Bounds(Struct, frozen=True):
    """The rates of a machine with some number of workers, all of them together.

    `flops` are floating-point operations per second, by element type, and `divisions` and `roots` those alone, in f32
    and f64. `rates` are bytes per second, by level and stream. `capacities` are the bytes of each cache for one worker.
    The last cache keeps less: `misses` has pairs of the bytes that a worker has touched since it used some others,
    which rise, and the share of these others that then comes from memory. `accesses` are loads and stores per second
    that the first cache answers, of any width. `call` are the seconds of a call that computes nothing, with the
    readings of the clock that time it.
    """

    flops: Mapping[str, float]
    divisions: Mapping[str, float]
    roots: Mapping[str, float]
    rates: Mapping[Level, Mapping[Stream, float]]
    capacities: Mapping[Level, int]
    misses: Sequence[tuple[int, float]]
    accesses: float
    call: float

    def of(self, work: Work) -> Bound:
        """Returns the bound of some work: the slowest of its arithmetic, of the transfers through each level, and of
        its calls.

        Divisions and roots follow each other in one unit, while other units compute the rest. Bytes that lie in a
        level pass through all levels that are nearer to the core.
        """
        dtype = work.dtype if work.dtype in self.divisions else "f32"  # in which products of bf16 end
        divided = work.divisions / self.divisions[dtype] + work.roots / self.roots[dtype]
        bounds = [
            Bound("compute", max(work.flops / self.flops[work.dtype], divided)),
            Bound("call", work.calls * self.call),
        ]
        bounds.append(Bound("first cache", work.accesses / self.accesses))
        passing = 0
        for level in reversed(LEVELS):
            passing += work.nbytes.get(level, 0)
            bounds.append(Bound(level, passing / self.rates[level][work.stream]))
        return max(bounds, key=lambda bound: bound.seconds)

    def level_of(self, distance: int) -> tuple[Level, float]:
        """Returns the level that still has bytes if a worker has touched `distance` bytes since it used them, and the
        share of them that comes from memory nevertheless."""
        level = next((level for level in LEVELS[:-1] if distance <= self.capacities[level]), LEVELS[-1])
        return level, self._missed(distance) if level == "last cache" else 0.0

    def _missed(self, distance: int) -> float:
        """The share that the last cache no longer has: on straight lines between the measured ones."""
        below, low = self.capacities["second cache"], 0.0
        for size, share in self.misses:
            if distance <= size:
                return low + (share - low) * (distance - below) / (size - below)
            below, low = size, share
        return low
