"""The function that runs the schedule of a program, written as LLVM's text.

It consists of loops, addresses and calls, nothing that would need an optimiser. Knows no graph.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from msgspec import Struct

from netc.compiler.program.gathers import Gathers
from netc.compiler.program.schedule import (
    NAN_BYTE,
    ORDER,
    PRIVATE,
    SHARED,
    TABLES,
    Address,
    Arenas,
    Call,
    Count,
    Group,
    Schedule,
)
from netc.compiler.targets.cpu.barrier import emit_barrier
from netc.compiler.targets.cpu.context import (
    ABORT,
    BARRIER,
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
    MESSAGES,
    OFFSETS,
    ROWS,
    SPINS,
    STEPS,
    STEPS_OF,
    YIELD,
)
from netc.compiler.targets.cpu.messages import emit_messages
from netc.compiler.targets.cpu.records import Records
from netc.compiler.targets.cpu.source import KernelSource, generic_of
from netc.compiler.targets.cpu.step_function import StepFunction, is_x86
from netc.compiler.targets.gathering import RECORD, borders, lag_of

_I64, _BYTE = ir.IntType(64), ir.IntType(8)


def emit(
    schedule: Schedule,
    symbols: Mapping[KernelSource, str],
    profiled: bool = False,
    spoiled: Arenas | None = None,
) -> str:
    """Returns LLVM's text of `i64 netc_run(i64* context)`: 0 when all steps are done, 1 if another worker failed.

    With `profiled`, the ticks of each call are added to the words at PROFILE; the word behind the last call has the
    ticks of the run. With `spoiled`, each step begins by filling both arenas with NaN bytes, so that a value that is
    read before it is written becomes visible.
    """
    return str(_Emitter(schedule, symbols, profiled, spoiled).module)


class _Frame(Struct, frozen=True):
    """The values that calls are done for: rows from `row` on, the shard, and the first row of a scan's step."""

    row: Any
    rows: Any
    shard: Any
    begin: Any


_NO_ROWS = _Frame(*(_I64(0),) * 4)  # of an argument that is the same in all calls


class _Emitter(StepFunction):
    """Emits one schedule."""

    def __init__(
        self, schedule: Schedule, symbols: Mapping[KernelSource, str], profiled: bool, spoiled: Arenas | None
    ) -> None:
        module = ir.Module("step")
        module.triple = llvm.get_default_triple()
        self.schedule, self.profiled, self.spoiled = schedule, profiled, spoiled
        self.kernels = {
            kernel: ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * kernel.parameters), symbol)
            for kernel, symbol in symbols.items()
        }
        self.barrier = emit_barrier(module, is_x86(module))
        self.messages = emit_messages(module) if schedule.gathers is not None else None
        super().__init__(module, "netc_run")
        self.emit_run()

    def emit_run(self) -> None:
        """The body of netc_run: a loop over steps, with the phases inside."""
        builder, gathers = self.builder, self.schedule.gathers
        self.load_sizes()
        steps, state, give_way, spins = (self.word(index) for index in (STEPS, BARRIER, YIELD, SPINS))
        first = [self.word(FIRST_TABLE + index) for index in range(len(self.schedule.tables))]
        order = self.memories[ORDER]
        entered = self.ticks() if self.profiled else None
        self.restore = self.flush_subnormals()
        self.load_lengths()
        self.records = Records(self, self.schedule, lambda argument: self.argument(argument, _NO_ROWS))

        def meet() -> None:
            failed = builder.call(self.barrier, [state, self.members, give_way, spins])
            with builder.if_then(builder.icmp_signed("!=", failed, self.number(0)), likely=False):
                self.restore()
                builder.ret(self.number(1))

        with self.loop(self.number(0), steps, 1) as step:
            self.move_to(step, order, first)
            if self.spoiled is not None:
                self.spoil(self.spoiled)
                meet()
            self.emit_phases(meet, step, state)
        if gathers is not None:
            self.complete_last(gathers, steps, state)
        if entered is not None:
            self.add_ticks(entered, sum(len(group.calls) for phase in self.schedule.phases for group in phase))
        self.restore()
        builder.ret(self.number(0))

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

    def move_to(self, step: Any, order: Any, first: Sequence[Any]) -> None:
        """Sets the addresses of a step's samples and tables, from those of the first step."""
        builder = self.builder
        done = builder.mul(step, self.batch)
        self.memories[ORDER] = builder.add(order, self.times(done, 4))
        self.tables = [
            builder.add(base, builder.add(self.times(step, fixed), self.times(done, per_sample)))
            for base, (fixed, per_sample) in zip(first, self.schedule.tables, strict=True)
        ]

    def emit_phases(self, meet: Callable[[], None], step: Any, state: Any) -> None:
        """The phases of a step, each with a barrier behind it (`meet`), and the messages between them."""
        gathers, call = self.schedule.gathers, 0
        meeting = borders(gathers, len(self.schedule.phases)) if gathers is not None else ()
        for number, phase in enumerate(self.schedule.phases):
            alone = 0
            for group in phase:
                self.emit_group(group, call, alone)
                call += len(group.calls)
                alone += group.kind == "one"
            meet()
            if gathers is not None and number in meeting:
                self.gather(gathers, number, step, state)
                meet()

    def gather(self, gathers: Gathers, phase: int, step: Any, state: Any) -> None:
        """The rank's first worker begins the messages after a phase, and completes those that the next one needs. If
        that fails, all workers leave at the next barrier, and this one, which may be the only one, at once."""
        builder, phases, messages = self.builder, len(self.schedule.phases), self.messages
        assert messages is not None
        with builder.if_then(self.is_first()):
            for number, message in enumerate(gathers.messages):
                if message.after == phase:
                    self.send(messages.begin, number, step, state)
            for number, message in enumerate(gathers.messages):
                if (message.before - 1) % phases == phase:
                    begun = builder.sub(step, self.number(lag_of(message, phases)))
                    with builder.if_then(builder.icmp_signed(">=", begun, self.number(0))):
                        self.send(messages.complete, number, begun, state)

    def complete_last(self, gathers: Gathers, steps: Any, state: Any) -> None:
        """The rank's first worker completes the messages that the next step would wait for, if there was a step."""
        builder, phases, messages = self.builder, len(self.schedule.phases), self.messages
        assert messages is not None
        last = builder.sub(steps, self.number(1))
        with builder.if_then(builder.and_(self.is_first(), builder.icmp_signed(">=", last, self.number(0)))):
            for number, message in enumerate(gathers.messages):
                if lag_of(message, phases):
                    self.send(messages.complete, number, last, state)

    def is_first(self) -> Any:
        """Whether this is the rank's first worker."""
        return self.builder.icmp_signed("==", self.member, self.number(0))

    def send(self, function: Any, message: int, step: Any, state: Any) -> None:
        """Calls a function of messages (messages.py). If it fails, this worker leaves, and others do at a barrier."""
        builder, table = self.builder, self.word(MESSAGES)
        record = builder.add(table, self.number(8 * (1 + RECORD * message)))
        code = builder.call(function, [record, step])
        with builder.if_then(builder.icmp_signed("!=", code, self.number(0)), likely=False):
            builder.store(code, builder.inttoptr(table, _I64.as_pointer()))
            words = builder.inttoptr(state, _I64.as_pointer())
            builder.store_atomic(self.number(1), builder.gep(words, [self.number(ABORT)]), "release", 8)
            self.restore()
            builder.ret(self.number(1))

    def spoil(self, arenas: Arenas) -> None:
        """Fills this worker's arena and its share of the common one with bytes that are NaN as floats of any size."""
        low, high = self.share(self.number(arenas.shared), (self.member, self.members))
        builder, pointer = self.builder, _BYTE.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _BYTE, _I64, ir.IntType(1)])
        fill, byte, plain = self.intrinsic("llvm.memset.p0.i64", kind), ir.Constant(_BYTE, NAN_BYTE), ir.IntType(1)(0)
        for start, size in (
            (builder.add(self.memories[SHARED], low), builder.sub(high, low)),
            (self.memories[PRIVATE], self.number(arenas.private)),
        ):
            builder.call(fill, [builder.inttoptr(start, pointer), byte, size, plain])

    def workers_of(self, group: Group) -> tuple[Any, Any]:
        """The worker's number among the workers that share a group out, and their count."""
        return (self.member, self.members) if group.is_repeated else self.of_all

    def share(self, units: Any, workers: tuple[Any, Any]) -> tuple[Any, Any]:
        """This worker's part of a number of units, as member of some members: from (units * member / members) to
        (units * (member + 1) / members)."""
        builder, (member, members) = self.builder, workers
        low = builder.sdiv(builder.mul(units, member), members)
        high = builder.sdiv(builder.mul(units, builder.add(member, self.number(1))), members)
        return low, high

    def emit_group(self, group: Group, call: int, alone: int) -> None:
        """This worker's share of a group. `call` is the number of its first call, `alone` that of a group of kind
        "one"."""
        builder = self.builder
        if group.kind == "one":
            turn = builder.srem(self.number(alone), self.members)
            with builder.if_then(builder.icmp_signed("==", turn, self.member)):
                self.emit_calls(group.calls, call, self.number(0), self.number(1))
        elif group.kind == "steps":
            self.emit_steps(group, call)
        elif group.kind == "shards":
            count = self.number(group.extent)
            low, high = self.share(count, self.workers_of(group))
            with self.loop(low, high, 1) as shard:
                row = builder.sdiv(builder.mul(self.batch, shard), count)
                end = builder.sdiv(builder.mul(self.batch, builder.add(shard, self.number(1))), count)
                self.emit_calls(group.calls, call, row, builder.sub(end, row), shard)
        elif group.kind == "samples" and group.dim in self.schedule.walked:
            self.emit_rows(group, call)
        else:
            if group.kind == "samples":
                low, high = self.share(self.counts[group.dim], self.workers_of(group))
            else:
                pieces = self.number(-(-group.extent // group.grain))
                low, high = (self.times(end, group.grain) for end in self.share(pieces, self.workers_of(group)))
                high = self.smaller(high, self.number(group.extent))
            with self.loop(low, high, group.row_block) as row:
                rows = self.smaller(builder.sub(high, row), self.number(group.row_block))
                self.emit_calls(group.calls, call, row, rows)

    def emit_rows(self, group: Group, call: int) -> None:
        """The rows of a varying dimension that a scan walks, one row block at a time.

        Of several workers, each takes the rows of its own samples, as in `steps`, so that no cache line goes from
        core to core.
        """
        builder = self.builder
        is_alone = builder.icmp_signed("==", self.workers_of(group)[1], self.number(1))
        with builder.if_else(is_alone) as (alone, together):
            with alone, self.loop(self.number(0), self.counts[group.dim], group.row_block) as row:
                rows = self.smaller(builder.sub(self.counts[group.dim], row), self.number(group.row_block))
                self.emit_calls(group.calls, call, row, rows)
            with together, self.walk(group) as (begin, first, rows):
                self.emit_calls(group.calls, call, builder.add(begin, first), rows)

    def emit_steps(self, group: Group, call: int) -> None:
        with self.walk(group) as (begin, first, rows):
            self.emit_calls(group.calls, call, first, rows, begin=begin)

    @contextmanager
    def walk(self, group: Group) -> Iterator[tuple[Any, Any, Any]]:
        """A loop over steps with the samples of this worker that still run: the first ones, since samples are ranked
        by length.

        Yields the first row of the step, the first sample, and the number of samples.
        """
        builder, words = self.builder, self.words[group.dim]
        first, end = (words[FIRST], words[END]) if group.is_repeated else (words[FIRST_OF_ALL], words[END_OF_ALL])
        offsets = builder.inttoptr(words[OFFSETS], _I64.as_pointer())
        with self.loop(self.number(0), words[STEPS_OF], 1) as turn:
            step = builder.sub(builder.sub(words[STEPS_OF], self.number(1)), turn) if group.is_reversed else turn
            begin = builder.load(builder.gep(offsets, [step]))
            after = builder.load(builder.gep(offsets, [builder.add(step, self.number(1))]))
            rows = builder.sub(self.smaller(builder.sub(after, begin), end), first)
            with builder.if_then(builder.icmp_signed(">", rows, self.number(0))):
                yield begin, first, rows

    def emit_calls(
        self, calls: Sequence[Call], number: int, row: Any, rows: Any, shard: Any = None, begin: Any = None
    ) -> None:
        """Calls for `rows` rows from `row` on, of a shard or of a scan's step that begins at a row.

        `number` is that of the first call.
        """
        frame = _Frame(row, rows, shard, begin)
        for i, call in enumerate(calls):
            kernel, record = generic_of(call.kernel), self.records.record_of(number + i)
            written = range(len(call.arguments)) if record is None else record.written
            values = [self.argument(call.arguments[each], frame) for each in written]
            values += [self.number(number) for number in kernel.numbers]
            before = self.ticks() if self.profiled else None
            arguments = values if record is None else [self.records.complete(record, values)]
            self.builder.call(self.kernels[kernel.source], arguments)
            if before is not None:
                self.add_ticks(before, number + i)

    def argument(self, argument: Address | Count, frame: _Frame) -> Any:
        """An argument of a call."""
        match argument:
            case Address(memory, offset):
                base = self.memories[memory] if memory <= ORDER else self.tables[memory - TABLES]
                address = self.builder.add(base, self.number(offset))
                moves = ((frame.row, argument.lead), (frame.shard, argument.shard), (frame.begin, argument.step))
                for number, bytes_each in moves:
                    if bytes_each:
                        address = self.builder.add(address, self.times(number, bytes_each))
                return address
            case Count(factor, "one"):
                return self.number(factor)
            case Count(factor, per):
                return self.times(frame.rows if per == "rows" else self.counts[per], factor)
