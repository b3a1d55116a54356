"""Compiles kernels' sources to object code, many of them side by side, in one process for each core.

A kernel becomes a C function of 64-bit integers: addresses, then counts. Loops are compiled by Numba, which is imported
only for them; products are written in LLVM's terms.
"""

import ctypes.util
import json
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache as cache_once
from typing import IO, Any

import llvmlite.binding as llvm

from netc.compiler.targets.cpu import cache
from netc.compiler.targets.cpu.function import ALIGNED_STACK
from netc.compiler.targets.cpu.linked import LIBM
from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.machine import Machine, cores

_FLOATS = re.compile(r"<(\d+) x (?:float|double)>")
_WORTH_A_PROCESS = 6  # kernels: a helper process imports Numba first, which takes as long as compiling a few of them


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel's object code, and the lanes of its widest vectors of floats: 1 if it has no vectors."""

    code: bytes
    lanes: int


def parts_of(source: KernelSource, machine: Machine) -> cache.Parts:
    """Returns all that decides a kernel's object code on a machine."""
    text = (
        f"{source.form} {source.arguments} {machine.vector_bytes} {machine.has_fma} {machine.registers}\n{source.text}"
    )
    return cache.parts_of(text, machine.cpu, machine.llvm_features)


def symbol_of(parts: cache.Parts) -> str:
    """Returns the name of a kernel's function. It holds the kernel's key, because Numba gives functions of one name the
    same symbol, in any process (its issue 10486)."""
    return f"netc_{parts.name}"


def target_machine(machine: Machine, effort: int = 3) -> Any:
    """Returns LLVM's target machine, which emits code for a machine, with so much effort (0 to 3) for fast code."""
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=machine.cpu, features=machine.llvm_features, opt=effort, codemodel="jitdefault", jit=True
    )


@cache_once
def start_llvm() -> None:
    """Prepares LLVM and loads libm, which kernels call also in processes that never import Numba."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # of instructions that pairs.py names
    library = ctypes.util.find_library("m")
    if library:
        llvm.load_library_permanently(library)


def compile_all(kernels: Sequence[KernelSource], machine: Machine) -> Iterator[tuple[KernelSource, Compiled]]:
    """Yields each kernel with its object code, in any order.

    This process and its helper processes take kernels from one queue, the longest first. If a helper fails, its kernel
    returns to the queue.
    """
    waiting = deque(sorted(kernels, key=lambda kernel: (kernel.form == "loop", -len(kernel.text))))
    done: deque[tuple[KernelSource, Compiled]] = deque()
    count = min(cores() - 1, len(kernels) // _WORTH_A_PROCESS) if sys.executable else 0
    helpers = [threading.Thread(target=_feed, args=(waiting, done, machine)) for _ in range(count)]
    for helper in helpers:
        helper.start()
    try:
        while waiting or done or any(helper.is_alive() for helper in helpers):
            try:
                kernel = waiting.popleft()
            except IndexError:
                for helper in helpers:
                    helper.join(0.02)
            else:
                done.append((kernel, compile_kernel(kernel, machine)))
            while done:
                yield done.popleft()
    finally:
        waiting.clear()


def _feed(waiting: deque[KernelSource], done: deque[tuple[KernelSource, Compiled]], machine: Machine) -> None:
    """Starts a helper process and gives it one kernel after another until none is waiting."""
    command = [sys.executable, "-P", "-m", "netc.compiler.targets.cpu.compile"]
    at_work: list[KernelSource] = []  # the kernel that the helper is compiling, if any
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as helper:
            assert helper.stdin is not None
            assert helper.stdout is not None
            while waiting:
                at_work.append(waiting.popleft())
                request = [asdict(at_work[0]), asdict(machine), parts_of(at_work[0], machine).name]
                helper.stdin.write(json.dumps(request).encode() + b"\n")
                helper.stdin.flush()
                size, lanes = (int.from_bytes(_exactly(helper.stdout, 8)) for _ in range(2))
                done.append((at_work[0], Compiled(_exactly(helper.stdout, size), lanes)))
                at_work.clear()
            helper.kill()  # its ordinary exit takes as long as compiling some kernels
    except (OSError, IndexError):  # the helper died, or another thread took the last kernel
        waiting.extend(at_work)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise OSError("the stream ended")
    return content


def _serve() -> None:
    """Runs a helper process: each line of its input is a kernel; its output is the code's size, the lanes and the code.

    Exits with status 1 if this process has another key for a kernel: sources or versions have changed meanwhile.
    """
    for line in sys.stdin.buffer:
        kernel, machine, name = json.loads(line)
        source, target = KernelSource(**kernel), Machine(**machine)
        if parts_of(source, target).name != name:
            sys.exit(1)
        compiled = compile_kernel(source, target)
        sys.stdout.buffer.write(len(compiled.code).to_bytes(8) + compiled.lanes.to_bytes(8) + compiled.code)
        sys.stdout.buffer.flush()


def compile_kernel(source: KernelSource, machine: Machine) -> Compiled:
    """Compiles one kernel for a machine."""
    module, lanes = kernel_module(source, machine)
    return Compiled(bytes(target_machine(machine).emit_object(module)), lanes)


def kernel_module(source: KernelSource, machine: Machine) -> tuple[Any, int]:
    """Returns a kernel as an LLVM module that is optimised for a machine, and the lanes of its widest vectors."""
    start_llvm()
    symbol = symbol_of(parts_of(source, machine))
    if source.form == "loop":
        return _loop_module(source, symbol, machine)
    dtype = "f32" if source.text.startswith("bf16") else source.text
    return _generic_module(source, symbol, machine), machine.lanes(dtype)


def _generic_module(source: KernelSource, symbol: str, machine: Machine) -> Any:
    """Returns a kernel of another form than "loop". It is written in LLVM's terms, so Numba is not imported for it."""
    from netc.compiler.targets.cpu import (
        amx_product,
        attention,
        attention_gradient,
        attention_query,
        pair_product,
        tiles,
        winograd,
    )

    target = target_machine(machine)
    match source.form, source.text:
        case "product", "bf16":
            module = pair_product.pair_product(symbol, machine)
        case "product", "bf16 in tiles":
            module = amx_product.amx_product(symbol, machine)
        case "product", dtype:
            module = tiles.product(symbol, dtype, machine)
        case "attention", dtype:
            module = attention.attention(symbol, dtype, machine)
        case "attention of one query", dtype:
            module = attention_query.attention_query(symbol, dtype, machine)
        case "winograd transform", dtype:
            module = winograd.winograd(symbol, "transform", dtype, machine)
        case "winograd convolve", dtype:
            module = winograd.winograd(symbol, "convolve", dtype, machine)
        case "winograd gradient", dtype:
            module = winograd.winograd(symbol, "gradient", dtype, machine)
        case _, dtype:
            module = attention_gradient.attention_gradient(symbol, dtype, machine)
    module.triple, module.data_layout = llvm.get_default_triple(), str(target.target_data)
    compiled = llvm.parse_assembly(str(module))
    compiled.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    # The loops are written as they are to run.
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(compiled, builder)
    return compiled


def _loop_module(source: KernelSource, symbol: str, machine: Machine) -> tuple[Any, int]:
    """Returns a kernel of a text as `kernel_module` does."""
    from numba import types

    from netc.compiler.targets.cpu.jit import jit_for
    from netc.compiler.targets.cpu.math import calls

    function, signature = _loop_function(source.text, machine), types.void(*[types.int64] * source.arguments)
    function.__name__ = function.__qualname__ = symbol
    # No fast-math flag: depending on how rows are shared out, an element is computed in a vector or alone, and LLVM
    # would form other instructions for the one than for the other. Kernels say themselves where a sum may be
    # vectorised (sums.py) and where a product and a sum are one instruction (math/terms.py).
    options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher = jit_for(machine)(function, signature, **options)
    native = dispatcher.overloads[dispatcher.signatures[0]].fndesc.mangled_name
    text = calls.without_declarations(dispatcher.inspect_llvm(dispatcher.signatures[0]))
    module = llvm.parse_assembly(_with_aligned_stack(text) + _entry(symbol, native, source.arguments))
    if functions := calls.definitions(text, machine.has_fma):
        module.link_in(llvm.parse_assembly(functions))
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.run(module, llvm.create_pass_builder(target_machine(machine), llvm.create_pipeline_tuning_options()))
    _make_internal(module, symbol, source)
    lanes = max((int(lanes) for lanes in _FLOATS.findall(text)), default=1)
    return module, lanes


def _with_aligned_stack(text: str) -> str:
    """Lets the functions of a module align their stack, so that a vector in it lies in one cache line.

    LLVM decides so before it knows which vectors it will keep there, and takes 16 bytes otherwise. Then chance decides,
    in each process, whether a kernel that keeps vectors in the stack takes up to twice as long.
    """
    return re.sub(r"^(attributes #\d+ = {) ", rf"\1 {ALIGNED_STACK} ", text, flags=re.MULTILINE)


def _loop_function(text: str, machine: Machine) -> Any:
    """Returns the function of a kernel's source for a machine, with the words that it uses as its globals."""
    import numpy as np

    from netc.compiler.targets.cpu import extremes, memory, row_vectors, squares, sums
    from netc.compiler.targets.cpu.math import words

    names: dict[str, Any] = {
        "F32": np.float32,
        "F64": np.float64,
        "I32": np.int32,
        "INF": np.inf,
        "NAN": np.nan,
        **words.words_for(machine),
        **sums.words(),
        **extremes.words(machine.vector_bytes),
        **squares.words(machine.vector_bytes),
    }
    for word, dtype, scope in re.findall(r"\b((?:load|store)_(f32|f64|i32|u8|bool|bf16)_(\d+))\b", text):
        names[word] = (memory.load if word.startswith("load") else memory.store)(dtype, int(scope))
    names |= row_vectors.words(text, machine)
    names |= {f"fetch_{dtype}": memory.fetch(dtype) for dtype in re.findall(r"\bfetch_(\w+)\(", text)}
    exec(compile(row_vectors.settled(text, machine), "<netc kernel>", "exec"), names)
    return names["kernel"]


def _make_internal(module: Any, symbol: str, source: KernelSource) -> None:
    """Makes everything in a module internal but the kernel itself, under names that do not depend on the process:
    Numba's names count what it compiled before. Asserts that the kernel calls nothing but LLVM's intrinsics and
    libm."""
    for number, function in enumerate(module.functions):
        name = function.name
        if function.is_declaration:
            is_available = name.startswith(("llvm.", "mem")) or name in LIBM
            assert is_available, f"a kernel calls {name}, which only a process with Numba has:\n{source.text}"
        elif name != symbol:
            function.linkage, function.name = "internal", f"part{number}"
    for number, variable in enumerate(module.global_variables):
        if not variable.is_declaration:
            variable.linkage, variable.name = "internal", f"held{number}"


def _entry(symbol: str, native: str, arguments: int) -> str:
    """The text of a C function that calls Numba's own, which takes memory for a result and an exception: kernels have
    neither."""
    names = ", ".join(f"i64 %a{i}" for i in range(arguments))
    return f"""
define void @{symbol}({names}) {{
  %result = alloca ptr
  %exception = alloca ptr
  %status = call i32 @{native}(ptr %result, ptr %exception, {names})
  ret void
}}
"""


if __name__ == "__main__":
    _serve()
