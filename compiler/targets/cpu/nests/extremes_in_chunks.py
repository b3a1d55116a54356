"""Writes maxima and minima of expressions along rows in vectors, which compare floats.

A loop that LLVM vectorises would compare integer keys (math/rounding.py), which cost several instructions each. Here
elements are compared as floats, and added up beside the comparison: the sum, `doubt`, is NaN if any of them is (or if
infinities cancel), and only then are the keys of the row compared. The maximum of a row of 9:

    i1 = 0
    t0 = load_f32c8_0(p0, i0 * 9 + i1)
    best0 = t0
    sums0 = t0
    i1 = 9 - 8                                           # the last vector overlaps the one before: this does no harm
    t0 = load_f32c8_0(p0, i0 * 9 + i1)
    best0 = t0 if t0 > best0 else best0
    sums0 = sums0 + t0
    total0 = largest_f32c8(best0)
    doubt = lanes_f32c8(sums0)
    if doubt != doubt:
        ...

If zeros of both signs are the largest elements, the result is one of them, which depends on the length of the row
alone.
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import Nest
from netc.compiler.program.scalars import Number
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.nests.vector_lines import kinds_in_vectors

_BYTES = (128, 32)  # of the vectors for long rows, and of those for rows that do not fill one of 128 bytes
_SIGN = {"max": ">", "min": "<"}
_BUILTIN = {"max": "largest", "min": "smallest"}


def has_extremes_in_chunks(nest: Nest) -> bool:
    """Whether a nest only takes maxima and minima of neighbouring elements along its last axis."""
    if nest.folded.count(True) != 1 or not nest.folded[-1] or nest.combine is not None or nest.is_running:
        return False
    dtype, extent = nest.outputs[0].target.dtype, nest.extents[-1]
    if dtype not in ("f32", "f64") or (extent is not None and extent < _BYTES[-1] // DTYPES[dtype].bytes):
        return False
    kinds = kinds_in_vectors(nest)
    return all(
        output.fold is not None
        and output.fold.keyed is not None
        and isinstance(output.fold.initial, Number)
        and output.target.dtype == dtype
        and kinds[output.line] == dtype
        for output in nest.outputs
    ) and all(kind in (dtype, "bool", "i32") for kind in kinds.values())


def fold_extremes(writer: NestWriter) -> list[str]:
    """The loop over rows: a row is compared in vectors if it fills one; by keys if it does not, or if it may have a
    NaN."""
    (axis,) = writer.folded
    dtype, extent, number = writer.folds[0].target.dtype, writer.ranges[axis], range(len(writer.folds))
    fixed_extent = writer.nest.extents[axis]

    def part(lanes: int, first: bool) -> list[str]:
        writer.part = f"c{lanes}"
        lines = writer.lines()
        writer.part = ""
        for i, fold in enumerate(writer.folds):
            value, sign = fold.line, _SIGN[writer.keyed(fold) or ""]
            if first:
                lines += [f"best{i} = {value}", f"sums{i} = {value}"]
            else:
                lines.append(f"best{i} = {value} if {value} {sign} best{i} else best{i}")
                lines.append(f"sums{i} = sums{i} + {value}")
        return lines

    def in_vectors(lanes: int) -> list[str]:
        lines = [f"i{axis} = 0", *part(lanes, True)]
        if fixed_extent is None or fixed_extent >= 2 * lanes:
            lines.append(f"for i{axis} in range({lanes}, {extent} // {lanes} * {lanes}, {lanes}):")
            lines += indented(part(lanes, False))
        if fixed_extent is None or fixed_extent % lanes:
            lines += [f"i{axis} = {extent} - {lanes}", *part(lanes, False)]
        for i, fold in enumerate(writer.folds):
            lines.append(f"total{i} = {_BUILTIN[writer.keyed(fold) or '']}_{dtype}c{lanes}(best{i})")
            lines.append(f"doubt = {'doubt + ' if i else ''}lanes_{dtype}c{lanes}(sums{i})")
        return lines

    convert = DTYPES[dtype].conversion
    lines = [f"doubt = {convert}(NAN)", *(f"total{i} = {convert}(0.0)" for i in number)]
    wide, narrow = (size // DTYPES[dtype].bytes for size in _BYTES)
    if fixed_extent is None:
        lines += [f"if {extent} >= {wide}:", *indented(in_vectors(wide))]
        lines += [f"elif {extent} >= {narrow}:", *indented(in_vectors(narrow))]
    else:
        lines += in_vectors(wide if fixed_extent >= wide else narrow)
    lines += ["if doubt != doubt:", *indented(_by_keys(writer))]
    end = [writer.store(fold, f"total{i}") for i, fold in enumerate(writer.folds)]
    return writer.loops(writer.kept, [*lines, *end])


def _by_keys(writer: NestWriter) -> list[str]:
    """The statements that reduce a row element by element, by integer keys."""
    keys = [(f"key{i}", fold, writer.keyed(fold)) for i, fold in enumerate(writer.folds)]
    start = [f"{key} = {writer.key(fold, writer.initial(fold))}" for key, fold, _ in keys]
    steps = [f"{key} = {combine}({key}, {writer.key(fold, fold.line)})" for key, fold, combine in keys]
    end = [f"total{i} = of_key_{fold.target.dtype}({key})" for i, (key, fold, _) in enumerate(keys)]
    return [*start, *writer.loops(writer.folded, [*writer.lines(), *steps]), *end]
