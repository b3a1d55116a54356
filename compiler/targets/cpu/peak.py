"""The peak of this machine: floating-point operations per second of one core, measured by a loop of multiply-adds on
registers alone."""

import ctypes
import time
from collections.abc import Callable
from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir

from netc.compiler.targets.cpu.compile import start_llvm, target_machine
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import machine_for

_SUMS = 10  # independent chains: at least a core's units times their latency, and few enough for registers
_TURNS = 2_000_000  # some milliseconds: shorter runs end before the clock rate has risen
_I64 = ir.IntType(64)


class PeakLoop:
    """Machine code that does `flops` floating-point operations in each call, without Python's lock.

    A call takes `turns` turns of a loop; the default is some milliseconds.
    """

    def __init__(self, dtype: str, machine: Machine | None = None, turns: int = _TURNS) -> None:
        machine = machine_for(machine)
        start_llvm()
        lanes = machine.lanes(dtype)
        self.flops = 2 * lanes * _SUMS * turns
        self._engine = llvm.create_mcjit_compiler(
            llvm.parse_assembly(_text(dtype, lanes, machine, turns)), target_machine(machine)
        )
        self._engine.finalize_object()
        self.run = ctypes.CFUNCTYPE(ctypes.c_double)(self._engine.get_function_address("netc_peak"))


def _text(dtype: str, lanes: int, machine: Machine, turns: int) -> str:
    """The loop as LLVM's text."""
    module = ir.Module("peak")
    module.triple = llvm.get_default_triple()
    vector = ir.VectorType(ir.FloatType() if dtype == "f32" else ir.DoubleType(), lanes)
    function = ir.Function(module, ir.FunctionType(ir.DoubleType(), []), "netc_peak")
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    builder = ir.IRBuilder(entry)
    builder.branch(loop)
    builder.position_at_end(loop)
    turn = builder.phi(_I64)
    turn.add_incoming(ir.Constant(_I64, 0), entry)
    sums = [builder.phi(vector) for _ in range(_SUMS)]
    factor, term = (ir.Constant(vector, [number] * lanes) for number in (0.999, 1e-3))
    fma = ir.Function(module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}{dtype}")
    totals = []
    for i, running in enumerate(sums):
        running.add_incoming(ir.Constant(vector, [float(i)] * lanes), entry)
        if machine.has_fma:  # the sum is the operand that the instruction overwrites: no register is copied
            totals.append(builder.call(fma, [factor, term, running]))
        else:
            totals.append(builder.fadd(builder.fmul(running, factor), term))
        running.add_incoming(totals[i], loop)
    after = builder.add(turn, ir.Constant(_I64, 1))
    turn.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed("<", after, ir.Constant(_I64, turns)), loop, end)
    builder.position_at_end(end)
    total = totals[0]
    for other in totals[1:]:
        total = builder.fadd(total, other)
    first = builder.extract_element(total, ir.Constant(ir.IntType(32), 0))
    builder.ret(first if dtype == "f64" else builder.fpext(first, ir.DoubleType()))
    return str(module)


@cache
def peak_flops(dtype: str, machine: Machine | None = None) -> float:
    """Returns the FLOP/s of one core, the best of several short runs."""
    loop = PeakLoop(dtype, machine)
    best = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        loop.run()
        best = min(best, time.perf_counter() - start)
    return loop.flops / best


def peak_of(
    dtype: str,
    members: int,
    run: Callable[[Callable[[int], object], int], object],
    machine: Machine | None = None,
) -> float:
    """Returns the FLOP/s of `members` workers at once, measured now; at most `members` times the peak of one core.

    `run(work, members)` calls `work` with the number of each worker at the same time.
    """
    if members == 1:
        return peak_flops(dtype, machine)
    loop, best = PeakLoop(dtype, machine), float("inf")
    for _ in range(12):
        start = time.perf_counter()
        run(lambda _: loop.run(), members)
        best = min(best, time.perf_counter() - start)
    return min(members * loop.flops / best, members * peak_flops(dtype, machine))
