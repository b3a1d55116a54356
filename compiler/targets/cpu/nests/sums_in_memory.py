"""Writes folds whose innermost axis is kept: a row of the result is a sum of rows, and its totals lie in memory.

for i1 in row(16):                                  # `row`: a loop that LLVM shall vectorise
    store_f32_1(p1, i1, F32(0.0))
for i0 in range(0, n0 // 8 * 8, 8):                 # 8 rows in each pass over the totals (jam.py)
    for i1 in row(16):
        total0 = load_f32_1(p1, i1)
        t0_0 = load_f32_0(p0, i0 * 16 + i1)
        t0_1 = load_f32_0(p0, i0 * 16 + i1 + 16)
        ...
        total0 = total0 + (((t0_0 + t0_1) + (t0_2 + t0_3)) + ((t0_4 + t0_5) + (t0_6 + t0_7)))
        store_f32_1(p1, i1, total0)
for i0 in range(n0 // 8 * 8, n0):                   # and then row by row
    ...
"""

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import GROUP, Access
from netc.compiler.targets.cpu.nests.extremes_of_short_rows import fold_side_by_side, side_by_side
from netc.compiler.targets.cpu.nests.jam import Jam, jam_of, rows_apart
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.nests.prefetch import Stretch, stretches, written
from netc.compiler.targets.cpu.nests.vector_rows import MOST_LANES, keeps_totals, may_fit_vectors, narrow_lanes
from netc.compiler.targets.machine import LINE
from netc.dsl.structs import replace

_Parts = Literal["all", "short", "long"]  # stretches to prefetch: all, short ones, or a part of each long one
_AT_ONCE = 2048  # bytes that are prefetched at once: more lines would delay the loads behind them
_STEPS = 8  # vectors that a body adds to totals in registers: rows of one vector, or half as many of two
_TOTALS = ("total", "second", "third", "fourth")  # the prefix of the totals of each vector of a row


def fold_in_memory(writer: NestWriter) -> list[str]:
    """The loops of a nest whose innermost axis is kept, so that the innermost loop stays contiguous.

    If the length of a row is an argument, the kernel tests it: totals of short rows are up to four vectors in
    registers, or a part of one. With vectors of 64 bytes these are up to two: LLVM has half ones for the rest of a row.
    """
    if not writer.has_hints or not may_fit_vectors(writer.nest):
        return _fold_rows(writer)
    dtype, count = writer.folds[0].target.dtype, writer.ranges[-1]
    lanes, narrow = f"LANES_{dtype}", narrow_lanes(writer.nest)
    choices = [
        *([(f"({count} <= {narrow}) & ({narrow} < {lanes})", [f"w{narrow}"])] if narrow else []),
        (f"{count} <= {lanes}", ["w"]),
        (f"{count} <= 2 * {lanes}", ["v", "w"]),
        *((f"({count} <= {n} * {lanes}) & ({lanes} < {MOST_LANES[dtype]})", ["v"] * (n - 1) + ["w"]) for n in (3, 4)),
    ]
    lines = _fold_rows(writer)
    for test, parts in reversed(choices):
        lines = [f"if {test}:", *indented(_fold_in_vectors(writer, parts)), "else:", *indented(lines)]
    length = side_by_side(writer.nest)
    return lines if length is None else fold_side_by_side(writer, length, lines)


def _fold_in_vectors(writer: NestWriter, parts: Sequence[str]) -> list[str]:
    """The loops if the totals of a row are some vectors in registers. The last one may have unused lanes."""
    (last,), dtype, vectors = writer.kept, writer.folds[0].target.dtype, len(parts)
    steps = GROUP if writer.nest.sums == "in groups" else _STEPS // vectors  # a body has whole groups
    jam = Jam({}, writer.folded[-1], min(steps, writer.nest.extents[writer.folded[-1]] or steps))

    def each(write: Callable[[], list[str]]) -> list[str]:
        lines = list[str]()
        for number, prefix in enumerate(_TOTALS[:vectors]):
            writer.total, writer.part = prefix, parts[number]
            writer.count = f"{writer.ranges[-1]} - i{last}" if number else writer.ranges[-1]
            lines += [f"i{last} = {f'{number} * LANES_{dtype}' if number else 0}"] if vectors > 1 else []
            lines += write()
        writer.total, writer.part, writer.count = "total", "", writer.ranges[-1]
        return lines

    def begin() -> list[str]:
        return [
            f"{name} = splat_{dtype}{parts[-1]}({writer.initial(fold)})" for name, fold, _ in writer.totals_of(jam, 1)
        ]

    lines = writer.in_steps(jam, lambda steps: each(lambda: writer.parts_of_body(jam, steps, False)[1]))
    end = each(lambda: writer.parts_of_body(jam, 1, False)[2])
    first = [f"i{last} = 0"] if vectors == 1 else []
    return [*first, *each(begin), *writer.loops(writer.folded[:-1], lines), *end]


def _fold_rows(writer: NestWriter) -> list[str]:
    """The loops that add rows to the totals of a row, several rows in each body (jam.py)."""
    assert not writer.stored, "outputs that are not folded are stored where the innermost axis is folded"
    jam = jam_of(writer.nest, writer.kept[:-1], writer.folded)
    if all(axis in jam.complete for axis in writer.folded):
        return _complete_sums(writer, jam)
    return _partial_sums(writer, jam)


def _looped(writer: NestWriter, jam: Jam) -> list[int]:
    """The kept axes outside of a row that have a loop: a body has all points of the others."""
    return [axis for axis in writer.kept[:-1] if axis not in jam.complete]


def _complete_sums(writer: NestWriter, jam: Jam) -> list[str]:
    """The loops if a body has all points of a sum: totals begin and end in registers."""
    looped = _looped(writer, jam)
    number = len(looped) if jam.along is None else looped.index(jam.along)
    inner = looped[number + 1 :]

    def rows(steps: int) -> list[str]:
        ahead = list[str]()
        if jam.along is not None and not inner and steps > 1:
            still = {writer.kept[-1], *jam.complete}
            ahead = [_fetch(writer, stretch, still) for stretch in written(writer.nest, jam.along, steps)]
        return [*ahead, *writer.loops(inner, writer.row(lambda: writer.body(jam, steps, True)))]

    return writer.loops(looped[:number], writer.in_steps(jam, rows))


def _partial_sums(writer: NestWriter, jam: Jam) -> list[str]:
    """The loops if a body has only some points of a sum: totals are initialised first, and then added to.

    The loops from the outside: kept axes along which all operands move; then, after the initial values are stored, the
    folded axes but the last, the other kept axes, the last folded axis, and the row. If totals stay in registers, the
    last folded axis is inside of the row. If rows are short and lie apart, kept axes are inside of the folded ones.
    """
    last, looped, along, outer = writer.kept[-1], _looped(writer, jam), writer.folded[-1], writer.folded[:-1]
    are_apart = rows_apart(writer.nest)
    around = [axis for axis in looped if _moves_everything(writer, axis) and not are_apart]
    inside = [axis for axis in looped if axis not in around]
    initial = [writer.store(fold, writer.initial(fold)) for fold in writer.folds]
    clear = writer.loops([*inside, *jam.complete, last], initial)
    keeps = writer.in_vectors and keeps_totals(writer.nest)
    has_steps = not inside and not keeps and jam.steps != writer.nest.extents[along]
    before = [*around, *outer][-1:]  # the axis of the loop around these rows, if there is one

    def row(steps: int) -> list[str]:
        ahead = _fetches(writer, jam, along, [along, last], steps) if has_steps else []
        return [*ahead, *writer.row(lambda: writer.body(jam, steps, False))]

    if are_apart:
        rows = writer.in_steps(jam, lambda steps: writer.loops(inside, row(steps)))
        return [*clear, *writer.loops(outer, rows)]
    if keeps:
        rows = writer.row(lambda: _totals_in_registers(writer, jam, before if not inside else []))
    else:
        rows = writer.in_steps(jam, row)
    rows = writer.loops(inside, rows)
    if before and not has_steps:
        parts: _Parts = "short" if keeps and not inside else "all"
        rows = [*_fetches(writer, jam, before[0], [before[0], *inside, along, last], parts=parts), *rows]
    return writer.loops(around, [*clear, *writer.loops(outer, rows)])


def _totals_in_registers(writer: NestWriter, jam: Jam, before: Sequence[int]) -> list[str]:
    """The loop along the last folded axis for one vector of a row, whose totals are loaded before and stored behind.

    Its iterations prefetch parts of long stretches for the next iteration of the loop along the axis `before`, if any.
    """
    along, last = writer.folded[-1], writer.kept[-1]
    begin, _, end = writer.parts_of_body(jam, 1, False)

    def points(steps: int) -> list[str]:
        ahead = list[str]()
        if before and steps == jam.steps:
            ahead = _fetches(writer, jam, before[0], [before[0], along, last], parts="long")
        return [*ahead, *writer.parts_of_body(jam, steps, False)[1]]

    return [*begin, *writer.in_steps(jam, points), *end]


def _fetches(
    writer: NestWriter, jam: Jam, axis: int, inside: Sequence[int], steps: int = 1, parts: _Parts = "all"
) -> list[str]:
    """The prefetches of what later iterations of a loop along an axis will read (prefetch.py).

    An iteration covers `steps` points of the axis, and the other axes `inside` completely. `parts` selects stretches:
    all, the short ones, or a part of each long one. In the last case each iteration inside of that loop, over the
    vectors of a row and along the last folded axis, prefetches another part.
    """
    extents = {**jam.complete, **{i: steps if i == axis else writer.nest.extents[i] for i in inside}}
    sizes = {i: extent for i, extent in extents.items() if extent is not None}
    if len(sizes) < len(extents):
        return []
    still, lines = extents.keys() - {axis}, list[str]()
    for stretch in stretches(writer.nest, axis, steps, sizes, jam.complete):
        is_long = stretch.count * DTYPES[stretch.access.dtype].bytes > _AT_ONCE
        if parts == "long" and is_long:
            lines.append(_fetch_part(writer, jam, stretch, still))
        elif parts == "all" or (parts == "short" and not is_long):
            lines.append(_fetch(writer, stretch, still))
    return lines


def _fetch_part(writer: NestWriter, jam: Jam, stretch: Stretch, still: Collection[int]) -> str:
    """The prefetch of a part of a stretch: so many lines that all iterations together prefetch all of it."""
    dtype, along, last = stretch.access.dtype, writer.folded[-1], writer.kept[-1]
    length, row = writer.nest.extents[along], writer.nest.extents[last]
    assert length is not None, "totals are kept along an axis of known length"
    assert row is not None, "rows of known length have vectors"
    iterations, line = length // jam.steps, LINE // DTYPES[dtype].bytes
    vectors = f"(({row} + LANES_{dtype} - 1) // LANES_{dtype})"
    count = f"({stretch.count - 1} // ({vectors} * {iterations * line}) + 1) * {line}"
    part = f"(i{last} // LANES_{dtype} * {iterations} + i{along} // {jam.steps})"
    return f"fetch_{dtype}(p{stretch.access.pointer}, {_start(writer, stretch, still)} + {part} * {count}, {count})"


def _fetch(writer: NestWriter, stretch: Stretch, still: Collection[int]) -> str:
    """The prefetch of a stretch, which covers the axes `still` completely: its offset does not depend on them."""
    access = stretch.access
    return f"fetch_{access.dtype}(p{access.pointer}, {_start(writer, stretch, still)}, {stretch.count})"


def _start(writer: NestWriter, stretch: Stretch, still: Collection[int]) -> str:
    """The offset of a stretch's first element."""
    access = stretch.access
    strides = (0 if i in still else stride for i, stride in enumerate(access.strides))
    return f"{writer.offset(replace(access, strides=tuple(strides)))} + {stretch.start}"


def _moves_everything(writer: NestWriter, axis: int) -> bool:
    """Whether all operands move along an axis, so that no element is read again for another index."""
    loads = [line.value for line in writer.nest.lines if isinstance(line.value, Access)]
    return writer.nest.extents[axis] is None or all(access.strides[axis] for access in loads)
