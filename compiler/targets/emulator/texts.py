"""The text of a CPU kernel as a syntax tree, with its loads and stores and their offsets.

The emulator runs kernels by these trees, so it checks the writer of the text too. Knows the words of memory.py and
sums.py (targets/cpu), but imports neither.
"""

import ast
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

_BLOCK = "block_of_"
Form = dict[str, int]  # an offset as a linear form: the factor of each variable, and under "" the constant


class MemoryAccess(NamedTuple):
    """A load or store in a kernel's text."""

    verb: str  # "load" or "store"
    dtype: str
    pointer: str
    offset: ast.expr
    values: list[ast.expr]  # the value that is stored; nothing in a load


@cache
def function_of(text: str) -> ast.FunctionDef:
    """Returns a kernel's function without prefetches. Sums in blocks are plain sums in it: the same numbers are added,
    in another order."""
    function = parsed(text)
    _NoPrefetches().visit(function)
    return ast.fix_missing_locations(_PlainSums().visit(function)) if _BLOCK in text else function


def parsed(text: str) -> ast.FunctionDef:
    """Returns the function that a text defines, as it stands."""
    return next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))


def accesses(tree: ast.AST) -> Iterator[MemoryAccess]:
    """Yields each load and store in a tree."""
    for node in ast.walk(tree):
        if (access := access_of(node)) is not None:
            yield access


def access_of(node: ast.AST) -> MemoryAccess | None:
    """Returns the load or store that a call is, or None."""
    match node:
        case ast.Call(func=ast.Name(id=word), args=[ast.Name(id=pointer), offset, *values]):
            verb, _, rest = word.partition("_")
            if verb in ("load", "store"):
                return MemoryAccess(verb, rest.partition("_")[0], pointer, offset, values)
    return None


def linear(node: ast.expr) -> Form | None:
    """Returns an offset as a sum of variables times integers, or None if it is no such sum."""
    match node:
        case ast.Constant(value=int(number)):
            return {"": number}
        case ast.Name(id=name):
            return {name: 1}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            form = linear(operand)
            return None if form is None else {name: -factor for name, factor in form.items()}
        case ast.BinOp(left=left, op=operator, right=right):
            first, second = linear(left), linear(right)
            if first is None or second is None:
                return None
            match operator:
                case ast.Add() | ast.Sub():
                    sign = 1 if isinstance(operator, ast.Add) else -1
                    return {name: first.get(name, 0) + sign * second.get(name, 0) for name in {**first, **second}}
                case ast.Mult() if set(second) <= {""}:
                    return {name: factor * second.get("", 0) for name, factor in first.items()}
                case ast.Mult() if set(first) <= {""}:
                    return {name: factor * first.get("", 0) for name, factor in second.items()}
    return None


class _NoPrefetches(ast.NodeTransformer):
    """Removes prefetches: they compute nothing, and may lie outside of every buffer."""

    def visit_Expr(self, node: ast.Expr) -> Any:
        match node.value:
            case ast.Call(func=ast.Name(id=word)) if word.startswith("fetch_"):
                return None
        return node


class _PlainSums(ast.NodeTransformer):
    """Undoes loops._Writer.fold_in_blocks: each element is added to its total where it was stored to a block."""

    def visit_Assign(self, node: ast.Assign) -> Any:
        calls = (call for call in ast.walk(node.value) if isinstance(call, ast.Call))
        called = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
        is_of_block = any(name.startswith(("block_f", "sum_f")) for name in called)
        is_counter = isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("filled", "done")
        return None if is_of_block or is_counter else node

    def visit_While(self, node: ast.While) -> Any:
        """The loop over blocks, with a loop over a block's elements inside, becomes one loop over all elements."""
        match node:
            case ast.While(
                test=ast.Compare(comparators=[end]),
                body=[_, ast.For(body=[ast.Assign(targets=[index]), *inside]), *_],
            ):
                extent = ast.Call(ast.Name("range", ast.Load()), [end], [])
                body = [self.visit(statement) for statement in inside]
                return ast.For(ast.Name(ast.unparse(index), ast.Store()), extent, body, [])
        raise AssertionError(f"a `while` that fold_in_blocks does not write: {ast.unparse(node)}")

    def visit_Expr(self, node: ast.Expr) -> Any:
        access = access_of(node.value)
        if access is None or not access.pointer.startswith(_BLOCK):
            return node
        total = access.pointer.removeprefix(_BLOCK)
        addition = ast.BinOp(ast.Name(total, ast.Load()), ast.Add(), access.values[0])
        return ast.Assign([ast.Name(total, ast.Store())], addition)
