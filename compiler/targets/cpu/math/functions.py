"""The functions of scalar expressions (exp, log, tanh, ...) for f32 and f64, in a form that LLVM vectorises.

Each is a Python function over terms (terms.py), in a file of its family; text/math_builtins.py turns them into
built-ins of a kernel's text. All write their instructions into the loop itself; some also call a function that has
versions for vectors (calls.py).
"""

from collections.abc import Callable

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
from netc.compiler.targets.cpu.math.terms import Term, fma


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
