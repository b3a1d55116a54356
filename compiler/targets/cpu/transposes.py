"""Writes loops that read an operand across its rows: square by square, each of which is transposed in registers.

Along the innermost axis such an operand has one element in each of its own rows, so vectors of it would have to be
gathered. Instead, 16 x 16 elements are loaded row by row, and stored on the stack in the order of the loop:

    for j0 in range(0, n0 // 16 * 16, 16):
        for j1 in range(0, 48, 16):
            transpose_f32(square0, p0, j0 + j1 * 72, 72)
            for i0 in range(j0, j0 + 16):
                for i1 in range(j1, j1 + 16):
                    t0 = load_square_f32(square0, i0 - j0, i1 - j1)     # in place of load_f32_0(p0, i0 + i1 * 72)
                    store_f32_1(p1, i0 * 48 + i1, t0)

Points that fill no square have loops of their own. Those behind the last square of 16 rows are not unrolled: LLVM would
write their inner loop, with its vectors, 16 times. Nor are loops around the squares, which LLVM would write once for
each position of a convolution's kernel.
"""

from collections.abc import Sequence

from netc.compiler.program.nests import Access, Nest
from netc.compiler.targets.cpu.expressions import text_of
from netc.compiler.targets.cpu.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.squares import SIDE

_MOST = 4  # operands of a loop that are transposed: each square is one or two kilobytes of the first cache


def transposed_loads(nest: Nest) -> dict[str, Access]:
    """Returns the loads, by line, whose elements are neighbours along one axis other than the last; none if transposing
    would not pay."""
    last = len(nest.extents) - 1
    if last < 1 or True in nest.folded or nest.combine is not None or not _is_long(nest, last):
        return {}
    if any(output.target.strides[last] != 1 or output.target.indirect is not None for output in nest.outputs):
        return {}
    loads = {
        line.name: line.value
        for line in nest.lines
        if isinstance(line.value, Access) and _is_across(line.value, last) and _is_long(nest, _axis_of(line.value))
    }
    axis = next((_axis_of(access) for access in loads.values()), 0)
    if any(output.target.strides[axis] == 0 for output in nest.outputs):
        return {}
    same = {name: access for name, access in loads.items() if _axis_of(access) == axis}
    return same if len(same) <= _MOST else {}


def _is_long(nest: Nest, axis: int) -> bool:
    return (nest.extents[axis] or SIDE) >= SIDE


def _is_across(access: Access, last: int) -> bool:
    is_plain = access.pointer is not None and access.indirect is None and access.dtype in ("f32", "f64")
    return is_plain and access.strides[last] not in (0, 1) and 1 in access.strides


def _axis_of(access: Access) -> int:
    """The axis along which the elements of a load are neighbours."""
    return access.strides.index(1)


def squares(writer: NestWriter, loads: dict[str, Access]) -> list[str]:
    """The loops over squares, and over the points that fill no square. `loads` are those of `transposed_loads`."""
    last, axis = writer.kept[-1], _axis_of(next(iter(loads.values())))
    around = [other for other in writer.kept if other not in (axis, last)]
    memory = {name: f"square{number}" for number, name in enumerate(loads)}
    plain = [*writer.lines(), *writer.stores()]
    ends = {i: f"{writer.ranges[i]} // {SIDE} * {SIDE}" for i in (axis, last)}
    inner = [
        *_fill(writer, loads, memory, axis),
        f"for i{axis} in range(j{axis}, j{axis} + {SIDE}):",
        f"    for i{last} in range(j{last}, j{last} + {SIDE}):",
        *indented(indented(_body(writer, loads, memory, axis))),
    ]
    is_generic = writer.has_hints and not writer.ranges[last].isdigit()  # LLVM unrolls few of the others
    loop = "rolled" if is_generic else "range"
    rows = [
        f"for j{last} in range(0, {ends[last]}, {SIDE}):",
        *indented(inner),
        f"for i{axis} in {loop}(j{axis}, j{axis} + {SIDE}):",
        f"    for i{last} in range({ends[last]}, {writer.ranges[last]}):",
        *indented(indented(plain)),
    ]
    lines = [
        f"for j{axis} in range(0, {ends[axis]}, {SIDE}):",
        *indented(rows),
        f"for i{axis} in range({ends[axis]}, {writer.ranges[axis]}):",
        *indented(writer.loops([last], plain)),
    ]
    outer = "rolled" if writer.has_hints else "range"
    for other in reversed(around):
        lines = [f"for i{other} in {outer}({writer.ranges[other]}):", *indented(lines)]
    begin = [f"{name} = block_{loads[line].dtype}()" for line, name in memory.items()]
    return [*begin, *lines]


def _fill(writer: NestWriter, loads: dict[str, Access], memory: dict[str, str], axis: int) -> list[str]:
    """The statements that transpose the square of each load, from the point (j, j) on."""
    last = writer.kept[-1]
    lines = [f"i{axis} = j{axis}", f"i{last} = j{last}"]
    for line, access in loads.items():
        stride = writer.stride(last, access.strides[last])
        arguments = f"p{access.pointer}, {writer.offset(access)}, {stride}"
        lines.append(f"transpose_{access.dtype}({memory[line]}, {arguments})")
    return lines


def _body(writer: NestWriter, loads: dict[str, Access], memory: dict[str, str], axis: int) -> Sequence[str]:
    """The statements for a point, whose loads from `loads` read the squares in `memory`."""
    last, lines = writer.kept[-1], list[str]()
    for line in writer.nest.lines:
        if line.name in loads:
            arguments = f"{memory[line.name]}, i{axis} - j{axis}, i{last} - j{last}"
            text = f"load_square_{loads[line.name].dtype}({arguments})"
        else:
            text = writer.read(line.value) if isinstance(line.value, Access) else text_of(line.value)
        lines.append(f"{line.name} = {text}")
    return [*lines, *writer.stores()]
