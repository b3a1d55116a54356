"""The values of a kernel's text while it becomes LLVM instructions: their types, and how one type becomes another.

A type is an element type ("f32", "i32", "bool", ...), "i64" for Python's whole numbers, or a `Vector`. A
built-in is a function that a text may call, such as `load_f32_0`: it emits the instructions of the call. Knows no
syntax and no kernel.
"""

from collections.abc import Callable, Sequence, Set
from typing import Any

import numpy as np
from llvmlite import ir
from msgspec import Struct

from netc.compiler.targets.cpu.math.terms import TYPES

_FLOATS = ("f32", "f64")
_NO_SIGN = ("u8", "bool")  # types whose bits become other integers without a sign
_NUMPY = {"f32": np.float32, "f64": np.float64}


class Vector(Struct, frozen=True):
    """The type of a vector of `lanes` elements."""

    dtype: str
    lanes: int

    def __str__(self) -> str:
        return f"{self.dtype} x {self.lanes}"


Kind = str | Vector


class Value(Struct, frozen=True):
    """A value of a kernel: its type, and what it is to LLVM."""

    kind: Kind
    value: Any


Builtin = Callable[[Any, Sequence[Value]], Value | None]  # emits a call with a builder; None if it has no result


def type_of(kind: Kind) -> Any:
    """Returns LLVM's type of values."""
    return ir.VectorType(TYPES[kind.dtype], kind.lanes) if isinstance(kind, Vector) else TYPES[kind]


def element_of(kind: Kind) -> str:
    """Returns the type of a vector's elements, and any other type as it is."""
    return kind.dtype if isinstance(kind, Vector) else kind


def like(kind: Kind, dtype: str) -> Kind:
    """Returns the type of values of another element type: a vector of them if `kind` is one."""
    return Vector(dtype, kind.lanes) if isinstance(kind, Vector) else dtype


def constant(kind: str, number: float) -> Value:
    """Returns a number of an element type, rounded to it."""
    with np.errstate(over="ignore"):
        exact = np.array(number, _NUMPY[kind]).item() if kind in _FLOATS else int(number)
    return Value(kind, ir.Constant(TYPES[kind], exact))


def is_float(kind: Kind) -> bool:
    return element_of(kind) in _FLOATS


def builtin(operands: Sequence[Kind], result: Kind | None) -> Callable[[Callable[..., Any]], Builtin]:
    """Makes a built-in from a function that emits instructions with a builder, for operands of these types."""

    def decorate(emit: Callable[..., Any]) -> Builtin:
        def call(builder: Any, values: Sequence[Value]) -> Value | None:
            pairs = zip(values, operands, strict=True)
            emitted = emit(builder, *(converted(builder, value, kind) for value, kind in pairs))
            return None if result is None else Value(result, emitted)

        return call

    return decorate


def arithmetic(*kinds: Kind) -> Kind:
    """Returns the type in which numbers of some types are added: as in NumPy, and whole numbers as in Python.

    f32 with a whole number of 32 or 64 bits is f64, because f32 does not hold them. A vector with a number is a vector.
    """
    lanes = {kind.lanes for kind in kinds if isinstance(kind, Vector)}
    if len(lanes) > 1:
        raise ValueError(f"a kernel has no arithmetic of {' with '.join(map(str, kinds))}")
    dtype = _arithmetic({element_of(kind) for kind in kinds})
    return Vector(dtype, lanes.pop()) if lanes else dtype


def _arithmetic(kinds: Set[str]) -> str:
    if "f64" in kinds:
        return "f64"
    if "f32" in kinds:
        return "f64" if "i32" in kinds or "i64" in kinds else "f32"
    return "i64"


def common(first: Kind, second: Kind) -> Kind | None:
    """Returns the type of a value that is of one of two types; None if there is no such type."""
    if first == second:
        return first
    vectors = [kind for kind in (first, second) if isinstance(kind, Vector)]
    if not vectors:
        return arithmetic(first, second)
    return vectors[0] if len(vectors) == 1 and vectors[0].dtype in (first, second) else None


def converted(builder: Any, value: Value, kind: Kind) -> Any:
    """Emits a value as one of another type. Floats become whole numbers by cutting off their fraction."""
    source, emitted = value.kind, value.value
    if source == kind:
        return emitted
    if isinstance(kind, Vector) and not isinstance(source, Vector):
        return splat(builder, converted(builder, value, kind.dtype), kind.lanes)
    if isinstance(source, Vector) and (not isinstance(kind, Vector) or source.lanes != kind.lanes):
        raise ValueError(f"a kernel cannot turn {source} into {kind}")
    if isinstance(emitted, ir.Constant) and not isinstance(kind, Vector) and kind in _FLOATS:
        return constant(kind, emitted.constant).value
    if element_of(kind) == "bool":
        return truth(builder, value)
    return _elements(builder, emitted, element_of(source), element_of(kind), type_of(kind))


def _elements(builder: Any, emitted: Any, source: str, kind: str, target: Any) -> Any:
    """Emits a number, or the elements of a vector, as one of another type."""
    if source in _FLOATS and kind in _FLOATS:
        return builder.fpext(emitted, target) if kind == "f64" else builder.fptrunc(emitted, target)
    if source in _FLOATS:
        return builder.fptoui(emitted, target) if kind in _NO_SIGN else builder.fptosi(emitted, target)
    if kind in _FLOATS:
        return builder.uitofp(emitted, target) if source in _NO_SIGN else builder.sitofp(emitted, target)
    if TYPES[kind].width < TYPES[source].width:
        return builder.trunc(emitted, target)
    return builder.zext(emitted, target) if source in _NO_SIGN else builder.sext(emitted, target)


def in_common(builder: Any, first: Value, second: Value) -> tuple[Kind, Any, Any]:
    """Emits two values as ones of their common type, and returns it too."""
    kind = common(first.kind, second.kind)
    if kind is None:
        raise ValueError(f"{first.kind} and {second.kind} have no common type")
    return kind, converted(builder, first, kind), converted(builder, second, kind)


def truth(builder: Any, value: Value) -> Any:
    """Emits whether a value is true in Python: not zero. For a vector, that of each element."""
    if element_of(value.kind) == "bool":
        return value.value
    zero = ir.Constant(type_of(value.kind), None)
    if is_float(value.kind):
        return builder.fcmp_unordered("!=", value.value, zero)
    return builder.icmp_unsigned("!=", value.value, zero)


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """Emits a vector whose lanes are all one element."""
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(TYPES["i32"], 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(TYPES["i32"], lanes), [0] * lanes))
