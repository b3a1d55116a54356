"""Decides how a nest walks its short rows.

A row is the run of elements along the last axis. LLVM unrolls a short loop of known length completely and then finds no
vectors in it, and it replaces a loop that copies one row by a call of `memcpy`. There are three ways around it:

- a hint that the loop shall be vectorised first (`has_free_rows`; llvm/loop_hints.py)
- a body of several rows, which is too long to be unrolled, and loads once what all rows share (`rows_side_by_side`)
- the loop over rows inside of the one along them (`reads_short_rows_across`), or a loop for each output (`dense_parts`)

Knows only the nest, no text and no machine.
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import ADDITION, Access, Line, Nest, Output
from netc.compiler.program.scalars import call_count, names_of
from netc.compiler.targets.cpu.nests.jam import Jam
from netc.dsl.structs import replace

_FEWEST = 3  # elements of a row that LLVM shall vectorise
_SHORTEST = 8  # elements of a row: LLVM makes vectors of several shorter rows by itself
_UNROLLED = 384  # LLVM unrolls a loop of fewer instructions in all: its limit is 300, and a line has one or two
_GROUP = 8  # rows whose vectors LLVM loads to select an element of each
_AROUND = 3  # instructions of a loop besides its lines: increment, comparison, branch
_CALL = 24  # instructions of a function such as exp, of f32
_CALL_OF_F64 = 30
_STEPS = (1, 2, 4, 8, 16, 32)
_COPIES = 4  # rows of a body, if all are computed from one row
_FULL = 128  # bytes of a row of a part (`dense_parts`), from which on one row is written after another
_FALLS_OUT = 16 << 10  # bytes of a row that does not stay in the first cache: half of it


def has_free_rows(nest: Nest) -> bool:
    """Whether LLVM may vectorise the loop along the last axis: elements of a row are neighbours in memory, and may be
    computed in any order (`Nest.has_free_order`)."""
    last = len(nest.extents) - 1
    extent = nest.extents[last] if nest.extents else None
    if extent is None or extent < _FEWEST or nest.folded[last] or nest.argmax:
        return False
    loads, stores = nest.loads(), [output.target for output in nest.outputs]
    walks = {line.name: line.value for line in nest.lines}
    for access in (*loads, *stores):
        if access.strides[last] not in (0, 1):
            return False
        if access.indirect is not None:
            index = walks[access.indirect[0]]
            if not isinstance(index, Access) or index.strides[last]:
                return False
    return all(store.strides[last] for store in stores) and nest.has_free_order


def reads_short_rows_across(nest: Nest) -> bool:
    """Whether a nest reads operands like x[i1, i0], across short rows that follow one another, with i1 the last axis.

    All else that it reads and writes moves by at most one element along the last axis. If the loop along such rows is
    the innermost one, LLVM unrolls it, loads several rows as vectors, and selects their elements.
    """
    last = len(nest.extents) - 1
    if last < 1 or any(nest.folded) or nest.combine is not None or (nest.extents[last] or _SHORTEST) < _SHORTEST:
        return False
    rows = nest.extents[last - 1]
    if rows is None or not 1 < rows <= _GROUP or any(access.indirect is not None for access in nest.accesses()):
        return False
    across = [load for load in nest.loads() if load.pointer is not None and load.strides[last - 1 :] == (1, rows)]
    others = [access for access in nest.accesses() if access not in across]
    return bool(across) and all(access.strides[last] in (0, 1) for access in others) and nest.has_free_order


def sums_rows_with_calls(nest: Nest) -> bool:
    """Whether a nest sums, in order, short rows of expressions that call functions such as exp, and the loop over a row
    is too long for LLVM to unroll. (If LLVM unrolls it, it finds vectors of several rows.)"""
    extent = nest.extents[-1] if nest.extents else None
    folds = [output for output in nest.outputs if output.fold is not None]
    if extent is None or extent < _FEWEST or nest.sums != "in order" or not folds or nest.argmax:
        return False
    dtype, sums = folds[0].target.dtype, all(fold.fold and fold.fold.combine == ADDITION for fold in folds)
    if not sums or not DTYPES[dtype].is_float or not nest.folded[-1] or nest.folded.count(True) > 1:
        return False
    calls = sum(call_count(line.value) for line in nest.lines if not isinstance(line.value, Access))
    instructions = len(nest.lines) + len(nest.outputs) + calls * (_CALL_OF_F64 if dtype == "f64" else _CALL) + _AROUND
    return calls > 0 and extent * instructions >= _UNROLLED


def dense_parts(nest: Nest) -> list[Nest]:
    """Returns the nest as several, if it writes an interleaved image: outputs that fill each other's gaps in rows.

    Each part writes one row after another, which is faster than a loop that writes two rows at once.
    """
    targets, last = [output.target for output in nest.outputs], len(nest.extents) - 1
    if last < 2 or any(nest.folded) or nest.combine is not None or not nest.extents[last]:
        return [nest]
    buffers = {nest.buffers[target.pointer] for target in targets if target.pointer is not None}
    if len({target.strides for target in targets}) > 1 or len(buffers) > 1 or targets[0].indirect is not None:
        return [nest]
    side_by_side, rest = divmod(targets[0].strides[last - 1], nest.extents[last] or 1)
    if rest or not 1 <= side_by_side < len(targets) or len(targets) % side_by_side or not nest.has_free_order:
        return [nest]
    starts = range(0, len(targets), side_by_side)
    return [_part(nest, nest.outputs[start : start + side_by_side]) for start in starts]


def rows_of_part(part: Nest) -> Jam:
    """Returns the rows that a body of a part (`dense_parts`) computes: one, unless rows are short, because a body of
    several rows writes to several cache lines in turn."""
    nbytes = (part.extents[-1] or 0) * DTYPES[part.outputs[0].target.dtype].bytes
    return rows_side_by_side(part) if nbytes < _FULL else Jam()


def _part(nest: Nest, outputs: tuple[Output, ...]) -> Nest:
    """The nest with some of its outputs, and the lines that they need."""
    needed, lines = {output.line for output in outputs}, list[Line]()
    for line in reversed(nest.lines):
        if line.name in needed:
            lines.append(line)
            if not isinstance(line.value, Access):
                needed |= names_of(line.value)
            elif line.value.indirect is not None:
                needed.add(line.value.indirect[0])
    return replace(nest, lines=tuple(reversed(lines)), outputs=outputs)


def rows_side_by_side(nest: Nest, in_vectors: bool = False) -> Jam:
    """Returns the rows that a body computes, along the axis before the last one: a jam without `along` for one row.

    A text that names vectors needs no longer body for LLVM to find them. It stores one row after another: parts of
    several rows in turns take 1.3 to 1.6 times as long on Zen 4.
    """
    extents, only = nest.extents, Jam()
    if len(extents) < 2 or any(nest.folded) or nest.combine is not None:
        return only
    if any(output.target.indirect for output in nest.outputs):
        return only
    along = len(extents) - 2
    rows, length = extents[along:]
    if length is None or length < _SHORTEST:
        return only
    if _repeats_a_long_row(nest, along):
        return only if rows is not None and rows < _COPIES else Jam({}, along, _COPIES)
    if in_vectors:
        return only
    repeated, moving = _instructions(nest, along)
    least = _COPIES if _copies_a_row(nest, along) else 1
    for steps in _STEPS:
        if steps >= least and length * (repeated + moving * steps + _AROUND) >= _UNROLLED:
            return only if steps == 1 or (rows is not None and rows < steps) else Jam({}, along, steps)
    return only


def _instructions(nest: Nest, along: int) -> tuple[int, int]:
    """The instructions of a body that are the same for all points along an axis, and those of each point."""
    repeated, moving, fixed = 0, len(nest.outputs), set[str]()
    for line in nest.lines:
        if isinstance(line.value, Access):
            is_fixed, weight = not line.value.strides[along] and line.value.indirect is None, 1
        else:
            is_fixed, weight = names_of(line.value) <= fixed, 1 + _CALL * call_count(line.value)
        if is_fixed:
            fixed.add(line.name)
            repeated += weight
        else:
            moving += weight
    return repeated, moving


def _repeats_a_long_row(nest: Nest, along: int) -> bool:
    """Whether each row is computed from one long row, the same for all, and numbers that are constant along it, as in
    an outer product. The long row does not stay in the first cache while results are written, so a body reads it once
    for several of them."""
    loads, last = [load for load in nest.loads() if load.pointer is not None], len(nest.extents) - 1
    lengths = [DTYPES[load.dtype].bytes * (nest.extents[last] or 0) for load in loads if load.strides[last]]
    return max(lengths, default=0) >= _FALLS_OUT and not any(
        load.indirect is not None or (load.strides[along] and load.strides[last]) for load in loads
    )


def _copies_a_row(nest: Nest, along: int) -> bool:
    """Whether a nest writes one row, or a number, to all rows."""
    return all(not isinstance(line.value, Access) or not line.value.strides[along] for line in nest.lines)
