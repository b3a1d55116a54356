"""bf16 numbers: the upper half of an f32, which has its range and 8 bits of precision. NumPy keeps them as f32."""

from typing import Any

import numpy as np

_UPPER, _SIGN, _EXPONENT, _QUIET = (np.uint32(mask) for mask in (0xFFFF0000, 0x80000000, 0x7F800000, 0x00400000))


def as_bf16(x: Any) -> Any:
    """Returns x, rounded to the nearest bf16 number; of two equally near ones to that whose last bit is 0.

    Like the instructions of CPUs it keeps infinities and NaN, and turns subnormal numbers into zeros of their sign.
    f64 is rounded to f32 first. The result has the type of x.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    with np.errstate(over="ignore"):  # the bits of a NaN, which is chosen below
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & _UPPER
    rounded = np.where(bits & ~_SIGN > _EXPONENT, (bits | _QUIET) & _UPPER, rounded)
    rounded = np.where(bits & _EXPONENT == 0, bits & _SIGN, rounded)
    return rounded.view(np.float32).astype(np.asarray(x).dtype).reshape(np.shape(x))[()]


def to_bits(x: Any) -> Any:
    """Returns the bits of bf16 numbers as uint16. `x` are f32, of which bf16 has every one."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16).reshape(np.shape(x))


def from_bits(bits: Any) -> Any:
    """Returns the bf16 numbers that have these bits, as f32."""
    wide = np.ascontiguousarray(bits, np.uint16).astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32).reshape(np.shape(bits))[()]
