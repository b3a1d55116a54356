"""Writes a nest of loops as Python source.

Takes a `Nest` of strides and expressions and gives the text of a function `kernel(p0, p1, ..., n)` over addresses.
Equal nests give equal text, so that models share kernels; in the generic form, nests of other shapes share it too.
Knows no graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import BLOCK, Access, Nest, Output, Reduction
from netc.compiler.program.scalars import Binary, Name
from netc.compiler.targets.cpu.expressions import text_of
from netc.compiler.targets.cpu.jam import Jam, Point, jam_of
from netc.compiler.targets.cpu.prefetch import Gap, gaps, stretches
from netc.compiler.targets.cpu.shape_numbers import ShapeNumbers
from netc.compiler.targets.cpu.short_rows import rows_side_by_side
from netc.compiler.targets.cpu.vector_rows import LEAST_LANES, MOST_LANES, has_vector_rows, keeps_totals

SCOPES = 24  # alias scopes of a loop: LLVM knows that buffers in different scopes do not overlap
_FIRST: Point = {}  # the first point of a body
_NONE: Mapping[str, str] = {}
_ADDITION = Binary("+", Name("a"), Name("b"))


def write(nest: Nest) -> str:
    """Returns the source of a nest. The kernel takes its counts after its addresses.

    The order of a sum is the one that the nest states. LLVM gets no freedom to reorder.
    """
    return _text(nest, None, in_vectors=False)


def write_generic(nest: Nest) -> tuple[str, tuple[int, ...]]:
    """Returns the source of a nest with the numbers of its shape as arguments, and these numbers.

    They follow the counts. Nests that are faster with known numbers have none (shape_numbers.py). Rows of sums are
    computed in vectors (vector_rows.py).
    """
    shape = ShapeNumbers(nest)
    if not shape.is_generic:
        return _text(nest, None, has_vector_rows(nest)), ()
    return _text(nest, shape, in_vectors=False), tuple(shape.numbers.values())


def _text(nest: Nest, shape: ShapeNumbers | None, in_vectors: bool) -> str:
    writer = _Writer(nest, shape, in_vectors)
    body = writer.write()
    counts = [f"n{axis}" for axis, extent in enumerate(nest.extents) if extent is None]
    arguments = [*(f"p{i}" for i in range(len(nest.buffers))), *counts, *(shape.numbers if shape is not None else ())]
    return f"def kernel({', '.join(arguments)}):\n" + "\n".join("    " + line for line in body) + "\n"


class _Writer:
    """Writes the body of a kernel for one nest; with `shape`, in its generic form; or `in_vectors`."""

    def __init__(self, nest: Nest, shape: ShapeNumbers | None, in_vectors: bool) -> None:
        self.nest, self.shape, self.in_vectors = nest, shape, in_vectors
        self.part = ""  # of a row, in the names of words: "v" for a whole vector, "r19" for the rest of a row of 19
        self.ranges = [
            f"n{axis}" if extent is None else str(extent) if shape is None else shape.extent(axis, extent)
            for axis, extent in enumerate(nest.extents)
        ]
        self.still: frozenset[int] = frozenset()  # axes without a loop: a body has their points side by side
        self.scopes = [min(buffer, SCOPES - 1) for buffer in nest.buffers]  # those beyond share one: they may overlap
        self.kept = [axis for axis in range(len(nest.extents)) if not nest.folded[axis]]
        self.folded = [axis for axis in range(len(nest.extents)) if nest.folded[axis]]
        self.stored = [output for output in nest.outputs if output.fold is None]
        self.folds = [output for output in nest.outputs if output.fold is not None]

    def write(self) -> list[str]:
        """The lines of the body."""
        if self.nest.argmax:
            return self.argmax()
        if not self.folds:
            return self.store_points()
        if self.kept and self.nest.folds_rows:
            return self.fold_in_memory()
        return self.fold_in_registers()

    def store_points(self) -> list[str]:
        """Nothing is folded. The body computes several rows at once if they are short (short_rows.py), and rows that
        lie apart are prefetched (prefetch.py)."""
        jam, around = rows_side_by_side(self.nest), self.kept
        apart: dict[int, list[Gap]] = {axis: [] for axis in around}
        for gap in gaps(self.nest):
            apart[gap.axis].append(gap)
        body = [*self.lines(), *self.stores()]
        if jam.along is not None:
            *around, along, last = self.kept

            def rows(steps: int) -> list[str]:
                ahead = [
                    self.fetch_row(gap, max(gap.ahead, steps) + step) for gap in apart[along] for step in range(steps)
                ]
                return [*ahead, *self.loops([last], self.body(jam, steps, True))]

            body = self.in_steps(jam, rows)
        for axis in reversed(around):
            body = self.loops([axis], [*(self.fetch_row(gap, gap.ahead) for gap in apart[axis]), *body])
        return body

    def fetch_row(self, gap: Gap, ahead: int) -> str:
        """The prefetch of a row that lies so many rows ahead."""
        access, axis = gap.access, gap.axis
        strides = tuple(stride if i <= axis else 0 for i, stride in enumerate(access.strides))
        move = f"{ahead} * {self.stride(axis, strides[axis])}"
        row, count = self.offset(replace(access, strides=strides)), " * ".join(self.ranges[axis + 1 :])
        return f"fetch_{access.dtype}(p{access.pointer}, {row} + {move}, {count})"

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

    def offset(self, access: Access, point: Point = _FIRST, names: Mapping[str, str] = _NONE) -> str:
        """The offset of an element from its pointer, at a point of the body. `names` are those of the lines there."""
        terms = [
            f"i{axis}" if stride == 1 else f"i{axis} * {self.stride(axis, stride)}"
            for axis, stride in enumerate(access.strides)
            if stride and axis not in self.still
        ]
        if access.indirect:
            row, stride = access.indirect
            terms.append(f"{names.get(row, row)} * {self.stride(None, stride)}")
        shift = sum(access.strides[axis] * distance for axis, distance in point.items())
        return " + ".join([*terms, *([str(shift)] if shift else [])]) or "0"

    def stride(self, axis: int | None, stride: int) -> str:
        return str(stride) if self.shape is None else self.shape.stride(axis, stride)

    def read(self, access: Access, point: Point = _FIRST, names: Mapping[str, str] = _NONE) -> str:
        """The load of an element, or the offset itself if there is no pointer."""
        offset = self.offset(access, point, names)
        if access.pointer is None:
            return f"{DTYPES[access.dtype].word}({offset})"
        part = self.part if self.part and access.strides[-1] else ""
        return f"load_{access.dtype}{part}_{self.scopes[access.pointer]}(p{access.pointer}, {offset})"

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

    def write_to(self, target: Access, value: str, point: Point = _FIRST) -> str:
        assert target.pointer is not None, "an output is stored in a buffer"
        word = f"store_{target.dtype}{self.part}_{self.scopes[target.pointer]}"
        return f"{word}(p{target.pointer}, {self.offset(target, point)}, {value})"

    @staticmethod
    def reduction(output: Output) -> Reduction:
        """The reduction of an output that is one."""
        assert output.fold is not None
        return output.fold

    def initial(self, output: Output, point: Point = _FIRST) -> str:
        """The value that a fold begins with at a point of the body."""
        initial = self.reduction(output).initial
        return self.read(initial, point) if isinstance(initial, Access) else text_of(initial)

    def keyed(self, output: Output) -> str | None:
        """The word of integer keys ("max" or "min") that a fold reduces, if any."""
        return self.reduction(output).keyed

    def combined(self, output: Output, total: str, names: Mapping[str, str]) -> str:
        """A fold's total combined with the value of its line. `names` are those of the lines that have others."""
        line = names.get(output.line, output.line)
        return text_of(self.reduction(output).combine, {**names, "a": total, "b": line})

    def key(self, output: Output, value: str) -> str:
        """The integer key of a value if the fold is one of keys, else the value."""
        keyed = self.keyed(output)
        return f"{keyed}_key_{output.target.dtype}({value})" if keyed else value

    def in_register(self, output: Output, total: str) -> str:
        """The total so far combined with the next element. Keys of floats allow a vector to take them in any order."""
        keyed = self.keyed(output)
        if keyed:
            return f"{keyed}({total}, {self.key(output, output.line)})"
        return self.combined(output, total, {})

    def fold_in_memory(self) -> list[str]:
        """The innermost axis is kept: a row of the result is the sum of rows, so the innermost loop stays contiguous.

        The body computes several points at once (jam.py). Its totals begin with the elements at their targets, unless
        it takes all folded axes completely.
        """
        assert not self.stored, "outputs that are not folded are stored where the innermost axis is folded"
        last, others = self.kept[-1], self.kept[:-1]
        jam = jam_of(self.nest, others, self.folded)
        looped = [axis for axis in others if axis not in jam.whole]
        if all(axis in jam.whole for axis in self.folded):
            number = len(looped) if jam.along is None else looped.index(jam.along)
            inner = looped[number + 1 :]
            rows = self.in_steps(jam, lambda steps: self.loops(inner, self.row(lambda: self.body(jam, steps, True))))
            return self.loops(looped[:number], rows)
        around = [axis for axis in looped if self.moves_everything(axis)]
        inside = [axis for axis in looped if axis not in around]
        clear = self.loops([*inside, *jam.whole, last], [self.store(fold, self.initial(fold)) for fold in self.folds])
        along, outer = self.folded[-1], self.folded[:-1]
        keeps = self.in_vectors and keeps_totals(self.nest)
        has_steps = not inside and not keeps and jam.steps != self.nest.extents[along]

        def row(steps: int) -> list[str]:
            ahead = self.fetches(jam, along, [along, last], steps) if has_steps else []
            return [*ahead, *self.row(lambda: self.body(jam, steps, False))]

        def kept() -> list[str]:
            begin, _, end = self.parts(jam, 1, False)
            return [*begin, *self.in_steps(jam, lambda steps: self.parts(jam, steps, False)[1]), *end]

        rows = self.loops(inside, self.row(kept) if keeps else self.in_steps(jam, row))
        if not has_steps and (before := [*around, *outer][-1:]):
            rows = [*self.fetches(jam, before[0], [before[0], *inside, along, last]), *rows]
        return self.loops(around, [*clear, *self.loops(outer, rows)])

    def row(self, body: Callable[[], list[str]]) -> list[str]:
        """The loop over the last axis, with `body` inside: element by element, or in vectors and what is left."""
        axis = self.kept[-1]
        extent, dtype = self.nest.extents[axis], self.folds[0].target.dtype
        if not self.in_vectors or extent is None:
            return self.loops([axis], body())
        lanes, lines = f"LANES_{dtype}", list[str]()
        whole = f"{extent} // {lanes} * {lanes}"
        if extent >= LEAST_LANES[dtype]:
            self.part = "v"
            loop = [f"for i{axis} in range(0, {whole}, {lanes}):", *_indented(body())]
            lines += [f"if {extent} >= {lanes}:", *_indented(loop)]
        if extent % MOST_LANES[dtype]:
            self.part = f"r{extent}"
            lines += [f"if {extent} % {lanes}:", *_indented([f"i{axis} = {whole}", *body()])]
        self.part = ""
        return lines

    def fetches(self, jam: Jam, axis: int, inside: Sequence[int], steps: int = 1) -> list[str]:
        """Prefetches the windows that later iterations of a loop along an axis will read (prefetch.py), if an iteration
        takes `steps` points of the axis, and the other axes `inside` completely."""
        extents = {**jam.whole, **{i: steps if i == axis else self.nest.extents[i] for i in inside}}
        sizes = {i: extent for i, extent in extents.items() if extent is not None}
        if len(sizes) < len(extents):
            return []
        lines = []
        for stretch in stretches(self.nest, axis, steps, sizes, jam.whole):
            access = stretch.access
            strides = (0 if i in extents and i != axis else stride for i, stride in enumerate(access.strides))
            offset = self.offset(replace(access, strides=tuple(strides)))
            lines.append(f"fetch_{access.dtype}(p{access.pointer}, {offset} + {stretch.start}, {stretch.count})")
        return lines

    def moves_everything(self, axis: int) -> bool:
        """Whether no element is read again for another index along an axis."""
        loads = [line.value for line in self.nest.lines if isinstance(line.value, Access)]
        return self.nest.extents[axis] is None or all(access.strides[axis] for access in loads)

    def in_steps(self, jam: Jam, write: Callable[[int], list[str]]) -> list[str]:
        """The loop along the axis of a jam, with what `write` returns for a number of steps inside, and a loop over
        the points that are left."""
        if jam.along is None:
            return write(1)
        axis, steps, extent = jam.along, jam.steps, self.nest.extents[jam.along]
        count = self.ranges[axis]
        if steps == 1:
            return self.loops([axis], write(1))
        covered = f"{count} // {steps} * {steps}" if extent is None else str(extent // steps * steps)
        lines = [f"for i{axis} in range(0, {covered}, {steps}):", *_indented(write(steps))]
        if extent is None or extent % steps:
            lines += [f"for i{axis} in range({covered}, {count}):", *_indented(write(1))]
        return lines

    def body(self, jam: Jam, steps: int, is_done: bool) -> list[str]:
        """The statements for the points of a jam."""
        begin, lines, end = self.parts(jam, steps, is_done)
        return [*begin, *lines, *end]

    def parts(self, jam: Jam, steps: int, is_done: bool) -> tuple[list[str], list[str], list[str]]:
        """The statements for the points of a jam, each load and expression once: those that begin its totals, that add
        to them, and that store them. If `is_done`, the totals begin here; otherwise they begin with the elements at
        their targets."""
        self.still = frozenset(jam.whole)
        names: dict[str, str] = {}  # of each line and target that is written, by its text
        totals: dict[tuple[int, str], str] = {}
        begin, lines, end = list[str](), list[str](), list[str]()
        for point in jam.points(self.nest.folded, steps):
            own: dict[str, str] = {}
            for line in self.nest.lines:
                text = self.read(line.value, point, own) if isinstance(line.value, Access) else text_of(line.value, own)
                if text not in names:
                    names[text] = f"{line.name}_{len(names)}"
                    lines.append(f"{names[text]} = {text}")
                own[line.name] = names[text]
            lines += [self.write_to(output.target, own[output.line], point) for output in self.stored]
            for i, fold in enumerate(self.folds):
                key = i, self.offset(fold.target, point)
                if key not in totals:
                    totals[key] = f"total{len(totals)}"
                    first = self.initial(fold, point) if is_done else self.read(fold.target, point)
                    begin.append(f"{totals[key]} = {first}")
                    end.append(self.write_to(fold.target, totals[key], point))
                lines.append(f"{totals[key]} = {self.combined(fold, totals[key], own)}")
        self.still = frozenset()
        return begin, lines, end

    def argmax(self) -> list[str]:
        """The index of the largest element along the folded axis: the first one, or the first NaN.

        Floats take two loops, which become vectors: the largest key, and the first element that has it.
        """
        (axis,), (output,) = self.folded, self.nest.outputs
        loads = {line.name: line.value for line in self.nest.lines if isinstance(line.value, Access)}
        line, dtype, index = output.line, loads[output.line].dtype, f"i{axis}"
        word = DTYPES[dtype].word
        if not DTYPES[dtype].is_float:
            test = f"if {index} == 0 or {line} > best:"
            inner = self.loops([axis], [*self.lines(), test, f"    best = {line}", f"    at = {index}"])
            return self.loops(self.kept, [f"best = {word}(0)", "at = 0", *inner, self.store(output, "I32(at)")])
        key = f"key = max_key_{dtype}({line} + {word}(0.0))"  # the sum turns -0.0 into 0.0
        first = f"place = I32({index}) if key == best else I32({self.ranges[axis]})"
        largest = self.loops([axis], [*self.lines(), key, "best = max(best, key)"])
        place = self.loops([axis], [*self.lines(), key, first, "at = min(at, place)"])
        start = f"best = max_key_{dtype}({word}(-INF))"
        begin = f"at = I32({self.ranges[axis]})"
        return self.loops(self.kept, [start, *largest, begin, *place, self.store(output, "at")])


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]
