"""The function that runs the schedule of a program, written as LLVM IR.

    for step in steps:                                   # emit_run
        for phase in schedule:                           # emit_phases
            for group in phase:                          # group_loops.py: this worker's share of rows
                for block of rows:
                    kernel(address, ..., count, ...)     # emit_calls: of each call of the group
            barrier

It consists of loops, addresses and calls, nothing that would need an optimiser. Knows no graph.
"""

from collections.abc import Callable, Mapping, Sequence
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
    Schedule,
)
from netc.compiler.targets.cpu.schedule.barrier import emit_barrier
from netc.compiler.targets.cpu.schedule.context import (
    ABORT,
    BARRIER,
    FIRST_TABLE,
    MESSAGES,
    STEPS,
)
from netc.compiler.targets.cpu.schedule.group_loops import GroupLoops
from netc.compiler.targets.cpu.schedule.messages import emit_messages
from netc.compiler.targets.cpu.schedule.records import Records
from netc.compiler.targets.cpu.schedule.step_function import is_x86
from netc.compiler.targets.cpu.source import KernelSource, generic_of
from netc.compiler.targets.gathering import RECORD, borders, lag_of

_I64, _BYTE = ir.IntType(64), ir.IntType(8)


def emit(
    schedule: Schedule,
    symbols: Mapping[KernelSource, str],
    profiled: bool = False,
    spoiled: Arenas | None = None,
) -> str:
    """Returns the LLVM IR of `i64 netc_run(i64* context)`: 0 when all steps are done, 1 if another worker failed.

    With `profiled`, the ticks of each call are added to the words at PROFILE; the word behind the last call has the
    ticks of the run. With `spoiled`, each step begins by filling both arenas with NaN bytes, so that a value that is
    read before it is written becomes visible.
    """
    return str(_Emitter(schedule, symbols, profiled, spoiled).module)


class _Frame(Struct, frozen=True):
    """The part of the work that calls are emitted for: `rows` rows from `row` on, the shard, and the first row
    (`begin`) of a scan's step."""

    row: Any
    rows: Any
    shard: Any
    begin: Any


_NO_ROWS = _Frame(*(_I64(0),) * 4)  # for an argument that is the same in all calls


class _Emitter(GroupLoops):
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
        steps, state = self.word(STEPS), self.word(BARRIER)
        first = [self.word(FIRST_TABLE + index) for index in range(len(self.schedule.tables))]
        order = self.memories[ORDER]
        entered = self.ticks() if self.profiled else None
        self.restore = self.flush_subnormals()
        self.load_lengths()
        self.records = Records(self, self.schedule, lambda argument: self.argument(argument, _NO_ROWS))

        def meet() -> None:
            failed = builder.call(self.barrier, [self.context])
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

    def emit_calls(
        self, calls: Sequence[Call], number: int, row: Any, rows: Any, shard: Any = None, begin: Any = None
    ) -> None:
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
