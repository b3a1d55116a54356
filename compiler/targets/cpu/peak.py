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
_TURNS = 500_000  # about a millisecond: few runs are disturbed by other processes
_RUNS = 200  # half a second: the clock rate rises, and a neighbour on the same core may rest
_I64 = ir.IntType(64)
Run = Callable[[Callable[[int], object], int], object]  # calls the work of so many workers at the same time


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


def shortest(work: Callable[[int], object], members: int, run: Run, runs: int = _RUNS) -> float:
    """Returns a short time of `members` workers that call `work` at the same time, among several runs.

    The time of a run is the processor time of its slowest worker, without what other processes take in between. The
    very shortest runs do not count: the clock of a virtual machine, when it is corrected, once made a run a fifth
    shorter than the processor can be.
    """
    times = [0.0] * members

    def timed(member: int) -> None:
        start = time.thread_time()
        work(member)
        times[member] = time.thread_time() - start

    slowest = []
    for _ in range(runs):
        run(timed, members)
        slowest.append(max(times))
    return sorted(slowest)[runs // 40]


@cache
def peak_flops(dtype: str, machine: Machine | None = None) -> float:
    """Returns the FLOP/s of one core, the best of several short runs."""
    loop = PeakLoop(dtype, machine)
    return loop.flops / shortest(lambda _: loop.run(), 1, lambda work, _: work(0))


def peak_of(dtype: str, members: int, run: Run, machine: Machine | None = None) -> float:
    """Returns the FLOP/s of `members` workers at once, measured now; at most `members` times the peak of one core.

    `run(work, members)` calls `work` with the number of each worker at the same time.
    """
    if members == 1:
        return peak_flops(dtype, machine)
    loop = PeakLoop(dtype, machine)
    best = shortest(lambda _: loop.run(), members, run)
    return min(members * loop.flops / best, members * peak_flops(dtype, machine))
