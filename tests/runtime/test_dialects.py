"""Csv files in every dialect give the cells that were written, by each of the ways that a table is read, or a message.

Generated tables are written by the module csv in random dialects and read back cell by cell.
"""

import csv
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.dsl.parser import parse
from netc.dsl.source import NOWHERE, Source
from netc.runtime.data.block.spec import parse_block
from netc.runtime.data.csv import reader as csv_reader
from netc.runtime.data.csv.check import Irregular, regular_blocks
from netc.runtime.data.csv.dialect import Detected
from netc.runtime.data.csv.frames import regular_frames
from netc.runtime.data.csv.records import Dialect, Records
from netc.runtime.data.csv.text_file import TextFile
from netc.runtime.data.readers.readers import read
from netc.runtime.data.readers.request import AS_NUMBERS, Request, Use, Uses, every
from netc.runtime.data.tables import store
from netc.runtime.data.tables.cells import Location, numbers
from netc.runtime.data.tables.table import Table

WAYS = ("small", "polars", "large")
AS_TEXT = every(Use.TEXT)


def use_way(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the thresholds so that files of any size are read in one of the three ways."""
    monkeypatch.setattr(csv_reader, "_SMALL", 1 << 20 if way == "small" else 0)
    monkeypatch.setattr(store, "LARGE", 0 if way == "large" else 1 << 28)


def read_csv(path: Path, uses: Uses = AS_TEXT, **options: Any) -> Table:
    return read("csv", path, path.name, NOWHERE, uses, options)


def cells_of(table: Table) -> dict[str, list[Any]]:
    """The cells by column; numbers as they print, None for NaN."""
    result: dict[str, list[Any]] = {}
    for name, column in table.columns.items():
        cells = column[np.arange(len(table))]
        result[name] = [None if cell is None or cell != cell else cell for cell in cells.tolist()]
    return result


def message_of(path: Path, uses: Uses = AS_NUMBERS, **options: Any) -> str:
    with pytest.raises(netc.Fault) as raised:
        read_csv(path, uses, **options)
    return str(raised.value)


# ------------------------------------------------------------------ what is recognised

GERMAN = "Größe;Gewicht;Art\n2,5;4,0;rot\n1,8;2,4;grün\n"
ENGLISH = "Größe\tGewicht\tArt\n2.5\t4.0\trot\n1.8\t2.4\tgrün\n"
EXPECTED = {"Größe": ["2.5", "1.8"], "Gewicht": ["4.0", "2.4"], "Art": ["rot", "grün"]}
RECOGNISED = {
    "semicolons": (GERMAN.encode(), 'delimiter = ";", decimal = ","'),
    "a mark and line ends of Windows": (
        GERMAN.replace("\n", "\r\n").encode("utf-8-sig"),
        'delimiter = ";", decimal = ","',
    ),
    "cp1252": (GERMAN.encode("cp1252"), 'delimiter = ";", decimal = ",", encoding = "cp1252"'),
    "utf-16": (GERMAN.replace(";", "\t").encode("utf-16"), r'delimiter = "\t", decimal = ",", encoding = "utf-16"'),
    "utf-16 without a mark": (ENGLISH.encode("utf-16-le"), r'delimiter = "\t", encoding = "utf-16-le"'),
    "utf-32": (ENGLISH.encode("utf-32"), r'delimiter = "\t", encoding = "utf-32"'),
    "a line sep=": (b"sep=;\r\n" + GERMAN.replace("\n", "\r\n").encode(), 'delimiter = ";", decimal = ","'),
    "semicolons and points": (GERMAN.replace(",", ".").encode(), 'delimiter = ";"'),
    "tabs": (ENGLISH.encode(), r'delimiter = "\t"'),
    "bars": (ENGLISH.replace("\t", "|").encode(), 'delimiter = "|"'),
    "commas": (ENGLISH.replace("\t", ",").encode(), ""),
    "blanks": ("  Größe  Gewicht Art\n2.5  4.0     rot \n1.8\t2.4  grün\n".encode(), 'delimiter = " "'),
    "line ends of old Macs": (ENGLISH.replace("\t", ",").replace("\n", "\r").encode(), ""),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", ["a;b\n1.234,5;1.500\n-2.000,25;7\n", "a\tb\n1,234.5\t1,500\n-2,000.25\t7\n"])
def test_a_number_with_both_marks_shows_the_one_between_thousands(
    text: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_way(way, monkeypatch)
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    cells = cells_of(read_csv(tmp_path / "t.csv", AS_NUMBERS))
    assert {name: [*map(float, column)] for name, column in cells.items()} == {"a": [1234.5, -2000.25], "b": [1500, 7]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", RECOGNISED)
def test_dialects_are_recognised_and_said(kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, dialect = RECOGNISED[kind]
    use_way(way, monkeypatch)
    (tmp_path / "t.csv").write_bytes(content)
    table = read_csv(tmp_path / "t.csv", lambda column: Use.LABELS if column == "Art" else Use.NUMBERS | Use.LABELS)
    labels = {name: [cell.removesuffix(".0") for cell in cells] for name, cells in EXPECTED.items()}
    assert cells_of(table) == labels
    assert table.notes == ((f"t.csv: read with {dialect}",) if dialect else ())
    first = 3 if kind == "a line sep=" else 2
    assert table.rows.of(np.arange(2)).tolist() == [first, first + 1]


DECLARED = {
    "thousands": ("a;b\n1.234,5;x\n12;y\n", {"thousands": "."}, {"a": ["1234.5", "12"], "b": ["x", "y"]}),
    "points in commas": ('a,b\n"1,234",x\n"5",y\n', {"thousands": ","}, {"a": ["1234", "5"], "b": ["x", "y"]}),
    "quoted commas": ('a,b\n"1,5",x\n2,y\n', {"decimal": ","}, {"a": ["1.5", "2"], "b": ["x", "y"]}),
    "spaces": (
        "a;b\n1\u00a0234,5;x\n2;y\n",
        {"thousands": " ", "decimal": ","},
        {"a": ["1234.5", "2"], "b": ["x", "y"]},
    ),
    "apostrophes": ("a,b\n1'234.5,x\n2,y\n", {"thousands": "'"}, {"a": ["1234.5", "2"], "b": ["x", "y"]}),
    "no header": ("1,x\n2,y\n", {"header": False}, {"1": ["1", "2"], "2": ["x", "y"]}),
    "names": ("1,x\n2,y\n", {"header": ("a", "b")}, {"a": ["1", "2"], "b": ["x", "y"]}),
    "marks": ("a,b\nNA, ?\n2,?\n", {"missing": ("NA", "?")}, {"a": [None, "2"], "b": [None, None]}),
    "quotes": ("a,b\n'1,5',x\n2,'y''z'\n", {"quote": "'"}, {"a": ["1,5", "2"], "b": ["x", "y'z"]}),
    "no quotes": ('a,b\n5",x\n"2,y\n', {"quote": ""}, {"a": ['5"', '"2'], "b": ["x", "y"]}),
    "comments": ('# "a\na,b\n# x,y,z\n1,"x\n# y"\n2,#y\n', {"comment": "#"}, {"a": ["1", "2"], "b": ["x\n# y", "#y"]}),
    "blanks": ('  1   x\n2 "y  z"\n', {"delimiter": " ", "header": False}, {"1": ["1", "2"], "2": ["x", "y  z"]}),
    "a title": ("Sales, 2024\n\n a;b\na,b\n1,x\n2,y\n", {"skip": 3}, {"a": ["1", "2"], "b": ["x", "y"]}),
    "no title": ("a\n1\n2\n", {"skip": 0}, {"a": ["1", "2"]}),
    "a delimiter": ("a:b\n1:x\n2:y\n", {"delimiter": ":"}, {"a": ["1", "2"], "b": ["x", "y"]}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", DECLARED)
def test_declared_options(kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, options, expected = DECLARED[kind]
    use_way(way, monkeypatch)
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    assert cells_of(read_csv(tmp_path / "t.csv", every(Use.LABELS), **options)) == expected


def test_an_encoding_is_declared(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("имя,b\nмир,1\n".encode("cp1251"))
    assert cells_of(read_csv(tmp_path / "t.csv", encoding="cp1251")) == {"имя": ["мир"], "b": ["1"]}
    assert "is not UTF-8" in message_of(tmp_path / "t.csv", encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "fact", "hint"),
    [
        ("имя,b\nмир,1\n".encode("cp1251"), "is not UTF-8", 'encoding = "cp1252" would read'),
        ("a,b\nça,1\ngarçon,à\n".encode("cp1252"), "is not UTF-8", "would read `ça`"),
        ("a,b\n日本,1\n".encode("shift_jis"), "is not UTF-8", "encoding = "),
        (b"a;x,b\n1;2,3\n", "`,` and `;` could separate", 'delimiter = "," or delimiter = ";"'),
        (b"a;b\n1,5;2.5\n", "decimal commas in `a` and decimal points in `b`", 'decimal = "," or decimal = "."'),
        (b"a;b\n1.500;x\n2.250;y\n", "can be decimal points, or stand between", 'decimal = "." or thousands = "."'),
        (b"a;b\n1,5;x\n1.500;y\n", "row 3, column `a`: `1.500`", 'thousands = "."'),
        (b"a,b\n1,x\n2\n", "row 3 has 1 cell, the header has 2", ""),
        (b"a,b\n\n1,x\n\n2,3,4\n", "row 5 has 3 cells", ""),
        (b"# pump 3, hall B\n# UTC\na,b\n1,x\n", "row 2 has 1 cell, the header has 2", 'comment = "#" leaves out'),
        (b"a;b\n1;x\n% pause\n2;y\n", "row 3 has 1 cell, the header has 2", 'comment = "%" leaves out'),
        (b"Sales\n\nof 2024\na,b\n1,x\n2,y\n", "3 lines above the names of its columns", "skip = 3"),
        (b"Sales, 2024\na;b\n1;x\n2;y\n", "1 line above the names of its columns", "skip = 1"),
        (b"Sales,,\n,,\na,b,c\n1,2,x\n2,3,y\n", "2 lines above the names of its columns", "skip = 2"),
        (b"# pump 3\na,b\n1,x\n2,y\n", "1 line above the names of its columns", 'comment = "#" leaves out'),
        (b"a,b\n1,x\n2\n3,y\n4,z\n", "row 3 has 1 cell, the header has 2", ""),
        (b'a,b\n1,"x\n', "row 2", 'quote = ""'),
        (b'a,b\n1,"x"y\n', "text follows a closing quote", 'quote = ""'),
        (b"1,1\n2,3\n", "two columns `1`", "header = false"),
        (b"a,b\n1,2\r3,4\n", "carriage return", ""),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:20],
)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_clear_is_a_message(
    content: bytes, fact: str, hint: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_way(way, monkeypatch)
    (tmp_path / "t.csv").write_bytes(content)
    message = message_of(tmp_path / "t.csv")
    assert fact in message
    assert hint in message


def test_numbers_that_may_have_commas_between_thousands_are_no_numbers(tmp_path: Path) -> None:
    """Nothing says whether 1,234 is more or less than two, so it stays a text, and steps refuse it."""
    (tmp_path / "t.csv").write_text("a;b\n1,234;x\n2,345;y\n", encoding="utf-8")
    assert cells_of(read_csv(tmp_path / "t.csv", every(Use.NUMBERS)))["a"] == ["1,234", "2,345"]


@pytest.mark.parametrize(
    ("text", "is_warned"),
    [
        ("77, Private, <=50K\n20, ?, <=50K\n31, Private, >50K\n", True),
        ("5.1,3.5\n4.9,3.0\n", True),
        ("country,2019,2020\nA,1,2\nB,3,4\n", False),
        ("a,b\n1,2\n", False),
        ("x,y\nx,y\n", False),
    ],
)
def test_a_header_that_looks_like_data(text: str, is_warned: bool, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    warnings = read_csv(tmp_path / "t.csv").warnings
    assert [warning.code for warning in warnings] == (["W0821"] if is_warned else [])
    assert not read_csv(tmp_path / "t.csv", header=True).warnings


def test_only_needed_columns_are_read(tmp_path: Path) -> None:
    """The others may hold anything, as long as each row has as many cells as the header."""
    (tmp_path / "t.csv").write_text("a,b,c\n1,x,\n2,y,z\n", encoding="utf-8")
    table = read_csv(tmp_path / "t.csv", lambda column: Use.NUMBERS if column == "b" else Use(0))
    assert cells_of(table) == {"b": ["x", "y"]}
    with pytest.raises(netc.Fault, match="did you mean `c`") as raised:
        table.column("cc", NOWHERE)
    assert "E0802" in str(raised.value)


def test_blank_lines_are_no_rows_but_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text('\n\na,b\n\n1,"x\n\ny"\n2,z\n\n\n3,w\n\n', encoding="utf-8")
    for way in WAYS:
        use_way(way, monkeypatch)
        table = read_csv(tmp_path / "t.csv")
        assert cells_of(table) == {"a": ["1", "2", "3"], "b": ["x\n\ny", "z", "w"]}
        assert table.rows.of(np.arange(3)).tolist() == [5, 6, 9]


def test_rows_below_a_title_have_the_numbers_of_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("Sales\n\na,b\n1,x\n\n2,y\n", encoding="utf-8")
    for way in WAYS:
        use_way(way, monkeypatch)
        assert read_csv(tmp_path / "t.csv", skip=1).rows.of(np.arange(2)).tolist() == [4, 6]


# ------------------------------------------------------------------ generated tables

WORDS = (
    "x",
    "",
    " ",
    "b c",
    "é",
    "ß",
    "日本",
    'q"r',
    "l\nm",
    "r\r\ns",
    ";",
    ",",
    "\t",
    "|",
    "#",
    "'",
    "nan",
    "NaN",
    "1.0",
    "-3.00",
    "1,5",
    "\u2028",
)
NUMBERS = ("1", "-2.5", "0.125", "1e-3", "", "nan", "1234567.5", "-0.75", "12", "100.0")


def written(names: list[str], rows: list[list[str]], draw: random.Random) -> tuple[bytes, dict[str, Any]]:
    """The table as a file in a random dialect, and the options that name it."""
    delimiter = draw.choice(",;\t|:")
    encoding = draw.choice(("utf-8", "utf-8-sig", "utf-16", "utf-16-le"))
    stream = io.StringIO()
    quoting = draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=draw.choice(("\n", "\r\n")), quoting=quoting)
    has_header = draw.random() < 0.8
    if has_header:
        writer.writerow(names)
    for row in rows:
        writer.writerow(row)
        if draw.random() < 0.05:
            stream.write("\n")
    options = {"delimiter": delimiter, "encoding": encoding, "header": True if has_header else tuple(names)}
    return stream.getvalue().encode(encoding), options


@pytest.mark.every(2)
@pytest.mark.parametrize("seed", range(40))
def test_generated_tables(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell is what was written, or missing where it is blank, or `nan` among numbers; all ways give the same."""
    draw = random.Random(seed)
    names = draw.sample(["a", "b c", "é", "n;m", 'q"', "x\ny", "日"], draw.randint(1, 5))
    kinds = {name: draw.choice((WORDS, NUMBERS)) for name in names}
    rows = [[draw.choice(kinds[name]) for name in names] for _ in range(draw.choice((1, 3, 40)))]
    content, options = written(names, rows, draw)
    (tmp_path / "t.csv").write_bytes(content)
    monkeypatch.setattr("netc.runtime.data.csv.rows.BATCH", draw.choice((1, 7, 1000)))
    expected = {name: [row[i] if row[i].strip() else None for row in rows] for i, name in enumerate(names)}
    for way in WAYS:
        use_way(way, monkeypatch)
        assert cells_of(read_csv(tmp_path / "t.csv", **options)) == expected
        as_numbers = read_csv(
            tmp_path / "t.csv", lambda name: Use.NUMBERS if kinds[name] is NUMBERS else Use.TEXT, **options
        )
        numbers = {
            name: [None if cell in (None, "nan") else float(cell) for cell in cells]
            if kinds[name] is NUMBERS
            else cells
            for name, cells in expected.items()
        }
        columns = cells_of(as_numbers)
        for name in names:
            cells = columns[name] if kinds[name] is not NUMBERS else [cell and float(cell) for cell in columns[name]]
            assert cells == numbers[name]


PIECES = ("a", ",", ",", "\n", "\n", '"', '""', "\r\n", "\r", " ", "é", ',"', '",', '"\n', "\n\n")


@pytest.mark.parametrize("seed", range(10))
def test_a_regular_text_is_taken_apart_alike_by_polars(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any text whose blocks are regular, polars gives the cells that the module csv gives."""
    draw, compared = random.Random(seed), 0
    monkeypatch.setattr("netc.runtime.data.csv.check._BLOCK", draw.choice((1, 5, 1 << 20)))
    for _ in range(400):
        width = draw.randint(1, 3)
        head = ",".join(f"c{i}" for i in range(width))
        if draw.random() < 0.5:
            cells = ("a", "", "é", '""', '"x,y"', '"l\nm"', '"q""r"', '"\r\n"', "b c")
            body = "".join(
                ",".join(draw.choices(cells, k=width)) + draw.choice(("\n", "\r\n")) for _ in range(draw.randint(1, 5))
            )
        else:
            body = "".join(draw.choices(PIECES, k=draw.randint(1, 12)))
        text = f"{head}\n{body}".encode()
        file = TextFile(tmp_path, "t", NOWHERE, text)
        try:
            blocks = [*regular_blocks(file, Dialect(), width)]
        except Irregular:
            continue
        with file.text("utf-8", "\n") as stream:
            rows = list(Records(iter(stream), Dialect()))
        assert all(len(row) == width for row in rows)
        assert all(block.endswith(b"\n") for block in blocks)
        names = tuple(f"c{i}" for i in range(width))
        frames = regular_frames(file, Request(tmp_path, "t", NOWHERE), Detected(Dialect(), names), names)
        assert [[cell or "" for cell in row] for frame in frames for row in frame.rows()] == rows[1:]
        compared += 1
    assert compared > 40


ODD_NUMBERS = (
    *("0", "1", "-1.5", "+2", ".5", "5.", "1e5", "1e999", "-1E-999", "nan", "NaN", "-nan", "inf", "-Infinity", "1_000"),
    *("0x10", "1e", ".", "٣", "½", " 1 ", "\t7", "1.5f", "TRUE", "--1", "-999", "NA", "", "  ", "9" * 400, "1 000"),
    *("1,5", ",5", "-2,25", "1.500", "1.234,5", "1,234.5", "1,2,3"),
)
DIALECTS: tuple[dict[str, Any], ...] = (
    {},
    {"missing": ["NA", "-999", "1"]},
    {"decimal": ","},
    {"decimal": ",", "thousands": ".", "missing": ["NA", "5,"]},
    {"thousands": " "},
)


@pytest.mark.parametrize("seed", range(6))
def test_a_column_has_the_same_numbers_or_message_in_each_way(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether polars or Python reads a number, and whether a column becomes an array or stays texts."""
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    draw = random.Random(seed)
    for case in range(40):
        options = {"delimiter": ";", **draw.choice(DIALECTS)}
        usual = draw.choice((("1", "2.5"), ("1,5", "3"), ODD_NUMBERS))
        cells = [draw.choice(usual if draw.random() < 0.9 else ODD_NUMBERS) for _ in range(draw.randint(1, 30))]
        use = draw.choice((Use.NUMBERS, Use.NUMBERS | Use.LABELS))
        path = tmp_path / f"{case}.csv"
        path.write_text("x;y\n" + "".join(f'"{cell}";a\n' for cell in cells), encoding="utf-8")
        results = []
        for way in WAYS:
            use_way(way, monkeypatch)
            try:
                table = read_csv(path, every(use), **options)
                location = Location("t", ("x",), table.numbers(np.arange(len(cells))), NOWHERE)
                column = numbers(table.columns["x"][np.arange(len(cells))], location, may_lack=True)
                results.append(column.astype(np.float64).tobytes())
            except netc.Fault as fault:
                results.append(str(fault))
        assert len(set(results)) == 1, (options, use, cells, results)


# ------------------------------------------------------------------ what a source may say


def source_of(text: str) -> Any:
    source = Source("m.net", f"data {{\n  source = {text}\n}}\n")
    return parse_block(source, parse(source).items[0], {}).source


def test_options_of_a_source() -> None:
    spec = source_of(
        'csv("t.csv", delimiter = ";", header = false, missing = ["NA", " ? "], encoding = "Latin-1", quote = "")'
    )
    assert dict(spec.options) == {
        "delimiter": ";",
        "header": False,
        "missing": ("NA", "?"),
        "encoding": "iso8859-1",
        "quote": "",
    }
    assert dict(source_of('csv("t.csv", header = ["a", "b"])').options) == {"header": ("a", "b")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ('delimiter = ";;"', "`delimiter` is one character"),
        ("delimiter = 3", "`delimiter` is one character"),
        ('decimal = ";"', "one of , ."),
        ('encoding = "rot13"', "the name of an encoding"),
        ('encoding = "idna"', "the name of an encoding"),
        ('encoding = "utf-99"', "the name of an encoding"),
        ('header = ["a", "a"]', "each once"),
        ("header = 3", "`header` is true, false"),
        ("skip = -1", "`skip` is the number of lines"),
        ('skip = "x"', "`skip` is the number of lines"),
        ("missing = [1]", "`missing` is a list of texts"),
        ('decimal = ",", thousands = ","', "the same character"),
        ('delimiter = "|", quote = "|"', "the same character"),
        ('separator = ";"', "has no argument `separator`"),
    ],
)
def test_options_that_a_source_may_not_have(options: str, message: str) -> None:
    with pytest.raises(netc.Fault) as raised:
        source_of(f'csv("t.csv", {options})')
    assert message in str(raised.value)
