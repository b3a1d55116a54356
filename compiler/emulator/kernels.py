"""Kernels without machine code: from a text, or the register tile's sum of products, a Python function over pointers and counts."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from netc.compiler.emulator.memory import Access, Reference
from netc.compiler.emulator.vectorise import vectorised
from netc.compiler.emulator.words import WORDS
from netc.compiler.kernels.schedule import PRODUCT, KernelSource
from netc.compiler.kernels.texts import Touched, access_of, function_of, touched

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Kernel:
    """`run(access, *arguments)` takes the pointers as References; `in_order` is the same, element by element."""

    run: Callable[..., None]
    in_order: Callable[..., None]
    memory: Touched

    def __call__(self, access: Access, arguments: Sequence[Reference | int]) -> None:
        memory = self.memory
        is_aliased = any(_overlap(arguments[i], arguments[j]) for i in memory.writes for j in memory.reads if i != j)
        (self.in_order if is_aliased else self.run)(access, *arguments)


def _overlap(one: Reference | int, other: Reference | int) -> bool:
    assert isinstance(one, Reference)
    assert isinstance(other, Reference)
    return one.region is other.region and one.low < other.high and other.low < one.high


@cache
def kernel_of(source: KernelSource) -> Kernel:
    memory = touched(source)
    if source.form == "product":
        product = _product(source.text)
        return Kernel(product, product, memory)
    function = function_of(source.text)
    in_order = _in_order(function)
    return Kernel(vectorised(function) or in_order, in_order, memory)


class _Elements(ast.NodeTransformer):
    """Loads and stores through an Access, numbers as NumPy's (0.0 / 0.0 is no fault there)."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(ast.Name("F64", ast.Load()), [node], []) if isinstance(node.value, float) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        access = access_of(node)
        self.generic_visit(node)
        if access is None:
            return node
        verb, dtype, pointer, _ = access
        method = ast.Attribute(ast.Name("m", ast.Load()), f"{verb}_at", ast.Load())
        return ast.Call(method, [ast.Name(pointer, ast.Load()), ast.Constant(dtype), *node.args[1:]], [])


def _in_order(function: ast.FunctionDef) -> Callable[..., None]:
    """The text as it stands, an element at a time."""
    arguments = ", ".join(argument.arg for argument in function.args.args)
    copy = ast.parse(ast.unparse(function)).body[0]
    assert isinstance(copy, ast.FunctionDef)
    body = [ast.unparse(ast.fix_missing_locations(_Elements().visit(one))) for one in copy.body]
    source = f"def kernel(m, {arguments}):\n" + "\n".join("    " + line for one in body for line in one.splitlines())
    names = dict(WORDS)
    exec(compile(source, "<kernel in order>", "exec"), names)
    run: Callable[..., None] = names["kernel"]
    return run


def _product(dtype: str) -> Callable[..., None]:
    """c[i, j] = start[i, j] + sum over k of a[i, k] * b[k, j], the depth in order, as kernels/tiles.py has it, over its arguments."""

    def product(access: Access, *arguments: Any) -> None:
        n = dict(zip(PRODUCT, arguments, strict=True))
        around = ("outer", "middle", "inner")
        deep = ("turns", "runs", "depth")
        counts = {name: n[name] for name in (*around, "rows", "columns", *deep)}

        def walk(axes: Sequence[str], strides: dict[str, int]) -> tuple[list[int], list[int]]:
            """Counts and strides of the axes: an axis that does not move is one element, repeated."""
            apart = [strides[axis] for axis in axes]
            return [
                counts[axis] if step or not counts[axis] else 1 for axis, step in zip(axes, apart, strict=True)
            ], apart

        def steps_of(of: str, **more: int) -> dict[str, int]:
            return {**{axis: n[f"{of}_{axis}"] for axis in around}, **more}

        left = steps_of("a", rows=n["a_row"], turns=n["a_turn"], runs=n["a_run"], depth=n["a_step"])
        right = steps_of("b", columns=n["b_column"], turns=n["b_turn"], runs=n["b_run"], depth=n["b_row"])
        target = steps_of("c", rows=n["c_row"], columns=1)
        first = steps_of("start", rows=n["start_row"], columns=1)
        shape = tuple(counts[axis] for axis in (*around, "rows", "columns"))
        if 0 in shape:
            return
        if any(_overlap(n["c"], n[operand]) for operand in "ab"):
            raise access.fail("writes its product into an operand")
        if n["has_start"] and _overlap(n["c"], n["start"]) and (n["c"].start, target) != (n["start"].start, first):
            raise access.fail("writes its product into another place of what it begins with")
        a = access.load(n["a"], dtype, 0, *walk((*around, "rows", *deep), left))
        b = access.load(n["b"], dtype, 0, *walk((*around, *deep, "columns"), right))
        total = np.zeros(shape, a.dtype)
        if n["has_start"]:
            total += access.load(n["start"], dtype, 0, *walk((*around, "rows", "columns"), first))
        depth = tuple(counts[axis] for axis in deep)
        a = np.broadcast_to(a, (*a.shape[:4], *depth)).reshape(*a.shape[:4], -1)
        b = np.broadcast_to(b, (*b.shape[:3], *depth, b.shape[-1])).reshape(*b.shape[:3], -1, b.shape[-1])
        for k in range(a.shape[-1]):
            total += a[..., k, None] * b[..., k, None, :]
        access.store(n["c"], dtype, 0, shape, [target[axis] for axis in (*around, "rows", "columns")], total)

    return product
