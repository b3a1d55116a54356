"""Compiles the kernels that the cache does not hold, and links all of them with their schedule into one function."""

import ctypes
from typing import Any

import llvmlite.binding as llvm

from netc.compiler.program.schedule import Arenas, Schedule
from netc.compiler.targets.cpu import cache
from netc.compiler.targets.cpu.compile import compile_all, parts_of, start_llvm, symbol_of, target_machine
from netc.compiler.targets.cpu.emit import emit
from netc.compiler.targets.cpu.source import KernelSource, source_of
from netc.compiler.targets.machine import Machine
from netc.dsl import eviction


class Linked:
    """A program in machine code, over a context (see schedule.py). The code lives as long as this object."""

    def __init__(self, engine: Any, address: int, compiled: int) -> None:
        self._engine = engine  # owns the code
        self.compiled = compiled
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)

    def run(self, context: int) -> bool:
        """Runs the steps that the context at this address asks for, without Python's lock. False if another worker
        failed."""
        return bool(self._run(context) == 0)


def build(schedule: Schedule, machine: Machine, profiled: bool = False, spoiled: Arenas | None = None) -> Linked:
    """Compiles for a machine the kernels that the cache does not hold, and links all kernels with their schedule.

    `profiled` and `spoiled` are as in `emit`.
    """
    start_llvm()
    keys = {
        kernel: parts_of(kernel, machine)
        for kernel in dict.fromkeys(source_of(call.kernel) for call in schedule.calls())
    }
    objects, missing = dict[KernelSource, bytes](), list[KernelSource]()
    for kernel, key in keys.items():
        code = cache.read(key)
        if code is None:
            missing.append(kernel)
        else:
            objects[kernel] = code
    entries = list(cache.entries()) if missing else []
    for kernel, compiled in compile_all(missing, machine):
        cache.write(keys[kernel], cache.why_missing(keys[kernel], entries), compiled.code, compiled.lanes)
        objects[kernel] = compiled.code
    if missing:
        eviction.enforce()
    symbols = {kernel: symbol_of(key) for kernel, key in keys.items()}
    step = llvm.parse_assembly(emit(schedule, symbols, profiled, spoiled))
    engine = llvm.create_mcjit_compiler(step, target_machine(machine))
    for kernel in keys:
        engine.add_object_file(llvm.ObjectFileRef.from_data(objects[kernel]))
    engine.finalize_object()
    return Linked(engine, engine.get_function_address("netc_run"), len(missing))
