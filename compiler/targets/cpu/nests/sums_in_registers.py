"""Writes folds along the innermost axis, with one running total each; the general case.

    for i0 in range(n0):
        total0 = F32(0.0)
        for i1 in range(e1):
            t0 = load_f32_0(p0, i0 * s0_0 + i1)
            total0 = total0 + t0
        store_f32_1(p1, i0, total0)

A long sum of floats is not added in order: elements are stored into a block, a small array on the stack, and
`sum_f32(block, count)` adds up a full block in the fixed order of text/sums.py.
"""

from collections.abc import Sequence

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import ADDITION, BLOCK, Output
from netc.compiler.targets.cpu.nests.nest_writer import SCOPES, NestWriter, indented
from netc.compiler.targets.cpu.nests.short_rows import sums_rows_with_calls


def fold_in_registers(writer: NestWriter) -> list[str]:
    """Each fold has a running total, which is stored after the loops over the folded axes."""
    blocks, point = folds_of_point(writer)
    return [*blocks, *writer.loops(writer.kept, point)]


def folds_of_point(writer: NestWriter) -> tuple[list[str], list[str]]:
    """The statements before all loops, and those for one point of the axes that are kept."""
    totals = [f"total{i}" for i in range(len(writer.folds))]
    pairs = list(zip(totals, writer.folds, strict=True))
    blocked = [pair for pair in pairs if _is_blocked(writer, pair[1])]
    combine = [
        f"{total} = {_in_register(writer, fold, total)}" for total, fold in pairs if not _is_blocked(writer, fold)
    ]
    start = [f"{total} = {writer.key(fold, writer.initial(fold))}" for total, fold in pairs]
    end = [
        writer.store(fold, f"of_key_{fold.target.dtype}({total})" if writer.keyed(fold) else total)
        for total, fold in pairs
    ]
    if writer.has_hints and sums_rows_with_calls(writer.nest):
        return _fold_after_row(writer, start, pairs, end)
    inside = [*writer.lines(), *writer.stores(), *combine]
    blocks = [f"block_of_{total} = block_{fold.target.dtype}()" for total, fold in blocked]
    loops = _fold_in_blocks(writer, inside, blocked) if blocked else writer.loops(writer.folded, inside)
    return blocks, [*start, *loops, *end]


def _is_blocked(writer: NestWriter, output: Output) -> bool:
    """Whether a fold is a sum of floats that is computed block by block."""
    is_sum = writer.reduction(output).combine == ADDITION
    return writer.nest.sums != "in order" and is_sum and DTYPES[output.target.dtype].is_float


def _fold_after_row(
    writer: NestWriter, start: list[str], sums: Sequence[tuple[str, Output]], end: list[str]
) -> tuple[list[str], list[str]]:
    """Stores the elements of a row in one loop, which LLVM vectorises, and adds them in order in a second one."""
    (axis,), scope = writer.folded, SCOPES - 1
    blocks = [f"block_of_{total} = block_{fold.target.dtype}()" for total, fold in sums]
    keep = [f"store_{fold.target.dtype}_{scope}(block_of_{total}, i{axis}, {fold.line})" for total, fold in sums]
    row = [f"for i{axis} in row({writer.ranges[axis]}):", *indented([*writer.lines(), *writer.stores(), *keep])]
    add = [f"{total} = {total} + load_{fold.target.dtype}_{scope}(block_of_{total}, i{axis})" for total, fold in sums]
    return blocks, [*start, *row, *writer.loops([axis], add), *end]


def _fold_in_blocks(writer: NestWriter, inside: Sequence[str], sums: Sequence[tuple[str, Output]]) -> list[str]:
    """Stores the elements of each sum into a block, in row-major order over all folded axes, and adds the block's
    sum to the total whenever the block is full."""

    def keep(index: str) -> list[str]:
        scope = SCOPES - 1
        return [f"store_{fold.target.dtype}_{scope}(block_of_{total}, {index}, {fold.line})" for total, fold in sums]

    def add(count: str) -> list[str]:
        return [f"{total} = {total} + sum_{fold.target.dtype}(block_of_{total}, {count})" for total, fold in sums]

    axis = writer.folded[-1]
    if writer.nest.sums == "in one block":
        return [*writer.loops([axis], [*inside, *keep(f"i{axis}")]), *add(writer.ranges[axis])]
    fill = [
        "done = 0",
        f"while done < {writer.ranges[axis]}:",
        f"    count = min({writer.ranges[axis]} - done, {BLOCK} - filled)",
        "    for k in range(count):",
        f"        i{axis} = done + k",
        *indented(indented([*inside, *keep("filled + k")])),
        "    done += count",
        "    filled += count",
        f"    if filled == {BLOCK}:",
        *indented(indented([*add(str(BLOCK)), "filled = 0"])),
    ]
    return ["filled = 0", *writer.loops(writer.folded[:-1], fill), *add("filled")]


def _in_register(writer: NestWriter, output: Output, total: str) -> str:
    """The total so far combined with the next element. Keys of floats allow a vector to take them in any order."""
    keyed = writer.keyed(output)
    if keyed:
        return f"{keyed}({total}, {writer.key(output, output.line)})"
    return writer.combined(output, total, {})
