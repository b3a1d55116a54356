"""A kernel's source -> object code, by Numba; many of them side by side, one process a core.

A kernel becomes a C function of 64-bit integers: addresses, then counts. Numba is imported only if something has to be compiled.
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

from netc.compiler.kernels import cache
from netc.compiler.kernels.machine import Machine, cores
from netc.compiler.kernels.schedule import KernelSource

_LIBM = {
    name + suffix
    for name in (
        "pow",
        "exp",
        "exp2",
        "log",
        "log1p",
        "expm1",
        "tanh",
        "sin",
        "cos",
        "erf",
        "floor",
        "rint",
        "fmod",
        "sqrt",
    )
    for suffix in ("", "f")
}
_FLOATS = re.compile(r"<(\d+) x (?:float|double)>")
_WORTH_A_PROCESS = 6  # kernels: a helper imports Numba first, which takes as long as a few of them


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel's object code, and how many floats its widest vector instructions take at once: 1 where it computes one by one."""

    code: bytes
    lanes: int


def parts_of(source: KernelSource, machine: Machine) -> cache.Parts:
    """What decides a kernel's object code."""
    text = (
        f"{source.form} {source.arguments} {machine.vector_bytes} {machine.has_fma} {machine.registers}\n{source.text}"
    )
    return cache.parts_of(text, machine.cpu, machine.features)


def symbol_of(parts: cache.Parts) -> str:
    """The name of a kernel's function holds its key: Numba gives equal names one symbol, in whatever process (issue 10486)."""
    return f"netc_{parts.name}"


def target_machine(machine: Machine) -> Any:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=3, codemodel="jitdefault", jit=True
    )


@cache_once
def start_llvm() -> None:
    """Ready LLVM, and give it libm: kernels call it for what math.py leaves to it, in processes that never import Numba too."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    library = ctypes.util.find_library("m")
    if library:
        llvm.load_library_permanently(library)


def compile_all(kernels: Sequence[KernelSource], machine: Machine) -> Iterator[tuple[KernelSource, Compiled]]:
    """Each kernel with its object code, in no order. Helpers take from the same heap, the longest kernels first; if one fails, its kernel comes back."""
    waiting = deque(sorted(kernels, key=lambda kernel: (kernel.form != "product", -len(kernel.text))))
    made: deque[tuple[KernelSource, Compiled]] = deque()
    count = min(cores() - 1, len(kernels) // _WORTH_A_PROCESS) if sys.executable else 0
    helpers = [threading.Thread(target=_feed, args=(waiting, made, machine)) for _ in range(count)]
    for helper in helpers:
        helper.start()
    try:
        while waiting or made or any(helper.is_alive() for helper in helpers):
            try:
                kernel = waiting.popleft()
            except IndexError:
                for helper in helpers:
                    helper.join(0.02)
            else:
                made.append((kernel, compile_kernel(kernel, machine)))
            while made:
                yield made.popleft()
    finally:
        waiting.clear()


def _feed(waiting: deque[KernelSource], made: deque[tuple[KernelSource, Compiled]], machine: Machine) -> None:
    """Give kernels to a process of its own until none is left."""
    command = [sys.executable, "-P", "-m", "netc.compiler.kernels.compile"]
    given: list[KernelSource] = []
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as helper:
            assert helper.stdin is not None
            assert helper.stdout is not None
            while waiting:
                given.append(waiting.popleft())
                asked = [asdict(given[0]), asdict(machine), parts_of(given[0], machine).name]
                helper.stdin.write(json.dumps(asked).encode() + b"\n")
                helper.stdin.flush()
                size, lanes = (int.from_bytes(_exactly(helper.stdout, 8)) for _ in range(2))
                made.append((given[0], Compiled(_exactly(helper.stdout, size), lanes)))
                given.clear()
            helper.kill()  # to leave in its own time takes it as long as some kernels
    except (OSError, IndexError):  # it died, and what it was at is compiled elsewhere; or another took the last one
        waiting.extend(given)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    found = stream.read(count)
    if len(found) != count:
        raise OSError("the stream ended")
    return found


def _serve() -> None:
    """The helper: a kernel a line comes in, its size, its lanes and its object code go out. It leaves if its own key of the kernel is another:
    somebody changed the sources or the versions meanwhile.
    """
    for line in sys.stdin.buffer:
        kernel, machine, name = json.loads(line)
        source, target = KernelSource(**kernel), Machine(**machine)
        if parts_of(source, target).name != name:
            sys.exit(1)
        made = compile_kernel(source, target)
        sys.stdout.buffer.write(len(made.code).to_bytes(8) + made.lanes.to_bytes(8) + made.code)
        sys.stdout.buffer.flush()


def compile_kernel(source: KernelSource, machine: Machine) -> Compiled:
    """One kernel, compiled for a machine."""
    module, lanes = kernel_module(source, machine)
    return Compiled(bytes(target_machine(machine).emit_object(module)), lanes)


def kernel_module(source: KernelSource, machine: Machine) -> tuple[Any, int]:
    """A kernel as an LLVM module that is optimised for a machine, and the lanes of its widest vectors."""
    from numba import types

    from netc.compiler.kernels import loops, tiles
    from netc.compiler.kernels.jit import jit_for

    start_llvm()
    symbol = symbol_of(parts_of(source, machine))
    function = tiles.product(source.text, machine) if source.form == "product" else loops.define(source.text, machine)
    function.__name__ = function.__qualname__ = symbol
    signature = types.void(*[types.int64] * source.arguments)
    # No fast-math flag: an element may fall into a vector or be left over, as rows are shared out, and LLVM would form other instructions in the one
    # than in the other. Kernels say themselves where a sum may be vectorised (sums.py) and where a product and a sum are one instruction.
    options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    made = jit_for(machine)(function, signature, **options)
    native = made.overloads[made.signatures[0]].fndesc.mangled_name
    text = made.inspect_llvm(made.signatures[0])
    module = llvm.parse_assembly(text + _entry(symbol, native, source.arguments))
    for number, one in enumerate(module.functions):
        if one.is_declaration:
            known = one.name.startswith(("llvm.", "mem")) or one.name in _LIBM
            assert known, f"a kernel calls {one.name}, which only a process with Numba has:\n{source.text}"
        elif one.name != symbol:
            one.linkage = "internal"
            one.name = f"part{number}"  # Numba's own names count what a process compiled before
    for number, variable in enumerate(module.global_variables):
        if not variable.is_declaration:
            variable.linkage, variable.name = "internal", f"held{number}"
    lanes = max((int(found) for found in _FLOATS.findall(text)), default=1)
    return module, lanes


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


if __name__ == "__main__":
    _serve()
