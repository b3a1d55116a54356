"""Finds how the numbers of a csv text are written: the decimal mark, and the mark between thousands."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.runtime.data.csv.records import even
from netc.runtime.data.csv.text_file import TextFile
from netc.runtime.data.tables.cell_text import Notation, is_missing_text

_COMMA = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+)?,[0-9]+")  # a number with a decimal comma
_POINT = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_COMMAS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")  # what could be commas between thousands
_POINTS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def notation_of(
    file: TextFile, names: Sequence[str], rows: list[list[str]], delimiter: str, options: Mapping[str, Any]
) -> tuple[Notation, tuple[str, ...]]:
    """The notation of numbers, and the columns whose points may be either decimal points or between thousands.

    Decimal commas are recognised only where commas do not separate cells. A number with both marks, such as 1.234,5,
    shows that the other one stands between thousands. Raises E0801 if some columns have decimal commas and others
    decimal points. Where the rows do not show it, and the file has the delimiter of the `training` data, the notation
    is that of training: a row alone means what it means among others.
    """
    decimal, thousands = options.get("decimal"), options.get("thousands", "")
    if decimal is not None or thousands or delimiter == ",":
        return Notation(decimal or ("," if thousands == "." else "."), thousands), ()
    marks = options.get("missing", ())
    commas: list[str] = []
    points: list[str] = []
    doubtful: list[str] = []
    has_both = False
    for name, column in zip(names, zip(*even(rows, len(names)), strict=True), strict=False):
        cells = [text.strip() for text in column if not is_missing_text(text, marks)]
        others = [text for text in cells if not _INTEGER.fullmatch(text)]
        if others and all(_COMMA.fullmatch(text) or _POINTS.fullmatch(text) for text in others):
            if any(_COMMA.fullmatch(text) and not _COMMAS.fullmatch(text) for text in others):
                commas.append(name)
            elif all(map(_POINTS.fullmatch, others)):
                doubtful.append(name)
        elif others and all(_POINT.fullmatch(text) or _COMMAS.fullmatch(text) for text in others):
            points.append(name)
        if name in (*commas[-1:], *points[-1:]):
            has_both = has_both or any("," in text and "." in text for text in others)
    if commas and points:
        fact = f"`{file.shown}` has decimal commas in `{cell(commas[0])}` and decimal points in `{cell(points[0])}`"
        fault("E0801", fact, file.span, hint='decimal = "," or decimal = "."')
    training_delimiter, *marks_of_training = options.get("training", ("", ".", ""))
    if delimiter == training_delimiter and not points and (marks_of_training[0] == "," or not commas):
        return Notation(*marks_of_training), ()
    is_doubtful = bool(doubtful) and delimiter == ";" and not points
    decimal, other = (",", ".") if commas else (".", ",")
    notation = Notation(decimal, other if has_both else "")
    return notation, tuple(doubtful) if is_doubtful and not commas else ()
