"""Kernels and a schedule -> one function: what the cache does not hold is compiled, LLVM links all into one step."""

import ctypes
from typing import Any

import llvmlite.binding as llvm

from netc.compiler.kernels import cache
from netc.compiler.kernels.compile import compile_all, parts_of, start_llvm, symbol_of, target_machine
from netc.compiler.kernels.machine import Machine
from netc.compiler.kernels.schedule import Arenas, Schedule, emit
from netc.dsl import eviction


class Linked:
    """A program in machine code, over a context (see schedule.py); it lives as long as this object."""

    def __init__(self, engine: Any, address: int, compiled: int) -> None:
        self._engine = engine  # owns the code
        self.compiled = compiled
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)

    def run(self, context: int) -> bool:
        """Run the steps that the context at an address asks for, without Python's lock; False if another worker failed."""
        return bool(self._run(context) == 0)


def build(schedule: Schedule, machine: Machine, profiled: bool = False, spoiled: Arenas | None = None) -> Linked:
    """Compile for a machine what the cache does not hold, and link the kernels and the schedule of their calls. `profiled` and `spoiled` are as in `emit`."""
    start_llvm()
    parts = {kernel: parts_of(kernel, machine) for kernel in dict.fromkeys(call.kernel for call in schedule.calls())}
    objects = {kernel: cache.read(one) for kernel, one in parts.items()}
    missing = [kernel for kernel, code in objects.items() if code is None]
    known = list(cache.entries()) if missing else []
    for kernel, made in compile_all(missing, machine):
        cache.write(parts[kernel], cache.why_missing(parts[kernel], known), made.code, made.lanes)
        objects[kernel] = made.code
    if missing:
        eviction.enforce()
    target = target_machine(machine)
    symbols = {kernel: symbol_of(one) for kernel, one in parts.items()}
    step = llvm.parse_assembly(emit(schedule, symbols, profiled, spoiled))
    engine = llvm.create_mcjit_compiler(step, target)
    for found in objects.values():
        assert found is not None
        engine.add_object_file(llvm.ObjectFileRef.from_data(found))
    engine.finalize_object()
    return Linked(engine, engine.get_function_address("netc_run"), len(missing))
