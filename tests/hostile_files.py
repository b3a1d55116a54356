"""Data files that no tool would write: for each reader random files of cells, headers and bytes that break parsers.

It takes a random generator and a folder, writes the files of one source there, and returns the `.net` text that reads
it. It does not import netc.
"""

import gzip
import io
import json
import os
import random
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars
from hostile import PIECES
from hostile_bytes import damaged, packed
from hostile_pictures import ROWS, write_folder, write_table

TABLE = """data {
  source = SOURCE
  x = X
  y = Y -> classes
  split = ordered(train = 0.8, test = 0.2)
}
model {
  input x: float[2]
  target y: class(auto)
  z = x -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
SERIES = """data {
  source = SOURCE
  x = field("text") -> characters -> vocabulary -> window(4)
  y = field("text") -> characters -> vocabulary -> next(1) -> window(4)
  split = (train = 0.8, test = 0.2)
}
model {
  input x: class(auto)[time]
  target y: class(auto)[time]
  z = x -> embed(2) -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
COLUMNS = ('columns("a", "b")', 'column("kind")')
PICTURE = ('field("image") -> flatten', 'field("label")')


@dataclass(frozen=True, slots=True)
class Kind:
    """A source as a `.net` file writes it, and the function that writes its files into a folder."""

    name: str
    source: str
    write: Callable[[Path, random.Random], None]
    template: str = TABLE
    fields: tuple[str, str] = COLUMNS

    @property
    def text(self) -> str:
        """A model that reads the source."""
        x, y = self.fields
        return self.template.replace("SOURCE", self.source).replace("X", x).replace("Y", y)


# ------------------------------------------------------------------ tables of text

_NUMBERS = (
    *(
        "0",
        "1",
        "-1",
        "-0",
        "0.5",
        "1e999",
        "-1e-999",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1_000",
        "1,5",
        "0x10",
        "1e",
        ".",
    ),
    *(
        "１",
        "٣",
        "½",
        "1 000",
        " 1 ",
        "+1",
        "1.5f",
        "TRUE",
        "9" * 400,
        "0." + "9" * 5000,
        "1e" + "9" * 50,
        "--1",
        "1/2",
    ),
)
_COLUMNS = ("a", "b", "kind", "path", "image", "label", "")


def _cell(draw: random.Random, noise: float) -> str:
    """Mostly a number, so that some tables are right. `noise` is the probability of anything else."""
    if draw.random() >= noise:
        return str(round(draw.gauss(0, 1), 3))
    return draw.choice(_NUMBERS if draw.random() < 0.7 else PIECES)


def _csv(path: Path, draw: random.Random) -> None:
    names = list(_COLUMNS[:3])
    is_plain = draw.random() < 0.3
    match 8 if is_plain else draw.randrange(8):
        case 0:
            names.append(draw.choice(names))
        case 1:
            names[draw.randrange(3)] = draw.choice(PIECES)
        case 2:
            names += [draw.choice((*PIECES, "c" * 5000, *_COLUMNS)) for _ in range(draw.choice((1, 3, 2000)))]
        case 3:
            names = names[: draw.randrange(3)]
        case _:
            pass
    separator = "," if is_plain else draw.choices((",", ";", "\t", "|", "\0"), (20, 1, 1, 1, 1))[0]
    end = draw.choices(("\n", "\r\n", "\r", "\n\n", "\u2028"), (20, 5, 1, 1, 1))[0]
    wrong_length, noise = not is_plain and draw.random() < 0.2, 0 if is_plain else draw.choice((0, 0.02, 0.3))

    def line(cells: list[str]) -> str:
        quoted = ['"' + cell.replace('"', '""') + '"' if draw.random() < 0.7 else cell for cell in cells]
        return separator.join(quoted)

    rows = [line(names)]
    for number in range(draw.choice((0, 1, 2, ROWS, ROWS, ROWS, 60))):
        cells = [_cell(draw, noise) for _ in names]
        if len(cells) > 2:
            cells[2] = draw.choice(("p", "q", str(number % 2)))
        if wrong_length and draw.random() < 0.2:
            cells = cells[1:] if draw.random() < 0.5 else [*cells, "more"]
        rows.append(line(cells))
    if is_plain:
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return
    text = end.join(rows) + draw.choice((end, "", '"', "\0", "\x1a"))
    coding = draw.choices(("utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32"), (20, 2, 1, 1, 1))[0]
    content = text.encode(coding, "surrogatepass" if coding.startswith("utf") else "replace")
    path.write_bytes(damaged(content, draw))


def _csv_gz(path: Path, draw: random.Random) -> None:
    _csv(path, draw)
    path.write_bytes(packed(path.read_bytes(), draw))


_JSON = (
    *(
        "1",
        "-0.5",
        "1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "9" * 400,
        "-" + "9" * 5000,
        "true",
        "null",
        '""',
        '"a"',
        "{}",
        "[]",
    ),
    *(
        "[1, 2]",
        "[[1], [2, 3]]",
        "[1, [2]]",
        '["a"]',
        '{"a": 1}',
        "[" * 50 + "]" * 50,
        "[" * 20_000,
        '{"a":' * 5000,
        "01",
        "1.",
        "+1",
    ),
    *('"\\ud800"', '"\\u0000"', '"\\x41"', '"a', "'a'", "undefined", "1 // one", "1,", ""),
)


def _json_rows(draw: random.Random) -> list[str]:
    lines = []
    for number in range(draw.choice((0, 1, ROWS, ROWS, ROWS, 60))):
        row = {"a": json.dumps(draw.gauss(0, 1)), "b": json.dumps(draw.gauss(0, 1)), "kind": str(number % 3)}
        if draw.random() < 0.1:
            row[draw.choice(("a", "b", "kind", "c"))] = draw.choice(_JSON)
        if draw.random() < 0.05:
            del row[draw.choice(list(row))]
        if draw.random() < 0.05:
            row[draw.choice(PIECES).replace('"', "")] = "1"
        text = "{" + ", ".join(f'"{name}": {value}' for name, value in row.items()) + "}"
        lines.append(draw.choice(_JSON) if draw.random() < 0.02 else text)
    return lines


def _jsonl(path: Path, draw: random.Random) -> None:
    text = draw.choice(("\n", "\r\n", "\n\n", "\n")).join(_json_rows(draw))
    path.write_bytes(damaged(text.encode("utf-8", "surrogatepass"), draw))


def _json(path: Path, draw: random.Random) -> None:
    opened, closed = draw.choices((("[", "]"), ("", ""), ("[[", "]]"), ('{"rows": [', "]}")), (12, 1, 1, 1))[0]
    separator = draw.choices((",\n", ",", "", ",,", "\n"), (10, 5, 1, 1, 1))[0]
    text = opened + separator.join(_json_rows(draw)) + closed
    path.write_bytes(damaged(text.encode("utf-8", "surrogatepass"), draw))


def _jsonl_gz(path: Path, draw: random.Random) -> None:
    _jsonl(path, draw)
    path.write_bytes(packed(path.read_bytes(), draw))


def _text(path: Path, draw: random.Random) -> None:
    words = [draw.choice((*PIECES, "the", "whale", " ", "\n", "\ud800")) for _ in range(draw.choice((0, 1, 20, 200)))]
    path.write_bytes(damaged("".join(words).encode("utf-8", "surrogatepass"), draw))


# ------------------------------------------------------------------ parquet, Arrow


def _parquet(path: Path, draw: random.Random) -> None:
    path.write_bytes(damaged(_written_frame(polars.DataFrame.write_parquet, draw), draw))


def _arrow(path: Path, draw: random.Random) -> None:
    """A file or a stream of record batches, perhaps compressed."""
    write = draw.choice((polars.DataFrame.write_ipc, polars.DataFrame.write_ipc_stream))
    compression = draw.choice(("uncompressed", "uncompressed", "lz4", "zstd"))
    path.write_bytes(damaged(_written_frame(partial(write, compression=compression), draw), draw))


def _written_frame(write: Callable[..., Any], draw: random.Random) -> bytes:
    """The bytes of a table with columns of many types, as `write` makes them."""
    count = draw.choice((0, 1, ROWS, ROWS))
    numbers = polars.Series([draw.gauss(0, 1) for _ in range(count)], dtype=polars.Float64)
    casts: tuple[Callable[[polars.Series], polars.Series], ...] = (
        lambda column: column,
        lambda column: column.cast(polars.Float32),
        lambda column: column.cast(polars.Int8, strict=False),
        lambda column: (column > 0).cast(polars.Boolean),
        lambda column: column.cast(polars.String),
        lambda column: column.cast(polars.String).cast(polars.Binary),
        lambda column: column.cast(polars.String).cast(polars.Categorical),
        lambda column: column.cast(polars.Int32, strict=False).cast(polars.Date),
        lambda column: column.cast(polars.Int64, strict=False).cast(polars.Datetime),
        lambda column: column.cast(polars.Int64, strict=False).cast(polars.Duration),
        lambda column: column.cast(polars.Decimal(20, 3), strict=False),
        lambda column: polars.Series([None] * len(column), dtype=polars.Null),
        lambda column: polars.Series([None] * len(column), dtype=polars.Float64),
        lambda column: polars.Series([[value, 1.0] for value in column], dtype=polars.List(polars.Float64)),
        lambda column: polars.Series(
            [[[value], []] for value in column], dtype=polars.List(polars.List(polars.Float64))
        ),
        lambda column: polars.Series([{"f": value} for value in column], dtype=polars.Struct({"f": polars.Float64})),
    )
    names = ["a", "b", "kind", draw.choice(PIECES)]
    buffer = io.BytesIO()
    try:
        columns = {name: draw.choice(casts if draw.random() < 0.2 else casts[:2])(numbers) for name in names}
        if draw.random() < 0.8:
            columns["kind"] = polars.Series([number % 3 for number in range(count)])
        write(polars.DataFrame(columns), buffer)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, UnicodeError):
        buffer = io.BytesIO()
        write(polars.DataFrame({"a": numbers}), buffer)
    return buffer.getvalue()


# ------------------------------------------------------------------ workbooks and databases

_VALUES: tuple[Any, ...] = (
    *(None, True, "", "text", "nan", "#N/A", "=1/0", "=A1", "inf", 1e308, -0.0, 2**53 + 1),
    *(date(2024, 2, 29), datetime(1900, 1, 1, 12, 30), time(23, 59), timedelta(days=400), "x" * 30_000),
)


def _values(draw: random.Random) -> list[list[Any]]:
    """The rows of a table with the columns a, b and kind, of which a few have cells of any type."""
    noise = draw.choice((0, 0, 0.05, 0.3))
    rows: list[list[Any]] = []
    for number in range(draw.choice((0, 1, ROWS, ROWS, ROWS, 60))):
        row = [draw.gauss(0, 1), draw.randrange(9), draw.choice((str(number % 2), number % 2, "p"))]
        rows.append([draw.choice(_VALUES) if draw.random() < noise else value for value in row])
    return rows


def _xlsx(path: Path, draw: random.Random) -> None:
    """A workbook, perhaps with empty rows, merged cells, or a part of it damaged before it is packed."""
    import openpyxl

    import_module("fastexcel")  # the reader imports it, and the tests watch what the reader runs
    book, stream = openpyxl.Workbook(), io.BytesIO()
    names = draw.choices((COLUMN_NAMES, ["a", "b", "a"], ["a", None, "kind"], [1, 2.5, True], []), (12, 1, 1, 1, 1))[0]
    for row in (names, *_values(draw)):
        for _ in range(draw.choice((0, 0, 0, 0, 1))):
            book.active.append([])
        book.active.append(row)
    if draw.random() < 0.2:
        book.active.merge_cells("A2:B3")
    if draw.random() < 0.1:
        book.create_sheet("", 0)
    if draw.random() < 0.1:  # the rectangle of all cells fits into no memory
        book.active.cell(1 << 20, 1 << 14, draw.choice((1, "x")))
    book.save(stream)
    content = stream.getvalue()
    if draw.random() < 0.4:
        content = _with_damaged_member(content, draw)
    path.write_bytes(damaged(content, draw) if draw.random() < 0.4 else content)


def _with_damaged_member(content: bytes, draw: random.Random) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target:
        victim = draw.choice(source.namelist())
        for name in source.namelist():
            member = source.read(name)
            target.writestr(name, damaged(member, draw) if name == victim else member)
    return result.getvalue()


COLUMN_NAMES = ["a", "b", "kind"]


def _sqlite(path: Path, draw: random.Random) -> None:
    """A database with a table, whose cells may have any type, or a view of it that cannot be computed."""
    types = [draw.choice(("", "real", "integer", "text", "blob", "blob not null", "decimal(9, 2)")) for _ in range(3)]
    with closing(sqlite3.connect(":memory:")) as connection:
        columns = ", ".join(f"{name} {type_}" for name, type_ in zip(COLUMN_NAMES, types, strict=True))
        connection.execute(f"create table rows ({columns})")
        for row in _values(draw):
            cells = [str(cell) if isinstance(cell, date | time | timedelta) else cell for cell in row]
            with suppress(sqlite3.IntegrityError):
                connection.execute("insert into rows values (?, ?, ?)", cells)
        select = draw.choices(("*", "a, b, kind, zeroblob(9)", "a, a, kind", "a / 0, no(b), kind"), (12, 1, 1, 1))[0]
        connection.execute(f"create view t as select {select} from rows")
        connection.commit()
        path.write_bytes(damaged(connection.serialize(), draw))


# ------------------------------------------------------------------ npz


def _npy(draw: random.Random) -> bytes:
    """The bytes of an array file, right or with a wrong header."""
    array = np.round(np.random.default_rng(draw.randrange(1000)).normal(size=ROWS), 3)
    buffer = io.BytesIO()
    if draw.random() < 0.6:
        kinds = ("f8", "f4", "f2", "i8", "u1", "?", "c16", "U4", "S3", "M8[D]", "m8[s]", ">f8", "f8,i4", "g")
        kind = draw.choice(kinds) if draw.random() < 0.4 else "f8"
        shaped = array.reshape(draw.choice(((ROWS,), (ROWS,), (ROWS,), (3, 4), (1, ROWS), (ROWS, 1, 1), (2, 2, 3))))
        values = (
            np.zeros(shaped.shape, kind) if kind in ("M8[D]", "m8[s]", "f8,i4") else np.nan_to_num(shaped).astype(kind)
        )
        np.save(buffer, np.asfortranarray(values) if draw.random() < 0.2 else values)
        return buffer.getvalue()
    shapes = (
        "(12,)",
        "(0,)",
        "()",
        "(-1,)",
        "(1000000000000000000,)",
        "(2, 9223372036854775807)",
        "(12",
        "12",
        "[12]",
        "(12.0,)",
        "'a'",
    )
    kinds = ("'<f8'", "'|O'", "'<f99'", "'|V0'", "'<U1000000000'", "[('a', '<f8')]", "'<f8' * 100000", "'f8'", "None")
    kind, order, shape = draw.choice(kinds), draw.choice(("False", "True", "7")), draw.choice(shapes)
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if draw.random() < 0.2:
        header = draw.choice(
            ("", "{", "__import__('os').system('touch PWNED')", "(" * 5000, "{" + "'a':1," * 20_000 + "}", "\0" * 64)
        )
    coded = header.encode() + b"\n"
    length = len(coded) if draw.random() < 0.8 else draw.randrange(65536)
    version = draw.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    size = struct.pack("<H", length % 65536) if version == b"\x01\x00" else struct.pack("<I", length)
    return b"\x93NUMPY" + version + size + coded + array.tobytes()


def _npz(path: Path, draw: random.Random) -> None:
    buffer = io.BytesIO()
    method = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in ("a", "b", "kind"):
            member = (
                f"{name}.npy"
                if draw.random() < 0.9
                else draw.choice((name, f"../{name}.npy", f"/{name}.npy", f"{name}.npy/", "é.npy"))
            )
            content = _npy(draw) if draw.random() < 0.4 else _right_npy(name)
            archive.writestr(member, damaged(content, draw) if draw.random() < 0.2 else content)
        if draw.random() < 0.1:
            archive.writestr("more", bytes(4_000_000))
    path.write_bytes(damaged(buffer.getvalue(), draw) if draw.random() < 0.4 else buffer.getvalue())


def _right_npy(name: str) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(ROWS) % 3 if name == "kind" else np.linspace(-1, 1, ROWS))
    return buffer.getvalue()


# ------------------------------------------------------------------ idx


def _idx_bytes(dims: tuple[int, ...], draw: random.Random) -> bytes:
    content = bytes(draw.randrange(3) for _ in range(int(np.prod(dims))))
    kind = draw.choices((8, 9, 11, 12, 13, 14, 0, 255), (20, 1, 1, 1, 1, 1, 1, 1))[0]
    if draw.random() < 0.2:
        dims = tuple(draw.choice((size, 0, 1, 2**31, 2**32 - 1, 65536)) for size in dims)
    rank = len(dims) if draw.random() < 0.9 else draw.choice((0, 1, 200, 255))
    return bytes((0, 0, kind, rank)) + b"".join(struct.pack(">I", size) for size in dims) + content


def _idx(folder: Path, draw: random.Random) -> None:
    folder.mkdir(exist_ok=True)
    images, labels = _idx_bytes((ROWS, 2, 1), draw), _idx_bytes((ROWS if draw.random() < 0.9 else 3,), draw)
    (folder / "t-images-idx3-ubyte").write_bytes(damaged(images, draw) if draw.random() < 0.3 else images)
    gz = folder / "t-labels-idx1-ubyte.gz"
    gz.write_bytes(packed(labels, draw) if draw.random() < 0.3 else gzip.compress(labels))


# ------------------------------------------------------------------ what stands in the place of a file


def _no_file(path: Path, draw: random.Random) -> None:
    match draw.randrange(6):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to(draw.choice(("/dev/zero", "/dev/null", "nowhere", path.name, "/proc/self/environ", "/")))
        case 3:
            path.write_bytes(b"")
        case 4:
            path.write_bytes(bytes(draw.randrange(256) for _ in range(draw.choice((1, 10, 1000)))))
        case _:
            pass


KINDS = (
    Kind("csv", 'csv("t.csv")', lambda folder, draw: _csv(folder / "t.csv", draw)),
    Kind("csv.gz", 'csv("t.csv.gz")', lambda folder, draw: _csv_gz(folder / "t.csv.gz", draw)),
    Kind("jsonl", 'jsonl("t.jsonl")', lambda folder, draw: _jsonl(folder / "t.jsonl", draw)),
    Kind("jsonl.gz", 'jsonl("t.jsonl.gz")', lambda folder, draw: _jsonl_gz(folder / "t.jsonl.gz", draw)),
    Kind("parquet", 'parquet("t.parquet")', lambda folder, draw: _parquet(folder / "t.parquet", draw)),
    Kind("json", 'json("t.json")', lambda folder, draw: _json(folder / "t.json", draw)),
    Kind("arrow", 'arrow("t.arrow")', lambda folder, draw: _arrow(folder / "t.arrow", draw)),
    Kind("sql", 'sql("sqlite:///t.db", "select * from t")', lambda folder, draw: _sqlite(folder / "t.db", draw)),
    *(
        (Kind("xlsx", 'xlsx("t.xlsx")', lambda folder, draw: _xlsx(folder / "t.xlsx", draw)),)
        if find_spec("openpyxl") and find_spec("fastexcel")
        else ()
    ),
    Kind("npz", 'npz("t.npz")', lambda folder, draw: _npz(folder / "t.npz", draw)),
    Kind("text", 'text("t.txt")', lambda folder, draw: _text(folder / "t.txt", draw), SERIES),
    Kind("idx", 'idx("t")', lambda folder, draw: _idx(folder / "t", draw), TABLE, PICTURE),
    Kind("images", 'images("t")', lambda folder, draw: write_folder(folder / "t", draw), TABLE, PICTURE),
    Kind(
        "images.csv",
        'images("t.csv", broken = skip)',
        lambda folder, draw: write_table(folder / "t.csv", draw),
        TABLE,
        PICTURE,
    ),
    Kind("no sql", 'sql("sqlite:///t", "select 1 as a")', lambda folder, draw: _no_file(folder / "t", draw)),
    *(
        Kind(f"no {reader}", f'{reader}("t")', lambda folder, draw: _no_file(folder / "t", draw), template, fields)
        for reader, template, fields in (
            *((name, TABLE, COLUMNS) for name in ("csv", "jsonl", "parquet", "npz", "json", "arrow")),
            ("text", SERIES, COLUMNS),
            *((name, TABLE, PICTURE) for name in ("idx", "images")),
        )
    ),
)


def written(kind: Kind, folder: Path, draw: random.Random) -> Any:
    """Writes the files of a source, and `m.net` that reads them."""
    folder.mkdir()
    kind.write(folder, draw)
    (folder / "m.net").write_text(kind.text, encoding="utf-8")
