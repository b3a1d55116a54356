"""The text of a CPU kernel as a syntax tree, with its loads and stores and their offsets.

The emulator runs kernels by these trees, so it checks the writer of the text too. Knows the built-ins of memory.py,
sums.py and squares.py (targets/cpu), but imports none of them.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

_BLOCK, _SQUARE = "block_of_", "square0"
_SEARCH_NAME = "index_of_largest_"
_SEARCH = """\
best = max_key_{dtype}({convert}(-INF))
for k in range({count}):
    best = max(best, max_key_{dtype}(load_{dtype}_0({pointer}, {offset} + k) + {convert}(0.0)))
at = I32({count})
for k in range({count}):
    key = max_key_{dtype}(load_{dtype}_0({pointer}, {offset} + k) + {convert}(0.0))
    at = min(at, I32(k) if key == best else I32({count}))
"""
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
    in another order. Elements of squares are loaded from where the squares were."""
    function = parsed(text)
    _NoPrefetches().visit(function)
    if _SEARCH_NAME in text:
        _PlainSearches().visit(function)
    if _SQUARE in text:
        _PlainLoads().visit(function)
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
        case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=pointer), offset, *values]):
            verb, _, rest = name.partition("_")
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
            case ast.Call(func=ast.Name(id=name)) if name.startswith("fetch_"):
                return None
        return node


class _PlainSearches(ast.NodeTransformer):
    """Replaces the search for the largest element (extremes.py) by one that goes from element to element."""

    def visit_Assign(self, node: ast.Assign) -> Any:
        match node.value:
            case ast.Call(func=ast.Name(id=name), args=[pointer, offset, count]) if name.startswith(_SEARCH_NAME):
                dtype = name.removeprefix(_SEARCH_NAME)
                names = {"pointer": ast.unparse(pointer), "offset": ast.unparse(offset), "count": ast.unparse(count)}
                return ast.parse(_SEARCH.format(dtype=dtype, convert=dtype.upper(), **names)).body
        return node


class _PlainLoads(ast.NodeTransformer):
    """Undoes transposes.py: each element is loaded through the pointer that its square was read through."""

    def __init__(self) -> None:
        self.elements: dict[str, tuple[str, ast.expr]] = {}  # of the element at a point: pointer and offset, by square

    def visit_Expr(self, node: ast.Expr) -> Any:
        match node.value:
            case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=square), ast.Name(id=pointer), offset, _]) if (
                re.match(r"transpose\d+_", name)
            ):
                self.elements[square] = pointer, offset
                return None
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> Any:
        """Removes the memory of a square, and the indices of its first point."""
        match node.value:
            case ast.Call(func=ast.Name(id=name), args=[]) if name.startswith("block_f"):
                return None
            case ast.Name(id=first) if first.startswith("j"):
                return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=square), _, _]) if name.startswith("load_square"):
                pointer, offset = self.elements[square]
                load = ast.Name(f"load_{name.rpartition('_')[2]}_0", ast.Load())
                return ast.Call(load, [ast.Name(pointer, ast.Load()), offset], [])
        return self.generic_visit(node)


class _PlainSums(ast.NodeTransformer):
    """Undoes the sums in blocks of sums_in_registers.py: each element is added to its total where it was stored to a
    block."""

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
        raise AssertionError(f"a `while` that sums_in_registers.py does not write: {ast.unparse(node)}")

    def visit_Expr(self, node: ast.Expr) -> Any:
        access = access_of(node.value)
        if access is None or not access.pointer.startswith(_BLOCK):
            return node
        total = access.pointer.removeprefix(_BLOCK)
        addition = ast.BinOp(ast.Name(total, ast.Load()), ast.Add(), access.values[0])
        return ast.Assign([ast.Name(total, ast.Store())], addition)
