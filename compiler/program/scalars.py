"""Scalar expressions as trees: what a loop computes for one element, without the text of any target.

An operation declares its expression as text over x, y, z and its attributes; `expression` turns that into a tree for
given operands. A target writes trees in its own language with `written`. Knows no graph, no loop and no target.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import Struct


class Name(Struct, frozen=True):
    """The value of a line of the loop, by the line's name; in a combination, one of the two values a and b."""

    name: str


class Number(Struct, frozen=True):
    """A number of an element type.

    It is kept as Python writes it, because equality must tell 1 from 1.0 and 0.0 from -0.0, and NaN must equal NaN.
    """

    text: str
    dtype: str


class Size(Struct, frozen=True):
    """A number of elements that the kernel takes as an argument, converted to an element type. `index` counts these
    arguments of the kernel."""

    index: int
    dtype: str

    @property
    def argument(self) -> str:
        """The name of the argument."""
        return f"s{self.index}"


class Unary(Struct, frozen=True):
    """An operator before one operand: `-`, `+`, `~` or `not`."""

    operator: str
    operand: "Expression"


class Binary(Struct, frozen=True):
    """An operator of arithmetic or of bits between two operands."""

    operator: str
    left: "Expression"
    right: "Expression"


class Logic(Struct, frozen=True):
    """`and` or `or` between two or more operands."""

    operator: str
    operands: tuple["Expression", ...]


class Comparison(Struct, frozen=True):
    """Operands with an operator between each two neighbours: `x < y`."""

    operators: tuple[str, ...]
    operands: tuple["Expression", ...]


class Choice(Struct, frozen=True):
    """`yes if test else no`."""

    test: "Expression"
    yes: "Expression"
    no: "Expression"


class FunctionCall(Struct, frozen=True):
    """A call of one of the functions that every target has for an element type: exp, tanh, max, ..."""

    function: str
    dtype: str
    operands: tuple["Expression", ...]


class Conversion(Struct, frozen=True):
    """The operand converted to an element type."""

    dtype: str
    operand: "Expression"


_FUNCTIONS = (
    *("exp", "log", "log1p", "softplus", "expm1", "tanh", "sigmoid", "sinh", "cosh", "erf", "normal_cdf", "gelu"),
    *("pow", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "rint", "floor", "sqrt", "unit"),
    *("max_key", "min_key", "of_key", "fma", "as_bf16"),
)
# the functions that kernels call, each with its element type; a target's table of functions has exactly these
FUNCTION_NAMES = frozenset(f"{name}_{dtype}" for name in _FUNCTIONS for dtype in ("f32", "f64")) | {"scramble_i32"}


Expression = Name | Number | Size | Unary | Binary | Logic | Comparison | Choice | FunctionCall | Conversion


def names_of(tree: Expression) -> set[str]:
    """Returns the names in an expression."""
    match tree:
        case Name(name):
            return {name}
        case Number() | Size():
            return set()
        case Unary(_, operand) | Conversion(_, operand):
            return names_of(operand)
        case Binary(_, left, right):
            return names_of(left) | names_of(right)
        case Choice(test, yes, no):
            return names_of(test) | names_of(yes) | names_of(no)
        case Logic(_, operands) | Comparison(_, operands) | FunctionCall(_, _, operands):
            return set().union(*map(names_of, operands))
    raise AssertionError(f"no expression: {tree}")


def call_count(tree: Expression) -> int:
    """Returns the number of functions that an expression calls."""
    match tree:
        case Name() | Number() | Size():
            return 0
        case Unary(_, operand) | Conversion(_, operand):
            return call_count(operand)
        case Binary(_, left, right):
            return call_count(left) + call_count(right)
        case Choice(test, yes, no):
            return call_count(test) + call_count(yes) + call_count(no)
        case Logic(_, operands) | Comparison(_, operands):
            return sum(map(call_count, operands))
        case FunctionCall(_, _, operands):
            return 1 + sum(map(call_count, operands))
    raise AssertionError(f"no expression: {tree}")


_UNARY = {"-": ast.USub, "+": ast.UAdd, "~": ast.Invert, "not": ast.Not}
_BINARY = {
    **{"+": ast.Add, "-": ast.Sub, "*": ast.Mult, "/": ast.Div, "//": ast.FloorDiv, "%": ast.Mod, "**": ast.Pow},
    **{"&": ast.BitAnd, "|": ast.BitOr, "^": ast.BitXor, "<<": ast.LShift, ">>": ast.RShift},
}
_LOGIC = {"and": ast.And, "or": ast.Or}
_BITS = {"and": ast.BitAnd, "or": ast.BitOr}
_COMPARISON = {"<": ast.Lt, "<=": ast.LtE, ">": ast.Gt, ">=": ast.GtE, "==": ast.Eq, "!=": ast.NotEq}
_SYMBOLS = {kind: symbol for table in (_UNARY, _BINARY, _LOGIC, _COMPARISON) for symbol, kind in table.items()}


# ------------------------------------------------------------------ text -> tree


def number(value: object, dtype: str) -> Number:
    """Returns a number of an element type."""
    assert isinstance(value, bool | int | float)
    converted = bool(value) if dtype == "bool" else int(value) if dtype == "i32" else float(value)
    return Number(repr(converted), dtype)


def expression(text: str, operands: Mapping[str, str], dtype: str, attributes: Mapping[str, Any]) -> Expression:
    """Returns the tree of an operation's expression.

    `operands` are the names of lines in place of x, y, z. Attributes become numbers. Numbers and functions are of the
    type `dtype`; `T(x)` converts to it. Raises ValueError if the text has anything else.
    """
    return _Definition(operands, dtype, attributes).tree(_parsed(text))


@cache
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


class TreeReader:
    """Turns Python's syntax trees into expressions. Subclasses say what names, numbers and calls mean."""

    def name(self, node: ast.Name) -> Expression:
        return Name(node.id)

    def constant(self, node: ast.Constant) -> Expression:
        raise refused(node)

    def call(self, node: ast.Call) -> Expression:
        raise refused(node)

    def tree(self, node: ast.expr) -> Expression:
        """Returns the expression of a node. Raises ValueError if scalar expressions have no such node."""
        match node:
            case ast.Name():
                return self.name(node)
            case ast.Constant():
                return self.constant(node)
            case ast.Call(keywords=[]):
                return self.call(node)
            case ast.UnaryOp(op=operator, operand=operand):
                return Unary(_SYMBOLS[type(operator)], self.tree(operand))
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _SYMBOLS:
                return Binary(_SYMBOLS[type(operator)], self.tree(left), self.tree(right))
            case ast.BoolOp(op=operator, values=values):
                return Logic(_SYMBOLS[type(operator)], tuple(map(self.tree, values)))
            case ast.Compare(left=left, ops=operators, comparators=others) if all(
                type(operator) in _SYMBOLS for operator in operators
            ):
                symbols = tuple(_SYMBOLS[type(operator)] for operator in operators)
                return Comparison(symbols, tuple(map(self.tree, (left, *others))))
            case ast.IfExp(test=test, body=yes, orelse=no):
                return Choice(self.tree(test), self.tree(yes), self.tree(no))
        raise refused(node)


def refused(node: ast.expr) -> ValueError:
    return ValueError(f"a scalar expression has no `{ast.unparse(node)}`")


class _Definition(TreeReader):
    """Reads the text of an operation's definition."""

    def __init__(self, operands: Mapping[str, str], dtype: str, attributes: Mapping[str, Any]) -> None:
        self.operands, self.dtype, self.attributes = operands, dtype, attributes

    def name(self, node: ast.Name) -> Expression:
        if node.id in self.attributes and node.id not in self.operands:
            return self.constant(ast.Constant(self.attributes[node.id]))
        return Name(self.operands.get(node.id, node.id))

    def constant(self, node: ast.Constant) -> Expression:
        return Number(ast.unparse(node), self.dtype)

    def call(self, node: ast.Call) -> Expression:
        match node:
            case ast.Call(func=ast.Name(id="T"), args=[ast.Constant() as literal]):
                return Number(ast.unparse(literal), self.dtype)
            case ast.Call(func=ast.Name(id="T"), args=[ast.UnaryOp(operand=ast.Constant()) as literal]):
                return Number(ast.unparse(literal), self.dtype)
            case ast.Call(func=ast.Name(id="T"), args=[operand]):
                return Conversion(self.dtype, self.tree(operand))
            case ast.Call(func=ast.Name(id=function), args=operands):
                return FunctionCall(function, self.dtype, tuple(map(self.tree, operands)))
        raise refused(node)


# ------------------------------------------------------------------ tree -> text


class Spelling(Struct, frozen=True):
    """How a target writes numbers, the names of functions and the names of conversions.

    If it `branches`, `and` and `or` compute their second operand only where it decides. Otherwise they are written as
    operators on bits if their operands are tests, so that a loop needs no branch and becomes vectors.
    """

    number: Callable[[Number], str]
    function: Callable[[FunctionCall], str]
    conversion: Callable[[str], str]
    branches: bool = True


def written(tree: Expression, spelling: Spelling, names: Mapping[str, str] | None = None) -> str:
    """Returns an expression as a Python expression. `names` are written in place of the names in the tree."""
    return ast.unparse(_Writer(spelling, names or {}).node(tree))


def _are_tests(operands: Sequence[Expression]) -> bool:
    """Whether operands are true or false, whatever the types of names are."""
    return all(
        isinstance(operand, Comparison) or (isinstance(operand, Unary) and operand.operator == "not")
        for operand in operands
    )


class _Writer:
    """Turns expressions into Python's syntax trees, whose writer knows where parentheses are needed."""

    def __init__(self, spelling: Spelling, names: Mapping[str, str]) -> None:
        self.spelling, self.names = spelling, names

    def node(self, tree: Expression) -> ast.expr:  # noqa: C901  a case for each kind of expression
        match tree:
            case Name(name):
                return ast.Name(self.names.get(name, name))
            case Number():
                return ast.Name(self.spelling.number(tree))
            case Size(_, dtype):
                return self.node(Conversion(dtype, Name(tree.argument)))
            case Unary(operator, operand):
                return ast.UnaryOp(_UNARY[operator](), self.node(operand))
            case Binary(operator, left, right):
                return ast.BinOp(self.node(left), _BINARY[operator](), self.node(right))
            case Logic(operator, (first, *others)) if not self.spelling.branches and _are_tests(tree.operands):
                result = self.node(first)
                for operand in others:
                    result = ast.BinOp(result, _BITS[operator](), self.node(operand))
                return result
            case Logic(operator, operands):
                return ast.BoolOp(_LOGIC[operator](), [self.node(operand) for operand in operands])
            case Comparison(operators, (first, *others)):
                symbols = [_COMPARISON[operator]() for operator in operators]
                return ast.Compare(self.node(first), symbols, [self.node(operand) for operand in others])
            case Choice(test, yes, no):
                return ast.IfExp(self.node(test), self.node(yes), self.node(no))
            case FunctionCall(_, _, operands):
                return ast.Call(
                    ast.Name(self.spelling.function(tree)), [self.node(operand) for operand in operands], []
                )
            case Conversion(dtype, operand):
                return ast.Call(ast.Name(self.spelling.conversion(dtype)), [self.node(operand)], [])
        raise AssertionError(f"no expression: {tree}")
