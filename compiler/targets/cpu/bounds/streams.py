"""Bandwidths of this machine, measured by loops of vector loads and stores over arrays of one level of its memory."""

import ctypes
from collections.abc import Callable, Mapping

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from netc.compiler.targets.bounds import LEVELS, STREAMS, Level, Stream
from netc.compiler.targets.cpu.bounds.peak import Run, shortest
from netc.compiler.targets.cpu.compile import start_llvm, target_machine
from netc.compiler.targets.machine import LINE, Machine

_ARRAYS: dict[Stream, int] = {"read": 1, "write": 1, "update": 1, "copy": 3}
# bytes that move for each byte of an array
_TRANSFERS: dict[Stream, int] = {"read": 1, "write": 1, "update": 2, "copy": 3}
_VECTORS = 8  # of each array in an iteration of the loop
_APART = 33 * LINE  # between arrays, so that their lines do not fall into the same sets of a cache
_LEAST, _LARGEST = 64 << 20, 256 << 20  # bytes of the arrays in memory, of all workers
# bytes that a worker moves in a run: a few milliseconds, in which all workers run at the same time
_MOVED: dict[Level, int] = {"first cache": 1 << 28, "second cache": 1 << 27, "last cache": 1 << 26, "memory": 1 << 26}
_RUNS = 40
_PARTS = 16  # sizes to try, as parts of the last cache
_NEAR = 0.95  # of the last cache's rate, from which on no bytes come from memory
_I64 = ir.IntType(64)


class StreamLoops:
    """Machine code that walks arrays: `run(stream, a, b, c, bytes of an array, iterations of the loop)`, without
    Python's lock.

    An iteration covers `step` bytes of each array. `read` adds up a, `write` fills a, `update` replaces each element
    of a, and `copy` writes a from b and c (a triad).
    """

    def __init__(self, machine: Machine) -> None:
        start_llvm()
        module = ir.Module("streams")
        module.triple = llvm.get_default_triple()
        for stream in STREAMS:
            _emit(module, stream, machine)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), target_machine(machine))
        self._engine.finalize_object()
        self.step = _VECTORS * machine.vector_bytes  # bytes of each array
        arguments = [ctypes.c_int64] * 5
        self._calls: dict[Stream, Callable[..., float]] = {
            stream: ctypes.CFUNCTYPE(ctypes.c_double, *arguments)(self._engine.get_function_address(f"netc_{stream}"))
            for stream in STREAMS
        }

    def run(self, stream: Stream, *arguments: int) -> float:
        """Calls the code of a stream, and returns a number that depends on what it reads."""
        return self._calls[stream](*arguments)


def _emit(module: ir.Module, stream: Stream, machine: Machine) -> None:
    """Adds the function of a stream to a module. It is one loop, whose offset begins again at the arrays' ends."""
    lanes, nbytes = machine.lanes("f32"), machine.vector_bytes
    vector = ir.VectorType(ir.FloatType(), lanes)
    function = ir.Function(module, ir.FunctionType(ir.DoubleType(), [_I64] * 5), f"netc_{stream}")
    *arrays, size, iterations = function.args
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    builder = ir.IRBuilder(entry)
    builder.branch(loop)
    builder.position_at_end(loop)
    iteration, offset = builder.phi(_I64), builder.phi(_I64)
    sums = [builder.phi(vector) for _ in range(_VECTORS)]
    half = ir.Constant(vector, [0.5] * lanes)
    totals = []
    for i, running in enumerate(sums):
        at = builder.add(offset, _I64(i * nbytes))
        a, b, c = (builder.inttoptr(builder.add(array, at), vector.as_pointer()) for array in arrays)
        following = running
        if stream == "read":
            following = builder.fadd(running, builder.load(a, align=nbytes))
        elif stream == "write":
            builder.store(half, a, align=nbytes)
        elif stream == "update":
            builder.store(builder.fmul(builder.fadd(builder.load(a, align=nbytes), half), half), a, align=nbytes)
        else:
            scaled = builder.fmul(builder.load(c, align=nbytes), half)
            builder.store(builder.fadd(builder.load(b, align=nbytes), scaled), a, align=nbytes)
        running.add_incoming(ir.Constant(vector, [0.0] * lanes), entry)
        running.add_incoming(following, loop)
        totals.append(following)
    ahead = builder.add(offset, _I64(_VECTORS * nbytes))
    done = builder.add(iteration, _I64(1))
    for variable, following in (
        (offset, builder.select(builder.icmp_signed("<", ahead, size), ahead, _I64(0))),
        (iteration, done),
    ):
        variable.add_incoming(_I64(0), entry)
        variable.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", done, iterations), loop, end)
    builder.position_at_end(end)
    total = totals[0]
    for other in totals[1:]:
        total = builder.fadd(total, other)
    first = builder.extract_element(total, ir.Constant(ir.IntType(32), 0))
    builder.ret(builder.fpext(first, ir.DoubleType()))


def measure_rates(
    machine: Machine, capacities: Mapping[Level, int], members: int, run: Run, runs: int = _RUNS
) -> dict[Level, dict[Stream, float]]:
    """Returns the bytes per second of `members` workers at once, by level and stream, each the best of several runs.

    `run(work, members)` calls `work` with the number of each worker at the same time. A level is never slower than
    those behind it, whatever disturbs the machine while it is measured.
    """
    loops = StreamLoops(machine)
    rates: dict[Level, dict[Stream, float]] = {}
    behind = dict.fromkeys(STREAMS, 0.0)
    for level in reversed(LEVELS):
        size = _working_set(level, capacities, members)
        behind = {
            stream: max(behind[stream], _rate(loops, stream, size, _MOVED[level], members, run, runs))
            for stream in STREAMS
        }
        rates[level] = behind
    return rates


def last_cache_misses(
    machine: Machine,
    capacities: Mapping[Level, int],
    rates: Mapping[Level, Mapping[Stream, float]],
    members: int,
    run: Run,
    runs: int = _RUNS,
) -> list[tuple[int, float]]:
    """Returns for some sizes, which rise up to the last cache's, the share of bytes that come from memory when each of
    `members` workers walks arrays of this size again and again.

    It is the share whose transfer from memory takes as long as a copy of such arrays. A cache keeps less than its size
    because pages share its sets unevenly, and because on a virtual machine others use it too.
    """
    loops = StreamLoops(machine)
    second, last = capacities["second cache"], capacities["last cache"]
    near, far = rates["last cache"]["copy"], rates["memory"]["copy"]
    sizes = [size for part in range(1, _PARTS + 1) if (size := last * part // _PARTS) > second]
    misses, share = list[tuple[int, float]](), 0.0
    for size in sizes:
        rate = _rate(loops, "copy", size, _MOVED["last cache"], members, run, runs)
        if rate < _NEAR * near:
            share = max(share, min(far / rate, 1.0))
        misses.append((size, share))
    return misses


def _working_set(level: Level, capacities: Mapping[Level, int], members: int) -> int:
    """The bytes that each worker walks so that they lie in a level: more than the cache before it keeps."""
    second, last = capacities["second cache"], capacities["last cache"]
    if level == "last cache":
        return min(4 * second, max(2 * second, last // 2))
    if level == "memory":
        return min(max(4 * last * members, _LEAST), _LARGEST) // members
    return capacities[level] // 2


def _rate(loops: StreamLoops, stream: Stream, size: int, moved: int, members: int, run: Run, runs: int) -> float:
    """The bytes per second of a stream over arrays of `size` bytes for each worker, of which about `moved` move."""
    count = _ARRAYS[stream]
    nbytes = max(size // count // loops.step, 1) * loops.step
    memories = [np.full((count * (nbytes + _APART) + LINE) // 4, 1.0, np.float32) for _ in range(members)]
    starts = [memory.ctypes.data + -memory.ctypes.data % LINE for memory in memories]
    iterations = nbytes // loops.step * max(moved // (nbytes * _TRANSFERS[stream]), 1)

    def work(member: int) -> None:
        a, b, c = (starts[member] + (nbytes + _APART) * (i % count) for i in range(3))
        loops.run(stream, a, b, c, nbytes, iterations)

    return members * iterations * loops.step * _TRANSFERS[stream] / shortest(work, members, run, runs)
