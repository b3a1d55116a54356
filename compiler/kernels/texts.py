"""The text of a kernel as a syntax tree, and what it says about memory: which pointers are loaded from and stored to, at which offsets.

For whoever runs a kernel without compiling it or proves something about it. Knows the words of memory.py and sums.py, imports neither.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from netc.compiler.kernels.schedule import PRODUCT, KernelSource

_BLOCK = "block_of_"
Form = dict[str, int]  # an offset as a sum: how often it takes each variable, and under "" the rest


@dataclass(frozen=True, slots=True)
class Touched:
    """Which pointers a kernel uses, by number: those that it loads from (`reads`) and stores to (`writes`), those that it loads from before it has stored
    anything there (`needs`), and those that it stores to at offsets loaded from memory (`scattered`)."""

    reads: frozenset[int]
    writes: frozenset[int]
    needs: frozenset[int]
    scattered: frozenset[int] = frozenset()


@cache
def touched(source: KernelSource, has_start: bool = True) -> Touched:
    """How a kernel uses its pointers. `has_start` matters for products alone."""
    if source.form == "product":
        reads = frozenset(map(PRODUCT.index, ("a", "b", *(("start",) if has_start else ()))))
        return Touched(reads, frozenset({PRODUCT.index("c")}), reads)
    function = function_of(source.text)
    numbers = {argument.arg: i for i, argument in enumerate(function.args.args)}
    variables = {
        node.target.id for node in ast.walk(function) if isinstance(node, ast.For) and isinstance(node.target, ast.Name)
    }
    loaded, stored, needs, scattered = set[int](), set[int](), set[int](), set[int]()
    for statement in _in_order(function.body):
        loads_first = sorted(accesses(statement), key=lambda access: access[0])
        for verb, _, pointer, offset in loads_first:
            number = numbers[pointer]
            if verb == "load":
                loaded.add(number)
                needs |= {number} - stored
                continue
            stored.add(number)
            names = {node.id for node in ast.walk(offset) if isinstance(node, ast.Name)}
            if names - variables - set(numbers):
                scattered.add(number)
    return Touched(frozenset(loaded), frozenset(stored), frozenset(needs), frozenset(scattered))


def _in_order(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """The statements and loop heads of a text, in the order in which they first run."""
    for statement in body:
        match statement:
            case ast.For(iter=head, body=inside) | ast.While(test=head, body=inside):
                yield head
                yield from _in_order(inside)
            case ast.If(test=head, body=inside, orelse=other):
                yield head
                yield from _in_order([*inside, *other])
            case _:
                yield statement


@cache
def function_of(text: str) -> ast.FunctionDef:
    """A kernel's function. Sums that are taken in blocks are plain sums in it: the same numbers added up, in another order."""
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    if _BLOCK in text:
        function = ast.fix_missing_locations(_PlainSums().visit(function))
    return function


def accesses(tree: ast.AST) -> Iterator[tuple[str, str, str, ast.expr]]:
    """Each load and store: which of them, element type, pointer, offset."""
    for node in ast.walk(tree):
        if (access := access_of(node)) is not None:
            yield access


def access_of(node: ast.AST) -> tuple[str, str, str, ast.expr] | None:
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.args
        and isinstance(node.args[0], ast.Name)
    ):
        verb, _, rest = node.func.id.partition("_")
        if verb in ("load", "store"):
            return verb, rest.partition("_")[0], node.args[0].id, node.args[1]
    return None


def linear(node: ast.expr) -> Form | None:
    """An offset as a sum of variables times whole numbers; None if it is none."""
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


class _PlainSums(ast.NodeTransformer):
    """Undoes loops._Writer.fold_in_blocks: an element is added to its total where it was stored to a block."""

    def visit_Assign(self, node: ast.Assign) -> Any:
        called = {
            one.func.id for one in ast.walk(node.value) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)
        }
        is_of_block = any(name.startswith(("block_f", "sum_f")) for name in called)
        is_counter = isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("filled", "done")
        return None if is_of_block or is_counter else node

    def visit_While(self, node: ast.While) -> Any:
        assert isinstance(node.test, ast.Compare)
        (loop,) = (one for one in node.body if isinstance(one, ast.For))
        variable, *inside = loop.body
        assert isinstance(variable, ast.Assign)
        extent = ast.Call(ast.Name("range", ast.Load()), [node.test.comparators[0]], [])
        body = [self.visit(one) for one in inside]
        return ast.For(ast.Name(ast.unparse(variable.targets[0]), ast.Store()), extent, body, [])

    def visit_Expr(self, node: ast.Expr) -> Any:
        access = access_of(node.value)
        if access is None or not access[2].startswith(_BLOCK):
            return node
        assert isinstance(node.value, ast.Call)
        total = access[2].removeprefix(_BLOCK)
        added = ast.BinOp(ast.Name(total, ast.Load()), ast.Add(), node.value.args[2])
        return ast.Assign([ast.Name(total, ast.Store())], added)
