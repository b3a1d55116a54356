"""The barrier at which workers wait for one another between the phases of a schedule, as LLVM IR."""

from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.schedule.context import ABORT, ARRIVED, PHASE

_I64, _I32 = ir.IntType(64), ir.IntType(32)


def emit_barrier(module: Any, is_x86: bool) -> Any:
    """Adds `i64 netc_barrier(state, members, yield, most)` to a module, and returns it.

    It waits until all `members` have arrived, and returns 1 if ABORT was set meanwhile, else 0. The last member to
    arrive increments PHASE. The others spin until it changes; after `most` iterations they call `yield` (an address of
    C's sched_yield, or 0) in each. `most` is 0 if there are more workers than cores.
    """
    function = ir.Function(module, ir.FunctionType(_I64, [_I64] * 4), "netc_barrier")
    function.linkage = "internal"
    state_address, members, give_way, most = function.args
    entry = function.append_basic_block("entry")
    builder = ir.IRBuilder(entry)
    meet, last, wait, spin, polite, out = (
        function.append_basic_block(name) for name in ("meet", "last", "wait", "spin", "polite", "out")
    )
    done = function.append_basic_block("done")
    state = builder.inttoptr(state_address, _I64.as_pointer())
    arrived, phase_at, abort = (builder.gep(state, [_number(word)]) for word in (ARRIVED, PHASE, ABORT))
    builder.cbranch(builder.icmp_signed("==", members, _number(1)), done, meet)

    builder.position_at_end(meet)
    phase = builder.load_atomic(phase_at, "acquire", 8)
    before = builder.atomic_rmw("add", arrived, _number(1), "seq_cst")
    builder.cbranch(builder.icmp_signed("==", before, builder.sub(members, _number(1))), last, wait)
    builder.position_at_end(last)
    builder.atomic_rmw("sub", arrived, members, "seq_cst")
    builder.atomic_rmw("add", phase_at, _number(1), "seq_cst")
    builder.branch(out)

    builder.position_at_end(wait)
    spins = builder.phi(_I64)
    spins.add_incoming(_number(0), meet)
    now = builder.load_atomic(phase_at, "acquire", 8)
    builder.cbranch(builder.icmp_signed("==", now, phase), spin, out)
    builder.position_at_end(spin)
    if is_x86:
        builder.call(ir.Function(module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
    more = builder.add(spins, _number(1))
    spins.add_incoming(more, spin)
    builder.cbranch(builder.icmp_signed("<", more, most), wait, polite)
    builder.position_at_end(polite)
    yielding = builder.inttoptr(give_way, ir.FunctionType(_I32, []).as_pointer())
    with builder.if_then(builder.icmp_signed("!=", give_way, _number(0))):
        builder.call(yielding, [])
    stop = builder.load_atomic(abort, "acquire", 8)
    spins.add_incoming(most, builder.block)
    builder.cbranch(builder.icmp_signed("==", stop, _number(0)), wait, out)

    builder.position_at_end(out)
    builder.ret(builder.load_atomic(abort, "acquire", 8))
    builder.position_at_end(done)
    builder.ret(_number(0))
    return function


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)
