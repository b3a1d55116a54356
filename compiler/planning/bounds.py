"""Computes which elements a call of a kernel reaches behind its pointers, from the kernel's text and its counts.

Each access gives an interval, for loops that run from end to end. Offsets that are loaded from memory are left out.
For verify_plan.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netc.compiler.program.product import POINTERS, WALKS, Product
from netc.compiler.program.schedule import KernelSource
from netc.compiler.targets.cpu.texts import access_of, function_of, linear

Interval = tuple[int, int]


def reached(kernel: KernelSource, counts: Sequence[int]) -> Iterator[tuple[int, Interval]]:
    """Yields for each access the number of its pointer, and the interval that is read or written, in elements."""
    yield from _reached_by_product(counts) if kernel.form == "product" else _reached_by_loops(kernel.text, counts)


def _reached_by_product(counts: Sequence[int]) -> Iterator[tuple[int, Interval]]:
    """Yields for each operand of a product the interval that is read or written, in elements from its pointer."""
    product = Product.of(POINTERS, counts, int)
    for operand in WALKS:
        extents, strides = product.walk(operand)
        if all(extents) and (operand != "start" or product.has_start):
            reach = [(extent - 1) * stride for extent, stride in zip(extents, strides, strict=True)]
            low, high = sum(step for step in reach if step < 0), sum(step for step in reach if step > 0)
            yield POINTERS.index(operand), (low, high)


def _reached_by_loops(text: str, counts: Sequence[int]) -> Iterator[tuple[int, Interval]]:
    """Yields the same for a kernel's text, for offsets that are sums of loop variables."""
    function = function_of(text)
    names = [argument.arg for argument in function.args.args]
    numbers = {name: i for i, name in enumerate(names)}
    count_by_name = dict(zip(names[len(names) - len(counts) :], counts, strict=True)) if counts else {}
    yield from _walk(function.body, {name: (count, count) for name, count in count_by_name.items()}, numbers)


def _walk(
    body: Sequence[ast.AST], limits: Mapping[str, Interval], numbers: Mapping[str, int]
) -> Iterator[tuple[int, Interval]]:
    for node in body:
        if isinstance(node, ast.For):
            inner = _inside(node, limits)
            if inner is not None:
                yield from _walk(node.body, inner, numbers)
        elif isinstance(node, ast.stmt):
            for part in ast.walk(node):
                access = access_of(part)
                interval = None if access is None else _interval(access.offset, limits)
                if access is not None and interval is not None:
                    yield numbers[access.pointer], interval


def _inside(loop: ast.For, limits: Mapping[str, Interval]) -> dict[str, Interval] | None:
    """The intervals of all variables in a loop; None if it never runs, or if its bounds depend on memory."""
    if not (isinstance(loop.target, ast.Name) and isinstance(loop.iter, ast.Call)):
        return None
    bounds = [_interval(bound, limits) for bound in loop.iter.args]
    if any(bound is None for bound in bounds):
        return None
    ends: list[Any] = bounds
    low = 0 if len(ends) == 1 else ends[0][0]
    high = ends[0 if len(ends) == 1 else 1][1] - (ends[2][1] if len(ends) == 3 else 1)
    return {**limits, loop.target.id: (low, high)} if high >= low else None


def _interval(node: ast.expr, limits: Mapping[str, Interval]) -> Interval | None:
    """Returns the interval of an expression's values; None if they depend on memory."""
    form = linear(node)
    if form is None:
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        if any(name not in limits or limits[name][0] != limits[name][1] for name in names):
            return None
        code = compile(ast.Expression(node), "<bound>", "eval")
        number = eval(code, {}, {name: limits[name][0] for name in names})  # of counts alone: n0 // 4 * 4
        return number, number
    if any(name and name not in limits for name in form):
        return None
    low = high = form.get("", 0)
    for name, factor in form.items():
        if name:
            ends = [factor * end for end in limits[name]]
            low, high = low + min(ends), high + max(ends)
    return low, high
