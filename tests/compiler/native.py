"""Compiles a kernel for any target that this machine can run, calls it with integers, and checks its assembly."""

import re
from functools import cached_property

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np

from netc.compiler.targets.cpu import cache
from netc.compiler.targets.cpu.compile import (
    kernel_module,
    native_call,
    parts_of,
    start_llvm,
    symbol_of,
    target_machine,
)
from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import runnable

TARGETS = runnable()
FLOATS = {"f32": np.float32, "f64": np.float64}
ELEMENTS = {**FLOATS, "bf16": ml_dtypes.bfloat16}  # of operands


class Kernel:
    """A kernel for a machine, from the cache or compiled now: it is called with integers."""

    def __init__(self, source: KernelSource, machine: Machine) -> None:
        self._source, self._machine = source, machine
        start_llvm()
        target, parts = target_machine(machine), parts_of(source, machine)
        code = cache.read(parts)
        if code is None:
            text, lanes = self._optimised
            code = target.emit_object(llvm.parse_assembly(text))
            cache.write(parts, "it is new", code, lanes)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        address = self._engine.get_function_address(symbol_of(parts))
        self.call = native_call(source, address)

    @cached_property
    def _optimised(self) -> tuple[str, int]:
        """LLVM's text, before the code generator changes it, and the lanes of the widest vectors."""
        module, lanes = kernel_module(self._source, self._machine)
        return str(module), lanes

    @property
    def text(self) -> str:
        """LLVM's text."""
        return self._optimised[0]

    @cached_property
    def assembly(self) -> str:
        """The assembly of the text."""
        return target_machine(self._machine).emit_assembly(llvm.parse_assembly(self.text))


def check_instructions(target: str, assembly: str) -> None:
    """Asserts that the assembly has no instruction that the target lacks. Names of AVX instructions begin with v."""
    if target == "sse2":
        assert not re.search(r"^\s+v[a-z]|%[yz]mm|fmadd|%k[0-7]", assembly, re.MULTILINE)
    elif target == "avx2":
        assert not re.search(r"%zmm|%[xy]mm(1[6-9]|[23][0-9])|%k[0-7]", assembly)


def check_stores(machine: Machine, assembly: str) -> None:
    """Asserts that some lanes of a vector are stored by a mask only where that is as fast as all of them."""
    assert machine.has_masks or not re.search(r"\bv?p?maskmov\w+\s+%\w+, %\w+, \S*\(|\bmaskmovdqu", assembly)
