"""Every buffer an offset: what stays between steps in one memory, everything else in one arena, reused as lifetimes allow."""

from collections.abc import Iterable
from dataclasses import dataclass

from netc.compiler.kernels.build import Address, Call
from netc.compiler.passes.lower import Buffer, Schedule
from netc.compiler.types import NUMPY

ALIGNMENT = 64
SLACK = 512  # the tile reads, and never uses, columns past the end of the last buffer


@dataclass(frozen=True, slots=True)
class Slot:
    """A buffer's place: which memory (0 stays, 1 is the arena), at which byte."""

    memory: int
    offset: int
    buffer: Buffer


@dataclass(frozen=True, slots=True)
class Plan:
    """`arena` is the exact peak in bytes for `batch` samples; `leaves` and `results` are slots by name."""

    batch: int
    arena: int
    calls: tuple[Call, ...]
    leaves: dict[str, Slot]
    results: dict[str, Slot]


def layout(names: Iterable[tuple[str, int]]) -> tuple[dict[str, int], int]:
    """Offsets for buffers of (name, bytes) one behind another, and the bytes of all, slack included."""
    offsets, at = {}, 0
    for name, size in names:
        offsets[name] = at
        at += _round(size)
    return offsets, at + SLACK


def _round(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def plan(schedule: Schedule, persistent: dict[str, int], batch: int) -> Plan:
    """Place every buffer for at most `batch` samples; `persistent` are the offsets of what stays.

    Inputs and results live through the whole step; any other buffer from its first task to its last. The largest are placed first,
    each at the lowest offset that is free while it lives.
    """
    births: dict[Buffer, int] = {}
    deaths: dict[Buffer, int] = {}
    for i, task in enumerate(schedule.tasks):
        for buffer, _ in task.buffers:
            births.setdefault(buffer, i)
            deaths[buffer] = i
    for buffer in (*schedule.leaves.values(), *schedule.results.values()):
        births[buffer], deaths[buffer] = 0, len(schedule.tasks)
    placed: list[tuple[int, int, Buffer]] = []
    slots: dict[Buffer, Slot] = {}
    for buffer in sorted(births, key=lambda one: -one.type.nbytes(batch)):
        if buffer.is_persistent:
            slots[buffer] = Slot(0, persistent[buffer.name], buffer)
            continue
        size, at = _round(buffer.type.nbytes(batch)), 0
        for start, end, other in sorted(placed, key=lambda one: one[:2]):
            if births[other] <= deaths[buffer] and births[buffer] <= deaths[other] and start < at + size and at < end:
                at = end
        placed.append((at, at + size, buffer))
        slots[buffer] = Slot(1, at, buffer)
    calls = []
    for task in schedule.tasks:
        addresses = [
            Address(slots[buffer].memory, slots[buffer].offset + offset * NUMPY[buffer.type.dtype].itemsize)
            for buffer, offset in task.buffers
        ]
        calls.append(Call(task.kernel, (*addresses, *task.counts)))
    arena = max((end for _, end, _ in placed), default=0) + SLACK
    return Plan(
        batch,
        arena,
        tuple(calls),
        {name: slots[buffer] for name, buffer in schedule.leaves.items()},
        {name: slots[buffer] for name, buffer in schedule.results.items()},
    )
