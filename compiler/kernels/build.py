"""Source -> object code -> a function: Numba compiles each kernel once, the cache keeps it, LLVM links all into one step.

A kernel is a C function of 64-bit integers: addresses, then counts. schedule.py writes the function that calls them.
Numba is imported only if something has to be compiled.
"""

import ctypes
import ctypes.util
from functools import cache as cache_once
from typing import Any

import llvmlite.binding as llvm

from netc.compiler.kernels import cache
from netc.compiler.kernels.machine import Machine, host
from netc.compiler.kernels.schedule import KernelSource, Schedule, emit

# Flags of floating-point arithmetic. None where an element could fall into a vector or be left over, as rows are shared out: LLVM forms other
# instructions in the one than in the other. Never nnan or ninf: a NaN must stay one.
EXACT: frozenset[str] = frozenset()
REORDERED = frozenset({"contract", "reassoc", "nsz"})
_LIBM = frozenset(
    {
        "pow",
        "powf",
        "exp",
        "expf",
        "log",
        "logf",
        "log1p",
        "log1pf",
        "expm1",
        "expm1f",
        "tanh",
        "tanhf",
        "sin",
        "sinf",
        "cos",
        "cosf",
        "erf",
        "erff",
        "floor",
        "floorf",
        "rint",
        "rintf",
        "fmod",
        "fmodf",
        "exp2",
        "exp2f",
        "sqrt",
        "sqrtf",
    }
)
PRODUCT = (
    *("a", "b", "c", "start", "pack"),
    *("a_row", "a_step", "b_row", "b_column", "c_row", "start_row", "has_start", "rows", "columns", "depth"),
    *("outer", "a_outer", "b_outer", "c_outer", "start_outer"),
    *("inner", "a_inner", "b_inner", "c_inner", "start_inner"),
)


class Linked:
    """A program in machine code, over a context (see schedule.py); it lives as long as this object."""

    def __init__(self, engine: Any, address: int, compiled: int) -> None:
        self._engine = engine  # owns the code
        self.compiled = compiled
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)

    def run(self, context: int) -> bool:
        """Run the steps that the context at an address asks for, without Python's lock; False if another worker failed."""
        return bool(self._run(context) == 0)


def key(source: KernelSource, machine: Machine) -> str:
    return cache.key_of(
        f"{source.form} {source.arguments} {machine.vector_bytes} {machine.has_fma}\n{source.text}",
        machine.cpu,
        machine.features,
    )


def build(schedule: Schedule, machine: Machine | None = None, profiled: bool = False) -> Linked:
    """Compile what the cache does not hold, and link the kernels and the schedule of their calls."""
    machine = machine or host()
    _start_llvm()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=3, codemodel="jitdefault", jit=True
    )
    objects: dict[str, bytes] = {}
    symbols: dict[KernelSource, str] = {}
    compiled = 0
    for call in schedule.calls():
        if call.kernel in symbols:
            continue
        name = key(call.kernel, machine)
        symbols[call.kernel] = f"netc_{name}"
        code = cache.read(name)
        if code is None:
            code = _compile(call.kernel, f"netc_{name}", target, machine)
            cache.write(name, code)
            compiled += 1
        objects[name] = code
    step = llvm.parse_assembly(emit(schedule, symbols, profiled))
    engine = llvm.create_mcjit_compiler(step, target)
    for code in objects.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Linked(engine, engine.get_function_address("netc_run"), compiled)


@cache_once
def _start_llvm() -> None:
    """Ready LLVM, and give it libm: kernels call it for what math.py leaves to it, in processes that never import Numba too."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    library = ctypes.util.find_library("m")
    if library:
        llvm.load_library_permanently(library)


def _compile(source: KernelSource, symbol: str, target: Any, machine: Machine) -> bytes:
    from numba import njit, types

    from netc.compiler.kernels import loops, tiles

    function = tiles.product(source.text, machine) if source.form == "product" else loops.define(source.text)
    function.__name__ = function.__qualname__ = (
        symbol  # the key is in every symbol: Numba shares symbols of equal names between processes (issue 10486)
    )
    flags = REORDERED if source.form == "sum" else EXACT
    signature = types.void(*[types.int64] * source.arguments)
    made = njit(
        signature, error_model="numpy", fastmath=set(flags) or False, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
    native = made.overloads[made.signatures[0]].fndesc.mangled_name
    module = llvm.parse_assembly(made.inspect_llvm(made.signatures[0]) + _entry(symbol, native, source.arguments))
    for one in module.functions:
        if one.is_declaration:
            known = one.name.startswith(("llvm.", "mem")) or one.name in _LIBM
            assert known, f"a kernel calls {one.name}, which only a process with Numba has:\n{source.text}"
        elif one.name != symbol:
            one.linkage = "internal"
    return bytes(target.emit_object(module))


def _entry(symbol: str, native: str, arguments: int) -> str:
    """A C function around Numba's own, which wants places for a result and an exception that no kernel has."""
    names = ", ".join(f"i64 %a{i}" for i in range(arguments))
    return f"""
define void @{symbol}({names}) {{
  %result = alloca ptr
  %exception = alloca ptr
  %status = call i32 @{native}(ptr %result, ptr %exception, {names})
  ret void
}}
"""
