"""The functions of scalar expressions (exp, log, tanh, ...) for f32 and f64, in a form that LLVM vectorises.

Each is a Python function over terms (terms.py), in a file of its family. `builtins_for` turns them into built-ins of a
kernel's text (text/values.py). All write their instructions into the loop itself; those of calls.py also call a
function that has versions for vectors.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from msgspec import Struct

from netc.compiler.program.scalars import FUNCTION_NAMES
from netc.compiler.targets.cpu.math import (
    calls,
    exponential,
    inverse,
    logarithm,
    normal,
    power,
    random_bits,
    rounding,
)
from netc.compiler.targets.cpu.math.terms import Scope, Term, fma
from netc.compiler.targets.cpu.text import values
from netc.compiler.targets.cpu.text.values import Value, Vector, converted, splat
from netc.compiler.targets.machine import Machine


class MathFunction(Struct, frozen=True):
    """A function of kernel text: what writes it over terms, and the element types of its operands and its result."""

    write: Callable[..., Term]
    operands: tuple[str, ...]
    result: str


def _of_floats() -> dict[str, MathFunction]:
    functions: dict[str, Callable[..., Term]] = {
        **{"exp": exponential.exp, "expm1": exponential.expm1, "tanh": exponential.tanh},
        **{"sigmoid": exponential.sigmoid, "log": logarithm.log, "log1p": logarithm.log1p},
        "softplus": logarithm.softplus,
        **{"erf": normal.erf, "normal_cdf": normal.normal_cdf, "gelu": normal.gelu},
        **{name: calls.call_of(name) for name in calls.FUNCTIONS},
        **{"sinh": exponential.sinh, "cosh": exponential.cosh, "atan": inverse.atan},
        **{"asin": inverse.asin, "acos": inverse.acos},
        **{"rint": rounding.rint, "floor": rounding.floor, "sqrt": rounding.sqrt},
        "as_bf16": rounding.as_bf16,
    }
    table = {}
    for dtype, integer in (("f32", "i32"), ("f64", "i64")):
        for name, function in functions.items():
            table[f"{name}_{dtype}"] = MathFunction(function, (dtype,), dtype)
        table[f"pow_{dtype}"] = MathFunction(power.pow, (dtype, dtype), dtype)
        table[f"atan2_{dtype}"] = MathFunction(inverse.atan2, (dtype, dtype), dtype)
        table[f"fma_{dtype}"] = MathFunction(fma, (dtype,) * 3, dtype)
        table[f"max_key_{dtype}"] = MathFunction(rounding.max_key, (dtype,), integer)
        table[f"min_key_{dtype}"] = MathFunction(rounding.min_key, (dtype,), integer)
        table[f"of_key_{dtype}"] = MathFunction(rounding.of_key, (integer,), dtype)
    return table


FUNCTIONS: dict[str, MathFunction] = {
    **_of_floats(),
    "scramble_i32": MathFunction(random_bits.scramble, ("i32", "i32"), "i32"),
    "unit_f32": MathFunction(random_bits.unit_f32, ("i32",), "f32"),
    "unit_f64": MathFunction(random_bits.unit_f64, ("i32",), "f64"),
}
assert FUNCTIONS.keys() == FUNCTION_NAMES
_SHORT = ("fma", "max_key", "min_key", "of_key", "rint", "floor", "sqrt", "as_bf16", "unit")
# functions of many instructions, most of which wait for the one before
LONG = frozenset(name for name in FUNCTIONS if name.rpartition("_")[0] not in _SHORT)


def builtins_for(machine: Machine) -> dict[str, values.Builtin]:
    """Returns the functions by name as built-ins of kernel text for a machine."""
    return _builtins_for(machine.has_fma)


@cache
def _builtins_for(has_fma: bool) -> dict[str, values.Builtin]:
    return {name: _in_kernels(function, has_fma) for name, function in FUNCTIONS.items()}


def _in_kernels(function: MathFunction, has_fma: bool) -> values.Builtin:
    """Returns a function as a built-in of kernel text: of numbers, or of vectors (text/row_vectors.py) and numbers."""

    def call(builder: Any, operands: Sequence[Value]) -> Value:
        lanes = next((operand.kind.lanes for operand in operands if isinstance(operand.kind, Vector)), 0)
        scope, terms = Scope(builder, has_fma, lanes), list[Term]()
        for dtype, operand in zip(function.operands, operands, strict=True):
            if isinstance(operand.kind, Vector):
                value = operand.value
            else:
                value = converted(builder, operand, dtype)
                value = splat(builder, value, lanes) if lanes else value
            terms.append(Term(scope, dtype, value))
        kind = Vector(function.result, lanes) if lanes else function.result
        return Value(kind, function.write(*terms).value)

    return call
