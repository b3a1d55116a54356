"""Reads the lines that kernel_listing.py prints."""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import get_args

from netc.compiler.ir.forms import Custom
from netc.compiler.ir.graph_parser import parse_attributes
from netc.compiler.ir.types import DTYPES
from netc.compiler.ir.value import OPERATIONS
from netc.compiler.program import attention, grouped, winograd
from netc.compiler.program.kernels import (
    ArrayArgument,
    AttentionKernel,
    CustomKernel,
    FirstEqual,
    GroupedKernel,
    Kernel,
    StoredCount,
    WinogradKernel,
)
from netc.compiler.program.names import NAME, unquoted
from netc.compiler.program.nests import Access, Line, Nest, Output, Reduction, Sums
from netc.compiler.program.scalars import Conversion, Expression, FunctionCall, Number, Size, TreeReader, refused
from netc.compiler.program.schedule import Count

_LOOP = re.compile(r"for i(?P<axis>\d+) < (?:n(?P=axis) = (?P<count>.+?)|(?P<extent>\d+))(?P<folded>, folded)?")
_SIZE = re.compile(r"s\d+ = (?P<count>.+)")
_ARGUMENT = re.compile(r"s(?P<index>\d+)")
_SUMS = re.compile(r"sums (?P<sums>in groups|in blocks|in one block|in lanes)")
_ACCESS = re.compile(r"(?P<dtype>\w+) (?:p(?P<pointer>\d+)|range)\[(?P<offset>[^\]]*)\]")
_LINE = re.compile(r"(?P<name>\w+) = (?P<value>.+)")
_OUTPUT = re.compile(r"(?P<target>\w+ p\d+\[[^\]]*\]) = (?P<stored>.+)")
_FOLD = re.compile(
    r"fold of (?P<line>\w+) from (?P<initial>.+?) by (?P<combine>.+?)(?: with keys (?P<keyed>max|min))?"
    r"(?P<running>, at each point)?"
)
_COMBINED = re.compile(r"combined with (?P<line>\w+) by (?P<combine>.+)")
_LARGEST = re.compile(r"index of the largest (?P<line>\w+)")
_TERM = re.compile(r"(?P<name>\w+)(?: \* (?P<factor>-?\d+))?")
_STORES = re.compile(r"stores (?P<dtype>\w+) n0 = (?P<count>.+)")
_ATTENTION = re.compile(r"attention (?P<gradient>gradient )?(?P<one>of one query )?in (?P<dtype>\w+)")
_WINOGRAD = re.compile(r"winograd (?P<part>transform|convolve|gradient) in (?P<dtype>\w+)")
_GROUPED = re.compile(
    r"grouped (?P<part>convolve|gradient) of (?P<inputs>\d+) to (?P<outputs>\d+) by (?P<down>\d+) x (?P<across>\d+)"
    r"(?: every (?P<step>-?\d+), (?P<apart>-?\d+) apart)? in strips of (?P<positions>\d+) and (?P<rest>\d+)"
    r"(?P<halves> with halves)?, in (?P<dtype>\w+)"
)
_NAMED_COUNT = re.compile(r"(?P<name>\w+) = (?P<count>.+)")
_EQUAL = re.compile(r"first equal of n0 = (?P<count>.+)")
_CUSTOM = re.compile(rf"custom (?P<operation>{NAME})(?: for each of n0 = (?P<count>.+))?")
_ATTRIBUTE = re.compile(r"attribute (?P<attribute>.+)")
_ARRAY = re.compile(
    r"(?P<dtype>\w+) p(?P<pointer>\d+)\[(?P<shape>.*?)\], strides \[(?P<strides>.*?)\], (?P<apart>-?\d+) apart"
)
_COUNT = re.compile(r"(?:(?P<factor>-?\d+) \* )?(?P<per>.+)")


def parse_kernel(lines: Sequence[str], buffers: tuple[int, ...]) -> tuple[Kernel, tuple[Count, ...]]:
    """Returns a kernel and the counts that its task gives it. `buffers` numbers the buffer of each pointer.

    Raises ValueError if a line cannot be read.
    """
    head = lines[0] if lines else ""
    if match := _STORES.fullmatch(head):
        return StoredCount(match["dtype"]), (parse_count(match["count"]),)
    if match := _EQUAL.fullmatch(head):
        return FirstEqual(), (parse_count(match["count"]),)
    if match := _ATTENTION.fullmatch(head):
        return _attention(match, lines[1:])
    if match := _WINOGRAD.fullmatch(head):
        return _winograd(match, lines[1:])
    if match := _GROUPED.fullmatch(head):
        return _grouped(match, lines[1:])
    if match := _CUSTOM.fullmatch(head):
        counts = (parse_count(match["count"]),) if match["count"] else ()
        return _custom(unquoted(match["operation"]), lines[1:], buffers, bool(counts)), counts
    reader = _NestReader()
    for line in lines:
        reader.read(line)
    return reader.nest(buffers), tuple(reader.counts)


def _attention(match: re.Match[str], lines: Sequence[str]) -> tuple[Kernel, tuple[Count, ...]]:
    is_gradient = match["gradient"] is not None
    names = attention.numbers(is_gradient)
    numbers = tuple(_named_counts("attention", names, lines))
    lengths, keys, queries = (numbers[names.index(name)].factor for name in ("lengths", "packs_keys", "packs_queries"))
    has_one_query = match["one"] is not None
    kernel = AttentionKernel(match["dtype"], is_gradient, lengths, has_one_query, bool(keys), bool(queries))
    return kernel, numbers


def _winograd(match: re.Match[str], lines: Sequence[str]) -> tuple[Kernel, tuple[Count, ...]]:
    part: winograd.Part = match["part"]  # type: ignore[assignment]  # the pattern allows these words alone
    names = winograd.shape_numbers(part)
    numbers = tuple(_named_counts("winograd", names, lines))
    has_start = "has_start" in names and numbers[names.index("has_start")] == Count(1)
    return WinogradKernel(match["dtype"], part, has_start), numbers


def _grouped(match: re.Match[str], lines: Sequence[str]) -> tuple[Kernel, tuple[Count, ...]]:
    part: grouped.GroupedPart = match["part"]  # type: ignore[assignment]  # the pattern allows these words alone
    names = grouped.numbers(part)
    numbers = tuple(_named_counts("grouped", names, lines))
    has_start = "has_start" in names and numbers[names.index("has_start")] == Count(1)
    sizes = match.group("inputs", "outputs", "down", "across", "positions", "rest")
    inputs, outputs, down, across, positions, rest = map(int, sizes)
    step, apart = int(match["step"] or 1), int(match["apart"] or 1)
    groups = grouped.Groups(
        inputs, outputs, down, across, positions, rest, step, apart, ends_in_half=match["halves"] is not None
    )
    return GroupedKernel(match["dtype"], part, groups, has_start), numbers


def _named_counts(word: str, names: Sequence[str], lines: Sequence[str]) -> Iterator[Count]:
    """Reads the counts of a generic kernel. Raises ValueError if a line is not the one that comes next."""
    if len(lines) != len(names):
        raise ValueError(f"{word} has {len(names)} numbers, not {len(lines)}")
    for name, line in zip(names, lines, strict=True):
        match = _NAMED_COUNT.fullmatch(line)
        if match is None or match["name"] != name:
            raise ValueError(f"not `{name}` of {word}: {line}")
        yield parse_count(match["count"])


def parse_count(text: str) -> Count:
    """Reads a count: `rows`, `4 * time`, `12`."""
    match = _COUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a count: {text}")
    if match["factor"] is None and re.fullmatch(r"-?\d+", text):
        return Count(int(text))
    return Count(int(match["factor"] or 1), unquoted(match["per"]))


def parse_expression(text: str) -> Expression:
    """Reads a scalar expression. Raises ValueError if it is none."""
    try:
        return _ExpressionReader().tree(ast.parse(text, mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"not an expression: {text}") from error


class _ExpressionReader(TreeReader):
    """Reads expressions in which functions, conversions and numbers have a type: `exp.f32(t0) + f32(1.0)`."""

    def call(self, node: ast.Call) -> Expression:
        match node:
            case ast.Call(func=ast.Name(id=dtype), args=[operand]) if dtype in DTYPES:
                if _is_number(operand):
                    return Number(ast.unparse(operand), dtype)
                if isinstance(operand, ast.Name) and (size := _ARGUMENT.fullmatch(operand.id)):
                    return Size(int(size["index"]), dtype)
                return Conversion(dtype, self.tree(operand))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=function), attr=dtype), args=operands) if (
                dtype in DTYPES
            ):
                return FunctionCall(function, dtype, tuple(map(self.tree, operands)))
        raise refused(node)


def _is_number(node: ast.expr) -> bool:
    match node:
        case ast.Constant() | ast.Name(id="inf" | "nan"):
            return True
        case ast.UnaryOp(operand=operand):
            return _is_number(operand)
    return False


class _NestReader:
    """Reads the lines of a nest, one after another."""

    def __init__(self) -> None:
        self.extents, self.folded, self.counts = list[int | None](), list[bool](), list[Count]()
        self.sums: Sums = "in order"
        self.lines, self.outputs = list[Line](), list[Output]()
        self.combine: Expression | None = None
        self.argmax = self.is_running = False
        self.sizes = 0

    def read(self, line: str) -> None:
        """Reads one line. Raises ValueError if it cannot be read."""
        if match := _LOOP.fullmatch(line):
            self.extents.append(int(match["extent"]) if match["extent"] else None)
            self.folded.append(match["folded"] is not None)
            if match["count"]:
                self.counts.append(parse_count(match["count"]))
        elif match := _SIZE.fullmatch(line):
            self.counts.append(parse_count(match["count"]))
            self.sizes += 1
        elif match := _SUMS.fullmatch(line):
            self.sums = next(sums for sums in get_args(Sums) if sums == match["sums"])
        elif match := _OUTPUT.fullmatch(line):
            self.outputs.append(self.output(_access(match["target"], len(self.extents)), match["stored"]))
        elif match := _LINE.fullmatch(line):
            is_access = _ACCESS.fullmatch(match["value"]) is not None
            value = _access(match["value"], len(self.extents)) if is_access else parse_expression(match["value"])
            self.lines.append(Line(match["name"], value))
        else:
            raise ValueError(f"not a line of a kernel: {line}")

    def output(self, target: Access, stored: str) -> Output:
        """Reads what an output stores at its target."""
        if match := _FOLD.fullmatch(stored):
            is_access = _ACCESS.fullmatch(match["initial"]) is not None
            initial = _access(match["initial"], len(self.extents)) if is_access else parse_expression(match["initial"])
            if not isinstance(initial, Number | Access):
                raise ValueError(f"a fold begins with a number or an element: {stored}")
            self.is_running = match["running"] is not None
            return Output(match["line"], target, Reduction(initial, parse_expression(match["combine"]), match["keyed"]))
        if match := _COMBINED.fullmatch(stored):
            self.combine = parse_expression(match["combine"])
            return Output(match["line"], target)
        if match := _LARGEST.fullmatch(stored):
            self.argmax = True
            return Output(match["line"], target)
        if re.fullmatch(r"\w+", stored):
            return Output(stored, target)
        raise ValueError(f"not what an output stores: {stored}")

    def nest(self, buffers: tuple[int, ...]) -> Nest:
        """Returns the nest of the lines so far."""
        return Nest(
            tuple(self.extents),
            tuple(self.lines),
            tuple(self.outputs),
            buffers,
            tuple(self.folded),
            self.sums,
            self.combine,
            self.argmax,
            self.is_running,
            self.sizes,
        )


def _access(text: str, axes: int) -> Access:
    match = _ACCESS.fullmatch(text)
    if match is None:
        raise ValueError(f"not an access: {text}")
    strides, indirect = [0] * axes, None
    for term in match["offset"].split(" + ") if match["offset"] != "0" else ():
        part = _TERM.fullmatch(term)
        if part is None:
            raise ValueError(f"not an offset: {text}")
        factor = int(part["factor"] or 1)
        axis = re.fullmatch(r"i(\d+)", part["name"])
        if axis is None:
            indirect = (part["name"], factor)
        elif int(axis[1]) < axes:
            strides[int(axis[1])] = factor
        else:
            raise ValueError(f"an index without a loop: {text}")
    return Access(int(match["pointer"]) if match["pointer"] else None, match["dtype"], tuple(strides), indirect)


def _custom(operation: str, lines: Sequence[str], buffers: tuple[int, ...], is_batched: bool) -> CustomKernel:
    lower = OPERATIONS[operation].lower if operation in OPERATIONS else None
    if not isinstance(lower, Custom):
        raise ValueError(f"no operation with a custom kernel is called `{operation}`")
    arrays, attributes = list[ArrayArgument](), dict[str, object]()
    for line in lines:
        if match := _ATTRIBUTE.fullmatch(line):
            attributes.update(parse_attributes(match["attribute"]))
        elif match := _ARRAY.fullmatch(line):
            pointer, shape, strides = int(match["pointer"]), _numbers(match["shape"]), _numbers(match["strides"])
            apart = int(match["apart"])
            arrays.append(ArrayArgument(pointer, buffers[pointer], match["dtype"], shape, strides, apart))
        else:
            raise ValueError(f"not a line of a custom kernel: {line}")
    return CustomKernel(operation, lower.function, tuple(arrays), tuple(attributes.items()), is_batched)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(", ") if number)
