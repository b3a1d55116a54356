"""Writes a nest of loops as the text of a kernel: a function `kernel(p0, p1, ..., n0, ...)` of addresses and counts.

A nest (program/nests.py) has axes, lines (loads and expressions), and outputs, which are stored at each point or
reduced over the folded axes. The first that fits writes the loops:

    argmax                                                      largest.py
    running sums                                                running.py
    no fold, an operand that is read across its rows            transposes.py
    no load and no fold, numbers in rows of any length          number_rows.py
    no fold                                                     this file
    the innermost axis is kept                                  sums_in_memory.py
    sums of products in a fixed number of lanes                 sums_in_lanes.py
    sums in blocks of what has a form for vectors               sums_in_chunks.py
    maxima and minima of what has a form for vectors            extremes_in_chunks.py
    sums in order of short rows, enough of them for a square    sums_in_squares.py
    other folds                                                 sums_in_registers.py

Equal nests give equal text, so that models share kernels; in the generic form, nests of other shapes share it too.
Knows no graph.
"""

from collections.abc import Mapping, Sequence

from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.nests.extremes_in_chunks import fold_extremes, has_extremes_in_chunks
from netc.compiler.targets.cpu.nests.jam import Jam
from netc.compiler.targets.cpu.nests.largest import argmax
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter
from netc.compiler.targets.cpu.nests.number_rows import Piece, rows_of_numbers
from netc.compiler.targets.cpu.nests.prefetch import Gap, NumberedRow, gaps, numbered_rows
from netc.compiler.targets.cpu.nests.running import running
from netc.compiler.targets.cpu.nests.shape_numbers import ShapeNumbers, stores_numbers
from netc.compiler.targets.cpu.nests.short_rows import (
    dense_parts,
    reads_short_rows_across,
    rows_of_part,
    rows_side_by_side,
)
from netc.compiler.targets.cpu.nests.sums_in_chunks import fold_in_chunks, has_sums_in_chunks
from netc.compiler.targets.cpu.nests.sums_in_lanes import fold_in_lanes
from netc.compiler.targets.cpu.nests.sums_in_memory import fold_in_memory
from netc.compiler.targets.cpu.nests.sums_in_registers import fold_in_registers
from netc.compiler.targets.cpu.nests.sums_in_squares import fold_in_squares, has_sums_in_squares
from netc.compiler.targets.cpu.nests.transposed_loads import transposed_loads
from netc.compiler.targets.cpu.nests.transposes import squares
from netc.compiler.targets.cpu.nests.vector_rows import has_odd_rows, has_rows_of_floats, has_vector_rows
from netc.dsl.structs import replace


def write(nest: Nest) -> str:
    """Returns the text of a nest, with the numbers of its shape in it. The kernel takes its counts after its addresses.

    The order of a sum is the one that the nest states. LLVM gets no freedom to reorder.
    """
    return _text(NestWriter(nest, None))


def write_generic(nest: Nest) -> tuple[str, tuple[int, ...]]:
    """Returns the text of a nest with the numbers of its shape as arguments behind the counts, and these numbers.

    Nests that are faster with known numbers keep them in the text (shape_numbers.py). This is the text that is
    compiled: it may also name vectors (vector_rows.py) and say which loops LLVM shall vectorise (llvm/loop_hints.py).
    """
    shape = ShapeNumbers(nest)
    if not shape.is_generic:
        in_vectors = nest.sums == "in lanes" or has_vector_rows(nest) or has_odd_rows(nest)
        return _text(NestWriter(nest, None, in_vectors, has_hints=True)), ()
    writer = NestWriter(nest, shape, in_vectors=stores_numbers(nest) and has_rows_of_floats(nest), has_hints=True)
    return _text(writer), tuple(shape.numbers.values())


def _text(writer: NestWriter) -> str:
    body, nest, shape = _body(writer), writer.nest, writer.shape
    counts = [f"n{axis}" for axis, extent in enumerate(nest.extents) if extent is None]
    counts += [f"s{size}" for size in range(nest.sizes)]
    arguments = [*(f"p{i}" for i in range(len(nest.buffers))), *counts, *(shape.numbers if shape is not None else ())]
    return f"def kernel({', '.join(arguments)}):\n" + "\n".join("    " + line for line in body) + "\n"


def _body(writer: NestWriter) -> list[str]:
    """The statements of the kernel, by the kind of its outputs: see the table above."""
    if writer.nest.argmax:
        return argmax(writer)
    if writer.nest.is_running:
        return running(writer)
    if loads := transposed_loads(writer.nest):
        return squares(writer, loads)
    if not writer.folds:
        return _store_points(writer)
    if writer.kept and writer.nest.folds_rows:
        return fold_in_memory(writer)
    if writer.in_vectors:
        return fold_in_lanes(writer)
    if writer.has_hints and has_sums_in_chunks(writer.nest):
        return fold_in_chunks(writer)
    if writer.has_hints and has_extremes_in_chunks(writer.nest):
        return fold_extremes(writer)
    if writer.has_hints and has_sums_in_squares(writer.nest):
        return fold_in_squares(writer)
    return fold_in_registers(writer)


def _store_points(writer: NestWriter) -> list[str]:
    """Loops that store every point. Short rows that are read across are the innermost loop, and outputs that fill each
    other's gaps have a loop each (short_rows.py)."""
    if reads_short_rows_across(writer.nest):
        *around, short, last = writer.kept
        return writer.loops([*around, last, short], [*writer.lines(), *writer.stores()])
    parts = dense_parts(writer.nest)
    if len(parts) == 1:
        jam = Jam() if writer.shape is not None else rows_side_by_side(writer.nest, writer.in_vectors)
        return _store_rows(writer, writer.kept, jam)
    inner = [NestWriter(part, writer.shape, writer.in_vectors, writer.has_hints) for part in parts]
    body = [
        line
        for part in inner
        for line in _store_rows(part, writer.kept[-2:], Jam() if writer.shape is not None else rows_of_part(part.nest))
    ]
    return writer.loops(writer.kept[:-2], body)


def _store_rows(writer: NestWriter, axes: Sequence[int], jam: Jam) -> list[str]:
    """Loops over some axes, the innermost ones, of a nest that stores every point. The body computes all rows of a
    jam, and rows that do not follow one another in memory are prefetched (prefetch.py)."""
    around = [*axes]
    apart: dict[int, list[Gap]] = {axis: [] for axis in writer.kept}
    for gap in gaps(writer.nest):
        apart[gap.axis].append(gap)
    body = [*writer.lines(), *writer.stores()]
    if writer.in_vectors and jam.along is None:
        *around, _ = axes
        if writer.shape is not None:
            return rows_of_numbers(writer, lambda row, pieces: _around(writer, around, apart, row, pieces))
        body = writer.row(lambda: [*writer.lines(), *writer.stores()])
    if jam.along is not None:
        *around, along, _ = axes

        def rows(steps: int) -> list[str]:
            ahead = [
                line
                for gap in apart[along]
                for step in range(steps)
                for line in _fetch_row(writer, gap, max(gap.ahead, steps) + step)
            ]
            return [*ahead, *writer.row(lambda: writer.body(jam, steps, True))]

        body = writer.in_steps(jam, rows)
    return _around(writer, around, apart, body)


def _around(
    writer: NestWriter,
    axes: Sequence[int],
    apart: Mapping[int, Sequence[Gap]],
    body: list[str],
    pieces: Sequence[Piece] | None = None,
) -> list[str]:
    """Loops over some axes around the statements for a row, with prefetches of rows that are apart along an axis, or of
    `pieces` of such rows."""
    numbered = [*numbered_rows(writer.nest)] if pieces is None else []
    for axis in reversed(axes):
        fetches = [line for gap in apart[axis] for line in _fetch_row(writer, gap, gap.ahead, pieces)]
        fetches += [_fetch_numbered_row(writer, row) for row in numbered if row.axis == axis]
        body = writer.loops([axis], [*fetches, *body], "range" if pieces is None else "rolled")
    return body


def _fetch_row(writer: NestWriter, gap: Gap, ahead: int, pieces: Sequence[Piece] | None = None) -> list[str]:
    """The prefetches of the row that is `ahead` rows behind the current one, or of pieces of it."""
    access, axis = gap.access, gap.axis
    if pieces is None:
        pieces = [Piece("0", " * ".join(writer.ranges[axis + 1 :]))]
    if not pieces:
        return []
    strides = tuple(stride if i <= axis else 0 for i, stride in enumerate(access.strides))
    rows = str(ahead) if writer.shape is None else writer.shape.ahead(ahead)
    row = f"{writer.offset(replace(access, strides=strides))} + {rows} * {writer.stride(axis, strides[axis])}"
    starts = [row if piece.first == "0" else f"{row} + {piece.first}" for piece in pieces]
    return [
        f"fetch_{access.dtype}(p{access.pointer}, {start}, {piece.length})"
        for start, piece in zip(starts, pieces, strict=True)
    ]


def _fetch_numbered_row(writer: NestWriter, row: NumberedRow) -> str:
    """The prefetch of a row that a later number stands for, or the last one."""
    access, index, axis = row.access, row.index, row.axis
    ahead = str(row.ahead) if writer.shape is None else writer.shape.ahead(row.ahead)
    around = replace(index, strides=tuple(0 if i == axis else stride for i, stride in enumerate(index.strides)))
    terms = [writer.offset(around)] if any(around.strides) else []
    terms.append(f"min(i{axis} + {ahead}, {writer.ranges[axis]} - 1)")
    if index.strides[axis] != 1:
        terms[-1] += f" * {writer.stride(axis, index.strides[axis])}"
    assert index.pointer is not None, "numbers come out of memory"
    assert access.indirect is not None, "rows are found by number"
    number = f"load_{index.dtype}_{writer.scopes[index.pointer]}(p{index.pointer}, {' + '.join(terms)})"
    start = f"{number} * {writer.stride(None, access.indirect[1])}"
    return f"fetch_{access.dtype}(p{access.pointer}, {start}, {' * '.join(writer.ranges[axis + 1 :])})"
