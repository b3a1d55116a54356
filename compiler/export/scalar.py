"""Translates an element-wise operation's expression, a line of Python over its operands, into an array language."""

import ast
import math
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

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
# words that onnxruntime has for f32 alone, and words that are made of them
IN_SINGLE_PRECISION = frozenset(
    ("erf", "normal_cdf", "gelu", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh"),
)
FLOATS = tuple(name for name, dtype in DTYPES.items() if dtype.is_float)


class Term(Struct, frozen=True):
    """The name of an array or an expression for it, and its element type (`i64` for indices)."""

    text: str
    dtype: str


class Words(Protocol):
    """An array language."""

    def number(self, value: float | int | bool, dtype: str) -> Term:
        """Writes a scalar constant."""

    def cast(self, x: Term, dtype: str) -> Term:
        """Converts x to another element type."""

    def word(self, name: str, operands: list[Term], dtype: str) -> Term:
        """Applies an element-wise function. Raises KeyError if the language does not have it."""


def translate(
    expression: str, operands: Mapping[str, Term], numbers: Mapping[str, float], dtype: str, words: Words
) -> Term:
    """Returns the expression over its operands x, y, z and its numbers as a term of the element type `dtype`.

    Raises KeyError for a function that the language does not have.
    """
    return words.cast(_typed(_Translator(operands, numbers, dtype, words).of(_parsed(expression)), dtype, words), dtype)


def _parsed(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def _typed(x: "Term | float", dtype: str, words: Words) -> Term:
    return x if isinstance(x, Term) else words.number(x, dtype)


class _Translator:
    """Walks the expression. A literal number takes the type of the term that it is combined with."""

    def __init__(self, operands: Mapping[str, Term], numbers: Mapping[str, float], dtype: str, words: Words) -> None:
        self.operands, self.numbers, self.dtype, self.words = operands, numbers, dtype, words

    def of(self, node: ast.expr) -> Term | float:  # noqa: C901  a case for each kind of node
        match node:
            case ast.Name(id=name):
                return self.operands[name] if name in self.operands else self.numbers[name]
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left=left, op=op, right=right):
                name = _BINARY[type(op)]
                return self.apply(name, [self.of(left), self.of(right)], needs_float=name == "divide")
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                operand = self.of(inner)
                return self.apply("neg", [operand]) if isinstance(operand, Term) else -operand
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
                operand = self.of(inner)
                return self.words.cast(operand, self.dtype) if isinstance(operand, Term) else operand
            case ast.Call(func=ast.Name(id=name), args=arguments):
                operands = [self.of(argument) for argument in arguments]
                return self.apply(name, operands, needs_float=name not in ("min", "max", "abs"))
            case ast.Call(func=ast.Attribute(attr=name), args=arguments):  # math.exp
                return self.apply(name, [self.of(argument) for argument in arguments], needs_float=True)
        raise KeyError(ast.unparse(node))

    def truth(self, node: ast.expr) -> Term:
        return self.words.cast(_typed(self.of(node), "bool", self.words), "bool")

    def apply(
        self,
        name: str,
        operands: "list[Term | float]",
        gives: str | None = None,
        needs_float: bool = False,
        first: Term | None = None,
    ) -> Term | float:
        """Applies a function after it converts the operands to one type.

        The type is that of the first float operand, or that of the first operand if none is a float. Only literals are
        computed here. `gives` is the result's type if it is another; `first` is an operand that is not converted.
        """
        terms = [operand for operand in operands if isinstance(operand, Term)]
        if not terms and first is None:
            return _NUMBERS[name](*(operand for operand in operands if not isinstance(operand, Term)))
        floats = (term.dtype for term in terms if term.dtype in FLOATS)
        common = next(floats, terms[0].dtype if terms else self.dtype)
        if common == "bool" and gives is None and first is None:
            common = self.dtype
        if common not in FLOATS and (needs_float or any(isinstance(operand, float) for operand in operands)):
            common = self.dtype if self.dtype in FLOATS else "f64"
        converted = [self.words.cast(_typed(operand, common, self.words), common) for operand in operands]
        return self.words.word(name, converted if first is None else [first, *converted], gives or common)


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
        for name in ("exp", "log", "log1p", "expm1", "sqrt", "tanh", "sinh", "cosh", "erf", "pow")
    },
    **{name: getattr(math, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "atan2")},
}
