"""Writes sums of expressions along rows in vectors, in the order of the sums of blocks in memory (sums.py).

That order has four running sums of a chunk each. They are one vector here, so an expression is computed where it is
added, and nothing is stored. The last elements of a block, which fill no chunk, are added one by one.
"""

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import BLOCK, Access, Nest
from netc.compiler.program.scalars import (
    Binary,
    Choice,
    Comparison,
    Conversion,
    Expression,
    Logic,
    Name,
    Number,
    Unary,
    Word,
)
from netc.compiler.targets.cpu.nest_writer import NestWriter, indented

_CHUNK_BYTES = 32
_RUNNING = 4  # sums
_ADDITION = Binary("+", Name("a"), Name("b"))
_WORDS = ("abs", "max", "min")
_SIGNS = ("<", "<=", ">", ">=", "==", "!=")


def has_sums_in_chunks(nest: Nest) -> bool:
    """Whether a nest only sums expressions of neighbouring elements along its last axis, in blocks.

    Functions such as exp are left to loops: LLVM chooses how many vectors of them are under way.
    """
    if nest.sums == "in order" or nest.sums == "in lanes" or nest.folded.count(True) != 1 or not nest.folded[-1]:
        return False
    dtype = nest.outputs[0].target.dtype
    if dtype not in ("f32", "f64") or nest.combine is not None or nest.argmax or nest.is_running:
        return False
    kinds: dict[str, str] = {}
    for line in nest.lines:
        kinds[line.name] = (
            _kind_of_access(line.value, nest) if isinstance(line.value, Access) else _kind(line.value, kinds)
        )
    return all(
        output.fold is not None
        and output.fold.combine == _ADDITION
        and output.target.dtype == dtype
        and kinds[output.line] == dtype
        for output in nest.outputs
    ) and all(kind in (dtype, "bool", "i32") for kind in kinds.values())


def _kind_of_access(access: Access, nest: Nest) -> str:
    """The type of what is loaded, or "" if its elements do not lie side by side."""
    if access.strides[-1] not in (0, 1) or access.dtype not in ("f32", "f64", "bool", "i32"):
        return ""
    if access.indirect is not None:
        index = next(line.value for line in nest.lines if line.name == access.indirect[0])
        if not isinstance(index, Access) or index.strides[-1]:
            return ""
    return access.dtype if access.pointer is not None or access.dtype == "i32" else ""


def _kind(tree: Expression, kinds: dict[str, str]) -> str:
    """The type of an expression, or "" if it has parts that are not computed in vectors."""
    match tree:
        case Name(name):
            return kinds[name]
        case Number(_, dtype):
            return dtype
        case Unary("-", operand):
            return _same([operand], kinds, ("f32", "f64"))
        case Unary("not" | "~", operand):
            return _same([operand], kinds, ("bool",))
        case Binary("+" | "-" | "*" | "/", left, right):
            return _same([left, right], kinds, ("f32", "f64"))
        case Binary("&" | "|", left, right):
            return _same([left, right], kinds, ("bool",))
        case Logic(_, operands) if all(isinstance(operand, Comparison) for operand in operands):
            return _same(operands, kinds, ("bool",))
        case Comparison((sign,), operands) if sign in _SIGNS:
            return "bool" if _same(operands, kinds, ("f32", "f64", "i32")) else ""
        case Choice(test, yes, no) if _kind(test, kinds) == "bool":
            return _same([yes, no], kinds, ("f32", "f64", "i32", "bool"))
        case Word(word, _, operands) if word in _WORDS:
            return _same(operands, kinds, ("f32", "f64"))
        case Conversion(dtype, operand) if dtype in ("f32", "f64"):
            return dtype if _kind(operand, kinds) else ""
    return ""


def _same(operands: "list[Expression] | tuple[Expression, ...]", kinds: dict[str, str], dtypes: tuple[str, ...]) -> str:
    """The type of all operands, if they have the same one and it is one of some types; else ""."""
    (first, *others) = {_kind(operand, kinds) for operand in operands}
    return first if not others and first in dtypes else ""


def fold_in_chunks(writer: NestWriter) -> list[str]:
    """Each sum has a total; blocks of the row are added to it one after another."""
    (axis,), nest = writer.folded, writer.nest
    dtype, extent, number = writer.folds[0].target.dtype, writer.ranges[writer.folded[0]], range(len(writer.folds))
    lanes = _CHUNK_BYTES // DTYPES[dtype].bytes
    wide = lanes * _RUNNING

    def add(part: str, prefix: str) -> list[str]:
        """The lines of some elements, each added to a sum of a prefix."""
        writer.part = part
        lines = writer.lines()
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
