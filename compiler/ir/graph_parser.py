"""The text of a graph -> the graph: the inverse of `graph.print_graph`.

A line is a value, `%NAME = OPERATION[ATTRIBUTES](OPERANDS) : TYPE`, or a result, `NAME = %NAME`. Attributes are
Python literals, or `inf`, `nan` and `'time' <= 40` (a varying dimension at its bound). The text after `#` on the line
of a value, its span in the source, is ignored.
"""

import ast
import re
from collections.abc import Sequence

from netc.compiler.ir.attributes import Attribute
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.types import DTYPES, UNDECLARED, Bounded, parse_type
from netc.compiler.ir.value import Value

_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_VALUE = re.compile(
    r"%(?P<name>\w+) = (?P<operation>\w+)"
    rf"(?:\[(?P<attributes>(?:{_STRING}|[^'\"\]])*)\])?"
    r"\((?P<operands>[%\w, ]*)\)"
    r" : (?P<type>\w+(?:\(\d+\))?(?:\[[^\]]*\])?)"
    r"(?P<opens> \{)?\s*(?:#.*)?"
)
_RESULT = re.compile(r"(?P<result>[^%].*) = %(?P<name>\w+)")
_PRECISION = re.compile(r"precision (?P<dtype>\w+)")
_NUMBERS = {"inf": float("inf"), "nan": float("nan")}


def parse_graph(text: str) -> Graph:
    """Reads a graph that `print_graph` printed, without its spans.

    In graphs that are written by hand, values may have names (`%x`) instead of numbers. Blank lines and lines that
    begin with `#` are ignored. Raises ValueError if a line is neither a value nor a result.
    """
    return _parse_lines(text.splitlines())


def _parse_lines(lines: Sequence[str]) -> Graph:
    """Reads the graph in these lines. The lines of a body are indented by two spaces and end with `}`.

    Raises ValueError if a line cannot be read.
    """
    graph, values = Graph(), dict[str, Value]()
    at = 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if not line.strip() or line.startswith("#"):
            continue
        if match := _VALUE.fullmatch(line):
            attributes = parse_attributes(match["attributes"] or "")
            if match["opens"]:
                end = next((n for n in range(at, len(lines)) if lines[n].rstrip() == "}"), None)
                if end is None:
                    raise ValueError(f"a body without an end: {line}")
                attributes = {
                    "body": Body(_parse_lines([inner.removeprefix("  ") for inner in lines[at:end]])),
                    **attributes,
                }
                at = end + 1
            operands = [
                _operand(values, name.strip()[1:], line) for name in match["operands"].split(",") if name.strip()
            ]
            if match["name"] in values:
                raise ValueError(f"a second %{match['name']}: {line}")
            try:
                values[match["name"]] = graph.add(match["operation"], operands, attributes, parse_type(match["type"]))
            except TypeError as error:
                raise ValueError(f"attributes that the operation does not have: {line}") from error
        elif match := _RESULT.fullmatch(line.rstrip()):
            graph.results[parse_result(match["result"])] = _operand(values, match["name"], line)
        elif (
            (match := _PRECISION.fullmatch(line.rstrip())) and (dtype := DTYPES.get(match["dtype"])) and dtype.is_float
        ):
            graph.precision = dtype.name
        else:
            raise ValueError(f"neither a value nor a result: {line}")
    return graph


def _operand(values: dict[str, Value], name: str, line: str) -> Value:
    if name not in values:
        raise ValueError(f"there is no %{name} before: {line}")
    return values[name]


def parse_attributes(text: str) -> dict[str, Attribute]:
    """Reads attributes by name: `over=(1,), p=0.5`. Raises ValueError if they cannot be read."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"attributes that cannot be read: {text}") from error
    keywords = call.keywords if isinstance(call, ast.Call) else []
    return {str(keyword.arg): _value_of(keyword.value) for keyword in keywords}


def _value_of(node: ast.expr) -> Attribute:
    match node:
        case ast.Tuple(elements):
            return tuple(_value_of(element) for element in elements)
        case ast.Compare(ast.Constant(str(name)), [ast.LtE()], [ast.Constant(int() | None as most)]):
            return Bounded(UNDECLARED if most is None else most, name)
        case ast.Name(name) if name in _NUMBERS:
            return _NUMBERS[name]
        case ast.UnaryOp(ast.USub(), ast.Name(name)) if name in _NUMBERS:
            return -_NUMBERS[name]
    value = ast.literal_eval(node)
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"an attribute is a number, a truth value, a text or a tuple of these, not {value!r}")
    return value
