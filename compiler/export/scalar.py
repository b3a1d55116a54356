"""An element-wise operation's expression, a line of Python over its operands, in the words of another language of arrays."""

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from netc.compiler.ir.types import DTYPES

_BINARY = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_COMPARE = {
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}
_BOOL = {ast.And: "and", ast.Or: "or"}
FLOATS = tuple(name for name, dtype in DTYPES.items() if dtype.is_float)


@dataclass(frozen=True, slots=True)
class Term:
    """What an array is called, or a piece of text that computes it; the type of its elements (`i64` is an index)."""

    text: str
    dtype: str


class Words(Protocol):
    """A language of arrays: how it writes a number, a conversion, and a word applied to arrays element by element."""

    def number(self, value: float | int | bool, dtype: str) -> Term: ...

    def cast(self, x: Term, dtype: str) -> Term: ...

    def word(self, name: str, operands: list[Term], dtype: str) -> Term: ...


def translate(
    expression: str, operands: Mapping[str, Term], numbers: Mapping[str, float], dtype: str, words: Words
) -> Term:
    """The expression over its operands x, y, z and its numbers, as one term of the element type `dtype`. Raises KeyError for a word that is not known."""
    return words.cast(_typed(_Translator(operands, numbers, dtype, words).of(_parsed(expression)), dtype, words), dtype)


def _parsed(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def _typed(x: "Term | float", dtype: str, words: Words) -> Term:
    return x if isinstance(x, Term) else words.number(x, dtype)


class _Translator:
    """Walks the expression. A number by itself has no type yet: it takes the one of what it meets."""

    def __init__(self, operands: Mapping[str, Term], numbers: Mapping[str, float], dtype: str, words: Words) -> None:
        self.operands, self.numbers, self.dtype, self.words = operands, numbers, dtype, words

    def of(self, node: ast.expr) -> Term | float:
        match node:
            case ast.Name(id=name):
                return self.operands[name] if name in self.operands else self.numbers[name]
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left=left, op=op, right=right):
                name = _BINARY[type(op)]
                return self.apply(name, [self.of(left), self.of(right)], needs_float=name == "divide")
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                found = self.of(inner)
                return self.apply("neg", [found]) if isinstance(found, Term) else -found
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return self.words.word("not", [self.truth(inner)], "bool")
            case ast.BoolOp(op=op, values=values):
                total = self.truth(values[0])
                for value in values[1:]:
                    total = self.words.word(_BOOL[type(op)], [total, self.truth(value)], "bool")
                return total
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.apply(_COMPARE[type(op)], [self.of(left), self.of(right)], gives="bool")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.apply("where", [self.of(body), self.of(orelse)], first=self.truth(test))
            case ast.Call(func=ast.Name(id="T"), args=[inner]):
                found = self.of(inner)
                return self.words.cast(found, self.dtype) if isinstance(found, Term) else found
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self.apply(
                    name, [self.of(one) for one in arguments], needs_float=name not in ("min", "max", "abs")
                )
            case ast.Call(func=ast.Attribute(attr=name), args=arguments):  # math.exp
                return self.apply(name, [self.of(one) for one in arguments], needs_float=True)
        raise KeyError(ast.unparse(node))

    def truth(self, node: ast.expr) -> Term:
        return self.words.cast(_typed(self.of(node), "bool", self.words), "bool")

    def apply(
        self,
        name: str,
        found: "list[Term | float]",
        gives: str | None = None,
        needs_float: bool = False,
        first: Term | None = None,
    ) -> Term | float:
        """A word, its operands brought to one type: of the floats among them, or else of the first."""
        terms = [one for one in found if isinstance(one, Term)]
        if not terms and first is None:
            return _NUMBERS[name](*(one for one in found if not isinstance(one, Term)))
        common = next((one.dtype for one in terms if one.dtype in FLOATS), terms[0].dtype if terms else self.dtype)
        if common == "bool" and gives is None and first is None:
            common = self.dtype
        if common not in FLOATS and (needs_float or any(isinstance(one, float) for one in found)):
            common = self.dtype if self.dtype in FLOATS else "f64"
        same = [self.words.cast(_typed(one, common, self.words), common) for one in found]
        return self.words.word(name, same if first is None else [first, *same], gives or common)


_NUMBERS: dict[str, Callable[..., float]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "min": min,
    "max": max,
    "abs": abs,
    **{
        name: getattr(math, name)
        for name in ("exp", "log", "log1p", "expm1", "sqrt", "tanh", "sin", "cos", "erf", "pow")
    },
}
