"""Writes sums of products of neighbouring elements, each in the lanes of one vector of running sums.

Element i of a row goes to running sum i % LANES. The first LANES elements of all rows are added, then the next ones,
and last the running sums: the first half to the second, until one is left. The order depends only on the nest, on no
machine, and not on how many sums a body computes side by side. Four rows of 32 times a vector:

    for i0 in range(0, n0 // 4 * 4, 4):
        total0 = zeros_f32s()                            # "s": a vector of LANES
        total1 = zeros_f32s()
        ...
        for i1 in range(0, 32, 16):
            t0_0 = load_f32s_0(p0, i0 * 32 + i1)
            t1_1 = load_f32s_1(p1, i1)
            total0 = fma_f32(t0_0, t1_1, total0)
            t0_2 = load_f32s_0(p0, i0 * 32 + i1 + 32)
            total1 = fma_f32(t0_2, t1_1, total1)
            ...
        store_f32_2(p2, i0, added_f32s(total0, F32(0.0)))
"""

from netc.compiler.program.nests import LANES
from netc.compiler.targets.cpu.nests.jam import jam_in_lanes
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter, indented


def fold_in_lanes(writer: NestWriter) -> list[str]:
    """The body computes several sums side by side (jam.py), for a vector of each row."""
    nest, (axis, *outer) = writer.nest, writer.folded[::-1]
    jam = jam_in_lanes(nest, writer.kept, writer.folded)
    dtype, extent = writer.folds[0].target.dtype, nest.extents[axis]
    assert extent is not None, "rows of unknown length are not summed in lanes"
    lanes = LANES[dtype]
    in_vectors = extent // lanes * lanes
    looped = [i for i in reversed(outer) if i not in jam.complete]

    def sums(steps: int) -> list[str]:
        totals, lines = writer.totals_of(jam, steps), list[str]()
        if in_vectors:
            writer.part = "s"
            products = writer.loops(looped, writer.parts_of_body(jam, steps, True)[1])
            lines += [f"for i{axis} in range(0, {in_vectors}, {lanes}):", *indented(products)]
        if extent > in_vectors:
            writer.part = f"m{extent}"
            products = writer.loops(looped, writer.parts_of_body(jam, steps, True)[1])
            lines += [f"i{axis} = {in_vectors}", *products]
        writer.part, writer.unrolled = "", frozenset(jam.complete)
        zeros = [f"{total} = zeros_{dtype}s()" for total, _, _ in totals]
        stores = []
        for total, fold, point in totals:
            result = f"added_{dtype}s({total}, {writer.initial(fold, point)})"
            stores.append(writer.write_to(fold.target, result, point))
        writer.unrolled = frozenset()
        return [*zeros, *lines, *stores]

    number = len(writer.kept) if jam.along is None else writer.kept.index(jam.along)
    inner = writer.kept[number + 1 :]
    return writer.loops(writer.kept[:number], writer.in_steps(jam, lambda steps: writer.loops(inner, sums(steps))))
