"""The functions of kernel text (targets/cpu/math/) in NumPy, for numbers and for arrays alike.

They return what the compiled functions return: exactly where a result is defined bit by bit (keys, random bits,
rounding), and up to a few units in the last place where the compiled function is a polynomial. They do without LLVM, so
that a plan can be run where nothing is compiled.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from netc.compiler.ir.bf16 import as_bf16

_LEAST, _MOST = np.float32(-87.33654), np.float32(88.72283)  # where the compiled exp of f32 is cut off


def cast(dtype: type[np.generic]) -> Any:
    """Returns the conversion to a type: F32, F64, I32 or bool of a kernel's text."""

    def convert(x: Any) -> Any:
        return np.asarray(x).astype(dtype)[()]

    return convert


def where(condition: Any, yes: Any, no: Any) -> Any:
    return np.where(condition, yes, no)[()]


def largest(x: Any, y: Any) -> Any:
    """Returns Python's max of two numbers: the first if one of them is NaN, as in a compiled kernel."""
    return np.where(y > x, y, x)[()]


def smallest(x: Any, y: Any) -> Any:
    return np.where(y < x, y, x)[()]


def exp_f32(x: Any) -> Any:
    y = np.exp(np.asarray(x, np.float32))
    y = np.where(x < _LEAST, np.float32(0), y)
    return np.where(x > _MOST, np.float32(np.inf), y)[()]


def sigmoid_f32(x: Any) -> Any:
    return np.float32(1) / (np.float32(1) + exp_f32(-x))


def sigmoid_f64(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.asarray(x)))


def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def scramble_i32(x: Any, y: Any) -> Any:
    left, right = (np.asarray(bits, np.int64).astype(np.uint32) for bits in (x, y))
    return _mix(_mix(left ^ right) + right).astype(np.int32)[()]


def _upper24(x: Any) -> Any:
    return np.asarray(x, np.int64).astype(np.uint32) >> np.uint32(8)


def unit_f32(x: Any) -> Any:
    return _upper24(x).astype(np.float32) * np.float32(2**-24)


def unit_f64(x: Any) -> Any:
    return _upper24(x).astype(np.float64) * 2**-24


def _each(function: Callable[[float], float], dtype: type[np.floating[Any]]) -> Any:
    """A function of Python for each element."""
    vectorised = np.vectorize(function, otypes=[np.float64])

    def apply(x: Any) -> Any:
        return vectorised(x).astype(dtype)[()]

    return apply


def _normal_cdf(x: float) -> float:
    return math.erfc(x * -0.7071067811865476) / 2


def _gelu(x: float) -> float:
    return 0.0 if x == -math.inf else x * _normal_cdf(x)


def _float(function: Any, dtype: type[np.floating[Any]]) -> Any:
    def apply(*operands: Any) -> Any:
        return function(*(np.asarray(operand, dtype) for operand in operands))

    return apply


def _keys(name: str, kind: Any, integer: Any, largest: int) -> tuple[Any, Any]:
    """Integers in the order of floats, NaN last (max) or first (min), and the inverse."""
    shift, rest = integer(largest.bit_length()), integer(largest)
    nan_key = integer(largest if name == "max" else -largest - 1)

    def key(x: Any) -> Any:
        x = np.asarray(x, kind)
        bits = x.view(integer)
        return np.where(np.isnan(x), nan_key, bits ^ ((bits >> shift) & rest))[()]

    def back(n: Any) -> Any:
        n = np.asarray(n, integer)
        return (n ^ ((n >> shift) & rest)).view(kind)[()]

    return key, back


FUNCTIONS: dict[str, Any] = {
    "F32": cast(np.float32),
    "F64": cast(np.float64),
    "I32": cast(np.int32),
    "INF": np.inf,
    "NAN": np.nan,
    "exp_f32": exp_f32,
    "sigmoid_f32": sigmoid_f32,
    "sigmoid_f64": sigmoid_f64,
    "scramble_i32": scramble_i32,
    "unit_f32": unit_f32,
    "unit_f64": unit_f64,
}
for _dtype, _kind in (("f32", np.float32), ("f64", np.float64)):
    for _name, _scalar in {"erf": math.erf, "normal_cdf": _normal_cdf, "gelu": _gelu}.items():
        FUNCTIONS[f"{_name}_{_dtype}"] = _each(_scalar, _kind)
    for _name, _function in {
        **{name: getattr(np, name) for name in ("exp", "log", "log1p", "expm1", "tanh", "sin", "cos", "tan")},
        **{"sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan},
        "atan2": np.arctan2,
        "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        "fma": lambda x, y, z: x * y + z,
        **{"floor": np.floor, "sqrt": np.sqrt, "rint": np.rint, "pow": np.power},
        "as_bf16": as_bf16,
    }.items():
        FUNCTIONS.setdefault(f"{_name}_{_dtype}", _float(_function, _kind))
for _name in ("max", "min"):
    for _dtype, _kind, _integer, _largest in (
        ("f32", np.float32, np.int32, 2**31 - 1),
        ("f64", np.float64, np.int64, 2**63 - 1),
    ):
        FUNCTIONS[f"{_name}_key_{_dtype}"], FUNCTIONS[f"of_key_{_dtype}"] = _keys(_name, _kind, _integer, _largest)
