"""Generates tables as other programs write them: any dialect, encoding, mark of missing values and kind of column.

A generated table knows what each cell means, so that a test can compare that with what netc reads.
"""

import csv
import datetime
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = [
    *("id", "loss", "in", "class", "dense", "source", "size (cm)", "1st", "numbers", "Größe", "日付", "naïve é"),
    *(
        'a "quoted" name',
        "with, comma",
        "semi;colon",
        "tab\there",
        "back\\slash",
        "#hash",
        " blank ",
        "x" * 60,
        "ß",
        "Ж",
    ),
]
LATIN = [name for name in NAMES if all(ord(character) < 256 for character in name)]
CATEGORIES = ["red", "dark blue", "grün", 'q"uote', "semi;colon", "com,ma", "it's", "Ünïcode", "a\\b", "#1"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its kind, its cells as they are written, and what they mean (None for a missing one)."""

    name: str
    kind: str
    cells: list[str]
    values: list[Any]


@dataclass(frozen=True, slots=True)
class OddTable:
    """A file with its columns, the last of which is the target. `dialect` says how it is written, for messages."""

    path: Path
    columns: list[Column]
    dialect: str


@dataclass(frozen=True, slots=True)
class _Style:
    decimal: str
    thousands: str
    marks: tuple[str, ...]
    date: str
    decimals: int


def odd_table(folder: Path, seed: int) -> OddTable:
    """Writes a table that the seed determines into the folder."""
    draw = random.Random(seed)
    kind = draw.choice(("csv", "csv", "csv", "jsonl", "parquet"))
    encoding = draw.choice(("utf-8", "utf-8-sig", "utf-16", "cp1252")) if kind == "csv" else "utf-8"
    delimiter = draw.choice(",;\t|") if kind == "csv" else ","
    decimal = draw.choice(".,") if delimiter != "," else "."
    style = _Style(
        decimal,
        draw.choice(("", {",": ".", ".": ","}[decimal], " ")),
        draw.choice((("",), ("", "NA"), ("?",), ("", "n/a", "-"), ("null",))) if kind == "csv" else ("",),
        draw.choice(("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d %H:%M")),
        draw.choice((1, 2, 4)),
    )
    rows = draw.randrange(60, 140)
    names = draw.sample(LATIN if encoding == "cp1252" else NAMES, draw.randrange(4, 9))
    kinds = ["float", *(draw.choice(list(_MAKERS)) for _ in names[2:]), draw.choice(("float", "category"))]
    columns = [
        _column(draw, name, kind_of_column, style, rows, name == names[-1])
        for name, kind_of_column in zip(names, kinds, strict=True)
    ]
    path = folder / f"t.{kind}"
    dialect = f"{kind} {encoding} {delimiter!r} {style}"
    if kind == "csv":
        line_end, quoting = draw.choice(("\n", "\r\n")), draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
        writer.writerow([column.name for column in columns])
        writer.writerows(zip(*(column.cells for column in columns), strict=True))
        path.write_bytes(text.getvalue().encode(encoding))
    else:
        _write_typed(path, columns, kind)
    return OddTable(path, columns, dialect)


def _write_typed(path: Path, columns: list[Column], kind: str) -> None:
    """Writes plain numbers and truths as such, all other cells as texts; missing ones as null."""
    typed = {
        column.name: column.values
        if column.kind in ("float", "integer")
        else [None if value is None else cell for cell, value in zip(column.cells, column.values, strict=True)]
        for column in columns
    }
    if kind == "parquet":
        import polars

        polars.DataFrame(typed).write_parquet(path)
        return
    rows = [dict(zip(typed, row, strict=True)) for row in zip(*typed.values(), strict=True)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _column(draw: random.Random, name: str, kind: str, style: _Style, rows: int, is_target: bool) -> Column:
    make = _MAKERS[kind](draw, style)
    share = 0 if is_target else draw.choice((0, 0, 0.1))
    cells, values = [], []
    for _ in range(rows):
        cell, value = make()
        if draw.random() < share:
            cell, value = draw.choice(style.marks) if kind != "category" else "", None
        cells.append(cell)
        values.append(value)
    return Column(name, kind, cells, values)


def _float(draw: random.Random, style: _Style) -> Callable[[], tuple[str, Any]]:
    def make() -> tuple[str, Any]:
        text = f"{draw.gauss(0, 50):.{style.decimals}f}"
        return text.replace(".", style.decimal), float(text)

    return make


def _integer(draw: random.Random, style: _Style) -> Callable[[], tuple[str, Any]]:
    def make() -> tuple[str, Any]:
        value = draw.randrange(-50, 500)
        return str(value), value

    return make


def _money(draw: random.Random, style: _Style) -> Callable[[], tuple[str, Any]]:
    unit = draw.choice(("$ {}", "{} kr", "{}%", "CHF {}"))

    def make() -> tuple[str, Any]:
        plain = f"{draw.uniform(0, 90_000):,.2f}"
        text = plain.replace(",", "\0").replace(".", style.decimal).replace("\0", style.thousands)
        return unit.format(text), float(plain.replace(",", ""))

    return make


def _date(draw: random.Random, style: _Style) -> Callable[[], tuple[str, Any]]:
    def make() -> tuple[str, Any]:
        moment = datetime.datetime(2019, 1, 1) + datetime.timedelta(hours=draw.randrange(40_000))
        text = moment.strftime(style.date)
        return text, datetime.datetime.strptime(text, style.date)

    return make


def _category(draw: random.Random, style: _Style) -> Callable[[], tuple[str, Any]]:
    labels = draw.sample(CATEGORIES, draw.randrange(2, 5))

    def make() -> tuple[str, Any]:
        label = draw.choice(labels)
        return label, label

    return make


def _truth(draw: random.Random, style: _Style) -> Callable[[], tuple[str, Any]]:
    def make() -> tuple[str, Any]:
        label = draw.choice(("true", "false"))
        return label, label

    return make


_MAKERS = {
    "float": _float,
    "integer": _integer,
    "money": _money,
    "date": _date,
    "category": _category,
    "truth": _truth,
}
