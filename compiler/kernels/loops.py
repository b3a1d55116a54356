"""Fused loops as Python source: one nest of loops over an iteration space, with loads, scalar expressions, stores and folds.

Takes a `Nest` of strides and expressions, gives the text of a function `kernel(p0, p1, ..., n)` over addresses. Equal nests give equal text,
so that models share kernels. Knows no graph.
"""

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from netc.compiler.ir.types import DTYPES
from netc.compiler.kernels.machine import SCOPES, Machine
from netc.compiler.kernels.sums import BLOCK

_IN_ORDER = 16  # elements of a sum that is taken in order, without blocks
_SHORT_ROW = 64  # elements of a row of sums
_UNROLLED_LINES = 384  # LLVM unrolls a shorter loop whole, and then finds no vectors in it
_MOST_ROWS = 16  # that fold_in_memory takes at once


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
class Output:
    """The value of a line, stored at `target` for each point; with `fold` (initial, combine), reduced over the nest's folded axes first, by way of keys if
    it is `keyed`."""

    line: str
    target: Access
    fold: tuple[str, str] | None = None
    keyed: str | None = None


@dataclass(frozen=True, slots=True)
class Nest:
    """Loops over `extents` (None: a count given when the kernel is called), in which lines are computed and outputs stored.

    `folded` are the axes that folds reduce. `scopes` gives each pointer's alias scope. With `combine`, the only output is combined with what its target holds (a: that, b: the line);
    with `argmax`, it is where along the folded axis the line is largest.
    """

    extents: tuple[int | None, ...]
    lines: tuple[Line, ...]
    outputs: tuple[Output, ...]
    scopes: tuple[int, ...]
    folded: tuple[bool, ...]
    combine: str | None = None
    argmax: bool = False

    def accesses(self) -> list[Access]:
        return [line.value for line in self.lines if isinstance(line.value, Access)] + [
            output.target for output in self.outputs
        ]


@dataclass(frozen=True, slots=True)
class Extent:
    """A count that a kernel takes: a factor, times the extent that is given for `axis` of the nest (None: the factor alone)."""

    factor: int
    axis: int | None


def collapse(nest: Nest) -> tuple[Nest, tuple[Extent, ...]]:
    """Neighbouring axes that every access walks as one become one axis, those of one element none. Returns the nest, and the extent of each axis."""
    kept: list[list[int]] = []
    for axis, extent in _longer(nest):
        joined = (
            kept
            and extent is not None
            and nest.folded[kept[-1][-1]] == nest.folded[axis]
            and not nest.argmax
            and all(access.strides[kept[-1][-1]] == access.strides[axis] * extent for access in nest.accesses())
        )
        if joined:
            kept[-1].append(axis)
        else:
            kept.append([axis])
    extents = tuple(
        Extent(
            math.prod(extent for extent in (nest.extents[axis] for axis in group) if extent is not None),
            next((axis for axis in group if nest.extents[axis] is None), None),
        )
        for group in kept
    )

    def pick(access: Access) -> Access:
        return replace(access, strides=tuple(access.strides[group[-1]] for group in kept))

    smaller = replace(
        nest,
        extents=tuple(extent.factor if extent.axis is None else None for extent in extents),
        lines=tuple(
            Line(line.name, pick(line.value) if isinstance(line.value, Access) else line.value) for line in nest.lines
        ),
        outputs=tuple(replace(output, target=pick(output.target)) for output in nest.outputs),
        folded=tuple(nest.folded[group[0]] for group in kept),
    )
    return smaller, extents


def _longer(nest: Nest) -> list[tuple[int, int | None]]:
    """The axes of more than one element, and their extents; one that is folded stays, if anything is folded."""
    axes = list(enumerate(nest.extents))
    found = [(axis, extent) for axis, extent in axes if extent != 1]
    if any(nest.folded) and not any(nest.folded[axis] for axis, _ in found):
        found = sorted([*found, next(one for one in axes if nest.folded[one[0]])])
    return found or axes[-1:]


def write(nest: Nest) -> tuple[str, tuple[Extent, ...]]:
    """The source of a nest, and the counts that it takes after its addresses.

    A count is an argument if it is known only at the call, if it is the only one, or if it is that of a long sum: LLVM unrolls a short loop of known length
    whole, and then finds no vectors in it.

    The order in which a sum is taken is fixed by its own axes alone: it does not depend on what else the loop computes, on how many rows a call
    has, or on the vector width. LLVM gets no freedom to reorder.
    """
    in_blocks = is_summed_in_blocks(nest)
    nest, extents = collapse(nest)
    ranges, given = [], []
    for axis, extent in enumerate(extents):
        if extent.axis is not None or len(extents) == 1 or (axis == len(extents) - 1 and in_blocks):
            ranges.append(f"n{axis}")
            given.append(extent)
        else:
            ranges.append(str(extent.factor))
    arguments = [f"p{i}" for i in range(len(nest.scopes))] + [name for name in ranges if name.startswith("n")]
    body = _Writer(nest, ranges, in_blocks).write()
    return f"def kernel({', '.join(arguments)}):\n" + "\n".join("    " + line for line in body) + "\n", tuple(given)


def is_summed_in_blocks(nest: Nest) -> bool:
    """Whether the nest's sums run along rows and are long enough to be taken block by block (sums.py). Asked before axes are collapsed, because
    which axes collapse depends on everything in the nest."""
    axes = [axis for axis, extent in enumerate(nest.extents) if extent != 1]
    folded = [nest.extents[axis] for axis in axes if nest.folded[axis]]
    if not folded or not nest.folded[axes[-1]]:
        return False
    return None in folded or math.prod(extent for extent in folded if extent is not None) > _IN_ORDER


class _Writer:
    """Writes one nest; `ranges` are its extents as they stand in the text. With `in_blocks`, sums of floats are taken block by block."""

    def __init__(self, nest: Nest, ranges: Sequence[str], in_blocks: bool) -> None:
        self.nest, self.ranges, self.in_blocks = nest, ranges, in_blocks
        self.kept = [axis for axis in range(len(ranges)) if not nest.folded[axis]]
        self.folded = [axis for axis in range(len(ranges)) if nest.folded[axis]]
        self.stored = [output for output in nest.outputs if output.fold is None]
        self.folds = [output for output in nest.outputs if output.fold is not None]

    def write(self) -> list[str]:
        if self.nest.argmax:
            return self.argmax()
        stores = [self.store(output, output.line) for output in self.stored]
        if not self.folds:
            return self.loops(self.kept, [*self.lines(), *stores])
        if self.kept and self.folded and self.kept[-1] > self.folded[-1]:
            return self.fold_in_memory()
        totals = [f"total{i}" for i in range(len(self.folds))]
        pairs = list(zip(totals, self.folds, strict=True))
        blocked = [pair for pair in pairs if self.is_blocked(pair[1])]
        combine = [f"{total} = {self.in_register(fold, total)}" for total, fold in pairs if not self.is_blocked(fold)]
        start = [f"{total} = {self.key(fold, self.initial(fold))}" for total, fold in pairs]
        end = [
            self.store(fold, f"of_key_{fold.target.dtype}({total})" if fold.keyed else total) for total, fold in pairs
        ]
        inside = [*self.lines(), *stores, *combine]
        if not blocked:
            return self.loops(self.kept, [*start, *self.loops(self.folded, inside), *end])
        rooms = [f"block_of_{total} = block_{fold.target.dtype}()" for total, fold in blocked]
        return [*rooms, *self.loops(self.kept, [*start, *self.fold_in_blocks(inside, blocked), *end])]

    def is_blocked(self, output: Output) -> bool:
        """Whether a fold is a sum of floats that is taken block by block."""
        is_sum = output.fold is not None and output.fold[1] == "a + b"
        return self.in_blocks and is_sum and DTYPES[output.target.dtype].is_float

    def fold_in_blocks(self, inside: Sequence[str], sums: Sequence[tuple[str, Output]]) -> list[str]:
        """Fill a block with the elements of each sum, in row-major order over all folded axes, and add the block's sum to the total when it is full."""

        def keep(at: str) -> list[str]:
            return [
                f"store_{fold.target.dtype}_{SCOPES - 1}(block_of_{total}, {at}, {fold.line})" for total, fold in sums
            ]

        def add(count: str) -> list[str]:
            return [f"{total} = {total} + sum_{fold.target.dtype}(block_of_{total}, {count})" for total, fold in sums]

        axis = self.folded[-1]
        extent = self.nest.extents[axis]
        if len(self.folded) == 1 and extent is not None and extent <= BLOCK:
            return [*self.loops([axis], [*inside, *keep(f"i{axis}")]), *add(self.ranges[axis])]
        fill = [
            "done = 0",
            f"while done < {self.ranges[axis]}:",
            f"    count = min({self.ranges[axis]} - done, {BLOCK} - filled)",
            "    for k in range(count):",
            f"        i{axis} = done + k",
            *_indented(_indented([*inside, *keep("filled + k")])),
            "    done += count",
            "    filled += count",
            f"    if filled == {BLOCK}:",
            *_indented(_indented([*add(str(BLOCK)), "filled = 0"])),
        ]
        return ["filled = 0", *self.loops(self.folded[:-1], fill), *add("filled")]

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
            return f"{DTYPES[access.dtype].word}({self.offset(access)})"
        return f"load_{access.dtype}_{self.nest.scopes[access.pointer]}(p{access.pointer}, {self.offset(access)})"

    def lines(self) -> list[str]:
        return [
            f"{line.name} = {self.read(line.value) if isinstance(line.value, Access) else line.value}"
            for line in self.nest.lines
        ]

    def store(self, output: Output, value: str) -> str:
        target = output.target
        assert target.pointer is not None
        if self.nest.combine is not None:
            value = _named(self.nest.combine, {"a": "held", "b": value})
            return f"held = {self.read(target)}; {self.write_to(target, value)}"
        return self.write_to(target, value)

    def write_to(self, target: Access, value: str) -> str:
        assert target.pointer is not None
        return f"store_{target.dtype}_{self.nest.scopes[target.pointer]}(p{target.pointer}, {self.offset(target)}, {value})"

    @staticmethod
    def initial(output: Output) -> str:
        assert output.fold is not None
        return output.fold[0]

    @staticmethod
    def combined(output: Output, held: str) -> str:
        assert output.fold is not None
        return _named(output.fold[1], {"a": held, "b": output.line})

    @staticmethod
    def key(output: Output, value: str) -> str:
        return f"{output.keyed}_key_{output.target.dtype}({value})" if output.keyed else value

    def in_register(self, output: Output, held: str) -> str:
        """The fold so far and the next element; of keys, so that a vector can take them in any order."""
        return (
            f"{output.keyed}({held}, {self.key(output, output.line)})" if output.keyed else self.combined(output, held)
        )

    def fold_in_memory(self) -> list[str]:
        """The innermost axis is kept: a row of the result is the sum of rows, so the innermost loop stays contiguous.

        Short rows are taken several at a time, still in their order: that many elements go into a sum before it is stored.
        """
        assert not self.stored
        last, outer, along = self.kept[-1], self.kept[:-1], self.folded[-1]
        held = [f"held{i}" for i in range(len(self.folds))]
        clear = self.loops([last], [self.store(fold, self.initial(fold)) for fold in self.folds])
        load = [f"{name} = {self.read(fold.target)}" for name, fold in zip(held, self.folds, strict=True)]
        store = [self.store(fold, name) for name, fold in zip(held, self.folds, strict=True)]
        combine = [f"{name} = {self.combined(fold, name)}" for name, fold in zip(held, self.folds, strict=True)]
        rows, count = self.rows_at_once(last, along), self.ranges[along]
        whole, inside = f"{count} // {rows} * {rows}", [*self.lines(), *combine]
        block = [*load, f"for i{along} in range(row, row + {rows}):", *_indented(inside), *store]
        blocks = [f"for row in range(0, {whole}, {rows}):", *_indented(self.loops([last], block))]
        rest = [
            f"for i{along} in range({whole if rows > 1 else 0}, {count}):",
            *_indented(self.loops([last], [*load, *inside, *store])),
        ]
        number = self.nest.extents[along]
        none_left = rows > 1 and number is not None and number % rows == 0
        update = [*(blocks if rows > 1 else []), *([] if none_left else rest)]
        return self.loops(outer, [*clear, *self.loops(self.folded[:-1], update)])

    def rows_at_once(self, last: int, along: int) -> int:
        """Of a sum of rows: enough to fill a block, if their length is known and short; if their number is known, so that none is left over."""
        extent, number = self.nest.extents[last], self.nest.extents[along]
        if extent is None or extent >= _SHORT_ROW:
            return 1
        lines = extent * (len(self.nest.lines) + 2 * len(self.folds))
        wanted = min(-(-_UNROLLED_LINES // lines), _MOST_ROWS)
        if number is not None:
            return next((rows for rows in range(wanted, _MOST_ROWS + 1) if number % rows == 0), min(wanted, number))
        return wanted

    def argmax(self) -> list[str]:
        (axis,), (output,) = self.folded, self.nest.outputs
        line = output.line
        test = f"if i{axis} == 0 or {line} > best or ({line} != {line} and best == best):"
        inner = self.loops([axis], [*self.lines(), test, f"    best = {line}", f"    at = i{axis}"])
        dtype = next(line.value.dtype for line in self.nest.lines if isinstance(line.value, Access))
        return self.loops(
            self.kept, [f"best = {DTYPES[dtype].word}(0)", "at = 0", *inner, self.store(output, "I32(at)")]
        )


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


class _Names(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)


def _named(expression: str, names: dict[str, str]) -> str:
    """An expression with other names in it."""
    return ast.unparse(_Names(names).visit(ast.parse(expression, mode="eval")))


_BUILTIN = ("abs", "max", "min")


class _Scalar(_Names):
    """Operands by their names, attributes as their numbers, numbers in the result's type (a bare 1 would make f64 of f32), functions of that type."""

    def __init__(self, names: dict[str, str], dtype: str, attributes: Mapping[str, Any]) -> None:
        super().__init__(names)
        self.dtype, self.attributes = dtype, attributes

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.attributes and node.id not in self.names:
            return self.visit_Constant(ast.Constant(self.attributes[node.id]))
        return super().visit_Name(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(ast.Name(DTYPES[self.dtype].word, ast.Load()), [node], [])

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
            return ast.Call(ast.Name(DTYPES[self.dtype].word, ast.Load()), [inner], [])
        return ast.Call(
            ast.Name(name if name in _BUILTIN else f"{name}_{self.dtype}", ast.Load()),
            [self.visit(argument) for argument in node.args],
            [],
        )


def scalar(expression: str, names: dict[str, str], dtype: str, attributes: Mapping[str, Any]) -> str:
    """An operation's scalar expression with the operands' names and the attributes' numbers in it, in the words of math.py for a type."""
    return ast.unparse(_Scalar(names, dtype, attributes).visit(ast.parse(expression, mode="eval")))


def literal(number: object, dtype: str) -> str:
    """A number in the text of a kernel, of a type."""
    assert isinstance(number, bool | int | float)
    if dtype == "bool":
        return str(bool(number))
    text = repr(int(number) if dtype == "i32" else float(number))
    return f"{DTYPES[dtype].word}({text if text not in ('inf', '-inf', 'nan') else text.replace('inf', 'INF').replace('nan', 'NAN')})"


def define(text: str, machine: Machine) -> Any:
    """The function of a kernel's source for a machine, with the words that it uses."""
    import re

    import numpy as np

    from netc.compiler.kernels import math as words
    from netc.compiler.kernels import memory, sums

    names: dict[str, Any] = {
        "F32": np.float32,
        "F64": np.float64,
        "I32": np.int32,
        "INF": np.inf,
        "NAN": np.nan,
        **words.words_for(machine),
        **sums.words(),
    }
    for word, dtype, scope in re.findall(r"\b((?:load|store)_(f32|f64|i32|u8|bool)_(\d+))\b", text):
        names[word] = (memory.load if word.startswith("load") else memory.store)(dtype, int(scope))
    exec(compile(text, "<netc kernel>", "exec"), names)
    return names["kernel"]
