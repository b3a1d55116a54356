"""Writes maxima and minima of short rows that follow one another in memory: one vector holds several rows.

    rows of 4 f32 in vectors of 16    | row 0 | row 1 | row 2 | row 3 |
                                      | row 4 | row 5 | row 6 | row 7 |    compared lane by lane, and so on;
                                      the halves of the total are compared until one row is left

A row alone would fill only some lanes of a vector. Maxima need no order, so the last vector may overlap the one before.
Vectors have 64 bytes on every machine.

If zeros of both signs are the largest elements, the result is the first of them, however rows are shared out among
workers. So a result with a zero is computed again, row by row.
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.nests.jam import Jam
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.nests.vector_rows import MOST_LANES, may_fit_vectors

_STEPS = 8  # vectors that are compared in pairs before their result is compared with the total


def side_by_side(nest: Nest) -> int | None:
    """Returns the length of rows for which rows along the last folded axis follow one another and fill vectors.

    None unless the nest takes only maxima and minima of rows, and for rows with gaps or too long for two in a vector.
    """
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
    """Returns the statements of a kernel: a test of the length and number of rows, the loops for rows of that length,
    and `row_by_row` for other calls."""
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
