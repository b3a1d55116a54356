"""Compiles the text of a kernel to an LLVM module that is optimised for a machine.

`builtins` has the functions that a text may call: loads, stores and vectors (memory.py, row_vectors.py), sums in blocks
(sums.py), searches (extremes.py), transposed squares (squares.py), the functions of math/, and those of Python
(operators.py).
"""

import math
import re
from typing import Any

import llvmlite.binding as llvm

from netc.compiler.targets.cpu.linked import LIBM
from netc.compiler.targets.cpu.math import calls
from netc.compiler.targets.cpu.text import extremes, memory, row_vectors, squares, sums
from netc.compiler.targets.cpu.text.in_order import kept_in_order
from netc.compiler.targets.cpu.text.math_builtins import builtins_for
from netc.compiler.targets.cpu.text.operators import functions
from netc.compiler.targets.cpu.text.specialise_text import is_interleaved, specialised
from netc.compiler.targets.cpu.text.translate import translate
from netc.compiler.targets.cpu.text.values import Builtin
from netc.compiler.targets.machine import Machine

_NUMBERS = {"INF": math.inf, "NAN": math.nan}  # names of numbers in a text
_WITH_MASKS = 64  # bytes of vectors of machines whose instructions all take a mask
_MEMORY = re.compile(r"\b((load|store)_(f32|f64|i32|u8|bool|bf16)_(\d+))\b")
_FLOATS = re.compile(r"<(\d+) x (?:float|double)>")


def builtins(text: str, machine: Machine) -> dict[str, Builtin]:
    """Returns the functions that a kernel's text may call on a machine; of loads and stores those that it calls."""
    result: dict[str, Builtin] = {
        **functions(),
        **builtins_for(machine),
        **sums.builtins(),
        **extremes.builtins(machine.vector_bytes),
        **squares.builtins(machine.vector_bytes),
    }
    for name, verb, dtype, scope in _MEMORY.findall(text):
        result[name] = (memory.load if verb == "load" else memory.store)(dtype, int(scope))
    result |= row_vectors.builtins(text, machine)
    return result | {f"fetch_{dtype}": memory.fetch(dtype) for dtype in re.findall(r"\bfetch_(\w+)\(", text)}


def optimised(text: str, symbol: str, machine: Machine, target: Any) -> tuple[Any, int]:
    """Returns a kernel's module, and the lanes of its widest vectors. `target` is LLVM's target machine.

    No instruction has a fast-math flag. How rows are shared out decides whether an element is computed in a vector or
    alone, and with such flags LLVM would choose different instructions for the two. Kernels say themselves where a sum
    may be vectorised (sums.py) and where a product and a sum are one instruction (math/terms.py).
    """
    numbers = {**_NUMBERS, "NOTHING": _nothing(machine)}
    tree = specialised(text, machine)
    module = translate(tree, symbol, builtins(text, machine), numbers)
    module.triple, module.data_layout = llvm.get_default_triple(), str(target.target_data)
    compiled = llvm.parse_assembly(str(module))
    compiled.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(compiled, builder)
    result = calls.joined(str(compiled))
    if is_interleaved(tree):
        result = kept_in_order(result)
        compiled = llvm.parse_assembly(result)
    if called := calls.definitions(result, machine.has_fma):
        compiled = llvm.parse_assembly(calls.without_declarations(result))
        compiled.link_in(llvm.parse_assembly(called))
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.run(compiled, llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options()))
    _make_internal(compiled, symbol, text)
    return compiled, max((int(lanes) for lanes in _FLOATS.findall(result)), default=1)


def _nothing(machine: Machine) -> float:
    """The zero that a machine adds fastest in place of an element that fails a test (`NOTHING` in a text).

    -0.0 changes no sum, so a machine with masks skips the addition. Without masks, selecting 0.0 is cheaper.
    """
    return -0.0 if machine.vector_bytes == _WITH_MASKS else 0.0


def _make_internal(module: Any, symbol: str, text: str) -> None:
    """Makes everything in a module internal but the kernel itself. Asserts that the kernel calls nothing but LLVM's
    intrinsics and libm."""
    for number, function in enumerate(module.functions):
        name = function.name
        if function.is_declaration:
            is_available = name.startswith(("llvm.", "mem")) or name in LIBM
            assert is_available, f"a kernel calls {name}, which no process has:\n{text}"
        elif name != symbol:
            function.linkage, function.name = "internal", f"part{number}"
    for number, variable in enumerate(module.global_variables):
        if not variable.is_declaration:
            variable.linkage, variable.name = "internal", f"held{number}"
