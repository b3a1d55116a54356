"""The peak of this machine: floating-point operations per second of one core, measured by loops of multiply-adds, of
divisions and of square roots, only on registers."""

import ctypes
import time
from collections.abc import Callable
from functools import cache
from typing import Literal

import llvmlite.binding as llvm
from llvmlite import ir

from netc.compiler.targets.cpu.compile import start_llvm, target_machine
from netc.compiler.targets.cpu.llvm.function import I64, Function
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors
from netc.compiler.targets.cpu.math.terms import Scope, Term, square_root
from netc.compiler.targets.cpu.products.amx_tiles import AmxTiles, emulation_for
from netc.compiler.targets.machine import TILE, Machine
from netc.compiler.targets.named import machine_for

_SUMS = 10  # independent chains: at least a core's units times their latency, and few enough for registers
_BLOCK = ((0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7))  # tiles of sums, of a and of b
_SHORTER = 8  # an iteration of tiles, divisions or roots takes about 8 times as long
_ITERATIONS = 500_000  # about a millisecond: few runs are disturbed by other processes
_RUNS = 200  # half a second: the clock rate rises, and a neighbour on the same core may rest
Kind = Literal["multiply-add", "division", "root"]
# run(work, members) calls work(member) of all members at the same time
Run = Callable[[Callable[[int], object], int], object]


class PeakLoop:
    """Machine code that does `flops` floating-point operations in each call, without Python's lock.

    A call runs `iterations` iterations of a loop, by default for some milliseconds. For "bf16" it multiplies pairs of
    such numbers, as products do, and adds up in f32; for "bf16 in tiles" it does so in tiles of AMX. Iterations of
    tiles, divisions and roots take longer, and are fewer.
    """

    def __init__(
        self, dtype: str, machine: Machine | None = None, iterations: int = _ITERATIONS, kind: Kind = "multiply-add"
    ) -> None:
        machine = machine_for(machine)
        start_llvm()
        if dtype == "bf16 in tiles":
            iterations = max(iterations // _SHORTER, 1)
            self.flops = len(_BLOCK) * 4 * TILE**3 * iterations
            text = _text_of_tiles(machine, iterations)
        else:
            lanes = Lanes("f32", machine, has_pairs=True) if dtype == "bf16" else Lanes(dtype, machine)
            iterations = iterations if kind == "multiply-add" else max(iterations // _SHORTER, 1)
            self.flops = lanes.count * _SUMS * iterations
            if kind == "multiply-add":
                self.flops *= 4 if lanes.has_pairs else 2
            text = _text(lanes, iterations, kind)
        module = llvm.parse_assembly(text)
        self._engine = llvm.create_mcjit_compiler(module, target_machine(machine))
        self._engine.finalize_object()
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self._engine.get_function_address("netc_peak"))
        self._total = (ctypes.c_byte * machine.vector_bytes)()

    def run(self) -> None:
        """Calls the code."""
        self._call(ctypes.addressof(self._total))


def _text(lanes: Lanes, iterations: int, kind: Kind) -> str:
    """The loop as LLVM's text: a function that stores the total at an address."""
    module = ir.Module("peak")
    module.triple = llvm.get_default_triple()
    function = Function(module, "netc_peak", 1, is_internal=False)
    builder, vectors = function.builder, Vectors(function, lanes)
    scope = Scope(builder, lanes.machine.has_fma, lanes.count)
    entry, loop, end = builder.block, function.builder.append_basic_block("loop"), builder.append_basic_block("end")
    builder.branch(loop)
    builder.position_at_end(loop)
    iteration = builder.phi(I64)
    iteration.add_incoming(ir.Constant(I64, 0), entry)
    sums = [builder.phi(lanes.vector) for _ in range(_SUMS)]
    factor, term = (ir.Constant(lanes.vector, [number] * lanes.count) for number in (0.999, 1e-3))
    totals = []
    for i, running in enumerate(sums):
        running.add_incoming(ir.Constant(lanes.vector, [i + 1.37] * lanes.count), entry)
        if kind == "division":
            totals.append(builder.fdiv(factor, running))
        elif kind == "root":  # a sum that moves on, so that the operand is not a simple number
            totals.append(builder.fadd(square_root(Term(scope, lanes.dtype, running)).value, factor))
        elif lanes.machine.has_fma:  # the sum is the operand that the instruction overwrites: no register is copied
            totals.append(vectors.multiply_add(factor, term, running))
        else:
            totals.append(builder.fadd(builder.fmul(running, factor), term))
        running.add_incoming(totals[i], loop)
    after = builder.add(iteration, ir.Constant(I64, 1))
    iteration.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed("<", after, ir.Constant(I64, iterations)), loop, end)
    builder.position_at_end(end)
    total = totals[0]
    for other in totals[1:]:
        total = builder.fadd(total, other)
    vectors.store(total, function.parameters[0])
    function.end()
    return str(module)


def _text_of_tiles(machine: Machine, iterations: int) -> str:
    """The loop of a product in tiles without its loads, as LLVM's text: a function that ignores its argument."""
    module = ir.Module("peak")
    module.triple = llvm.get_default_triple()
    function = Function(module, "netc_peak", 1, is_internal=False)
    tiles = AmxTiles.configured(function, emulation_for(module, machine))
    with function.loop(0, iterations):
        for sums, a, b in _BLOCK:
            tiles.multiply_add(sums, a, b)
    tiles.release()
    function.end()
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
def peak_flops(dtype: str, machine: Machine | None = None, kind: Kind = "multiply-add") -> float:
    """Returns the FLOP/s of one core in a type of `PeakLoop`, the best of several short runs."""
    loop = PeakLoop(dtype, machine, kind=kind)
    return loop.flops / shortest(lambda _: loop.run(), 1, lambda work, _: work(0))


def peak_of(dtype: str, members: int, run: Run, machine: Machine | None = None, kind: Kind = "multiply-add") -> float:
    """Returns the FLOP/s of `members` workers at once, measured now; at most `members` times the peak of one core.

    `run(work, members)` calls `work` with the number of each worker at the same time.
    """
    if members == 1:
        return peak_flops(dtype, machine, kind)
    loop = PeakLoop(dtype, machine, kind=kind)
    best = shortest(lambda _: loop.run(), members, run)
    return min(members * loop.flops / best, members * peak_flops(dtype, machine, kind))
