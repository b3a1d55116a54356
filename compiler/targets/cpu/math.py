"""The words of a scalar expression (exp, log, tanh, ...) for f32 and f64, in a form that LLVM vectorises.

f32 versions are polynomials, because Numba would call libm for one element at a time. They are compiled without any
fast-math flag and say themselves where a product and a sum are one instruction: an element must have the same bits
whether it is computed in a vector or alone. f64 versions are libm's. The functions here are plain Python; `words_for`
compiles them for a target.
"""

import math
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from netc.compiler.program.scalars import WORD_NAMES
from netc.compiler.targets.cpu.jit import Jit, jit_for
from netc.compiler.targets.machine import Machine

F = np.float32
_EXACT = {"fastmath": False, "error_model": "numpy", "nogil": True}
WORDS: dict[str, Any] = {}  # functions by name; they call each other


def words_for(machine: Machine) -> dict[str, Any]:
    """Returns the words by name, ready to be called from kernels for a machine."""
    return _words_for(jit_for(machine), machine.has_fma)


@cache
def _words_for(jit: Jit, has_fma: bool) -> dict[str, Any]:
    names = {**globals(), "fma": _fma(has_fma)}  # the words' globals
    for name, word in WORDS.items():
        names[name] = jit(FunctionType(word.__code__, names, word.__name__, None, word.__closure__), **_EXACT)
    return {name: names[name] for name in WORDS}


def _fma(is_one_instruction: bool) -> Any:
    """Returns an intrinsic: x * y + z of float32, rounded once if the CPU has an instruction for it."""

    @intrinsic
    def fma(typing, x, y, z):
        def codegen(context, builder, signature, arguments):
            if not is_one_instruction:
                return builder.fadd(builder.fmul(arguments[0], arguments[1]), arguments[2])
            return builder.fma(*arguments)

        return types.float32(types.float32, types.float32, types.float32), codegen

    return fma


def fma(x: Any, y: Any, z: Any) -> Any:
    """Returns x * y + z. In compiled words, `words_for` replaces this by an intrinsic that rounds once where the CPU
    can."""
    return x * y + z


def _word(function: Any) -> Any:
    WORDS[function.__name__] = function
    return function


@_word
def exp_f32(x):
    """Cephes expf: 2**n * p(r), |r| <= ln(2)/2; the relative error is about 1e-7. The result is 0 below -87.3,
    infinite above 88.7 and NaN for NaN."""
    y = min(max(x, F(-87.33654)), F(88.72283))
    n = F(np.floor(fma(y, F(1.44269504), F(0.5))))
    r = fma(n, F(-0.693359375), y)
    r = fma(n, F(2.12194440e-4), r)
    p = F(1.9875691500e-4)
    p = fma(p, r, F(1.3981999507e-3))
    p = fma(p, r, F(8.3334519073e-3))
    p = fma(p, r, F(4.1665795894e-2))
    p = fma(p, r, F(1.6666665459e-1))
    p = fma(p, r, F(5.0000001201e-1))
    p = fma(p * r, r, r) + F(1)
    half = np.int32(n) >> np.int32(1)  # in two halves, or 2**128 would not be a float
    rest = np.int32(n) - half
    p = (
        p
        * np.int32((half + np.int32(127)) << np.int32(23)).view(np.float32)
        * np.int32((rest + np.int32(127)) << np.int32(23)).view(np.float32)
    )
    p = F(np.inf) if x > F(88.72283) else p
    p = F(0) if x < F(-87.33654) else p
    return x if x != x else p


@_word
def log_f32(x):
    """Cephes logf for x = 2**e * m, sqrt(1/2) <= m < sqrt(2); -inf at 0, NaN below 0."""
    bits = F(x).view(np.int32)
    e = F((bits >> np.int32(23)) - np.int32(126))
    m = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    low = m < F(0.707106781186547524)
    e = e - F(1) if low else e
    m = m + m - F(1) if low else m - F(1)
    z = m * m
    y = F(7.0376836292e-2)
    y = fma(y, m, F(-1.1514610310e-1))
    y = fma(y, m, F(1.1676998740e-1))
    y = fma(y, m, F(-1.2420140846e-1))
    y = fma(y, m, F(1.4249322787e-1))
    y = fma(y, m, F(-1.6668057665e-1))
    y = fma(y, m, F(2.0000714765e-1))
    y = fma(y, m, F(-2.4999993993e-1))
    y = fma(y, m, F(3.3333331174e-1))
    y = y * m * z + e * F(-2.12194440e-4) - F(0.5) * z
    result = m + y + e * F(0.693359375)
    result = F(-np.inf) if x == F(0) else result
    result = F(np.nan) if x < F(0) else result
    result = x if x == F(np.inf) else result
    return x if x != x else result


@_word
def log1p_f32(x):
    """log(1 + x), corrected by what 1 + x rounds away (Kahan)."""
    u = F(1) + x
    corrected = log_f32(u) * (x / (u - F(1)))
    return x if u == F(1) else (corrected if u != F(np.inf) else u)


@_word
def expm1_f32(x):
    """exp(x) - 1, corrected by what exp(x) rounds away (Kahan)."""
    u = exp_f32(x)
    less = u - F(1)
    corrected = less * (x / log_f32(u))
    corrected = x if u == F(1) else corrected
    return corrected if less > F(-1) and u < F(np.inf) else less if x == x else x


@_word
def tanh_f32(x):
    """A rational function of degree 13 over 6 (as in Eigen); the error is a few units in the last place."""
    y = min(max(x, F(-7.90531110763549805)), F(7.90531110763549805))
    z = y * y
    p = F(-2.76076847742355e-16)
    p = fma(p, z, F(2.00018790482477e-13))
    p = fma(p, z, F(-8.60467152213735e-11))
    p = fma(p, z, F(5.12229709037114e-08))
    p = fma(p, z, F(1.48572235717979e-05))
    p = fma(p, z, F(6.37261928875436e-04))
    p = fma(p, z, F(4.89352455891786e-03))
    q = F(1.19825839466702e-06)
    q = fma(q, z, F(1.18534705686654e-04))
    q = fma(q, z, F(2.26843463243900e-03))
    q = fma(q, z, F(4.89352518554385e-03))
    return x if x != x else y * p / q


@_word
def sigmoid_f32(x):
    return F(1) / (F(1) + exp_f32(-x))


@_word
def sigmoid_f64(x):
    return 1.0 / (1.0 + math.exp(-x))


@_word
def pow_f64(x, y):
    return x**y


@_word
def pow_f32(x, y):
    return x**y


@_word
def rint_f64(x):
    return np.rint(x)


@_word
def rint_f32(x):
    return np.rint(x)


@intrinsic
def mix(typing, x):
    """The hash lowbias32 of the bits of an int32 (see operations/random.py)."""

    def codegen(context, builder, signature, arguments):
        (x,), word = arguments, ir.IntType(32)
        for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None)):
            x = builder.xor(x, builder.lshr(x, ir.Constant(word, shift)))
            x = x if multiplier is None else builder.mul(x, ir.Constant(word, multiplier))
        return x

    return types.int32(types.int32), codegen


@_word
def scramble_i32(x, y):
    """A hash of two integers."""
    return mix(np.int32(mix(np.int32(x ^ y)) + y))


@intrinsic
def upper24(typing, x):
    """The upper 24 bits of an int32, as an int32 that is not negative."""

    def codegen(context, builder, signature, arguments):
        return builder.lshr(arguments[0], ir.Constant(ir.IntType(32), 8))

    return types.int32(types.int32), codegen


@_word
def unit_f32(x):
    """The upper 24 bits of an integer as a number in [0, 1)."""
    return F(upper24(x)) * F(2**-24)


@_word
def unit_f64(x):
    """The upper 24 bits of an integer as a number in [0, 1)."""
    return float(upper24(x)) * 2**-24


def _add_libm(name: str) -> None:
    """Adds the words `NAME_f64` and `NAME_f32` that call libm, where there is no word of that name yet."""
    function = getattr(math, name)

    def wide(x):
        return function(x)

    def narrow(x):
        return F(function(x))

    for dtype, body in (("f64", wide), ("f32", narrow)):
        if f"{name}_{dtype}" not in WORDS:
            WORDS[f"{name}_{dtype}"] = body


for _name in ("exp", "log", "log1p", "expm1", "tanh", "sin", "cos", "erf"):
    _add_libm(_name)


@_word
def floor_f32(x):
    return np.floor(x)


@_word
def floor_f64(x):
    return np.floor(x)


@_word
def sqrt_f32(x):
    return np.sqrt(x)


@_word
def sqrt_f64(x):
    return np.sqrt(x)


def _add_keys(name: str, kind: Any, integer: Any, largest: int) -> None:
    """Adds the words `NAME_key_DTYPE` and `of_key_DTYPE`: integers that are ordered as floats are, and the way back.

    The key of NaN is the largest integer for `max` and the smallest for `min`, so that NaN always wins.
    """
    shift, rest = integer(largest.bit_length()), integer(largest)
    nan_key = integer(largest if name == "max" else -largest - 1)

    def key(x):
        bits = kind(x).view(integer)
        bits = integer(bits ^ integer(integer(bits >> shift) & rest))
        return nan_key if x != x else bits

    def back(n):
        return integer(n ^ integer(integer(n >> shift) & rest)).view(kind)

    dtype = "f32" if kind is np.float32 else "f64"
    WORDS[f"{name}_key_{dtype}"] = key
    WORDS[f"of_key_{dtype}"] = back


for _name in ("max", "min"):
    _add_keys(_name, np.float32, np.int32, 2**31 - 1)
    _add_keys(_name, np.float64, np.int64, 2**63 - 1)
assert WORDS.keys() == WORD_NAMES
