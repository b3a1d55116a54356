"""Compiles kernels' sources to object code, in one process for each core.

A kernel becomes a C function of 64-bit integers: addresses and counts, or the address of a record of them. Loops are
translated from their text (text/text_kernel.py); products, convolutions and attention are written as LLVM IR.
"""

import ctypes.util
import gc
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache as cache_once
from typing import IO, Any

import llvmlite.binding as llvm
import msgspec
from msgspec import Struct

from netc.compiler.program.kernels import (
    AttentionKernel,
    Contraction,
    GroupedKernel,
    VectorKernel,
    WinogradKernel,
)
from netc.compiler.targets.cpu import cache
from netc.compiler.targets.cpu.helper_processes import can_start, idle_or_new
from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.machine import Machine, cores

_WORTH_A_PROCESS = 5  # loops: a helper process starts as slowly as a few of them compile
_ALLOCATIONS = 200_000  # of a helper between two collections of cycles, which would take a twelfth of its time
_GENERIC = 6  # loops that compile in the time of a generic kernel, at least


class Compiled(Struct, frozen=True):
    """A kernel's object code, and the lanes of its widest vectors of floats: 1 if it has no vectors."""

    code: bytes
    lanes: int


class _Request(Struct, frozen=True):
    """A line of a helper process's input: a kernel, and the name of its key in the process that asks."""

    source: KernelSource
    machine: Machine
    name: str


def parts_of(source: KernelSource, machine: Machine) -> cache.Parts:
    """Returns the key of a kernel on a machine: all that decides its object code."""
    of_machine = f"{machine.vector_bytes} {machine.has_fma} {machine.registers}"
    text = f"{source.generic} {source.arguments} {of_machine}\n{source.text}"
    return cache.parts_of(text, machine.cpu, machine.llvm_features)


def symbol_of(parts: cache.Parts) -> str:
    """Returns the name of a kernel's function, which contains its key, so that names in a program differ."""
    return f"netc_{parts.name}"


def native_call(source: KernelSource, address: int) -> Callable[..., None]:
    """Returns a Python function of a kernel's arguments that calls its machine code at an address."""
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * source.parameters)(address)

    def call(*arguments: int) -> None:
        record = (ctypes.c_int64 * source.arguments)(*arguments)
        function(*((ctypes.addressof(record),) if source.reads_record else arguments))

    return call


def target_machine(machine: Machine, effort: int = 3) -> Any:
    """Returns LLVM's target machine, which emits code for a machine at LLVM's optimisation level `effort` (0 to 3)."""
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=machine.cpu, features=machine.llvm_features, opt=effort, codemodel="jitdefault", jit=True
    )


@cache_once
def start_llvm() -> None:
    """Prepares LLVM and loads libm, which kernels call."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # of instructions that llvm/bf16_pairs.py names
    library = ctypes.util.find_library("m")
    if library:
        llvm.load_library_permanently(library)


def compile_all(
    kernels: Sequence[KernelSource], machine: Machine, meanwhile: Callable[[], None] | None = None
) -> Iterator[tuple[KernelSource, Compiled]]:
    """Yields each kernel with its object code, in any order.

    This process and its helper processes take kernels from one queue, the longest first. If a helper fails, its kernel
    returns to the queue. This process calls `meanwhile` before it takes its first one.
    """
    waiting = deque(sorted(kernels, key=lambda kernel: (kernel.generic is None, -len(kernel.text))))
    done: deque[tuple[KernelSource, Compiled]] = deque()
    work = [1 if kernel.generic is None else _GENERIC for kernel in waiting]
    others = sum(work) - max(work, default=0)  # this process is busy with the longest one meanwhile
    count = min(cores() - 1, others // _WORTH_A_PROCESS) if can_start() else 0
    helpers = [threading.Thread(target=_feed, args=(waiting, done, machine)) for _ in range(count)]
    for helper in helpers:
        helper.start()
    try:
        if meanwhile is not None:
            meanwhile()
        while any(helper.is_alive() for helper in helpers) or waiting or done:  # a helper fills these before it ends
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
    """Gives a helper process one kernel after another until none is waiting. Starts it, unless one is idle."""
    at_work: list[KernelSource] = []  # the kernel that the helper is compiling, if any
    try:
        with idle_or_new() as helper:
            assert helper.stdin is not None
            assert helper.stdout is not None
            while waiting:
                at_work.append(waiting.popleft())
                request = _Request(at_work[0], machine, parts_of(at_work[0], machine).name)
                helper.stdin.write(msgspec.json.encode(request) + b"\n")
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
    gc.set_threshold(_ALLOCATIONS)
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=_Request)
        if parts_of(request.source, request.machine).name != request.name:
            sys.exit(1)
        compiled = compile_kernel(request.source, request.machine)
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
    if source.generic is not None:
        return _generic_module(source.generic, symbol, machine), machine.lanes(source.generic.dtype)
    from netc.compiler.targets.cpu.text import text_kernel

    return text_kernel.optimised(source.text, symbol, machine, target_machine(machine))


def _generic_module(kernel: VectorKernel, symbol: str, machine: Machine) -> Any:
    """Returns a kernel that is not a loop."""
    from netc.compiler.targets.cpu.attention import gradient, query
    from netc.compiler.targets.cpu.attention import kernel as attention
    from netc.compiler.targets.cpu.convolutions import grouped, winograd
    from netc.compiler.targets.cpu.products import amx_product, float_product, pair_product

    match kernel:
        case Contraction(of_pairs=True, in_tiles=in_tiles):
            module = (amx_product.amx_product if in_tiles else pair_product.pair_product)(symbol, machine)
        case Contraction(dtype, gathered=gathered):
            module = float_product.product(symbol, dtype, machine, gathered)
        case AttentionKernel(dtype, is_gradient=True):
            module = gradient.attention_gradient(symbol, dtype, machine)
        case AttentionKernel(dtype, has_one_query=True):
            module = query.attention_query(symbol, dtype, machine)
        case AttentionKernel(dtype):
            module = attention.attention(symbol, dtype, machine)
        case WinogradKernel(dtype, part):
            module = winograd.winograd(symbol, part, dtype, machine)
        case GroupedKernel(dtype, part, groups):
            module = grouped.grouped(symbol, part, dtype, groups, machine)
    return optimised(module, machine)


def optimised(module: Any, machine: Machine) -> Any:
    """Returns a module of llvmlite's writer as one of LLVM that is optimised for a machine."""
    target = target_machine(machine)
    module.triple, module.data_layout = llvm.get_default_triple(), str(target.target_data)
    compiled = llvm.parse_assembly(str(module))
    compiled.verify()
    _optimise(compiled, target)
    return compiled


def _optimise(module: Any, target: Any) -> None:
    """Optimises a module whose register tiles, and loops around them, are written as they are to run.

    A few passes take an eighth of the time of LLVM's own list, and the tiles are as fast. That list, without what
    changes the kind of a loop, is kept for functions whose loops compute: it moves out of a loop what stays the same.
    """
    from netc.compiler.targets.cpu.llvm.function import COMPUTES

    options = llvm.create_pipeline_tuning_options(speed_level=2)
    # The writers have vectorised and unrolled the loops already.
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(target, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_ipsccp_pass()  # arguments that are the same in all calls
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_jump_threading_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    all_passes = builder.getFunctionPassManager()
    for function in module.functions:
        if any(COMPUTES.encode() in attributes for attributes in function.attributes):
            all_passes.run(function, builder)


if __name__ == "__main__":
    _serve()
