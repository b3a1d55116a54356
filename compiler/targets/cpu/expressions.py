"""The text of scalar expressions and numbers in a kernel, in the words of math.py for an element type."""

import ast
from collections.abc import Mapping
from typing import Any

TYPES = {"f32": "F32", "f64": "F64", "i32": "I32", "bool": "bool"}  # the conversion to each type


class _Names(ast.NodeTransformer):
    """Replaces names."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)


def renamed(expression: str, names: dict[str, str]) -> str:
    """Returns an expression with its names replaced."""
    return ast.unparse(_Names(names).visit(ast.parse(expression, mode="eval")))


_BUILTIN = ("abs", "max", "min")


class _Scalar(_Names):
    """Replaces operands by their names, attributes by their numbers, and functions by the words of a type. Numbers
    are converted to that type: a plain 1 would turn f32 into f64."""

    def __init__(self, names: dict[str, str], dtype: str, attributes: Mapping[str, Any]) -> None:
        super().__init__(names)
        self.dtype, self.attributes = dtype, attributes

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.attributes and node.id not in self.names:
            return self.visit_Constant(ast.Constant(self.attributes[node.id]))
        return super().visit_Name(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(ast.Name(TYPES[self.dtype], ast.Load()), [node], [])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func)
        if name == "T":
            operand = node.args[0]
            inner = operand if isinstance(operand, ast.Constant | ast.UnaryOp) else self.visit(operand)
            return ast.Call(ast.Name(TYPES[self.dtype], ast.Load()), [inner], [])
        return ast.Call(
            ast.Name(name if name in _BUILTIN else f"{name}_{self.dtype}", ast.Load()),
            [self.visit(argument) for argument in node.args],
            [],
        )


def scalar(expression: str, names: dict[str, str], dtype: str, attributes: Mapping[str, Any]) -> str:
    """Returns an operation's scalar expression with the operands' names and the attributes' numbers in it, in the
    words of math.py for a type."""
    return ast.unparse(_Scalar(names, dtype, attributes).visit(ast.parse(expression, mode="eval")))


def literal(number: object, dtype: str) -> str:
    """Returns a number of a type as text in a kernel."""
    assert isinstance(number, bool | int | float)
    if dtype == "bool":
        return str(bool(number))
    text = repr(int(number) if dtype == "i32" else float(number))
    text = text.replace("inf", "INF").replace("nan", "NAN")
    return f"{TYPES[dtype]}({text})"
