"""The operators and functions of Python that a kernel's text may use, as LLVM instructions.

Numbers meet in the type of `arithmetic` (values.py). No instruction but one (`extreme_or_nan`) has a fast-math flag, so
that an element has the same bits in a vector and alone. Whole numbers are divided as in Python: quotients are rounded
down. Knows no syntax.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.math.terms import TYPES
from netc.compiler.targets.cpu.text.values import (
    Builtin,
    Kind,
    Value,
    Vector,
    arithmetic,
    constant,
    converted,
    element_of,
    in_common,
    is_float,
    like,
    truth,
)

_ARITHMETIC = {"+": ("fadd", "add"), "-": ("fsub", "sub"), "*": ("fmul", "mul")}
_BITS = {"&": "and_", "|": "or_", "^": "xor"}
_SHIFTS = {"<<": "shl", ">>": "ashr"}
_NO_OVERFLOW = ("nsw",)  # offsets never wrap around: LLVM finds vectors only if it knows that


def binary(builder: Any, operator: str, left: Value, right: Value) -> Value:
    """Emits an operator between two numbers."""
    if operator in _BITS:
        both = arithmetic(left.kind, right.kind)
        kind = like(both, "bool" if element_of(left.kind) == element_of(right.kind) == "bool" else "i64")
        x, y = _both(builder, left, right, _of_integers(operator, both, kind))
        return Value(kind, getattr(builder, _BITS[operator])(x, y))
    kind = arithmetic(left.kind, right.kind)
    if operator in _SHIFTS:
        x, y = _both(builder, left, right, _of_integers(operator, kind, like(kind, "i64")))
        return Value(like(kind, "i64"), getattr(builder, _SHIFTS[operator])(x, y))
    if operator == "/" and not is_float(kind):
        kind = like(kind, "f64")
    if isinstance(kind, Vector) and operator not in (*_ARITHMETIC, "/"):
        raise ValueError(f"a kernel has no `{operator}` of {kind}")
    if operator == "**" and isinstance(right.value, ir.Constant) and not is_float(right.kind):
        return _static_power(builder, left, int(right.value.constant))
    x, y = _both(builder, left, right, kind)
    if operator in _ARITHMETIC:
        of_floats, of_integers = (getattr(builder, name) for name in _ARITHMETIC[operator])
        return Value(kind, of_floats(x, y) if is_float(kind) else of_integers(x, y, flags=_NO_OVERFLOW))
    if operator == "/":
        return Value(kind, builder.fdiv(x, y))
    if operator == "**" and is_float(kind):
        return Value(kind, _called(builder, f"llvm.pow.{kind}", x, y))
    if operator not in ("//", "%"):
        raise ValueError(f"a kernel has no `{operator}` of {kind}, except by a whole number in its text")
    divide = _divided_floats if is_float(kind) else _divided_integers
    quotient, rest = divide(builder, element_of(kind), x, y)
    return Value(kind, quotient if operator == "//" else rest)


def unary(builder: Any, operator: str, operand: Value) -> Value:
    """Emits an operator before a number."""
    if operator == "not":
        return Value(like(operand.kind, "bool"), builder.not_(truth(builder, operand)))
    if operator == "~" and element_of(operand.kind) == "bool":
        return Value(operand.kind, builder.not_(operand.value))
    kind = arithmetic(operand.kind)
    value = converted(builder, operand, kind)
    if operator == "+":
        return Value(kind, value)
    if operator == "~":
        _of_integers(operator, kind, kind)
        return Value(kind, builder.not_(value))
    if isinstance(value, ir.Constant) and not isinstance(kind, Vector):
        return constant(element_of(kind), -value.constant)
    return Value(kind, builder.fneg(value) if is_float(kind) else builder.neg(value))


def compared(builder: Any, sign: str, left: Value, right: Value) -> Value:
    """Emits a comparison. A NaN differs from everything, and every other comparison with it is false."""
    kind = arithmetic(left.kind, right.kind)
    kinds = {element_of(left.kind), element_of(right.kind)}
    if kinds == {"i32"} or (kinds == {"bool"} and sign in ("==", "!=")):
        kind = like(kind, kinds.pop())  # in 64 bits, half as many elements would be a vector
    x, y = _both(builder, left, right, kind)
    if not is_float(kind):
        return Value(like(kind, "bool"), builder.icmp_signed(sign, x, y))
    compare = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
    return Value(like(kind, "bool"), compare(sign, x, y))


def extreme_or_nan(builder: Any, sign: str, x: Value, y: Value) -> Value:
    """Emits `x if x >= y or x != x else y` of two floats, or the same with `<=` as the sign.

    LLVM makes two comparisons, an `or` and a choice of it, and three instructions of its own maximum if it may ignore
    the signs of zeros: on x86, the larger of y and x, which is x if neither is larger or if one is NaN, and y in its
    place if y is NaN. Zeros of both signs give x then, as the choice does.
    """
    kind, first, second = in_common(builder, x, y)
    name = f"llvm.{'maximum' if sign == '>=' else 'minimum'}.{_suffix(kind)}"
    return Value(kind, _called(builder, name, second, first, flags=("nsz",)))


# ------------------------------------------------------------------ functions


def functions() -> dict[str, Builtin]:
    """Returns Python's functions of numbers, and the conversions to element types, by their names in a text."""
    conversions = {"F32": "f32", "F64": "f64", "I32": "i32", "U8": "u8", "int": "i64", "bool": "bool"}
    extremes = {"max": _extreme(">"), "min": _extreme("<")}
    return {"abs": _absolute, "float": _as_float, **extremes, **{name: _to(kind) for name, kind in conversions.items()}}


def _to(kind: str) -> Builtin:
    def convert(builder: Any, values: Sequence[Value]) -> Value:
        (value,) = values
        to = like(value.kind, kind)
        return Value(to, converted(builder, value, to))

    return convert


def _as_float(builder: Any, values: Sequence[Value]) -> Value:
    """`float` keeps the type of a float."""
    (value,) = values
    to = like(value.kind, "f64")
    return value if is_float(value.kind) else Value(to, converted(builder, value, to))


def _absolute(builder: Any, values: Sequence[Value]) -> Value:
    (value,) = values
    kind = arithmetic(value.kind)
    number = converted(builder, value, kind)
    if is_float(kind):
        return Value(kind, _called(builder, f"llvm.fabs.{_suffix(kind)}", number))
    is_negative = builder.icmp_signed("<", number, ir.Constant(number.type, None))
    return Value(kind, builder.select(is_negative, builder.neg(number), number))


def _extreme(sign: str) -> Builtin:
    """max and min as in Python: an operand replaces those before it only if it is beyond them."""

    def beyond(builder: Any, first: Value, second: Value) -> Value:
        kind, x, y = in_common(builder, first, second)
        is_beyond = compared(builder, sign, Value(kind, y), Value(kind, x)).value
        return Value(kind, builder.select(is_beyond, y, x))

    return lambda builder, values: reduce(lambda x, y: beyond(builder, x, y), values)


# ------------------------------------------------------------------ details


def _both(builder: Any, left: Value, right: Value, kind: Any) -> tuple[Any, Any]:
    return converted(builder, left, kind), converted(builder, right, kind)


def _of_integers(operator: str, kind: Kind, result: Any) -> Any:
    """`result`, if a type is that of whole numbers."""
    if is_float(kind):
        raise ValueError(f"a kernel has no `{operator}` of {kind}")
    return result


def _suffix(kind: Kind) -> str:
    """A type of floats in the name of an intrinsic."""
    return f"v{kind.lanes}{kind.dtype}" if isinstance(kind, Vector) else kind


def _called(builder: Any, name: str, *operands: Any, flags: Sequence[str] = ()) -> Any:
    """Calls an intrinsic of LLVM that has one type for its operands and its result."""
    type_ = operands[0].type
    kind = ir.FunctionType(type_, [type_] * len(operands))
    intrinsic = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(intrinsic, operands, fastmath=flags)


def _divided_integers(builder: Any, kind: str, x: Any, y: Any) -> tuple[Any, Any]:
    """The quotient, rounded down, and the remainder, which has the sign of the divisor; 0 and 0 for a divisor of 0."""
    zero, one = ir.Constant(x.type, 0), ir.Constant(x.type, 1)
    if isinstance(y, ir.Constant) and y.constant > 0:
        quotient, rest = builder.sdiv(x, y), builder.srem(x, y)
        is_above = builder.icmp_signed("<", rest, zero)
        below = builder.select(is_above, builder.sub(quotient, one), quotient)
        return below, builder.select(is_above, builder.add(rest, y), rest)
    # dividing the smallest number by -1 is undefined, and so is dividing by 0
    is_zero, is_minus_one = (builder.icmp_signed("==", y, ir.Constant(x.type, number)) for number in (0, -1))
    divisor = builder.select(builder.or_(is_zero, is_minus_one), one, y)
    quotient, rest = builder.sdiv(x, divisor), builder.srem(x, divisor)
    differs = builder.icmp_signed("<", builder.xor(rest, divisor), zero)
    is_above = builder.and_(differs, builder.icmp_signed("!=", rest, zero))
    quotient = builder.select(is_above, builder.sub(quotient, one), quotient)
    rest = builder.select(is_above, builder.add(rest, divisor), rest)
    quotient = builder.select(is_minus_one, builder.neg(x), quotient)
    return builder.select(is_zero, zero, quotient), builder.select(is_zero, zero, rest)


def _divided_floats(builder: Any, kind: str, x: Any, y: Any) -> tuple[Any, Any]:
    """The quotient, rounded down, and the remainder, as in Python. Division by 0 gives infinity or NaN, and NaN."""
    zero, one = ir.Constant(x.type, 0.0), ir.Constant(x.type, 1.0)
    rest = builder.frem(x, y)
    is_rest = builder.fcmp_unordered("!=", rest, zero)
    differs = builder.xor(builder.fcmp_ordered("<", y, zero), builder.fcmp_ordered("<", rest, zero))
    is_above = builder.and_(is_rest, differs)
    exact = builder.fdiv(builder.fsub(x, rest), y)
    exact = builder.select(is_above, builder.fsub(exact, one), exact)
    integer = _called(builder, f"llvm.floor.{kind}", exact)
    is_short = builder.fcmp_ordered(">", builder.fsub(exact, integer), ir.Constant(x.type, 0.5))
    integer = builder.select(is_short, builder.fadd(integer, one), integer)
    plain = builder.fdiv(x, y)
    integer = builder.select(builder.fcmp_unordered("!=", exact, zero), integer, _with_sign(builder, kind, zero, plain))
    quotient = builder.select(builder.fcmp_ordered("==", y, zero), plain, integer)
    signed = builder.select(is_rest, rest, _with_sign(builder, kind, zero, y))
    return quotient, builder.select(is_above, builder.fadd(rest, y), signed)


def _with_sign(builder: Any, kind: str, magnitude: Any, sign: Any) -> Any:
    return _called(builder, f"llvm.copysign.{kind}", magnitude, sign)


def _static_power(builder: Any, base: Value, exponent: int) -> Value:
    """base ** exponent for a whole number in the text, as products of squares. Its type is that of the base, or f64
    for 1 over a product of whole numbers."""
    kind = element_of(arithmetic(base.kind))
    if exponent < 0 and not is_float(kind):
        kind = "f64"
    multiply: Callable[[Any, Any], Any] = builder.fmul if is_float(kind) else builder.mul
    result, square, rest = ir.Constant(TYPES[kind], 1), converted(builder, base, kind), abs(exponent)
    while rest:
        result = multiply(result, square) if rest & 1 else result
        rest >>= 1
        square = multiply(square, square) if rest else square
    return Value(kind, builder.fdiv(ir.Constant(TYPES[kind], 1.0), result) if exponent < 0 else result)
