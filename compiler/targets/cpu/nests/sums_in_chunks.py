"""Writes sums of expressions along rows in vectors, in the order of the sums of blocks in memory (text/sums.py).

That order has four running sums of a chunk each, 32 bytes. They are one vector of 32 f32 here, `sums0`, so that an
expression is added where it is computed, and nothing is stored for the sum. A sum of squares:

    sums0 = zeros_f32c32()
    for i0 in range(0, n0 // 32 * 32, 32):
        t0 = load_f32c32_0(p0, i0)
        t1 = t0 * t0
        sums0 = sums0 + t1
    chunk0 = quarters_f32c32(sums0)                     # adds the four running sums; then come the other chunks of 8
    part0 = lanes_f32c8(chunk0)                         # adds the lanes; then come the other elements, one by one

Outputs that are not folded, such as the differences whose squares are summed, are stored in vectors too.

Many sums are of elements that pass a test, with zeros in place of the others. A CPU that adds under a mask needs no
instruction for the zeros. If a sum only counts the elements that pass, it is counted in integers: that is exact.
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import ADDITION, BLOCK, Access, Nest, Output
from netc.compiler.program.scalars import Choice, Conversion, Expression, Name, Number
from netc.compiler.targets.cpu.nests.expressions import text_of
from netc.compiler.targets.cpu.nests.nest_writer import NestWriter, indented
from netc.compiler.targets.cpu.nests.vector_lines import kinds_in_vectors

_CHUNK_BYTES = 32
_RUNNING = 4  # running sums, a chunk each
_COUNTED = (64, 8)  # elements whose tests are counted at once: in a mask of 64 bits, then in masks of 8


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
    dtype, extent = writer.folds[0].target.dtype, writer.ranges[writer.folded[0]]
    tests = {i: test for i, fold in enumerate(writer.folds) if (test := _counted(nest, fold)) is not None}
    sums = {i: _addend(nest, fold) for i, fold in enumerate(writer.folds) if i not in tests}
    lanes = _CHUNK_BYTES // DTYPES[dtype].bytes
    wide, narrow = (lanes * _RUNNING, lanes) if sums else _COUNTED

    def add(part: str, prefix: str) -> list[str]:
        """The statements for a part of the row, whose values are added to the sums of a prefix, or counted."""
        writer.part = part
        lines = [*writer.lines(), *writer.stores()]
        writer.part = ""
        lines += [f"{prefix}{i} = {prefix}{i} + {addend}" for i, addend in sums.items()]
        return [*lines, *(f"count{i} = count{i} + {number(test, part)}" for i, test in tests.items())]

    def number(test: str, part: str) -> str:
        return f"true_bool{part}({test})" if part else f"(1 if {test} else 0)"

    def block(first: str, count: str) -> list[str]:
        begin = "" if first == "0" else f"{first} + "
        end = [f"{begin}{count} // {size} * {size}" for size in (wide, narrow)] + [f"{begin}{count}"]
        return [
            *(f"sums{i} = zeros_{dtype}c{wide}()" for i in sums),
            *(f"count{i} = 0" for i in tests),
            f"for i{axis} in range({first}, {end[0]}, {wide}):",
            *indented(add(f"c{wide}", "sums")),
            *(f"chunk{i} = quarters_{dtype}c{wide}(sums{i})" for i in sums),
            f"for i{axis} in range({end[0]}, {end[1]}, {narrow}):",
            *indented(add(f"c{narrow}", "chunk")),
            *(f"part{i} = lanes_{dtype}c{narrow}(chunk{i})" for i in sums),
            f"for i{axis} in range({end[1]}, {end[2]}):",
            *indented(add("", "part")),
            *(f"total{i} = total{i} + part{i}" for i in sums),
            *(f"total{i} = total{i} + {DTYPES[dtype].conversion}(count{i})" for i in tests),
        ]

    blocks = block("0", extent)
    if nest.sums == "in blocks":
        count = f"count = min({extent} - first, {BLOCK})"
        blocks = [f"for first in range(0, {extent}, {BLOCK}):", *indented([count, *block("first", "count")])]
    start = [f"total{i} = {writer.initial(fold)}" for i, fold in enumerate(writer.folds)]
    end = [writer.store(fold, f"total{i}") for i, fold in enumerate(writer.folds)]
    return writer.loops(writer.kept, [*start, *blocks, *end])


def _choice(nest: Nest, fold: Output) -> tuple[Choice | None, tuple[str, str]]:
    """The choice (`yes if test else no`) that a sum adds, if it adds one, and its two operands as numbers; "" for an
    operand that is not a number."""
    values = {line.name: line.value for line in nest.lines}
    match values[fold.line]:
        case Choice(_, yes, no) as choice:
            return choice, (_number(yes, values), _number(no, values))
    return None, ("", "")


def _number(tree: Expression, values: dict[str, Access | Expression]) -> str:
    """The text of an expression that is a number; "" for other expressions."""
    match values[tree.name] if isinstance(tree, Name) else tree:
        case Number(text, _):
            return repr(float(text))
    return ""


def _counted(nest: Nest, fold: Output) -> str | None:
    """The test of a sum that adds 1 for each element that passes it and 0 for all others; None for other sums."""
    values = {line.name: line.value for line in nest.lines}
    match values[fold.line]:
        case Conversion(_, Name(name)) if kinds_in_vectors(nest)[name] == "bool":
            return name
    choice, numbers = _choice(nest, fold)
    return text_of(choice.test) if choice is not None and numbers == ("1.0", "0.0") else None


def _addend(nest: Nest, fold: Output) -> str:
    """The text of the element that a sum adds. Zeros become NOTHING, the zero that the target adds fastest: -0.0 is
    allowed, because no partial sum is -0.0."""
    choice, numbers = _choice(nest, fold)
    if choice is None or "0.0" not in numbers:
        return fold.line
    nothing = f"{DTYPES[fold.target.dtype].conversion}(NOTHING)"
    trees = zip((choice.yes, choice.no), numbers, strict=True)
    yes, no = (nothing if number == "0.0" else text_of(tree) for tree, number in trees)
    return f"({yes} if {text_of(choice.test)} else {no})"
