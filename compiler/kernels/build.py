"""Source -> object code -> a function: Numba compiles each kernel once, the cache keeps it, LLVM links all into one step.

A kernel is a C function of 64-bit integers: addresses, then counts. The step is a schedule of calls, written as LLVM IR directly.
Numba is imported only if something has to be compiled.
"""

import ctypes
import ctypes.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as cache_once
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from netc.compiler.kernels import cache
from netc.compiler.kernels.machine import Machine, host

FAST = frozenset({"contract", "reassoc", "nsz", "arcp", "afn"})  # never nnan or ninf: a NaN must stay one
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
_FLUSH = 0x8040  # MXCSR: subnormal results and operands are zero


@dataclass(frozen=True, slots=True)
class KernelSource:
    """`text` defines a function `kernel` of `arguments` int64; `words` are the names it uses, from memory.py and math.py.

    `form` is "loop", or "product" for the generic product of a dtype (then `text` is the dtype).
    """

    form: str
    text: str
    arguments: int

    def key(self, machine: Machine) -> str:
        return cache.key_of(
            f"{self.form} {self.arguments} {machine.vector_bytes} {machine.has_fma}\n{self.text}",
            machine.cpu,
            machine.features,
        )


PRODUCT = (
    "a",
    "b",
    "c",
    "a_row",
    "a_step",
    "b_row",
    "c_row",
    "rows",
    "columns",
    "depth",
    "accumulate",
    "outer",
    "a_outer",
    "b_outer",
    "c_outer",
    "inner",
    "a_inner",
    "b_inner",
    "c_inner",
)


@dataclass(frozen=True, slots=True)
class Count:
    """A number that may depend on the batch: batch * factor, or the factor alone."""

    factor: int
    times_batch: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """A place in one of the two memories of a program: 0 is what stays between steps, 1 the arena."""

    memory: int
    offset: int


@dataclass(frozen=True, slots=True)
class Call:
    kernel: KernelSource
    arguments: tuple[Address | Count, ...]


class Linked:
    """A step in machine code, over the addresses of the two memories and the batch's size; it lives as long as this object."""

    def __init__(self, engine: Any, address: int, compiled: int) -> None:
        self._engine = engine  # owns the code
        self.compiled = compiled
        self._step = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(address)

    def run(self, persistent: int, arena: int, batch: int) -> None:
        self._step(persistent, arena, batch)


def build(calls: Sequence[Call], machine: Machine | None = None) -> Linked:
    """Compile what the cache does not hold, and link the schedule of calls."""
    machine = machine or host()
    _start_llvm()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=3, codemodel="jitdefault", jit=True
    )
    objects: dict[str, bytes] = {}
    compiled = 0
    for call in calls:
        key = call.kernel.key(machine)
        if key not in objects:
            code = cache.read(key)
            if code is None:
                code = _compile(call.kernel, f"netc_{key}", target, machine)
                cache.write(key, code)
                compiled += 1
            objects[key] = code
    objects["step"] = _schedule(calls, target, machine)
    empty = llvm.parse_assembly("")
    empty.triple = llvm.get_default_triple()
    engine = llvm.create_mcjit_compiler(empty, target)
    for code in objects.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Linked(engine, engine.get_function_address("netc_step"), compiled)


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
    flags = FAST if source.form == "loop" else frozenset({"contract"})
    signature = types.void(*[types.int64] * source.arguments)
    made = njit(signature, error_model="numpy", fastmath=set(flags), no_cpython_wrapper=True, no_cfunc_wrapper=True)(
        function
    )
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


def _schedule(calls: Sequence[Call], target: Any, machine: Machine) -> bytes:
    """`netc_step(persistent, arena, batch)`: the calls in order, with subnormals flushed meanwhile."""
    wide = ir.IntType(64)
    module = ir.Module("step")
    module.triple = llvm.get_default_triple()
    step = ir.Function(module, ir.FunctionType(ir.VoidType(), [wide] * 3), "netc_step")
    builder = ir.IRBuilder(step.append_basic_block("entry"))
    is_x86 = module.triple.startswith("x86_64")
    if is_x86:
        word = ir.IntType(32)
        control = ir.FunctionType(ir.VoidType(), [ir.PointerType(ir.IntType(8))])
        get, put = (ir.Function(module, control, f"llvm.x86.sse.{name}mxcsr") for name in ("st", "ld"))
        before, during = builder.alloca(word), builder.alloca(word)
        builder.call(get, [builder.bitcast(before, ir.IntType(8).as_pointer())])
        builder.store(builder.or_(builder.load(before), ir.Constant(word, _FLUSH)), during)
        builder.call(put, [builder.bitcast(during, ir.IntType(8).as_pointer())])
    kernels: dict[str, Any] = {}
    for call in calls:
        name = f"netc_{call.kernel.key(machine)}"
        if name not in kernels:
            kernels[name] = ir.Function(module, ir.FunctionType(ir.VoidType(), [wide] * call.kernel.arguments), name)
        arguments = []
        for argument in call.arguments:
            if isinstance(argument, Address):
                arguments.append(builder.add(step.args[argument.memory], ir.Constant(wide, argument.offset)))
            elif argument.times_batch:
                arguments.append(builder.mul(step.args[2], ir.Constant(wide, argument.factor)))
            else:
                arguments.append(ir.Constant(wide, argument.factor))
        builder.call(kernels[name], arguments)
    if is_x86:
        builder.call(put, [builder.bitcast(before, ir.IntType(8).as_pointer())])
    builder.ret_void()
    return bytes(target.emit_object(llvm.parse_assembly(str(module))))
