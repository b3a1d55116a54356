"""Finds nests whose text names vectors, in place of a loop that LLVM vectorises.

LLVM computes the remainder of a row element by element, and a short row of known length without any vector. A text that
names vectors (text/row_vectors.py) computes the remainder in one narrow vector. Rows of 19 in AVX-512:

    i1 = 0:   t0 = load_f32v_0(p0, i0 * 19 + i1)         # 16 elements
    i1 = 16:  t0 = load_f32r19_0(p0, i0 * 19 + i1)       # the other 3, in a vector of 4

Knows only the nest, no text and no machine.
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import ADDITION, Access, Nest
from netc.compiler.program.scalars import Number
from netc.compiler.targets.cpu.nests.vector_lines import kinds_in_vectors

LEAST_LANES = {"f32": 4, "f64": 2}  # of the vectors of all machines
MOST_LANES = {"f32": 16, "f64": 8}
# Bytes of an operand that stay in the first cache while one vector of the result's row after another is summed.
_NEAR = 8 << 10


def has_vector_rows(nest: Nest) -> bool:
    """Whether a nest sums rows of products, of one float type, whose elements are neighbours along the last axis."""
    if not nest.folds_rows or nest.extents[-1] is None or nest.combine is not None:
        return False
    loads = nest.loads()
    dtype = nest.outputs[0].target.dtype
    accesses = [*loads, *(output.target for output in nest.outputs)]
    return (
        dtype in LEAST_LANES
        and all(isinstance(line.value, Access) for line in nest.lines)
        and all(access.dtype == dtype and access.strides[-1] in (0, 1) for access in accesses)
        and all(access.pointer is not None and access.indirect is None for access in accesses)
        and any(access.strides[-1] for access in loads)
        and all(output.is_multiply_add and output.target.strides[-1] == 1 for output in nest.outputs)
    )


def has_odd_rows(nest: Nest) -> bool:
    """Whether a nest computes or adds to rows of floats, of a known length that whole vectors do not fill.

    An index may select the row that is read, or the row that is written.
    """
    if not nest.extents or nest.extents[-1] is None:
        return False
    extent = nest.extents[-1]
    indices = {access.indirect[0] for access in nest.accesses() if access.indirect is not None}
    loads = [(line.name, line.value) for line in nest.lines if isinstance(line.value, Access)]
    rows = [access for _, access in loads if access.strides[-1]] + [output.target for output in nest.outputs]
    dtype = rows[-1].dtype
    if (
        dtype not in LEAST_LANES
        or LEAST_LANES[dtype] >= extent
        or extent % MOST_LANES[dtype] in (0, MOST_LANES[dtype] // 2)
        or any(nest.folded)
        or nest.combine not in (None, ADDITION)
    ):
        return False
    kinds = kinds_in_vectors(nest)
    return (
        all(access.dtype == dtype and access.strides[-1] == 1 for access in rows)
        and any(access.strides[-1] for _, access in loads)
        and all(kinds[name] == "i32" if name in indices else kinds[name] in (dtype, "bool") for name in kinds)
        and all(kinds[output.line] == dtype for output in nest.outputs)
        and all(not access.strides[-1] for name, access in loads if name in indices)
        and all(access.pointer is not None for access in nest.accesses())
        and (nest.has_free_order or nest.combine is not None)
    )


def has_rows_of_floats(nest: Nest) -> bool:
    """Whether all outputs of a nest are of one float type, and neighbours along the last axis."""
    targets = [output.target for output in nest.outputs]
    return (
        bool(nest.extents)
        and targets[0].dtype in LEAST_LANES
        and all(target.dtype == targets[0].dtype and target.strides[-1] == 1 for target in targets)
    )


def may_fit_vectors(nest: Nest) -> bool:
    """Whether a nest folds rows of floats to one row, by sums, maxima or minima of expressions that have a form for
    vectors, and the length of a row is an argument of the kernel."""
    if not nest.folds_rows or nest.folded.count(False) != 1 or nest.extents[-1] is not None or nest.combine is not None:
        return False
    dtype = nest.outputs[0].target.dtype
    loads = [(line.name, line.value) for line in nest.lines if isinstance(line.value, Access)]
    indices = {access.indirect[0] for access in nest.accesses() if access.indirect is not None}
    kinds = kinds_in_vectors(nest)
    return (
        dtype in LEAST_LANES
        and all(output.fold is not None for output in nest.outputs)
        and all(output.fold.keyed or output.fold.combine == ADDITION for output in nest.outputs if output.fold)
        and all(isinstance(output.fold.initial, Number) for output in nest.outputs if output.fold)
        and all(output.target.strides[-1] == 1 and output.target.dtype == dtype for output in nest.outputs)
        and all(not access.strides[-1] or access.dtype == dtype for _, access in loads)
        and any(access.strides[-1] for _, access in loads)
        and all(access.pointer is not None for access in nest.accesses())
        and all(kinds[name] == "i32" if name in indices else kinds[name] in (dtype, "bool") for name in kinds)
        and all(kinds[output.line] == dtype for output in nest.outputs)
    )


def narrow_lanes(nest: Nest) -> int | None:
    """The lanes of a vector of 16 or 32 bytes that the rows of a nest of `may_fit_vectors` fill, if they follow one
    another so closely; None for longer rows.

    A CPU splits a load whose lanes reach into the next cache line, also if a mask leaves these out. Of rows of 16 bytes
    in vectors of 64, three of four would be split.
    """
    along = max(axis for axis, is_folded in enumerate(nest.folded) if is_folded)
    dtype = nest.outputs[0].target.dtype
    length, lanes = max(abs(load.strides[along]) for load in nest.loads() if load.strides[-1]), LEAST_LANES[dtype]
    return next((count for count in (lanes, 2 * lanes) if 0 < length <= count), None)


def keeps_totals(nest: Nest) -> bool:
    """Whether a nest of `has_vector_rows` keeps a vector of sums in registers along the last folded axis, so that a
    load and a store of sums serve many elements. The operand is then read again for the next vector of the row."""
    along = max(axis for axis, is_folded in enumerate(nest.folded) if is_folded)
    extent = nest.extents[along]
    reach = max(abs(access.strides[along]) * DTYPES[access.dtype].bytes for access in nest.loads())
    return extent is not None and extent * reach <= _NEAR
