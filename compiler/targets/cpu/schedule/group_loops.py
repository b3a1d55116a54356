"""The loops in which a worker takes its share of a group: of rows, samples, shards or steps.

Knows of calls only that there are some to emit for given rows (`emit_calls`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from msgspec import Struct

from netc.compiler.program.schedule import ORDER, Call, Group, Schedule
from netc.compiler.targets.cpu.schedule.context import (
    BATCH,
    DIMENSION,
    END,
    END_OF_ALL,
    FIRST,
    FIRST_OF_ALL,
    FIRST_TABLE,
    MEMBER,
    MEMBER_OF_ALL,
    MEMBERS,
    MEMBERS_OF_ALL,
    OFFSETS,
    ROWS,
    STEPS_OF,
)
from netc.compiler.targets.cpu.schedule.step_function import StepFunction

_I64 = ir.IntType(64)


class Step(Struct, frozen=True):
    """A step of a scan: its first row, and whether it is the last step that is done."""

    begin: Any
    is_last: Any


class GroupLoops(StepFunction, ABC):
    """A step's function that knows how the work of a schedule is shared out.

    `member` of `members` is this worker among those of its rank, `of_all` the same among those of all ranks; `batch` is
    the number of samples, `counts` that of the rows along each dimension, and `words` has the words of the context for
    each varying dimension.
    """

    schedule: Schedule

    def load_sizes(self) -> None:
        """Loads what all steps have in common: memories, this worker's number, the number of workers, the batch."""
        self.memories = [self.word(index) for index in range(ORDER + 1)]
        self.member, self.members, self.batch = (self.word(index) for index in (MEMBER, MEMBERS, BATCH))
        self.of_all = self.member, self.members
        if self.schedule.gathers is not None:
            self.of_all = self.word(MEMBER_OF_ALL), self.word(MEMBERS_OF_ALL)

    def load_lengths(self) -> None:
        """Loads the words of each varying dimension, and with them how many rows there are along each dimension."""
        behind = FIRST_TABLE + len(self.schedule.tables)
        self.words = {
            dim: [self.word(behind + len(DIMENSION) * n + word) for word in DIMENSION]
            for n, dim in enumerate(self.schedule.dims)
        }
        self.counts = {"batch": self.batch, **{dim: words[ROWS] for dim, words in self.words.items()}}

    @abstractmethod
    def emit_calls(
        self,
        calls: Sequence[Call],
        number: int,
        row: Any,
        rows: Any,
        shard: Any = None,
        step: Step | None = None,
    ) -> None:
        """Emits calls for `rows` rows from `row` on, of a shard or of a step of a scan.

        `number` is that of the first call.
        """

    def workers_of(self, group: Group) -> tuple[Any, Any]:
        """The worker's number among the workers that share a group out, and their count."""
        return (self.member, self.members) if group.is_repeated else self.of_all

    def share(self, units: Any, workers: tuple[Any, Any]) -> tuple[Any, Any]:
        """The part of worker `member` of `members`: from units * member / members to units * (member + 1) / members."""
        builder, (member, members) = self.builder, workers
        low = builder.sdiv(builder.mul(units, member), members)
        high = builder.sdiv(builder.mul(units, builder.add(member, self.number(1))), members)
        return low, high

    def emit_group(self, group: Group, call: int, alone: int) -> None:
        """Emits this worker's share of a group.

        `call` is the number of its first call. A group of kind "one" is that of a single worker: `alone` counts these
        groups, so that they go to the workers in turn.
        """
        builder = self.builder
        if group.kind == "one":
            worker = builder.srem(self.number(alone), self.members)
            with builder.if_then(builder.icmp_signed("==", worker, self.member)):
                self.emit_calls(group.calls, call, self.number(0), self.number(1))
        elif group.kind == "steps":
            self.emit_steps(group, call)
        elif group.kind == "shards":
            self.emit_shards(group, call)
        elif group.kind == "samples" and group.dim in self.schedule.walked:
            self.emit_walked_rows(group, call)
        else:
            low, high = self.rows_of_worker(group)
            with self.loop(low, high, group.row_block) as row:
                rows = self.smaller(builder.sub(high, row), self.number(group.row_block))
                self.emit_calls(group.calls, call, row, rows)

    def rows_of_worker(self, group: Group) -> tuple[Any, Any]:
        """The first row of this worker, and the end of its rows: of a dimension, or of an extent in pieces of a
        grain."""
        if group.kind == "samples":
            return self.share(self.counts[group.dim], self.workers_of(group))
        pieces = self.number(-(-group.extent // group.grain))
        low, high = (self.times(end, group.grain) for end in self.share(pieces, self.workers_of(group)))
        return low, self.smaller(high, self.number(group.extent))

    def emit_shards(self, group: Group, call: int) -> None:
        """The shards of this worker, each a fixed part of the batch."""
        builder, count = self.builder, self.number(group.extent)
        low, high = self.share(count, self.workers_of(group))
        with self.loop(low, high, 1) as shard:
            row = builder.sdiv(builder.mul(self.batch, shard), count)
            end = builder.sdiv(builder.mul(self.batch, builder.add(shard, self.number(1))), count)
            self.emit_calls(group.calls, call, row, builder.sub(end, row), shard)

    def emit_walked_rows(self, group: Group, call: int) -> None:
        """The rows of a varying dimension that a scan walks, one row block at a time.

        One of several workers takes the rows of the samples that it has in `emit_steps`, so that no cache line goes
        from core to core.
        """
        builder = self.builder
        is_alone = builder.icmp_signed("==", self.workers_of(group)[1], self.number(1))
        with builder.if_else(is_alone) as (alone, together):
            with alone, self.loop(self.number(0), self.counts[group.dim], group.row_block) as row:
                rows = self.smaller(builder.sub(self.counts[group.dim], row), self.number(group.row_block))
                self.emit_calls(group.calls, call, row, rows)
            with together, self.walk(group) as (step, first, rows):
                self.emit_calls(group.calls, call, builder.add(step.begin, first), rows)

    def emit_steps(self, group: Group, call: int) -> None:
        """The steps of a scan, each for the samples of this worker that still run."""
        with self.walk(group) as (step, first, rows):
            self.emit_calls(group.calls, call, first, rows, step=step)

    @contextmanager
    def walk(self, group: Group) -> Iterator[tuple[Step, Any, Any]]:
        """A loop over steps, with the samples of this worker that still run: its first ones, since samples are sorted
        by length.

        Yields the step, the first sample, and the number of samples.
        """
        builder, words = self.builder, self.words[group.dim]
        first, end = (words[FIRST], words[END]) if group.is_repeated else (words[FIRST_OF_ALL], words[END_OF_ALL])
        offsets = builder.inttoptr(words[OFFSETS], _I64.as_pointer())
        with self.loop(self.number(0), words[STEPS_OF], 1) as number:
            later = builder.sub(builder.sub(words[STEPS_OF], self.number(1)), number)
            step = later if group.is_reversed else number
            begin = builder.load(builder.gep(offsets, [step]))
            after = builder.load(builder.gep(offsets, [builder.add(step, self.number(1))]))
            rows = builder.sub(self.smaller(builder.sub(after, begin), end), first)
            with builder.if_then(builder.icmp_signed(">", rows, self.number(0))):
                yield Step(begin, builder.icmp_signed("==", later, self.number(0))), first, rows
