"""Writes loops that read an operand across its rows: square by square, each of which is transposed in registers.

Along the innermost axis such an operand has one element in each of its own rows, so vectors of it would have to be
gathered. Instead, 16 x 16 elements (8 x 8 where an axis has only 8) are loaded row by row, and stored on the stack in
the order of the loop:

    for j0 in range(0, n0 // 16 * 16, 16):
        for j1 in range(0, 48, 16):
            transpose16_f32(square0, p0, j0 + j1 * 72, 72)
            for i0 in range(j0, j0 + 16):
                for i1 in row(j1, j1 + 16):
                    t0 = load_square16_f32(square0, i0 - j0, i1 - j1)     # in place of load_f32_0(p0, i0 + i1 * 72)
                    store_f32_1(p1, i0 * 48 + i1, t0)

Points that fill no square have loops of their own. Their numbers are arguments where a kernel is compiled, so that
copies of all sizes share it, and LLVM would write vectors, and 16 copies, for loops that are rarely long: they are
marked as single iterations, unless they call functions such as `exp`. Loops around the squares are not unrolled either.
"""

from collections.abc import Sequence

from netc.compiler.program.nests import Access
from netc.compiler.program.scalars import call_count
from netc.compiler.targets.cpu.nests.expressions import text_of
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.nests.transposed_loads import neighbouring_axis, side_of


def squares(writer: NestWriter, loads: dict[str, Access]) -> list[str]:
    """The loops over squares, and over the points that fill no square. `loads` are those of `transposed_loads`."""
    last, axis = writer.kept[-1], neighbouring_axis(next(iter(loads.values())))
    side = side_of(writer.nest, axis, last)
    around = [other for other in writer.kept if other not in (axis, last)]
    memory = {name: f"square{number}" for number, name in enumerate(loads)}
    plain = [*writer.lines(), *writer.stores()]
    ends = {i: f"{writer.ranges[i]} // {side} * {side}" for i in (axis, last)}
    row = "row" if writer.has_hints else "range"
    inner = [
        *_fill(writer, loads, memory, axis, side),
        f"for i{axis} in range(j{axis}, j{axis} + {side}):",
        f"    for i{last} in {row}(j{last}, j{last} + {side}):",
        *indented(indented(_body(writer, loads, memory, axis, side))),
    ]
    calls = sum(call_count(line.value) for line in writer.nest.lines if not isinstance(line.value, Access))
    outer, rest = ("rolled", "range" if calls else "single") if writer.has_hints else ("range", "range")
    rows = [
        f"for j{last} in range(0, {ends[last]}, {side}):",
        *indented(inner),
        f"for i{axis} in {outer}(j{axis}, j{axis} + {side}):",
        f"    for i{last} in {rest}({ends[last]}, {writer.ranges[last]}):",
        *indented(indented(plain)),
    ]
    lines = [
        f"for j{axis} in range(0, {ends[axis]}, {side}):",
        *indented(rows),
        f"for i{axis} in {outer}({ends[axis]}, {writer.ranges[axis]}):",
        f"    for i{last} in {rest}({writer.ranges[last]}):",
        *indented(indented(plain)),
    ]
    for other in reversed(around):
        lines = [f"for i{other} in {outer}({writer.ranges[other]}):", *indented(lines)]
    begin = [f"{name} = block_{loads[line].dtype}()" for line, name in memory.items()]
    return [*begin, *lines]


def _fill(writer: NestWriter, loads: dict[str, Access], memory: dict[str, str], axis: int, side: int) -> list[str]:
    """The statements that transpose the square of each load, from the point (j, j) on."""
    last = writer.kept[-1]
    lines = [f"i{axis} = j{axis}", f"i{last} = j{last}"]
    for line, access in loads.items():
        stride = writer.stride(last, access.strides[last])
        arguments = f"p{access.pointer}, {writer.offset(access)}, {stride}"
        lines.append(f"transpose{side}_{access.dtype}({memory[line]}, {arguments})")
    return lines


def _body(writer: NestWriter, loads: dict[str, Access], memory: dict[str, str], axis: int, side: int) -> Sequence[str]:
    """The statements for a point, whose loads from `loads` read the squares in `memory`."""
    last, lines = writer.kept[-1], list[str]()
    for line in writer.nest.lines:
        if line.name in loads:
            arguments = f"{memory[line.name]}, i{axis} - j{axis}, i{last} - j{last}"
            text = f"load_square{side}_{loads[line.name].dtype}({arguments})"
        else:
            text = writer.read(line.value) if isinstance(line.value, Access) else text_of(line.value)
        lines.append(f"{line.name} = {text}")
    return [*lines, *writer.stores()]
