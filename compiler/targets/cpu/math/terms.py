"""Terms: the values of a function such as exp while it is written as LLVM instructions.

A function of math/ is a Python function over terms, such as `softplus(x) = max(x, 0) + log1p(exp(-abs(x)))`. Operators
and the functions here emit one instruction each, for one element or for a vector of elements alike. There is no branch:
`select` chooses between values that are both computed, so that LLVM can vectorise every loop that calls such a
function. No instruction has a fast-math flag: an element has the same bits
in a vector and alone. Knows no function of libm.
"""

from collections.abc import Sequence
from typing import Any, Union

import numpy as np
from llvmlite import ir
from msgspec import Struct

Operand = Union["Term", float, int]
TYPES: dict[str, Any] = {
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
    "i128": ir.IntType(128),
    "u8": ir.IntType(8),
    "bool": ir.IntType(1),
}


class Format(Struct, frozen=True):
    """A floating-point format: its integers, the bits of its fraction, and the bias of its exponent."""

    dtype: str
    integers: str
    fraction: int
    bias: int
    kind: type[np.floating[Any]]

    @property
    def magic(self) -> float:
        """A number whose last bit counts ones, so that a sum with it is rounded to a whole number. The sum stays in its
        binade for numbers up to 2**(fraction - 1)."""
        return 1.5 * 2.0**self.fraction

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return float(np.finfo(self.kind).tiny)


# Coefficients of a polynomial of f64 from which on it is computed in halves. Functions with such polynomials were
# measured to take 0.85 to 1.01 of the time on Zen 4, with SSE2 0.65 to 1. Shorter ones gained nothing or lost up to
# 12%; in f32 only gelu gained, 5%.
_MANY = 10
F32 = Format("f32", "i32", 23, 127, np.float32)
F64 = Format("f64", "i64", 52, 1023, np.float64)
FORMATS = {"f32": F32, "f64": F64}


class Scope(Struct, frozen=True):
    """The builder that emits instructions, for vectors of `lanes` elements or, with 0 lanes, for single elements, and
    what the CPU has instructions for: a fused multiply-add, and rounding to bf16."""

    builder: Any
    has_fma: bool
    lanes: int = 0
    has_bf16: bool = False

    def type_of(self, dtype: str) -> Any:
        """The LLVM type of a term."""
        return ir.VectorType(TYPES[dtype], self.lanes) if self.lanes else TYPES[dtype]

    def constant(self, dtype: str, number: float) -> "Term":
        element = ir.Constant(TYPES[dtype], number)
        return Term(self, dtype, ir.Constant(self.type_of(dtype), [element] * self.lanes) if self.lanes else element)


class Term:
    """A value of an element type: f32, f64, i32, i64 or bool."""

    __slots__ = ("dtype", "scope", "value")

    def __init__(self, scope: Scope, dtype: str, value: Any) -> None:
        self.scope, self.dtype, self.value = scope, dtype, value

    @property
    def format(self) -> Format:
        """The format of a float."""
        return FORMATS[self.dtype]

    def like(self, other: Operand) -> "Term":
        """Returns a number as a constant of this term's type, and a term as it is."""
        if isinstance(other, Term):
            assert other.dtype == self.dtype, f"{other.dtype} with {self.dtype}"
            return other
        return self.scope.constant(self.dtype, other)

    def _emit(self, instruction: str, *operands: "Term", dtype: str | None = None) -> "Term":
        values = (self.value, *(operand.value for operand in operands))
        return Term(self.scope, dtype or self.dtype, getattr(self.scope.builder, instruction)(*values))

    def _arithmetic(self, other: Operand, of_floats: str, of_integers: str) -> "Term":
        return self._emit(of_floats if self.dtype in FORMATS else of_integers, self.like(other))

    def __add__(self, other: Operand) -> "Term":
        return self._arithmetic(other, "fadd", "add")

    def __radd__(self, other: Operand) -> "Term":
        return self.like(other) + self

    def __sub__(self, other: Operand) -> "Term":
        return self._arithmetic(other, "fsub", "sub")

    def __rsub__(self, other: Operand) -> "Term":
        return self.like(other) - self

    def __mul__(self, other: Operand) -> "Term":
        return self._arithmetic(other, "fmul", "mul")

    def __rmul__(self, other: Operand) -> "Term":
        return self.like(other) * self

    def __truediv__(self, other: Operand) -> "Term":
        return self._emit("fdiv", self.like(other))

    def __rtruediv__(self, other: Operand) -> "Term":
        return self.like(other) / self

    def __neg__(self) -> "Term":
        return self._emit("fneg") if self.dtype in FORMATS else 0 - self

    def __and__(self, other: Operand) -> "Term":
        return self._emit("and_", self.like(other))

    def __or__(self, other: Operand) -> "Term":
        return self._emit("or_", self.like(other))

    def __xor__(self, other: Operand) -> "Term":
        return self._emit("xor", self.like(other))

    def __invert__(self) -> "Term":
        return self ^ (1 if self.dtype == "bool" else -1)

    def __lshift__(self, other: Operand) -> "Term":
        return self._emit("shl", self.like(other))

    def __rshift__(self, other: Operand) -> "Term":
        """Shifts an integer to the right and keeps its sign."""
        return self._emit("ashr", self.like(other))

    def unsigned_shift(self, other: Operand) -> "Term":
        """Shifts an integer to the right and fills with zeros."""
        return self._emit("lshr", self.like(other))

    def _compare(self, sign: str, other: Operand) -> "Term":
        operand, builder = self.like(other), self.scope.builder
        compare = builder.fcmp_ordered if self.dtype in FORMATS else builder.icmp_signed
        return Term(self.scope, "bool", compare(sign, self.value, operand.value))

    def __lt__(self, other: Operand) -> "Term":
        return self._compare("<", other)

    def __le__(self, other: Operand) -> "Term":
        return self._compare("<=", other)

    def __gt__(self, other: Operand) -> "Term":
        return self._compare(">", other)

    def __ge__(self, other: Operand) -> "Term":
        return self._compare(">=", other)

    def equals(self, other: Operand) -> "Term":
        """Whether both are equal; false for NaN."""
        return self._compare("==", other)

    def is_below(self, other: Operand) -> "Term":
        """Whether an integer is smaller, both taken without sign."""
        compared = self.scope.builder.icmp_unsigned("<", self.value, self.like(other).value)
        return Term(self.scope, "bool", compared)

    def is_nan(self) -> "Term":
        return Term(self.scope, "bool", self.scope.builder.fcmp_unordered("uno", self.value, self.value))

    def bits(self) -> "Term":
        """The bits of a float as an integer."""
        return self._cast("bitcast", self.format.integers)

    def as_float(self, dtype: str) -> "Term":
        """The float that has the bits of this integer."""
        return self._cast("bitcast", dtype)

    def zero_extended(self, dtype: str) -> "Term":
        """Converts to a wider integer, without sign."""
        return self._cast("zext", dtype)

    def _cast(self, instruction: str, dtype: str) -> "Term":
        emit = getattr(self.scope.builder, instruction)
        return Term(self.scope, dtype, emit(self.value, self.scope.type_of(dtype)))

    def to(self, dtype: str) -> "Term":
        """Converts to a wider or narrower float or integer, an integer to a float, or a float to an integer, towards
        zero, which must be able to hold it. Integers have a sign."""
        wider = TYPES[dtype].width > TYPES[self.dtype].width if dtype[0] == "i" and self.dtype[0] == "i" else False
        match self.dtype[0], dtype[0]:
            case "f", "f":
                return self if self.dtype == dtype else self._cast("fpext" if dtype == "f64" else "fptrunc", dtype)
            case "i", "f":
                return self._cast("sitofp", dtype)
            case "f", "i":
                return self._cast("fptosi", dtype)
            case "i", "i":
                return self._cast("sext" if wider else "trunc", dtype)
            case "b", "i":
                return self._cast("zext", dtype)
        raise AssertionError(f"{self.dtype} to {dtype}")


def select(condition: Term, yes: Operand, no: Operand) -> Term:
    """Returns `yes` where the condition is true and `no` elsewhere. Both are computed; one of them is a term."""
    term = next(operand for operand in (yes, no) if isinstance(operand, Term))
    emitted = condition.scope.builder.select(condition.value, term.like(yes).value, term.like(no).value)
    return Term(condition.scope, term.dtype, emitted)


def _intrinsic(name: str, *operands: Term) -> Term:
    """Calls an intrinsic of LLVM that has one type for its operands and its result."""
    first = operands[0]
    scope, type_ = first.scope, first.scope.type_of(first.dtype)
    module = scope.builder.module
    full = f"{name}.{f'v{scope.lanes}' if scope.lanes else ''}{first.dtype}"
    function = module.globals.get(full) or ir.Function(module, ir.FunctionType(type_, [type_] * len(operands)), full)
    return Term(scope, first.dtype, scope.builder.call(function, [operand.value for operand in operands]))


def fma(x: Term, y: Operand, z: Operand) -> Term:
    """x * y + z, rounded once if the CPU has an instruction for it, else twice."""
    if not x.scope.has_fma:
        return x * y + z
    return _intrinsic("llvm.fma", x, x.like(y), x.like(z))


def square_root(x: Term) -> Term:
    return _intrinsic("llvm.sqrt", x)


def absolute(x: Term) -> Term:
    return _intrinsic("llvm.fabs", x)


def with_sign(x: Term, sign: Term) -> Term:
    """The magnitude of x with the sign of another float."""
    return _intrinsic("llvm.copysign", x, sign)


def polynomial(x: Term, coefficients: Sequence[float], before: int = 1) -> Term:
    """c[0] + c[1] x + c[2] x**2 + ..., by Horner's rule.

    If there are many coefficients of f64, all but the first `before` are added in halves. The last steps round as in
    Horner's rule: in halves altogether, errors of exp and tanh in f64 grew by 0.05 units in the last place. More of
    them are needed where the halves nearly cancel.
    """
    if x.dtype == "f32" or len(coefficients) < _MANY:
        return _by_horner(x, coefficients)
    return _by_horner(x, coefficients[:before], polynomial_in_halves(x, coefficients[before:]))


def polynomial_in_halves(x: Term, coefficients: Sequence[float]) -> Term:
    """A polynomial as the sum of its even and of its odd powers: half as many instructions wait for one another, for
    one multiplication more."""
    square = x * x
    return fma(_by_horner(square, coefficients[1::2]), x, _by_horner(square, coefficients[::2]))


def _by_horner(x: Term, coefficients: Sequence[float], rest: Term | None = None) -> Term:
    """The polynomial of some coefficients, and of those behind them, whose polynomial is `rest`."""
    total = x.like(coefficients[-1]) if rest is None else fma(rest, x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = fma(total, x, coefficient)
    return total


def rounded(x: Term, factor: float = 1.0) -> tuple[Term, Term]:
    """x * factor, rounded to the nearest whole number, as a float and as an integer.

    It must not be greater than 2**(fraction - 1). Only the lower bits of the integer are right: as many as a fraction
    has. For NaN and larger numbers both results are arbitrary, but defined.
    """
    magic = x.format.magic
    shifted = x + magic if factor == 1 else fma(x, factor, magic)
    return shifted - magic, shifted.bits()


def power_of_two(n: Term, dtype: str) -> Term:
    """2**n for an integer n in the range of exponents. Only the lower bits of n need to be right."""
    kind = FORMATS[dtype]
    return ((n + kind.bias) << kind.fraction).as_float(dtype)


def scaled(x: Term, n: Term) -> Term:
    """x * 2**n for an integer n, if x and the result are normal numbers. Only the lower bits of n need to be right."""
    return (x.bits() + (n << x.format.fraction)).as_float(x.dtype)
