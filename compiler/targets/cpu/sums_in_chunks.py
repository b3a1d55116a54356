"""Writes sums of expressions along rows in vectors, in the order of the sums of blocks in memory (sums.py).

That order has four running sums of a chunk each. They are one vector here, so an expression is computed where it is
added, and nothing is stored for the sum. The last elements of a block, which fill no chunk, are added one by one.
Values of the same rows that are kept, such as the differences whose squares are summed, are stored in vectors too.
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import ADDITION, BLOCK, Access, Nest
from netc.compiler.targets.cpu.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.vector_lines import kinds_in_vectors

_CHUNK_BYTES = 32
_RUNNING = 4  # sums


def has_sums_in_chunks(nest: Nest) -> bool:
    """Whether a nest sums expressions of neighbouring elements along its last axis, in blocks, and may store others.

    Functions such as exp are left to loops: LLVM chooses how many vectors of them are under way.
    """
    if nest.sums == "in order" or nest.sums == "in lanes" or nest.folded.count(True) != 1 or not nest.folded[-1]:
        return False
    dtype = nest.outputs[0].target.dtype
    if dtype not in ("f32", "f64") or nest.combine is not None or nest.argmax or nest.is_running:
        return False
    kinds = kinds_in_vectors(nest)
    return (
        all(output.target.dtype == dtype and kinds[output.line] == dtype for output in nest.outputs)
        and all(output.fold.combine == ADDITION for output in nest.outputs if output.fold is not None)
        and all(_is_row(output.target) for output in nest.outputs if output.fold is None)
        and all(kind in (dtype, "bool", "i32") for kind in kinds.values())
        and nest.has_free_order
    )


def _is_row(target: Access) -> bool:
    """Whether elements are stored side by side along the last axis."""
    return target.strides[-1] == 1 and target.indirect is None


def fold_in_chunks(writer: NestWriter) -> list[str]:
    """Each sum has a total; blocks of the row are added to it one after another."""
    (axis,), nest = writer.folded, writer.nest
    dtype, extent, number = writer.folds[0].target.dtype, writer.ranges[writer.folded[0]], range(len(writer.folds))
    lanes = _CHUNK_BYTES // DTYPES[dtype].bytes
    wide = lanes * _RUNNING

    def add(part: str, prefix: str) -> list[str]:
        """The lines of some elements, each added to a sum of a prefix."""
        writer.part = part
        lines = [*writer.lines(), *writer.stores()]
        writer.part = ""
        return [*lines, *(f"{prefix}{i} = {prefix}{i} + {fold.line}" for i, fold in enumerate(writer.folds))]

    def block(first: str, count: str) -> list[str]:
        begin = "" if first == "0" else f"{first} + "
        end = [f"{begin}{count} // {size} * {size}" for size in (wide, lanes)] + [f"{begin}{count}"]
        return [
            *(f"sums{i} = zeros_{dtype}c{wide}()" for i in number),
            f"for i{axis} in range({first}, {end[0]}, {wide}):",
            *indented(add(f"c{wide}", "sums")),
            *(f"chunk{i} = quarters_{dtype}c{wide}(sums{i})" for i in number),
            f"for i{axis} in range({end[0]}, {end[1]}, {lanes}):",
            *indented(add(f"c{lanes}", "chunk")),
            *(f"part{i} = lanes_{dtype}c{lanes}(chunk{i})" for i in number),
            f"for i{axis} in range({end[1]}, {end[2]}):",
            *indented(add("", "part")),
            *(f"total{i} = total{i} + part{i}" for i in number),
        ]

    blocks = block("0", extent)
    if nest.sums == "in blocks":
        count = f"count = min({extent} - first, {BLOCK})"
        blocks = [f"for first in range(0, {extent}, {BLOCK}):", *indented([count, *block("first", "count")])]
    start = [f"total{i} = {writer.initial(fold)}" for i, fold in enumerate(writer.folds)]
    end = [writer.store(fold, f"total{i}") for i, fold in enumerate(writer.folds)]
    return writer.loops(writer.kept, [*start, *blocks, *end])
