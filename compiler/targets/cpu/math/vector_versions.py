"""Functions that a kernel only declares, with versions for vectors, which LLVM calls in the loops that it vectorises.

An attribute names the versions (LLVM's vector function ABI). calls.py adds the definitions of those that a compiled
kernel calls; they then become part of its loops.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.math.terms import Scope

_LANES = {"f32": (4, 8, 16), "f64": (2, 4, 8)}
_ATTRIBUTES = "nounwind willreturn speculatable memory(none)"


def version(module: Any, symbol: str, dtype: str, operands: int, lanes: int = 0) -> Any:
    """Returns the version of a function for `lanes` elements of one type, or with 0 lanes for a single element.

    It is declared if the module does not have it yet.
    """
    function = module.globals.get(symbol) or _declared(module, symbol, dtype, operands)
    return module.globals[f"{symbol}_v{lanes}"] if lanes else function


def _declared(module: Any, symbol: str, dtype: str, operands: int) -> Any:
    """Declares a function and its versions for vectors, which are kept although nothing calls them yet."""
    versions = []
    for lanes in _LANES[dtype]:
        type_ = Scope(None, True, lanes).type_of(dtype)
        versions.append(ir.Function(module, ir.FunctionType(type_, [type_] * operands), f"{symbol}_v{lanes}"))
    type_ = Scope(None, True).type_of(dtype)
    function = ir.Function(module, ir.FunctionType(type_, [type_] * operands), symbol)
    kinds = "v" * operands
    names = ",".join(f"_ZGV_LLVM_N{lanes}{kinds}_{symbol}({symbol}_v{lanes})" for lanes in _LANES[dtype])
    # llvmlite knows few attributes by name
    set.add(function.attributes, _ATTRIBUTES)
    set.add(function.attributes, f'"vector-function-abi-variant"="{names}"')
    pointer = ir.PointerType()
    used = module.globals.get("llvm.compiler.used")
    kept = [*(used.initializer.constant if used else []), *(version.bitcast(pointer) for version in versions)]
    if used is None:
        used = ir.GlobalVariable(module, ir.ArrayType(pointer, 1), "llvm.compiler.used")
        used.linkage, used.section = "appending", "llvm.metadata"
    used.value_type = ir.ArrayType(pointer, len(kept))
    used.initializer = ir.Constant(used.value_type, kept)
    return function
