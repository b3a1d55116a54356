"""Writes sums in order of short rows, 16 rows at a time (8 rows of at most 8 elements): the elements of 16 rows are
stored as a square on the stack, which is transposed in registers, and its columns are added as vectors.

    for j0 in range(0, n0 // 16 * 16, 16):
        for i0 in range(j0, j0 + 16):
            for i1 in row(12):
                t0 = load_f32_0(p0, i0 * 12 + i1)
                store_f32_23(rows0, (i0 - j0) * 16 + i1, t0)
        transpose16_f32(square0, rows0, 0, 16)
        for i0 in row(j0, j0 + 16):
            total0 = F32(0.0)
            total0 = total0 + load_square16_f32(square0, 0, i0 - j0)       # and so on: 12 columns
            store_f32_1(p1, i0, total0)

A vector along a row would be added lane by lane. LLVM finds vectors of several rows by itself, but only while a row is
short: with 10 to 16 elements it loads them one by one, at a fifth of the speed. Rows that fill no square are added as
in sums_in_registers.py. Each total gets its elements in the order of its row, as there.
"""

from netc.compiler.program.nests import ADDITION, Access, Nest
from netc.compiler.program.scalars import call_count
from netc.compiler.targets.cpu.nests.nest_writer import SCOPES, NestWriter, indented
from netc.compiler.targets.cpu.nests.sums_in_registers import folds_of_point
from netc.compiler.targets.cpu.nests.transposed_loads import SIDES

_SHORTEST = 9  # elements of a row: LLVM makes vectors of several shorter rows by itself
_SHORTEST_STORED = 3  # if elements of a row are stored: then LLVM finds no vectors of several rows
_MOST = 2  # sums of a loop: each takes two blocks of the first cache


def has_sums_in_squares(nest: Nest) -> bool:
    """Whether a nest takes sums of floats, in order, of short rows, enough of them for a square. It may store elements
    of these rows too."""
    if nest.sums != "in order" or nest.combine is not None or nest.argmax or nest.folded.count(True) != 1:
        return False
    if len(nest.extents) < 2 or not nest.folded[-1] or not nest.has_free_order:
        return False
    rows, length = nest.extents[-2], nest.extents[-1]
    stores = any(output.fold is None for output in nest.outputs)
    shortest = _SHORTEST_STORED if stores else _SHORTEST
    if length is None or not shortest <= length <= SIDES[0] or (rows is not None and rows < _side(length)):
        return False
    if length < SIDES[0] and any(not isinstance(line.value, Access) and call_count(line.value) for line in nest.lines):
        return False  # a row that fills no vector calls exp for a part of one, and then for each element
    sums = [output for output in nest.outputs if output.fold is not None]
    return (
        1 <= len(sums) <= _MOST
        and all(output.fold is not None and output.fold.combine == ADDITION for output in sums)
        and {output.target.dtype for output in sums} <= {"f32", "f64"}
        and any(load.pointer is not None and load.strides[-1] == 1 for load in nest.loads())
    )


def fold_in_squares(writer: NestWriter) -> list[str]:
    """The loops over squares of rows, and over the rows that fill none."""
    (along,), (*around, rows) = writer.folded, writer.kept
    length, scope = writer.nest.extents[along], SCOPES - 1
    assert length is not None, "rows of a square have a known length"
    side = _side(length)
    kinds = [fold.target.dtype for fold in writer.folds]
    covered = f"{writer.ranges[rows]} // {side} * {side}"
    store = [
        f"store_{kind}_{scope}(rows{i}, (i{rows} - j{rows}) * {side} + i{along}, {fold.line})"
        for i, (kind, fold) in enumerate(zip(kinds, writer.folds, strict=True))
    ]
    add = list[str]()
    for i, (kind, fold) in enumerate(zip(kinds, writer.folds, strict=True)):
        add.append(f"total{i} = {writer.initial(fold)}")
        add += [
            f"total{i} = total{i} + load_square{side}_{kind}(square{i}, {column}, i{rows} - j{rows})"
            for column in range(length)
        ]
        add.append(writer.write_to(fold.target, f"total{i}"))
    square = [
        f"for i{rows} in range(j{rows}, j{rows} + {side}):",
        f"    for i{along} in row({length}):",
        *indented(indented([*writer.lines(), *writer.stores(), *store])),
        *(f"transpose{side}_{kind}(square{i}, rows{i}, 0, {side})" for i, kind in enumerate(kinds)),
        f"for i{rows} in row(j{rows}, j{rows} + {side}):",
        *indented(add),
    ]
    blocks, point = folds_of_point(writer)
    lines = [
        f"for j{rows} in range(0, {covered}, {side}):",
        *indented(square),
        f"for i{rows} in single({covered}, {writer.ranges[rows]}):",
        *indented(point),
    ]
    begin = [f"{name}{i} = block_{kind}()" for i, kind in enumerate(kinds) for name in ("rows", "square")]
    return [*begin, *blocks, *writer.loops(around, lines)]


def _side(length: int) -> int:
    """The side of the squares for rows of a length: as many elements as a row, so that vectors of the square are loaded
    as they were stored."""
    return min(side for side in SIDES if length <= side)
