"""Writes the statements of a nest's kernel: loops, loads, expressions and stores.

loops.py and the files for each kind of fold decide which statements stand in which loops. A body may hold the
statements of several points (jam.py): here two rows of a sum, where total0 and total1 are in registers and t1 is loaded
once for both.

    t0_0 = load_f32_0(p0, i0 * 32 + i1)
    t1_1 = load_f32_1(p1, i1)
    total0 = fma_f32(t0_0, t1_1, total0)
    t0_2 = load_f32_0(p0, i0 * 32 + i1 + 32)
    total1 = fma_f32(t0_2, t1_1, total1)

Knows no graph.
"""

from collections.abc import Callable, Mapping, Sequence

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import ADDITION, GROUP, Access, Nest, Output, Reduction
from netc.compiler.targets.cpu.nests.expressions import text_of
from netc.compiler.targets.cpu.nests.jam import Jam, Point
from netc.compiler.targets.cpu.nests.joined_terms import added_to, extreme
from netc.compiler.targets.cpu.nests.shape_numbers import ShapeNumbers
from netc.compiler.targets.cpu.nests.short_rows import has_free_rows
from netc.compiler.targets.cpu.nests.vector_rows import LEAST_LANES, MOST_LANES

SCOPES = 24  # alias scopes of a loop: LLVM knows that buffers in different scopes do not overlap
_FIRST: Point = {}  # the first point of a body
_NONE: Mapping[str, str] = {}


class NestWriter:
    """Writes the statements of one nest.

    With `shape`, numbers of the shape become arguments (the generic form). If `in_vectors`, rows are computed in
    vectors that the text names (text/row_vectors.py). If `has_hints`, the text may say which loops LLVM shall
    vectorise.
    """

    def __init__(
        self, nest: Nest, shape: ShapeNumbers | None, in_vectors: bool = False, has_hints: bool = False
    ) -> None:
        self.nest, self.shape, self.in_vectors, self.has_hints = nest, shape, in_vectors, has_hints
        has_rows = has_hints and shape is None and not in_vectors and has_free_rows(nest)
        self.row_axis = len(nest.extents) - 1 if has_rows else None
        # The suffix of loads and stores for a part of a row (text/row_vectors.py): "" for one element, "v" for a vector
        # and "r19" for the rest of a row of 19, "s" and "m19" for sums in lanes, "c32" and "c8" for sums in chunks, "w"
        # for up to one vector, whose elements are counted when the kernel runs.
        self.part = ""
        self.ranges = [
            f"n{axis}" if extent is None else str(extent) if shape is None else shape.extent(axis, extent)
            for axis, extent in enumerate(nest.extents)
        ]
        self.count = self.ranges[-1] if self.ranges else ""  # the elements of a part "w"
        self.total = "total"  # the prefix of the names of totals
        self.unrolled: frozenset[int] = (
            frozenset()
        )  # axes without a loop: a body has the statements of all their points
        self.scopes = _scopes(nest)
        self.kept = [axis for axis in range(len(nest.extents)) if not nest.folded[axis]]
        self.folded = [axis for axis in range(len(nest.extents)) if nest.folded[axis]]
        self.stored = [output for output in nest.outputs if output.fold is None]
        self.folds = [output for output in nest.outputs if output.fold is not None]

    def loops(self, axes: Sequence[int], inside: list[str], kind: str = "range") -> list[str]:
        """Loops over `axes`, the first outermost, around the lines `inside`."""
        lines, indent = [], ""
        is_innermost = not any(line.lstrip().startswith(("for ", "while ")) for line in inside)
        for axis in axes:
            is_row = axis == self.row_axis and axis == axes[-1] and is_innermost
            lines.append(f"{indent}for i{axis} in {'row' if is_row else kind}({self.ranges[axis]}):")
            indent += "    "
        return lines + [indent + line for line in inside]

    def row(self, body: Callable[[], list[str]]) -> list[str]:
        """The loop over the last axis around what `body` writes: element by element, or in vectors.

        The elements behind the last whole vector take one narrow vector, or several if they are added to what is in
        memory (`rest_of_row`). `body` is written once for each kind of vector.
        """
        axis, dtype = self.kept[-1], self.nest.outputs[0].target.dtype
        extent = self.nest.extents[axis]
        if not self.in_vectors or extent is None:
            return self.loops([axis], body())
        lanes, lines = f"LANES_{dtype}", list[str]()
        end = f"{extent} // {lanes} * {lanes}"
        if extent >= LEAST_LANES[dtype]:
            self.part = "v"
            loop = [f"for i{axis} in range(0, {end}, {lanes}):", *indented(body())]
            lines += [f"if {extent} >= {lanes}:", *indented(loop)]
        if self.nest.combine is not None:
            lines += self.rest_of_row(extent, lanes, body)
        elif extent % MOST_LANES[dtype]:
            self.part = f"r{extent}"
            lines += [f"if {extent} % {lanes}:", *indented([f"i{axis} = {end}", *body()])]
        self.part = ""
        return lines

    def rest_of_row(self, extent: int, lanes: str, body: Callable[[], list[str]]) -> list[str]:
        """The elements behind a row's whole vectors, in vectors of 8, 4, 2 and 1 lanes that they fill.

        One vector with a mask would be shorter, but a CPU compares the addresses of its masked lanes too. If the next
        row follows in memory, its load would then wait for the store of this row.
        """
        axis, lines, size = self.kept[-1], list[str](), MOST_LANES[self.nest.outputs[0].target.dtype]
        while size := size // 2:
            if extent & size:
                self.part = f"c{size}" if size > 1 else ""
                lines += [f"if {lanes} > {size}:", *indented([f"i{axis} = {extent // (2 * size) * 2 * size}", *body()])]
        return lines

    def offset(self, access: Access, point: Point = _FIRST, names: Mapping[str, str] = _NONE) -> str:
        """The offset of an element from its pointer at a point of the body, where lines have the names in `names`."""
        terms = [
            f"i{axis}" if stride == 1 else f"i{axis} * {self.stride(axis, stride)}"
            for axis, stride in enumerate(access.strides)
            if stride and axis not in self.unrolled
        ]
        if access.indirect:
            row, stride = access.indirect
            terms.append(f"{names.get(row, row)} * {self.stride(None, stride)}")
        shift = 0
        for axis, distance in point.items():
            move = access.strides[axis] * distance
            text = self.stride(axis, access.strides[axis]) if move else "0"
            if text.lstrip("-").isdigit():
                shift += move
            else:
                terms.append(f"{distance} * {text}")
        return " + ".join([*terms, *([str(shift)] if shift else [])]) or "0"

    def stride(self, axis: int | None, stride: int) -> str:
        return str(stride) if self.shape is None else self.shape.stride(axis, stride)

    def read(self, access: Access, point: Point = _FIRST, names: Mapping[str, str] = _NONE) -> str:
        """The load of an element or of a part of a row; the offset itself if there is no pointer."""
        offset = self.offset(access, point, names)
        part = self.part if self.part and access.strides[-1] else ""
        if access.pointer is None:
            return f"range_{access.dtype}{part}({offset})" if part else f"{DTYPES[access.dtype].conversion}({offset})"
        count = f", {self.count}" if part.startswith("w") else ""
        return f"load_{access.dtype}{part}_{self.scopes[access.pointer]}(p{access.pointer}, {offset}{count})"

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
        store = f"store_{target.dtype}{self.part}_{self.scopes[target.pointer]}"
        count = f", {self.count}" if self.part.startswith("w") else ""
        return f"{store}(p{target.pointer}, {self.offset(target, point)}, {value}{count})"

    @staticmethod
    def reduction(output: Output) -> Reduction:
        """The reduction of an output that has one."""
        assert output.fold is not None
        return output.fold

    def initial(self, output: Output, point: Point = _FIRST) -> str:
        """The initial value of a fold at a point of the body."""
        initial = self.reduction(output).initial
        return self.read(initial, point) if isinstance(initial, Access) else text_of(initial)

    def keyed(self, output: Output) -> str | None:
        """The function, "max" or "min", with which a fold of integer keys combines them; None for other folds."""
        return self.reduction(output).keyed

    def combined(self, output: Output, total: str, names: Mapping[str, str]) -> str:
        """A fold's total combined with the value of its line. `names` has the names of renamed lines."""
        line = names.get(output.line, output.line)
        return text_of(self.reduction(output).combine, {**names, "a": total, "b": line})

    def key(self, output: Output, value: str) -> str:
        """The integer key of a value if the fold is one of keys, else the value."""
        keyed = self.keyed(output)
        return f"{keyed}_key_{output.target.dtype}({value})" if keyed else value

    def in_steps(self, jam: Jam, write: Callable[[int], list[str]]) -> list[str]:
        """A loop along the axis of a jam around `write(jam.steps)`, and one around `write(1)` for the remaining points.

        Without such an axis, `write(1)` alone.
        """
        if jam.along is None:
            return write(1)
        axis, steps, extent = jam.along, jam.steps, self.nest.extents[jam.along]
        count = self.ranges[axis]
        if steps == 1:
            return self.loops([axis], write(1))
        covered = f"{count} // {steps} * {steps}" if extent is None else str(extent // steps * steps)
        lines = [f"for i{axis} in range(0, {covered}, {steps}):", *indented(write(steps))]
        if extent is None or extent % steps:
            lines += [f"for i{axis} in range({covered}, {count}):", *indented(write(1))]
        return lines

    def body(self, jam: Jam, steps: int, is_complete: bool) -> list[str]:
        """The statements for the points of a jam, with the totals read before them and stored behind them.

        If `is_complete`, the body has all points of each sum: totals begin with the initial value, otherwise with the
        element at their target.
        """
        return [line for part in self.parts_of_body(jam, steps, is_complete) for line in part]

    def totals_of(self, jam: Jam, steps: int) -> list[tuple[str, Output, Point]]:
        """The totals of a body, each with its name, its fold, and its first point."""
        self.unrolled = frozenset(jam.complete)
        totals: dict[tuple[int, str], tuple[str, Output, Point]] = {}
        for point in jam.points(self.nest.folded, steps):
            for i, fold in enumerate(self.folds):
                name = f"{self.total}{len(totals)}"
                totals.setdefault((i, self.offset(fold.target, point)), (name, fold, point))
        self.unrolled = frozenset()
        return list(totals.values())

    def parts_of_body(self, jam: Jam, steps: int, is_complete: bool) -> tuple[list[str], list[str], list[str]]:
        """The statements of `body` in three parts: initial totals, the points, and stores of the totals.

        A load or expression that several points have in common is written once.
        """
        self.unrolled = frozenset(jam.complete)
        names: dict[str, str] = {}  # the variable that has the value of a load or expression, by its text
        totals: dict[tuple[int, str], str] = {}
        extremes: dict[str, tuple[Output, list[str]]] = {}  # for each total of a maximum or minimum, its values
        groups: dict[str, list[str]] = {}  # for each total of a sum in groups, the terms of a group that is not full
        begin, lines, end = list[str](), list[str](), list[str]()
        for point in jam.points(self.nest.folded, steps):
            texts: dict[str, str] = {}
            for line in self.nest.lines:
                if isinstance(line.value, Access):
                    text = self.read(line.value, point, texts)
                else:
                    text = text_of(line.value, texts)
                if text not in names:
                    names[text] = f"{line.name}_{len(names)}"
                    lines.append(f"{names[text]} = {text}")
                texts[line.name] = names[text]
            lines += [self.write_to(output.target, texts[output.line], point) for output in self.stored]
            for i, fold in enumerate(self.folds):
                key = i, self.offset(fold.target, point)
                if key not in totals:
                    totals[key] = f"{self.total}{len(totals)}"
                    first = self.initial(fold, point) if is_complete else self.read(fold.target, point)
                    begin.append(f"{totals[key]} = {first}")
                    end.append(self.write_to(fold.target, totals[key], point))
                if self.keyed(fold):
                    extremes.setdefault(totals[key], (fold, []))[1].append(texts[fold.line])
                elif self.is_grouped(fold):
                    group, is_first = groups.setdefault(totals[key], []), not point.get(self.folded[-1], 0) % GROUP
                    lines += added_to(totals[key], group) if is_first else []
                    group.append(texts[fold.line])
                    lines += added_to(totals[key], group) if len(group) == GROUP else []
                else:
                    lines.append(f"{totals[key]} = {self.combined(fold, totals[key], texts)}")
        for total, (fold, values) in extremes.items():
            lines += extreme(fold, self.keyed(fold) or "", total, values)
        for total, group in groups.items():
            lines += added_to(total, group)
        self.unrolled = frozenset()
        return begin, lines, end

    def is_grouped(self, output: Output) -> bool:
        """Whether a fold is a sum of floats that adds rows in groups. In a text without hints it adds them in order."""
        is_sum = self.reduction(output).combine == ADDITION and DTYPES[output.target.dtype].is_float
        return self.has_hints and self.nest.sums == "in groups" and is_sum


def _scopes(nest: Nest) -> list[int]:
    """The alias scope of each pointer: the number of its buffer. The last scope also serves all buffers beyond it.

    Several pointers into a buffer that is only written have a scope each, because no element is written twice.
    """
    loaded = {nest.buffers[access.pointer] for access in nest.loads() if access.pointer is not None}
    if nest.combine is not None:
        return [min(buffer, SCOPES - 1) for buffer in nest.buffers]
    scopes, used = list[int](), max(nest.buffers, default=0)
    for pointer, buffer in enumerate(nest.buffers):
        if buffer in nest.buffers[:pointer] and buffer not in loaded:
            used += 1
            scopes.append(used)
        else:
            scopes.append(buffer)
    return [min(scope, SCOPES - 1) for scope in scopes]


def indented(lines: Sequence[str]) -> list[str]:
    """Returns lines that are indented by one level."""
    return ["    " + line for line in lines]
