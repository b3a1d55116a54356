"""Writes folds that store the result so far at each point of their axis, such as running sums.

Along an axis with others inside, a row of the result is the row before it combined with a row of elements, so the
innermost loop stays contiguous. Along the innermost axis each element waits for the one before, so several rows are
computed side by side.
"""

import math

from netc.compiler.program.nests import Access
from netc.compiler.targets.cpu.nests.expressions import text_of
from netc.compiler.targets.cpu.nests.jam import Jam
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter, indented

_LONG = 64  # elements of a row: LLVM unrolls a shorter loop completely, and then finds no vectors in it
_SHORT_ROWS, _LONG_ROWS = 8, 4  # rows that a body computes
_SIDE_BY_SIDE = 8  # rows: an addition takes about four cycles, and a load and a store are a cycle's work


def running(writer: NestWriter) -> list[str]:
    """The loops of a running fold."""
    (axis,) = writer.folded
    inside = [other for other in writer.kept if other > axis]
    around = [other for other in writer.kept if other < axis]
    return writer.loops(around, _rows(writer, axis, inside)) if inside else _chains(writer, axis, around)


def _rows(writer: NestWriter, axis: int, inside: list[int]) -> list[str]:
    """Computes several rows in one body, from the result of the row before them on. The first body has the remainder,
    so that all others are full."""
    extent = writer.nest.extents[axis]
    assert extent is not None, "the axis of a running fold has a fixed size"
    row = math.prod(writer.nest.extents[other] or _LONG for other in inside)
    steps = _SHORT_ROWS if row < _LONG else _LONG_ROWS
    first = extent % steps or min(steps, extent)
    lines = [f"i{axis} = 0", *writer.loops(inside, _body(writer, axis, first, is_first=True))]
    if first < extent:
        later = writer.loops(inside, _body(writer, axis, steps, is_first=False))
        lines += [f"for i{axis} in range({first}, {extent}, {steps}):", *indented(later)]
    return lines


def _body(writer: NestWriter, axis: int, steps: int, is_first: bool) -> list[str]:
    """The statements for `steps` rows. If `is_first`, totals begin with the initial value."""
    lines = []
    for number, output in enumerate(writer.folds):
        before = writer.initial(output) if is_first else writer.read(output.target, {axis: -1})
        lines.append(f"total{number} = {before}")
    for step in range(steps):
        point, names = {axis: step}, dict[str, str]()
        for line in writer.nest.lines:
            value = line.value
            text = writer.read(value, point, names) if isinstance(value, Access) else text_of(value, names)
            names[line.name] = f"{line.name}_{step}"
            lines.append(f"{names[line.name]} = {text}")
        for number, output in enumerate(writer.folds):
            lines.append(f"total{number} = {writer.combined(output, f'total{number}', names)}")
            lines.append(writer.write_to(output.target, f"total{number}", point))
    return lines


def _chains(writer: NestWriter, axis: int, around: list[int]) -> list[str]:
    """Computes several rows side by side, each with its total."""
    jam = Jam({}, around[-1], _SIDE_BY_SIDE) if around else Jam()

    def rows(steps: int) -> list[str]:
        begin, lines, end = writer.parts_of_body(jam, steps, True)
        return [*begin, *writer.loops([axis], [*lines, *end])]

    return writer.loops(around[:-1], writer.in_steps(jam, rows))
