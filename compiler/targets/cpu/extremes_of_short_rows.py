"""Writes maxima and minima of short rows that lie side by side: one vector takes several rows at once.

The total of a row would fill only some lanes of a vector, and each row would be an instruction. No order matters here,
so vectors of 64 bytes take as many rows as they have room for, the last of them overlaps the one before, and in the
end the halves of the total are compared until one row is left. Vectors have so many lanes on every machine.

Of zeros of both signs, the first one must be the result, as it is if another worker has a part of each row. So a result
with a zero is computed once more, row by row.
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.jam import Jam
from netc.compiler.targets.cpu.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.vector_rows import MOST_LANES, may_fit_vectors

_STEPS = 8  # vectors that are compared in pairs before their result is compared with the total


def side_by_side(nest: Nest) -> int | None:
    """Returns the length that rows must have so that those of the last folded axis follow one another and fill vectors,
    if a nest takes only maxima and minima of rows. None if its rows lie apart, or a vector has room for one alone."""
    if not may_fit_vectors(nest) or not all(output.fold and output.fold.keyed for output in nest.outputs):
        return None
    along, loads = _along(nest), nest.loads()
    (length, *others) = {load.strides[along] for load in loads if load.strides[-1]}
    lanes, extent = MOST_LANES[nest.outputs[0].target.dtype], nest.extents[along]
    if (
        others
        or not 1 < length < lanes
        or lanes % length
        or any(load.strides[along] for load in loads if not load.strides[-1])
    ):
        return None
    return length if extent is None or extent * length >= lanes else None


def fold_side_by_side(writer: NestWriter, length: int, row_by_row: list[str]) -> list[str]:
    """Returns the statements for calls that have rows of such a length, and enough of them, before those that take one
    row after another."""
    along, dtype = _along(writer.nest), writer.folds[0].target.dtype
    lanes, last, extent = MOST_LANES[dtype], writer.kept[-1], writer.ranges[along]
    rows, is_known = lanes // length, writer.nest.extents[along] is not None
    jam, part = Jam({}, along, _STEPS, rows), f"c{lanes}"

    def points(steps: int) -> list[str]:
        writer.part = part
        lines = writer.parts_of_body(jam, steps, False)[1]
        writer.part = ""
        return lines

    covered = f"{extent} // {_STEPS * rows} * {_STEPS * rows}"
    vectors = [
        f"for i{along} in range(0, {covered}, {_STEPS * rows}):",
        *indented(points(_STEPS)),
        f"for i{along} in range({covered}, {extent} // {rows} * {rows}, {rows}):",
        *indented(points(1)),
        f"if {extent} % {rows}:",
        *indented([f"i{along} = {extent} - {rows}", *points(1)]),
    ]
    begin, end, zeros = list[str](), list[str](), list[str]()
    for total, fold, _ in writer.totals_of(jam, 1):
        begin.append(f"{total} = zeros_{dtype}{part}() + {writer.initial(fold)}")
        width, sign = lanes, {"max": ">", "min": "<"}[writer.keyed(fold) or ""]
        while width > length:
            lower, upper = f"lower_{dtype}c{width}({total})", f"upper_{dtype}c{width}({total})"
            end += [f"lower = {lower}", f"upper = {upper}"]
            end.append(f"{total} = upper if (upper {sign} lower) | (upper != upper) else lower")
            width //= 2
        writer.part = f"c{length}"
        end.append(writer.write_to(fold.target, total))
        writer.part = ""
        zeros.append(f"true_boolc{length}({total} == {DTYPES[dtype].conversion}(0.0))")
    lines = [f"i{last} = 0", *begin, *writer.loops(writer.folded[:-1], vectors), *end]
    test = f"{writer.ranges[-1]} == {length}"
    test = test if is_known else f"({test}) & ({extent} >= {rows})"
    lines.append(f"zeros = {' + '.join(zeros)}")
    return ["zeros = 1", f"if {test}:", *indented(lines), "if zeros != 0:", *indented(row_by_row)]


def _along(nest: Nest) -> int:
    """The last folded axis."""
    return max(axis for axis, is_folded in enumerate(nest.folded) if is_folded)
