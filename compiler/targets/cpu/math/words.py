"""The words of scalar expressions (exp, log, tanh, ...) for f32 and f64, in a form that LLVM vectorises.

Each word is a Python function over terms (terms.py), in a file of its family. `words_for` turns them into functions
that kernels call in Numba's code: most write their instructions into the loop itself, and those of calls.py call a
function for an element that has versions for vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from netc.compiler.program.scalars import WORD_NAMES
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
from netc.compiler.targets.machine import Machine


@dataclass(frozen=True, slots=True)
class Word:
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


def words_for(machine: Machine) -> dict[str, Any]:
    """Returns the words by name, ready to be called from kernels for a machine."""
    return _words_for(machine.has_fma)


@cache
def _words_for(has_fma: bool) -> dict[str, Any]:
    return {name: _in_numba(word, has_fma) for name, word in WORDS.items()}


def _in_numba(word: Word, has_fma: bool) -> Any:
    """Returns a word as an intrinsic of Numba: of numbers, or of vectors (row_vectors.py) and numbers."""
    from numba import types
    from numba.extending import intrinsic

    from netc.compiler.targets.cpu.row_vectors import Vector, splat

    kinds = {"f32": types.float32, "f64": types.float64, "i32": types.int32, "i64": types.int64}

    def codegen(context, builder, signature, arguments):
        lanes = next((kind.lanes for kind in signature.args if isinstance(kind, Vector)), 0)
        scope = Scope(builder, has_fma, lanes)
        terms = []
        for dtype, kind, value in zip(word.operands, signature.args, arguments, strict=True):
            is_number = lanes and not isinstance(kind, Vector)
            terms.append(Term(scope, dtype, splat(builder, value, lanes) if is_number else value))
        return word.write(*terms).value

    def typed(*operands):
        lanes = next((kind.lanes for kind in operands if isinstance(kind, Vector)), 0)
        result = Vector(word.result, lanes) if lanes else kinds[word.result]
        pairs = zip(word.operands, operands, strict=True)
        return result(*(kind if isinstance(kind, Vector) else kinds[dtype] for dtype, kind in pairs)), codegen

    def of_one(typing, x):
        return typed(x)

    def of_two(typing, x, y):
        return typed(x, y)

    def of_three(typing, x, y, z):
        return typed(x, y, z)

    return intrinsic((of_one, of_two, of_three)[len(word.operands) - 1])
