"""The functions that branch: sin, cos and tan, whose large angles take another way.

LLVM vectorises no loop with a branch to another function. So each of them is an LLVM function of its own, with versions
for vectors, which their attribute names (LLVM's vector function ABI). A kernel only declares them; `definitions` has
the versions that a compiled kernel calls, which then become part of its loops. Each lane of a vector chooses its way
alone, so that an element has the same bits in a vector and alone.
"""

import re
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from msgspec import Struct

from netc.compiler.targets.cpu.math import huge_angles, trigonometry
from netc.compiler.targets.cpu.math.terms import Scope, Term, absolute, select


class Function(Struct, frozen=True):
    """A function of an angle: its reduction, unless the angle is large, and the result from n and the two parts of
    r."""

    reduced: Callable[[Term], tuple[Term, Term, Term]]
    result: Callable[[Term, Term, Term], Term]


FUNCTIONS = {
    "sin": Function(trigonometry.reduced, trigonometry.sin),
    "cos": Function(trigonometry.reduced, trigonometry.cos),
    "tan": Function(trigonometry.reduced_to_two_parts, trigonometry.tan),
}
_LANES = {"f32": (4, 8, 16), "f64": (2, 4, 8)}
_PATTERN = re.compile(r"\bcall\b[^@\n]*@(netc_(\w+)_(f32|f64)(?:_v(\d+))?)\(")
_ATTRIBUTES = "nounwind willreturn speculatable memory(none)"


def call_of(name: str) -> Callable[[Term], Term]:
    """Returns the function over terms that calls a function of FUNCTIONS."""

    def write(x: Term) -> Term:
        module, symbol = x.scope.builder.module, f"netc_{name}_{x.dtype}"
        function = module.globals.get(symbol) or _declared(module, symbol, x.dtype)
        return Term(x.scope, x.dtype, x.scope.builder.call(function, [x.value]))

    return write


def _declared(module: Any, symbol: str, dtype: str) -> Any:
    """Declares a function and its versions for vectors, which are kept although nothing calls them yet."""
    versions = []
    for lanes in _LANES[dtype]:
        type_ = Scope(None, True, lanes).type_of(dtype)
        versions.append(ir.Function(module, ir.FunctionType(type_, [type_]), f"{symbol}_v{lanes}"))
    type_ = Scope(None, True).type_of(dtype)
    function = ir.Function(module, ir.FunctionType(type_, [type_]), symbol)
    names = ",".join(f"_ZGV_LLVM_N{lanes}v_{symbol}({symbol}_v{lanes})" for lanes in _LANES[dtype])
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


def without_declarations(text: str) -> str:
    """Returns a compiled kernel's text without the declarations of functions that it does not call."""
    called = {match[1] for match in _PATTERN.finditer(text)}
    lines = []
    for line in text.splitlines():
        declared = re.match(r"declare .*@(netc_\w+)\(", line) if line.startswith("declare ") else None
        if not line.startswith("@llvm.compiler.used") and (declared is None or declared[1] in called):
            lines.append(line)
    return "\n".join(lines) + "\n"


def definitions(text: str, has_fma: bool) -> str:
    """Returns a module with the functions that a compiled kernel calls, as text; empty if it calls none."""
    if text.count("@netc_") == 1:  # the kernel itself
        return ""
    calls = sorted({match.groups() for match in _PATTERN.finditer(text)}, key=str)
    if not calls:
        return ""
    module = ir.Module("functions")
    for symbol, name, dtype, lanes in calls:
        _define(module, symbol, name, Scope(None, has_fma, int(lanes or 0)), dtype)
    return str(module)


def _define(module: Any, symbol: str, name: str, scope: Scope, dtype: str) -> None:
    """Defines one version: the polynomials for all lanes, and a call that corrects lanes with a large angle.

    It becomes part of the loop that calls it, whose registers then hold its constants. The correction does not: it is
    rare, and the loop would save its registers for it.
    """
    type_ = scope.type_of(dtype)
    function = ir.Function(module, ir.FunctionType(type_, [type_]), symbol)
    function.attributes.add("alwaysinline")
    entry = function.append_basic_block("entry")
    builder = ir.IRBuilder(entry)
    (angles,) = function.args
    x = Term(Scope(builder, scope.has_fma, scope.lanes), dtype, angles)
    result = FUNCTIONS[name].result(*FUNCTIONS[name].reduced(x)).value
    is_large = (absolute(x) > trigonometry.limit(x)).value
    mask = ir.IntType(max(scope.lanes, 1))
    any_large = builder.icmp_unsigned("!=", builder.bitcast(is_large, mask), mask(0))
    correct = _corrected(module, f"large_{symbol}", name, scope, dtype)
    with builder.if_then(any_large, likely=False):
        corrected = builder.call(correct, [result, angles])
        after = builder.block
    builder.ret(_joined(builder, {entry: result, after: corrected}))


def _corrected(module: Any, symbol: str, name: str, scope: Scope, dtype: str) -> Any:
    """The function that computes each lane with a large angle again, from the results and the angles."""
    type_ = scope.type_of(dtype)
    function = ir.Function(module, ir.FunctionType(type_, [type_, type_]), symbol)
    function.attributes.add("noinline")
    function.attributes.add("cold")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    results, angles = function.args
    large = _large(module, name, scope.has_fma, dtype)
    if not scope.lanes:
        builder.ret(builder.call(large, [angles]))
        return function
    x = Term(Scope(builder, scope.has_fma, scope.lanes), dtype, angles)
    is_large = (absolute(x) > trigonometry.limit(x)).value
    for lane in range(scope.lanes):
        results = _lane(builder, results, angles, is_large, ir.IntType(32)(lane), large)
    builder.ret(results)
    return function


def _lane(builder: Any, vector: Any, angles: Any, is_large: Any, lane: Any, large: Any) -> Any:
    """The vector, with one lane computed again if its angle is large."""
    before = builder.block
    with builder.if_then(builder.extract_element(is_large, lane)):
        computed = builder.call(large, [builder.extract_element(angles, lane)])
        changed = builder.insert_element(vector, computed, lane)
        inside = builder.block
    return _joined(builder, {before: vector, inside: changed})


def _joined(builder: Any, values: dict[Any, Any]) -> Any:
    """The value of the block that control comes from."""
    result = builder.phi(next(iter(values.values())).type)
    for block, value in values.items():
        result.add_incoming(value, block)
    return result


def _large(module: Any, name: str, has_fma: bool, dtype: str) -> Any:
    """The function for one large angle, which computes in f64."""
    symbol = f"large_{name}_{dtype}"
    if symbol in module.globals:
        return module.globals[symbol]
    type_ = Scope(None, has_fma).type_of(dtype)
    function = ir.Function(module, ir.FunctionType(type_, [type_]), symbol)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    x = Term(Scope(builder, has_fma), dtype, function.args[0])
    result = FUNCTIONS[name].result(*huge_angles.reduced(x.to("f64"))).to(dtype)
    difference = x - x  # NaN for infinity
    builder.ret(select(difference.equals(0), result, difference).value)
    return function
