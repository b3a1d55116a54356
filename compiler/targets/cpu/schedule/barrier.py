"""The barrier at which workers wait for one another between the phases of a schedule, as LLVM IR.

A worker spins at first: where each worker has a core, the others are not far. Then it sleeps, so that a worker whose
core other processes have taken gets one. (To yield instead would put it behind all of them each time: then a step on
two threads takes longer than on one.) The more often it had to sleep, the less it spins.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.schedule.context import (
    ABORT,
    ARRIVED,
    BARRIER,
    FEWEST_SPINS,
    FUTEX,
    MEMBERS,
    MOST_SPINS,
    PHASE,
    SLEEPERS,
    SPINS,
    WAIT,
)

_I64, _I32 = ir.IntType(64), ir.IntType(32)
_WAIT, _WAKE = 128, 129  # operations of the system call futex, on memory of this process alone
# Nanoseconds after which a sleeping worker looks whether another one has failed: nobody wakes it then.
_LONGEST_SLEEP = 10_000_000


def emit_barrier(module: Any, is_x86: bool) -> Any:
    """Adds `i64 netc_barrier(i64* context)` to a module, and returns it.

    It waits until all workers have arrived, and returns 1 if ABORT was set meanwhile, else 0. The last one to arrive
    increments PHASE, and wakes those that sleep. The others spin until it changes, SPINS times, and then wait by a
    call: they sleep by the system call FUTEX, or yield if the system has none (see context.py). SPINS is then halved,
    and doubled after a wait without a call.
    """
    return _Barrier(module, is_x86).function


class _Barrier:
    """The function under construction: `state` is the barrier's, `calls` the address of the function that waits,
    `futex` the number of the system call, or 0, and `most` the iterations before it is called."""

    def __init__(self, module: Any, is_x86: bool) -> None:
        self.module, self.is_x86 = module, is_x86
        self.function = ir.Function(module, ir.FunctionType(_I64, [_I64.as_pointer()]), "netc_barrier")
        self.function.linkage = "internal"
        self.builder = builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.limit = builder.alloca(ir.ArrayType(_I64, 2))  # a timespec: seconds, nanoseconds
        addresses = [
            builder.gep(self.function.args[0], [_number(word)]) for word in (BARRIER, MEMBERS, WAIT, FUTEX, SPINS)
        ]
        state, self.members, self.calls, self.futex, self.most = map(builder.load, addresses)
        self.most_at = addresses[-1]
        self.state = builder.inttoptr(state, _I64.as_pointer())
        with builder.if_then(builder.icmp_signed("==", self.members, _number(1))):
            builder.ret(_number(0))
        self.emit_meeting()

    def at(self, word: int) -> Any:
        """The address of a word of the state."""
        return self.builder.gep(self.state, [_number(word)])

    def read(self, word: int) -> Any:
        """Loads a word of the state, and with it all that was written before it."""
        return self.builder.load_atomic(self.at(word), "acquire", 8)

    def add(self, word: int, value: Any) -> Any:
        """Adds to a word of the state. Returns its value before."""
        return self.builder.atomic_rmw("add", self.at(word), value, "seq_cst")

    def emit_meeting(self) -> None:
        """Arrives, and waits unless this is the last worker."""
        builder = self.builder
        phase = self.read(PHASE)
        before = self.add(ARRIVED, _number(1))
        with builder.if_else(builder.icmp_signed("==", before, builder.sub(self.members, _number(1)))) as (last, other):
            with last:
                self.add(ARRIVED, builder.neg(self.members))
                self.add(PHASE, _number(1))  # the order of this and of the next line is that of `sleep`, reversed
                sleeping = builder.load_atomic(self.at(SLEEPERS), "seq_cst", 8)
                with builder.if_then(builder.icmp_signed(">", sleeping, _number(0)), likely=False):
                    self.call_futex(_WAKE, self.members)
            with other:
                self.emit_wait(phase)
        builder.ret(self.read(ABORT))

    def emit_wait(self, phase: Any) -> None:
        """Waits until PHASE is no longer `phase`, or ABORT is set."""
        builder = self.builder
        spin, again, soon, late, sleep, out = map(
            builder.append_basic_block, ("spin", "again", "soon", "late", "sleep", "out")
        )
        begin = builder.block
        builder.branch(spin)

        builder.position_at_end(spin)
        spins = builder.phi(_I64)
        if self.is_x86:
            builder.call(ir.Function(self.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
        more = builder.add(spins, _number(1))
        for value, block in ((_number(0), begin), (more, again)):
            spins.add_incoming(value, block)
        builder.cbranch(self.waits_for(phase), again, soon)
        builder.position_at_end(again)
        builder.cbranch(builder.icmp_signed("<", more, self.most), spin, late)

        builder.position_at_end(soon)
        self.set_most(builder.shl(self.most, _number(1)), "<=", MOST_SPINS)
        builder.branch(out)
        builder.position_at_end(late)
        self.set_most(builder.ashr(self.most, _number(1)), ">=", FEWEST_SPINS)
        builder.branch(sleep)

        builder.position_at_end(sleep)
        with builder.if_else(builder.icmp_signed("!=", self.futex, _number(0))) as (sleeps, yields):
            with sleeps:
                self.sleep(phase)
            with yields, builder.if_then(builder.icmp_signed("!=", self.calls, _number(0))):
                builder.call(builder.inttoptr(self.calls, ir.FunctionType(_I32, []).as_pointer()), [])
        stays = builder.icmp_signed("==", self.read(ABORT), _number(0))
        builder.cbranch(builder.and_(self.waits_for(phase), stays), sleep, out)
        builder.position_at_end(out)

    def waits_for(self, phase: Any) -> Any:
        """Whether PHASE is still `phase`."""
        return self.builder.icmp_signed("==", self.read(PHASE), phase)

    def set_most(self, value: Any, order: str, bound: int) -> None:
        """Sets SPINS to a value if that is at most, or at least, a bound."""
        builder = self.builder
        with builder.if_then(builder.icmp_signed(order, value, _number(bound))):
            builder.store(value, self.most_at)

    def sleep(self, phase: Any) -> None:
        """Sleeps until it is woken, or for the longest time, unless PHASE has changed."""
        builder = self.builder
        for index, value in enumerate((0, _LONGEST_SLEEP)):
            builder.store(_number(value), builder.gep(self.limit, [_number(0), _number(index)]))
        self.add(SLEEPERS, _number(1))
        self.call_futex(_WAIT, phase, builder.ptrtoint(self.limit, _I64))
        self.add(SLEEPERS, _number(-1))

    def call_futex(self, operation: int, value: Any, limit: Any = None) -> None:
        """Calls futex on PHASE: of the word, the system compares 32 bits, which are the lower ones."""
        address = self.builder.ptrtoint(self.at(PHASE), _I64)
        arguments = (self.futex, address, _number(operation), value, limit or _number(0))
        kind = ir.FunctionType(_I64, [_I64] * len(arguments))
        self.builder.call(self.builder.inttoptr(self.calls, kind.as_pointer()), arguments)


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)
