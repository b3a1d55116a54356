"""Writes a nest of loops as Python source.

Takes a `Nest` of strides and expressions and gives the text of a function `kernel(p0, p1, ..., n)` over addresses.
Equal nests give equal text, so that models share kernels. Knows no graph.
"""

from collections.abc import Sequence

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import BLOCK, Access, Nest, Output, Reduction
from netc.compiler.program.scalars import Binary, Name
from netc.compiler.targets.cpu.expressions import text_of

SCOPES = 24  # alias scopes of a loop: LLVM knows that buffers in different scopes do not overlap
_SHORT_ROW = 64  # a row of sums with fewer elements is short
_UNROLLED_LINES = 384  # LLVM unrolls a shorter loop completely, and then finds no vectors in it
_MOST_ROWS = 16  # fold_in_memory takes at most so many rows at once
_ADDITION = Binary("+", Name("a"), Name("b"))


def write(nest: Nest) -> str:
    """Returns the source of a nest. The kernel takes its counts after its addresses.

    The order of a sum is the one that the nest states. LLVM gets no freedom to reorder.
    """
    ranges = [f"n{axis}" if extent is None else str(extent) for axis, extent in enumerate(nest.extents)]
    counts = [name for name, extent in zip(ranges, nest.extents, strict=True) if extent is None]
    arguments = [*(f"p{i}" for i in range(len(nest.buffers))), *counts]
    body = _Writer(nest, ranges).write()
    return f"def kernel({', '.join(arguments)}):\n" + "\n".join("    " + line for line in body) + "\n"


class _Writer:
    """Writes the body of a kernel for one nest. `ranges` are its extents as they stand in the text."""

    def __init__(self, nest: Nest, ranges: Sequence[str]) -> None:
        self.nest, self.ranges = nest, ranges
        self.scopes = [min(buffer, SCOPES - 1) for buffer in nest.buffers]  # those beyond share one: they may overlap
        self.kept = [axis for axis in range(len(ranges)) if not nest.folded[axis]]
        self.folded = [axis for axis in range(len(ranges)) if nest.folded[axis]]
        self.stored = [output for output in nest.outputs if output.fold is None]
        self.folds = [output for output in nest.outputs if output.fold is not None]

    def write(self) -> list[str]:
        """The lines of the body."""
        if self.nest.argmax:
            return self.argmax()
        if not self.folds:
            return self.loops(self.kept, [*self.lines(), *self.stores()])
        if self.kept and self.folded and self.kept[-1] > self.folded[-1]:
            return self.fold_in_memory()
        return self.fold_in_registers()

    def fold_in_registers(self) -> list[str]:
        """The innermost axis is folded: each fold has a running total, which is stored after the loops over folded
        axes."""
        totals = [f"total{i}" for i in range(len(self.folds))]
        pairs = list(zip(totals, self.folds, strict=True))
        blocked = [pair for pair in pairs if self.is_blocked(pair[1])]
        combine = [f"{total} = {self.in_register(fold, total)}" for total, fold in pairs if not self.is_blocked(fold)]
        start = [f"{total} = {self.key(fold, self.initial(fold))}" for total, fold in pairs]
        end = [
            self.store(fold, f"of_key_{fold.target.dtype}({total})" if self.keyed(fold) else total)
            for total, fold in pairs
        ]
        inside = [*self.lines(), *self.stores(), *combine]
        if not blocked:
            return self.loops(self.kept, [*start, *self.loops(self.folded, inside), *end])
        blocks = [f"block_of_{total} = block_{fold.target.dtype}()" for total, fold in blocked]
        return [*blocks, *self.loops(self.kept, [*start, *self.fold_in_blocks(inside, blocked), *end])]

    def is_blocked(self, output: Output) -> bool:
        """Whether a fold is a sum of floats that is computed block by block."""
        is_sum = self.reduction(output).combine == _ADDITION
        return self.nest.sums != "in order" and is_sum and DTYPES[output.target.dtype].is_float

    def fold_in_blocks(self, inside: Sequence[str], sums: Sequence[tuple[str, Output]]) -> list[str]:
        """Stores the elements of each sum into a block, in row-major order over all folded axes, and adds the block's
        sum to the total whenever the block is full."""

        def keep(index: str) -> list[str]:
            scope = SCOPES - 1
            return [
                f"store_{fold.target.dtype}_{scope}(block_of_{total}, {index}, {fold.line})" for total, fold in sums
            ]

        def add(count: str) -> list[str]:
            return [f"{total} = {total} + sum_{fold.target.dtype}(block_of_{total}, {count})" for total, fold in sums]

        axis = self.folded[-1]
        if self.nest.sums == "in one block":
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
        """Loops over axes, with the lines `inside` of the innermost one."""
        lines, indent = [], ""
        for axis in axes:
            lines.append(f"{indent}for i{axis} in range({self.ranges[axis]}):")
            indent += "    "
        return lines + [indent + line for line in inside]

    def offset(self, access: Access) -> str:
        """The offset of an element from its pointer."""
        terms = [
            f"i{axis}" if stride == 1 else f"i{axis} * {stride}" for axis, stride in enumerate(access.strides) if stride
        ]
        if access.indirect:
            terms.append(f"{access.indirect[0]} * {access.indirect[1]}")
        return " + ".join(terms) or "0"

    def read(self, access: Access) -> str:
        """The load of an element, or the offset itself if there is no pointer."""
        if access.pointer is None:
            return f"{DTYPES[access.dtype].word}({self.offset(access)})"
        return f"load_{access.dtype}_{self.scopes[access.pointer]}(p{access.pointer}, {self.offset(access)})"

    def lines(self) -> list[str]:
        """The assignments of the nest's lines."""
        return [
            f"{line.name} = {self.read(line.value) if isinstance(line.value, Access) else text_of(line.value)}"
            for line in self.nest.lines
        ]

    def stores(self) -> list[str]:
        """The stores of the outputs that are not folded."""
        return [self.store(output, output.line) for output in self.stored]

    def store(self, output: Output, value: str) -> str:
        """Stores a value at an output's target, or combines it with the element there."""
        target = output.target
        if self.nest.combine is not None:
            value = text_of(self.nest.combine, {"a": "held", "b": value})
            return f"held = {self.read(target)}; {self.write_to(target, value)}"
        return self.write_to(target, value)

    def write_to(self, target: Access, value: str) -> str:
        assert target.pointer is not None, "an output is stored in a buffer"
        word = f"store_{target.dtype}_{self.scopes[target.pointer]}"
        return f"{word}(p{target.pointer}, {self.offset(target)}, {value})"

    @staticmethod
    def reduction(output: Output) -> Reduction:
        """The reduction of an output that is one."""
        assert output.fold is not None
        return output.fold

    def initial(self, output: Output) -> str:
        """The value that a fold begins with."""
        return text_of(self.reduction(output).initial)

    def keyed(self, output: Output) -> str | None:
        """The word of integer keys ("max" or "min") that a fold reduces, if any."""
        return self.reduction(output).keyed

    def combined(self, output: Output, total: str) -> str:
        """A fold's total combined with the value of its line."""
        return text_of(self.reduction(output).combine, {"a": total, "b": output.line})

    def key(self, output: Output, value: str) -> str:
        """The integer key of a value if the fold is one of keys, else the value."""
        keyed = self.keyed(output)
        return f"{keyed}_key_{output.target.dtype}({value})" if keyed else value

    def in_register(self, output: Output, total: str) -> str:
        """The total so far combined with the next element. Keys of floats allow a vector to take them in any order."""
        keyed = self.keyed(output)
        if keyed:
            return f"{keyed}({total}, {self.key(output, output.line)})"
        return self.combined(output, total)

    def fold_in_memory(self) -> list[str]:
        """The innermost axis is kept: a row of the result is the sum of rows, so the innermost loop stays contiguous.

        Short rows are taken several at a time, still in their order: so many elements are added to a total before it
        is stored.
        """
        assert not self.stored, "outputs that are not folded are stored where the innermost axis is folded"
        last, outer, along = self.kept[-1], self.kept[:-1], self.folded[-1]
        totals = [(f"held{i}", fold) for i, fold in enumerate(self.folds)]
        clear = self.loops([last], [self.store(fold, self.initial(fold)) for fold in self.folds])
        load = [f"{name} = {self.read(fold.target)}" for name, fold in totals]
        store = [self.store(fold, name) for name, fold in totals]
        combine = [f"{name} = {self.combined(fold, name)}" for name, fold in totals]
        rows, count = self.rows_at_once(last, along), self.ranges[along]
        covered, inside = f"{count} // {rows} * {rows}", [*self.lines(), *combine]
        block = [*load, f"for i{along} in range(row, row + {rows}):", *_indented(inside), *store]
        blocks = [f"for row in range(0, {covered}, {rows}):", *_indented(self.loops([last], block))]
        rest = [
            f"for i{along} in range({covered if rows > 1 else 0}, {count}):",
            *_indented(self.loops([last], [*load, *inside, *store])),
        ]
        number = self.nest.extents[along]
        none_left = rows > 1 and number is not None and number % rows == 0
        update = [*(blocks if rows > 1 else []), *([] if none_left else rest)]
        return self.loops(outer, [*clear, *self.loops(self.folded[:-1], update)])

    def rows_at_once(self, last: int, along: int) -> int:
        """How many rows `fold_in_memory` adds up at once: 1 unless rows are known to be short, else enough that LLVM
        does not unroll the loop over a row. If the number of rows is known, preferably a divisor of it."""
        extent, number = self.nest.extents[last], self.nest.extents[along]
        if extent is None or extent >= _SHORT_ROW:
            return 1
        lines = extent * (len(self.nest.lines) + 2 * len(self.folds))
        least = min(-(-_UNROLLED_LINES // lines), _MOST_ROWS)
        if number is not None:
            return next((rows for rows in range(least, _MOST_ROWS + 1) if number % rows == 0), min(least, number))
        return least

    def argmax(self) -> list[str]:
        """The index of the largest element along the folded axis: the first one, or the first NaN."""
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
