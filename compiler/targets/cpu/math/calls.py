"""The functions that kernels call with versions for vectors (vector_versions.py), and their definitions.

There are two kinds. One corrects large angles of sin, cos and tan: LLVM vectorises no loop with a branch, so a loop
computes all angles as if none were large, and then calls a function that corrects the results of large ones. It decides
for each lane of a vector alone, so that an element has the same bits in a vector and by itself. The other kind rounds
to bf16 by an instruction of the CPU (rounding.py).
"""

import itertools
import re
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from msgspec import Struct

from netc.compiler.targets.cpu.math import huge_angles, rounding, trigonometry
from netc.compiler.targets.cpu.math.terms import Scope, Term, absolute, select
from netc.compiler.targets.cpu.math.vector_versions import version


class Function(Struct, frozen=True):
    """A function of an angle: its reduction, unless the angle is large, the result from n and the two parts of r, and
    whether it keeps 0 with its sign."""

    reduced: Callable[[Term], tuple[Term, Term, Term]]
    result: Callable[[Term, Term, Term], Term]
    keeps_zeros: bool = True


FUNCTIONS = {
    "sin": Function(trigonometry.reduced, trigonometry.sin),
    "cos": Function(trigonometry.reduced, trigonometry.cos, keeps_zeros=False),
    "tan": Function(trigonometry.reduced_to_two_parts, trigonometry.tan),
}
_PATTERN = re.compile(r"\bcall\b[^@\n]*@(netc_(?:corrected_([a-z]+)|as_bf16)_(f32|f64)(?:_v(\d+))?(?:_x(\d+))?)\(")
_LINE = re.compile(r"  (%\S+) = (?:tail )?call (<[^>]*>) @(netc_corrected_\w+)\((.*)\)[^)]*")


def call_of(name: str) -> Callable[[Term], Term]:
    """Returns a function of FUNCTIONS over terms: for any angle, by a call that corrects large ones."""

    def write(x: Term) -> Term:
        symbol, called = f"netc_corrected_{name}_{x.dtype}", FUNCTIONS[name]
        function = version(x.scope.builder.module, symbol, x.dtype, 2, x.scope.lanes)
        result = called.result(*called.reduced(x))
        if called.keeps_zeros:
            result = select(x.equals(0), x, result)
        return Term(x.scope, x.dtype, x.scope.builder.call(function, [result.value, x.value]))

    return write


def without_declarations(text: str) -> str:
    """Returns a compiled kernel's text without the declarations of functions that it does not call."""
    called = {match[1] for match in _PATTERN.finditer(text)}
    lines = []
    for line in text.splitlines():
        declared = re.match(r"declare .*@(netc_\w+)\(", line) if line.startswith("declare ") else None
        if not line.startswith("@llvm.compiler.used") and (declared is None or declared[1] in called):
            lines.append(line)
    return "\n".join(lines) + "\n"


def joined(text: str) -> str:
    """Returns an optimised kernel's text with calls that follow each other, for the vectors of an iteration, as one.

    So the loop has one branch for all of them. LLVM would move what only the second call reads behind the branch of the
    first, and no longer compute the vectors side by side.
    """
    lines, declarations = list[str](), set[str]()
    for symbol, group in itertools.groupby(text.splitlines(), _called):
        calls = list(group)
        if symbol is None or len(calls) == 1:
            lines += calls
        else:
            matches = [match for line in calls if (match := _LINE.fullmatch(line))]
            types, function = [match[2] for match in matches], f"@{symbol}_x{len(calls)}"
            result, name = f"{{ {', '.join(types)} }}", f"%joined.{len(lines)}"
            declarations.add(f"declare {result} {function}({', '.join(2 * types)})")
            lines.append(f"  {name} = call {result} {function}({', '.join(match[4] for match in matches)})")
            lines += [f"  {match[1]} = extractvalue {result} {name}, {i}" for i, match in enumerate(matches)]
    return "\n".join([*lines, *sorted(declarations)]) + "\n"


def _called(line: str) -> str | None:
    """The function for vectors that a line calls."""
    match = _LINE.fullmatch(line)
    return match[3] if match else None


def definitions(text: str, has_fma: bool) -> str:
    """Returns a module with the functions that a compiled kernel calls, as text; empty if it calls none."""
    if text.count("@netc_") == 1:  # the kernel itself
        return ""
    calls = sorted({match.groups() for match in _PATTERN.finditer(text)}, key=str)
    if not calls:
        return ""
    module = ir.Module("functions")
    for symbol, name, dtype, lanes, count in calls:
        scope = Scope(None, has_fma, int(lanes or 0))
        if name:
            _define(module, symbol, name, scope, dtype, int(count or 0))
        else:
            _define_rounding(module, symbol, scope, dtype)
    return str(module)


def _define_rounding(module: Any, symbol: str, scope: Scope, dtype: str) -> None:
    """Defines a version of the function that rounds to bf16 by an instruction."""
    type_ = scope.type_of(dtype)
    function = ir.Function(module, ir.FunctionType(type_, [type_]), symbol)
    function.attributes.add("alwaysinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    (x,) = function.args
    builder.ret(rounding.by_instruction(Term(Scope(builder, scope.has_fma, scope.lanes), dtype, x)).value)


def _define(module: Any, symbol: str, name: str, scope: Scope, dtype: str, count: int) -> None:
    """Defines one version: a test of all lanes, which becomes part of the loop, and a call if one is large, which does
    not: it is rare, and the loop would save its registers for it.

    `count` is the number of calls in one (`joined`), whose results are in a struct; 0 for a call alone.
    """
    type_, each = scope.type_of(dtype), max(count, 1)
    result_type = ir.LiteralStructType([type_] * count) if count else type_
    function = ir.Function(module, ir.FunctionType(result_type, [type_, type_] * each), symbol)
    function.attributes.add("alwaysinline")
    entry = function.append_basic_block("entry")
    builder = ir.IRBuilder(entry)
    results, angles = function.args[::2], function.args[1::2]
    large = None
    for angle in angles:
        x = Term(Scope(builder, scope.has_fma, scope.lanes), dtype, angle)
        is_large = absolute(x) > trigonometry.limit(x)
        large = is_large if large is None else large | is_large
    assert large is not None
    mask = ir.IntType(max(scope.lanes, 1))
    any_large = builder.icmp_unsigned("!=", builder.bitcast(large.value, mask), mask(0))
    correct = _corrected(module, f"large_{symbol}", name, scope, dtype)
    with builder.if_then(any_large, likely=False):
        corrected = [builder.call(correct, operands) for operands in zip(results, angles, strict=True)]
        after = builder.block
    ends = [_joined(builder, {entry: result, after: other}) for result, other in zip(results, corrected, strict=True)]
    if not count:
        builder.ret(ends[0])
        return
    together = ir.Constant(result_type, ir.Undefined)
    for i, end in enumerate(ends):
        together = builder.insert_value(together, end, i)
    builder.ret(together)


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
