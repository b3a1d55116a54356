"""Finds the lines of a nest that kernel text can compute in vectors of neighbouring elements.

Calls of functions such as exp are not among them: LLVM chooses how many of their vectors to interleave. Knows only the
nest.
"""

from collections.abc import Sequence

from netc.compiler.program.nests import Access, Nest
from netc.compiler.program.scalars import (
    Binary,
    Choice,
    Comparison,
    Conversion,
    Expression,
    FunctionCall,
    Logic,
    Name,
    Number,
    Size,
    Unary,
)

_FUNCTIONS = ("abs", "max", "min")
_SIGNS = ("<", "<=", ">", ">=", "==", "!=")


def kinds_in_vectors(nest: Nest) -> dict[str, str]:
    """Returns the element type of each line by name; "" for a line that has no form for vectors."""
    kinds: dict[str, str] = {}
    for line in nest.lines:
        kinds[line.name] = (
            _kind_of_access(line.value, nest) if isinstance(line.value, Access) else _kind(line.value, kinds)
        )
    return kinds


def _kind_of_access(access: Access, nest: Nest) -> str:
    """The type of a load; "" if its elements are not neighbours."""
    if access.strides[-1] not in (0, 1) or access.dtype not in ("f32", "f64", "bool", "i32"):
        return ""
    if access.indirect is not None:
        index = next(line.value for line in nest.lines if line.name == access.indirect[0])
        if not isinstance(index, Access) or index.strides[-1]:
            return ""
    return access.dtype if access.pointer is not None or access.dtype == "i32" else ""


def _kind(tree: Expression, kinds: dict[str, str]) -> str:
    """The type of an expression; "" if it has no form for vectors."""
    match tree:
        case Name(name):
            return kinds[name]
        case Number(_, dtype) | Size(_, dtype):
            return dtype
        case Unary("-", operand):
            return _same([operand], kinds, ("f32", "f64"))
        case Unary("not" | "~", operand):
            return _same([operand], kinds, ("bool",))
        case Binary("+" | "-" | "*" | "/", left, right):
            return _same([left, right], kinds, ("f32", "f64"))
        case Binary("&" | "|", left, right):
            return _same([left, right], kinds, ("bool",))
        case Logic(_, operands) if any(all(isinstance(x, part) for x in operands) for part in (Comparison, Name)):
            return _same(operands, kinds, ("bool",))
        case Comparison((sign,), operands) if sign in _SIGNS:
            return "bool" if _same(operands, kinds, ("f32", "f64", "i32")) else ""
        case Choice(test, yes, no) if _kind(test, kinds) == "bool":
            return _same([yes, no], kinds, ("f32", "f64", "i32", "bool"))
        case FunctionCall(function, _, operands) if function in _FUNCTIONS:
            return _same(operands, kinds, ("f32", "f64"))
        case Conversion(dtype, operand) if dtype in ("f32", "f64"):
            return dtype if _kind(operand, kinds) else ""
    return ""


def _same(operands: Sequence[Expression], kinds: dict[str, str], dtypes: tuple[str, ...]) -> str:
    """The type that all operands have; "" if they differ, or if it is not in `dtypes`."""
    (first, *others) = {_kind(operand, kinds) for operand in operands}
    return first if not others and first in dtypes else ""
