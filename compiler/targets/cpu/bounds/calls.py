"""The shortest call of a kernel on this machine, measured as profiled steps measure theirs (schedule/emit.py).

A call that computes nothing still takes its time: its arguments, the call itself, and reading the clock twice.
"""

import ctypes
import time

import llvmlite.binding as llvm
from llvmlite import ir

from netc.compiler.targets.cpu.compile import start_llvm, target_machine
from netc.compiler.targets.machine import Machine

_CALLS = 20_000  # in a run: about a millisecond
_RUNS = 40
_ARGUMENTS = 4  # of the kernel
_I64, _VOID = ir.IntType(64), ir.VoidType()


def measure_call(machine: Machine, runs: int = _RUNS) -> float:
    """Returns the seconds of a call of an empty kernel between two readings of the clock, the best of several runs."""
    start_llvm()
    module = llvm.parse_assembly(_text())
    engine = llvm.create_mcjit_compiler(module, target_machine(machine, effort=0))
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 2)(engine.get_function_address("netc_calls"))
    ticks = (ctypes.c_int64 * 2)()  # between the readings, and of the whole run
    best = rate = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        call(ctypes.addressof(ticks), _CALLS)
        rate = min(rate, (time.perf_counter() - start) / ticks[1])
        best = min(best, ticks[0])
    return best / _CALLS * rate


def _text() -> str:
    """A function `netc_calls(address of two words, calls)` that calls an empty kernel, as LLVM IR."""
    module = ir.Module("calls")
    module.triple = llvm.get_default_triple()
    kernel = ir.Function(module, ir.FunctionType(_VOID, [_I64] * _ARGUMENTS), "empty")
    kernel.attributes.add("noinline")
    builder = ir.IRBuilder(kernel.append_basic_block())
    builder.asm(ir.FunctionType(_VOID, []), "", "", [], side_effect=True)  # so that its calls are not left out
    builder.ret_void()
    name = "llvm.readcyclecounter" if module.triple.startswith("x86_64") else "llvm.readsteadycounter"
    clock = ir.Function(module, ir.FunctionType(_I64, []), name)
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64.as_pointer(), _I64]), "netc_calls")
    words, calls = function.args
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    builder.position_at_end(entry)
    entered = builder.call(clock, [])
    builder.store(_I64(0), words)
    builder.branch(loop)
    builder.position_at_end(loop)
    turn = builder.phi(_I64)
    turn.add_incoming(_I64(0), entry)
    arguments = [builder.add(turn, _I64(number)) for number in range(_ARGUMENTS)]
    before = builder.call(clock, [])
    builder.call(kernel, arguments)
    spent = builder.sub(builder.call(clock, []), before)
    builder.store(builder.add(builder.load(words), spent), words)
    done = builder.add(turn, _I64(1))
    turn.add_incoming(done, loop)
    builder.cbranch(builder.icmp_signed("<", done, calls), loop, end)
    builder.position_at_end(end)
    builder.store(builder.sub(builder.call(clock, []), entered), builder.gep(words, [_I64(1)]))
    builder.ret_void()
    return str(module)
