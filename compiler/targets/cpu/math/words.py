"""The words of scalar expressions (exp, log, tanh, ...) for f32 and f64, in a form that LLVM vectorises.

Each word is a Python function over terms (terms.py), in a file of its family. `words_for` turns them into words of a
kernel's text (values.py): most write their instructions into the loop itself, and those of calls.py call a function for
an element that has versions for vectors.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from msgspec import Struct

from netc.compiler.program.scalars import WORD_NAMES
from netc.compiler.targets.cpu import values
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
from netc.compiler.targets.cpu.values import Value, Vector, converted, splat
from netc.compiler.targets.machine import Machine


class Word(Struct, frozen=True):
    """A function of kernels: how it is written, and the element types of its operands and its result."""

    write: Callable[..., Term]
    operands: tuple[str, ...]
    result: str


def _of_floats() -> dict[str, Word]:
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
    words = {}
    for dtype, integer in (("f32", "i32"), ("f64", "i64")):
        for name, function in functions.items():
            words[f"{name}_{dtype}"] = Word(function, (dtype,), dtype)
        words[f"pow_{dtype}"] = Word(power.pow, (dtype, dtype), dtype)
        words[f"atan2_{dtype}"] = Word(inverse.atan2, (dtype, dtype), dtype)
        words[f"fma_{dtype}"] = Word(fma, (dtype,) * 3, dtype)
        words[f"max_key_{dtype}"] = Word(rounding.max_key, (dtype,), integer)
        words[f"min_key_{dtype}"] = Word(rounding.min_key, (dtype,), integer)
        words[f"of_key_{dtype}"] = Word(rounding.of_key, (integer,), dtype)
    return words


WORDS: dict[str, Word] = {
    **_of_floats(),
    "scramble_i32": Word(random_bits.scramble, ("i32", "i32"), "i32"),
    "unit_f32": Word(random_bits.unit_f32, ("i32",), "f32"),
    "unit_f64": Word(random_bits.unit_f64, ("i32",), "f64"),
}
assert WORDS.keys() == WORD_NAMES


def words_for(machine: Machine) -> dict[str, values.Word]:
    """Returns the words by name, ready to be called from kernels for a machine."""
    return _words_for(machine.has_fma)


@cache
def _words_for(has_fma: bool) -> dict[str, values.Word]:
    return {name: _in_kernels(function, has_fma) for name, function in WORDS.items()}


def _in_kernels(function: Word, has_fma: bool) -> values.Word:
    """Returns a function as a word of a kernel's text: of numbers, or of vectors (row_vectors.py) and numbers."""

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
