"""Builds a program: compiles the kernels that the cache lacks, and links all with their schedule into one function."""

from collections.abc import Sequence

import llvmlite.binding as llvm

from netc.compiler.program.schedule import Arenas, Schedule
from netc.compiler.targets.compilation import report
from netc.compiler.targets.cpu import cache
from netc.compiler.targets.cpu.compile import compile_all, parts_of, start_llvm, symbol_of, target_machine
from netc.compiler.targets.cpu.linked import ENTRY, Linked, Unloadable, load
from netc.compiler.targets.cpu.schedule.emit import emit
from netc.compiler.targets.cpu.source import KernelSource, generic_of
from netc.compiler.targets.machine import Machine
from netc.dsl.storage import eviction


def build(schedule: Schedule, machine: Machine, profiled: bool = False, spoiled: Arenas | None = None) -> Linked:
    """Compiles for a machine the kernels that the cache does not hold, and links all kernels with their schedule.

    `profiled` and `spoiled` are as in `emit`.
    """
    start_llvm()
    keys = {
        kernel: parts_of(kernel, machine)
        for kernel in dict.fromkeys(generic_of(call.kernel).source for call in schedule.calls())
    }
    objects, missing = dict[KernelSource, bytes](), list[KernelSource]()
    for kernel, key in keys.items():
        code = cache.read(key)
        if code is None:
            missing.append(kernel)
        else:
            objects[kernel] = code
    entries = list(cache.entries({keys[kernel].family for kernel in missing})) if missing else []
    report(0, len(missing))
    step = b""

    def write_step() -> None:
        """Writes the schedule. It only computes addresses and calls kernels: optimising it saves less than a hundredth
        of the shortest steps, and takes twenty times as long, seconds for hundreds of calls.
        """
        nonlocal step
        symbols = {kernel: symbol_of(key) for kernel, key in keys.items()}
        module = llvm.parse_assembly(emit(schedule, symbols, profiled, spoiled))
        step = bytes(target_machine(machine, effort=0).emit_object(module))

    for done, (kernel, compiled) in enumerate(compile_all(missing, machine, write_step), 1):
        cache.write(keys[kernel], cache.why_missing(keys[kernel], entries), compiled.code, compiled.lanes)
        objects[kernel] = compiled.code
        report(done, len(missing))
    if missing:
        eviction.enforce(sum(len(objects[kernel]) for kernel in missing))
    names = [key.name for key in keys.values()]
    contents = [step, *(objects[kernel] for kernel in keys)]
    try:
        owner, address = load(contents)
    except Unloadable:
        return _linked_by_llvm(contents, machine, names, len(missing))
    return Linked(owner, address, step, names, len(missing))


def _linked_by_llvm(contents: Sequence[bytes], machine: Machine, names: Sequence[str], compiled: int) -> Linked:
    """Links object code that `load` does not understand, such as that of other machines. The result cannot be saved."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(machine))
    for content in contents:
        engine.add_object_file(llvm.ObjectFileRef.from_data(content))
    engine.finalize_object()
    return Linked(engine, engine.get_function_address(ENTRY), b"", names, compiled)
