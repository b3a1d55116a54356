"""Writes the kernel of argmax: the index of the largest element along an axis.

for i0 in range(n0):
    i1 = 0
    at = index_of_largest_f32(p0, i0 * 10 + i1, 10)
    store_i32_1(p1, i0, at)
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import Access
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter


def argmax(writer: NestWriter) -> list[str]:
    """The loops that store the index of the largest element along the folded axis: the first one, or the first NaN.

    Floats that lie side by side are searched by a built-in (text/extremes.py). Others take two loops: one finds the
    largest key, the other the first element that has it.
    """
    (axis,), (output,) = writer.folded, writer.nest.outputs
    loads = {line.name: line.value for line in writer.nest.lines if isinstance(line.value, Access)}
    line, dtype, index = output.line, loads[output.line].dtype, f"i{axis}"
    convert = DTYPES[dtype].conversion
    if not DTYPES[dtype].is_float:
        test = f"if {index} == 0 or {line} > best:"
        inner = writer.loops([axis], [*writer.lines(), test, f"    best = {line}", f"    at = {index}"])
        return writer.loops(writer.kept, [f"best = {convert}(0)", "at = 0", *inner, writer.store(output, "I32(at)")])
    access = loads[line]
    if access.strides[axis] == 1 and access.pointer is not None and dtype in ("f32", "f64"):
        lines = [f"i{axis} = 0"]
        if access.indirect is not None:
            row = access.indirect[0]
            lines.append(f"{row} = {writer.read(loads[row])}")
        search = f"at = index_of_largest_{dtype}(p{access.pointer}, {writer.offset(access)}, {writer.ranges[axis]})"
        return writer.loops(writer.kept, [*lines, search, writer.store(output, "at")])
    key = f"key = max_key_{dtype}({line} + {convert}(0.0))"  # the sum turns -0.0 into 0.0
    first = f"index = I32({index}) if key == best else I32({writer.ranges[axis]})"
    largest = writer.loops([axis], [*writer.lines(), key, "best = max(best, key)"])
    smallest = writer.loops([axis], [*writer.lines(), key, first, "at = min(at, index)"])
    start = f"best = max_key_{dtype}({convert}(-INF))"
    begin = f"at = I32({writer.ranges[axis]})"
    return writer.loops(writer.kept, [start, *largest, begin, *smallest, writer.store(output, "at")])
