"""Fused loops as Python source: one nest of loops over an iteration space, with loads, scalar expressions and one store or fold.

Takes a `Nest` of strides and expressions, gives the text of a function `kernel(p0, p1, ..., n)` over addresses. Equal nests give equal text,
so that models share kernels. Knows no graph.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

_TYPES = {"f32": "F32", "f64": "F64", "i32": "I32", "bool": "bool"}


@dataclass(frozen=True, slots=True)
class Access:
    """An element of a buffer for each point of the iteration space: offset + sum of stride * index (+ stride * a loaded index).

    `pointer` counts the kernel's addresses; None means that the offset itself is the element (a range of numbers).
    """

    pointer: int | None
    dtype: str
    strides: tuple[int, ...]
    indirect: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """`name = access`, or `name = expression` in Python."""

    name: str
    value: Access | str


@dataclass(frozen=True, slots=True)
class Nest:
    """`extents` is None for the batch. `folded` axes are reduced with `combine` from `initial`; `scopes` gives each pointer's alias scope.

    `result` is the name that is stored at `target`. With `adds`, it is added to what the target holds. `argmax` keeps where the largest stands.
    """

    extents: tuple[int | None, ...]
    lines: tuple[Line, ...]
    result: str
    target: Access
    scopes: tuple[int, ...]
    folded: tuple[bool, ...] = ()
    fold: tuple[str, str] | None = None
    adds: bool = False
    argmax: bool = False


def collapse(nest: Nest) -> tuple[Nest, tuple[tuple[int, bool], ...]]:
    """Neighbouring axes that every access walks as one become one axis.

    Returns the nest, and for each axis the extent as (factor, times the batch).
    """
    accesses = [line.value for line in nest.lines if isinstance(line.value, Access)] + [nest.target]
    folded = nest.folded or (False,) * len(nest.extents)
    kept: list[list[int]] = []
    for axis in range(len(nest.extents)):
        extent = nest.extents[axis]
        joined = (
            kept
            and extent is not None
            and folded[kept[-1][-1]] == folded[axis]
            and not nest.argmax
            and all(access.strides[kept[-1][-1]] == access.strides[axis] * extent for access in accesses)
        )
        if joined:
            kept[-1].append(axis)
        else:
            kept.append([axis])
    extents = tuple(
        (
            _product(nest.extents[axis] for axis in group if nest.extents[axis] is not None),
            any(nest.extents[axis] is None for axis in group),
        )
        for group in kept
    )

    def pick(access: Access) -> Access:
        return replace(access, strides=tuple(access.strides[group[-1]] for group in kept))

    lines = tuple(
        Line(line.name, pick(line.value) if isinstance(line.value, Access) else line.value) for line in nest.lines
    )
    smaller = replace(
        nest,
        extents=tuple(None if batch else factor for factor, batch in extents),
        lines=lines,
        target=pick(nest.target),
        folded=tuple(folded[group[0]] for group in kept),
    )
    return smaller, extents


def _product(numbers: Any) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def write(nest: Nest) -> tuple[str, tuple[tuple[int, bool], ...]]:
    """The source of a nest and the extents that it takes as arguments after its addresses (those that depend on the batch, and a lone one)."""
    nest, extents = collapse(nest)
    ranges, given = [], []
    for axis, (factor, batch) in enumerate(extents):
        if batch or len(extents) == 1:
            ranges.append(f"n{axis}")
            given.append((factor, batch))
        else:
            ranges.append(str(factor))
    arguments = [f"p{i}" for i in range(len(nest.scopes))] + [name for name in ranges if name.startswith("n")]
    body = _Writer(nest, ranges)
    return f"def kernel({', '.join(arguments)}):\n" + "\n".join("    " + line for line in body.write()) + "\n", tuple(
        given
    )


class _Writer:
    """Writes one nest; `ranges` are its extents as they stand in the text."""

    def __init__(self, nest: Nest, ranges: Sequence[str]) -> None:
        self.nest, self.ranges = nest, ranges
        self.kept = [axis for axis in range(len(ranges)) if not nest.folded[axis]]
        self.folded = [axis for axis in range(len(ranges)) if nest.folded[axis]]

    def write(self) -> list[str]:
        if self.nest.argmax:
            return self.argmax()
        if self.nest.fold is None:
            return self.loops(self.kept, [*self.lines(), self.store(self.nest.result)])
        if self.kept and self.folded and self.kept[-1] > self.folded[-1]:
            return self.fold_in_memory()
        return self.fold_in_register()

    def loops(self, axes: Sequence[int], inside: list[str]) -> list[str]:
        lines, indent = [], ""
        for axis in axes:
            lines.append(f"{indent}for i{axis} in range({self.ranges[axis]}):")
            indent += "    "
        return lines + [indent + line for line in inside]

    def offset(self, access: Access) -> str:
        terms = [
            f"i{axis}" if stride == 1 else f"i{axis} * {stride}" for axis, stride in enumerate(access.strides) if stride
        ]
        if access.indirect:
            terms.append(f"{access.indirect[0]} * {access.indirect[1]}")
        return " + ".join(terms) or "0"

    def read(self, access: Access) -> str:
        if access.pointer is None:
            return f"{_TYPES[access.dtype]}({self.offset(access)})"
        return f"load_{access.dtype}_{self.nest.scopes[access.pointer]}(p{access.pointer}, {self.offset(access)})"

    def lines(self) -> list[str]:
        return [
            f"{line.name} = {self.read(line.value) if isinstance(line.value, Access) else line.value}"
            for line in self.nest.lines
        ]

    def store(self, value: str) -> str:
        target = self.nest.target
        assert target.pointer is not None
        value = f"{self.read(target)} + {value}" if self.nest.adds else value
        return f"store_{target.dtype}_{self.nest.scopes[target.pointer]}(p{target.pointer}, {self.offset(target)}, {value})"

    def combined(self, held: str) -> str:
        assert self.nest.fold is not None
        tree = ast.parse(self.nest.fold[1], mode="eval")
        return ast.unparse(_Names({"a": held, "b": self.nest.result}).visit(tree))

    def fold_in_register(self) -> list[str]:
        """The folded axes are innermost: one sum in a register for each element of the result."""
        assert self.nest.fold is not None
        inner = self.loops(self.folded, [*self.lines(), f"total = {self.combined('total')}"])
        return self.loops(self.kept, [f"total = {self.nest.fold[0]}", *inner, self.store("total")])

    def fold_in_memory(self) -> list[str]:
        """The innermost axis is kept: a row of the result is the sum of rows, so the innermost loop stays contiguous."""
        assert self.nest.fold is not None
        last, outer = self.kept[-1], self.kept[:-1]
        clear = self.loops([last], [self.store(self.nest.fold[0])])
        target = self.nest.target
        inner = self.loops(
            [*self.folded, last], [*self.lines(), f"held = {self.read(target)}", self.store(self.combined("held"))]
        )
        return self.loops(outer, [*clear, *inner])

    def argmax(self) -> list[str]:
        (axis,) = self.folded
        test = f"if i{axis} == 0 or {self.nest.result} > best or ({self.nest.result} != {self.nest.result} and best == best):"
        inner = self.loops([axis], [*self.lines(), test, f"    best = {self.nest.result}", f"    at = i{axis}"])
        dtype = next(line.value.dtype for line in self.nest.lines if isinstance(line.value, Access))
        return self.loops(self.kept, [f"best = {_TYPES[dtype]}(0)", "at = 0", *inner, self.store("I32(at)")])


class _Names(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)


_BUILTIN = ("abs", "max", "min")


class _Scalar(_Names):
    """Operands by their names, numbers in the result's type (a bare 1 would make f64 of f32), functions of that type."""

    def __init__(self, names: dict[str, str], dtype: str) -> None:
        super().__init__(names)
        self.dtype = dtype

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(ast.Name(_TYPES[self.dtype], ast.Load()), [node], [])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name == "T":
            operand = node.args[0]
            inner = (
                operand
                if isinstance(operand, ast.Constant | ast.UnaryOp) and not isinstance(operand, ast.Name)
                else self.visit(operand)
            )
            return ast.Call(ast.Name(_TYPES[self.dtype], ast.Load()), [inner], [])
        return ast.Call(
            ast.Name(name if name in _BUILTIN else f"{name}_{self.dtype}", ast.Load()),
            [self.visit(argument) for argument in node.args],
            [],
        )


def scalar(expression: str, names: dict[str, str], dtype: str) -> str:
    """An operation's scalar expression with the operands' names in it, in the words of math.py for a type."""
    return ast.unparse(_Scalar(names, dtype).visit(ast.parse(expression, mode="eval")))


def literal(number: object, dtype: str) -> str:
    """A number in the text of a kernel, of a type."""
    assert isinstance(number, bool | int | float)
    if dtype == "bool":
        return str(bool(number))
    text = repr(int(number) if dtype == "i32" else float(number))
    return f"{_TYPES[dtype]}({text if text not in ('inf', '-inf', 'nan') else text.replace('inf', 'INF').replace('nan', 'NAN')})"


def define(text: str) -> Any:
    """The function of a kernel's source, with the words that it uses."""
    import re

    import numpy as np

    from netc.compiler.kernels import math, memory

    names: dict[str, Any] = {
        "F32": np.float32,
        "F64": np.float64,
        "I32": np.int32,
        "INF": np.inf,
        "NAN": np.nan,
        **math.WORDS,
    }
    for word, dtype, scope in re.findall(r"\b((?:load|store)_(f32|f64|i32|bool)_(\d+))\b", text):
        names[word] = (memory.load if word.startswith("load") else memory.store)(dtype, int(scope))
    exec(compile(text, "<netc kernel>", "exec"), names)
    return names["kernel"]
