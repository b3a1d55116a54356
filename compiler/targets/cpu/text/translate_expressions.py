"""Translates the expressions of a kernel's text into LLVM instructions. Knows no statement and no built-in."""

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

from netc.compiler.targets.cpu.text.operators import binary, compared, extreme_or_nan, unary
from netc.compiler.targets.cpu.text.values import (
    Builtin,
    Value,
    Vector,
    common,
    constant,
    converted,
    element_of,
    in_common,
    is_float,
    splat,
    truth,
    type_of,
)

BINARY = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"},
    **{ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>"},
}
_UNARY = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Not: "not"}
_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


class Expressions:
    """Writes expressions at the position of a builder. `builtins` are the functions that they may call, `read` returns
    the value of a variable."""

    def __init__(self, builder: Any, builtins: Mapping[str, Builtin], read: Callable[[str], Value]) -> None:
        self.builder, self.builtins, self.read = builder, builtins, read

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Name(id=name):
                return self.read(name)
            case ast.Constant(value=bool(number)):
                return constant("bool", number)
            case ast.Constant(value=int(number)):
                return constant("i64", number)
            case ast.Constant(value=float(number)):
                return constant("f64", number)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in BINARY:
                return binary(self.builder, BINARY[type(operator)], self.value(left), self.value(right))
            case ast.UnaryOp(op=operator, operand=operand):
                return unary(self.builder, _UNARY[type(operator)], self.value(operand))
            case ast.Compare(left=left, ops=operators, comparators=others) if all(
                type(operator) in _COMPARISONS for operator in operators
            ):
                signs = [_COMPARISONS[type(operator)] for operator in operators]
                return self.comparison(self.value(left), others, signs)
            case ast.BoolOp(op=operator, values=operands):
                is_and = isinstance(operator, ast.And)
                return reduce(lambda x, y: self.logic(is_and, x, y), operands[1:], self.value(operands[0]))
            case ast.IfExp(test=test, body=yes, orelse=no):
                return self.extreme(node) or self.choice(self.test(test), yes, no)
            case ast.Call():
                result = self.call(node)
                if result is not None:
                    return result
        raise refused(node)

    def test(self, node: ast.expr) -> Any:
        return truth(self.builder, self.value(node))

    def integer(self, node: ast.expr) -> Any:
        """A number of 64 bits."""
        return converted(self.builder, self.value(node), "i64")

    def call(self, node: ast.Call) -> Value | None:
        match node:
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in self.builtins:
                values = [self.value(argument) for argument in arguments]
                try:
                    return self.builtins[name](self.builder, values)
                except ValueError as error:
                    raise ValueError(f"`{ast.unparse(node)}`: {error}") from error
        raise refused(node)

    def comparison(self, left: Value, others: Sequence[ast.expr], signs: Sequence[str]) -> Value:
        """`a < b < c` computes c only if a < b."""
        right = self.value(others[0])
        result = compared(self.builder, signs[0], left, right)
        if len(others) == 1:
            return result
        return self.one_of(result.value, lambda: self.comparison(right, others[1:], signs[1:]), lambda: result)

    def choice(self, test: Any, yes: ast.expr, no: ast.expr) -> Value:
        """One of two values: both are computed if that costs next to nothing, so that a loop keeps no branch, and for
        each element of a vector."""
        lanes = getattr(test.type, "count", 0)
        if lanes or (_is_simple(yes) and _is_simple(no)):
            kind, first, second = in_common(self.builder, self.value(yes), self.value(no))
            if lanes and not isinstance(kind, Vector):
                kind, first, second = Vector(kind, lanes), *(splat(self.builder, x, lanes) for x in (first, second))
            return Value(kind, self.builder.select(test, first, second))
        return self.one_of(test, lambda: self.value(yes), lambda: self.value(no))

    def extreme(self, node: ast.IfExp) -> Value | None:
        """The larger or smaller one of two floats, or the first if it is NaN. None if a choice is not of this form."""
        match node.test:
            case ast.BinOp(ast.Compare(x, [ast.GtE() | ast.LtE() as sign], [y]), ast.BitOr(), is_nan):
                pass
            case ast.BoolOp(ast.Or(), [ast.Compare(x, [ast.GtE() | ast.LtE() as sign], [y]), is_nan]):
                pass
            case _:
                return None
        differs = ast.Compare(x, [ast.NotEq()], [x])
        if any(
            ast.dump(part) != ast.dump(other) for part, other in ((node.body, x), (node.orelse, y), (is_nan, differs))
        ):
            return None
        first, second = self.value(x), self.value(y)
        if not (is_float(first.kind) and is_float(second.kind)):
            return None
        return extreme_or_nan(self.builder, _COMPARISONS[type(sign)], first, second)

    def logic(self, is_and: bool, left: Value, right: ast.expr) -> Value:
        """`and` and `or`, which compute their right operand only where it decides, or if it is there already."""
        if _is_simple(right) and element_of(left.kind) == element_of((other := self.value(right)).kind) == "bool":
            return binary(self.builder, "&" if is_and else "|", left, other)
        test = truth(self.builder, left)
        if is_and:
            return self.one_of(test, lambda: self.value(right), lambda: left)
        return self.one_of(test, lambda: left, lambda: self.value(right))

    def one_of(self, test: Any, yes: Callable[[], Value], no: Callable[[], Value]) -> Value:
        """One of two values; the other is not computed."""
        builder = self.builder
        starts, end = [builder.append_basic_block(way) for way in ("yes", "no")], builder.append_basic_block("end")
        builder.cbranch(test, *starts)
        ways = []
        for start, write in zip(starts, (yes, no), strict=True):
            builder.position_at_end(start)
            ways.append((write(), builder.block))
        kind = common(*(value.kind for value, _ in ways))
        if kind is None:
            raise ValueError("the two values of a choice in a kernel have no common type")
        results = []
        for value, block in ways:
            builder.position_at_end(block)
            results.append((converted(builder, value, kind), block))
            builder.branch(end)
        builder.position_at_end(end)
        result = builder.phi(type_of(kind))
        for emitted, block in results:
            result.add_incoming(emitted, block)
        return Value(kind, result)


def _is_simple(node: ast.expr) -> bool:
    """Whether an expression is a name or a number, or a conversion of one."""
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return _is_simple(operand)
        case ast.Call(func=ast.Name(id="F32" | "F64" | "I32" | "int"), args=[operand]):
            return _is_simple(operand)
    return False


def refused(node: ast.AST) -> ValueError:
    """Returns the error for a part of Python that texts do not have."""
    return ValueError(f"a kernel has no `{ast.unparse(node).splitlines()[0]}`")
