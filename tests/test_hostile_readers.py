"""Hostile data files through every reader and the steps after it: a table or a message.

Never a traceback, a wait, or code that runs. `pytest --long tests/test_hostile_readers.py` reads 10,000 mutated files.
"""

import gzip
import io
import os
import pickle
import random
import re
import sqlite3
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from hostile import plain
from right_files import ROWS, SEEDS, idx_file
from support import at_most
from watching import nothing_else_runs

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.readers.readers import READERS, read, simple_reader

SPECIAL = (
    *(
        b"\0",
        b"\r",
        b'"',
        b"\n",
        b"\r\n",
        b",",
        b"\x1b[31m",
        b"\xed\xb0\x80",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        "\u2028".encode(),
    ),
    *(
        b"[[[[[[[[[[",
        b"[" * 3000,
        b"{",
        b"9" * 400,
        b"9" * 5000,
        b"NaN",
        b"1e999",
        b"-Infinity",
        b"null",
        b"true",
        b"[]",
        b'""',
    ),
    *(
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\0\0\x08\xff",
        b"PK\x03\x04",
        b"x" * 200_000,
    ),
)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The content with one to five changes: bytes, moved pieces, pieces of other formats, an early end."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 5))):
        at = draw.randint(0, len(data))
        match draw.randrange(8):
            case 0 | 1 if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
            case 2:
                data[at:at] = draw.randbytes(draw.randint(1, 8))
            case 3:
                del data[at : at + draw.randint(1, 20)]
            case 4:
                piece = draw.choice(SPECIAL)
                data[at : at + len(piece) * draw.randint(0, 1)] = piece
            case 5:
                del data[at:]
            case _ if data:
                other = draw.randrange(len(data))
                data[at:at] = data[other : other + draw.randint(1, 40)]
    return bytes(data)


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("kind", SEEDS)
def test_mutated_files(kind: str, tmp_path: Path, is_long: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    text, name, content, others = SEEDS[kind]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("netc.dsl.storage.home.folder", lambda: None)  # every set of pictures would be cached
    put(tmp_path, {**others, name: content})
    model = netc.parse(text)
    spec = parse_data(model)
    assert load(model, spec).parts["train"], "the file that is mutated is right"
    read_well = 0
    for seed in range(700 if is_long else 60):
        data = mutated(content, random.Random(f"{kind} {seed}"))
        (tmp_path / name).write_bytes(data)
        try:
            with at_most(10), nothing_else_runs():
                read_well += bool(load(model, spec).parts)
        except netc.Fault as fault:
            message = str(fault)
            assert message.startswith("error[E08"), (seed, message)
            assert len(message) < 3_000, seed
            assert all(plain(line) for line in message.split("\n")), seed
    assert read_well < (700 if is_long else 60), "nothing that was changed was noticed"


# ------------------------------------------------------------------ one kind of file each


def faults(reader: str, path: Path, **options: Any) -> str:
    """The messages about a file that cannot be read."""
    with at_most(10), nothing_else_runs(), pytest.raises(netc.Fault) as raised:
        read(reader, path, path.name, NOWHERE, options=options)
    message = str(raised.value)
    assert all(plain(line) for line in message.split("\n"))
    assert len(message) < 3_000
    return message


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch PWNED",)


def npy(shape: str, content: bytes = b"", descr: str = "'<f8'") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * ((64 - (10 + len(head) + 1) % 64) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + content


def npy_of(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


DEEP = b"\x93NUMPY\x01\x00" + struct.pack("<H", 60) + b"{'descr': " + b"(" * 49 + b"\n"
GOOD = npy_of(np.arange(ROWS))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"x.npy": npy("(1000000000000,)"), "y.npy": GOOD}, "0 bytes where its head says 8,000,000,000,000"),
        ({"x.npy": npy("(99999999999999999999,)")}, "where its head says"),
        ({"x.npy": npy(f"({'9' * 5000},)")}, "the head of `x` in `t.npz` is broken"),
        ({"x.npy": npy("(-5,)")}, "has the shape [-5]"),
        ({"x.npy": npy(f"({'1,' * 40})", bytes(8))}, "has the shape [1, 1"),
        ({"x.npy": npy("(2, 2)", bytes(31))}, "31 bytes where its head says 32"),
        ({"x.npy": npy("(2,)", bytes(17))}, "17 bytes where its head says 16"),
        ({"x.npy": npy("()", bytes(8))}, "is a single value"),
        ({"x.npy": npy("(2,)", bytes(16), "'<c8'")}, "holds complex64"),
        ({"x.npy": npy("(2,)", bytes(16), "'<M8[s]'")}, "holds datetime64[s]"),
        ({"x.npy": npy("(2,)", bytes(16), "[('a', '<f8')]")}, "holds [('a', '<f8')]"),
        ({"x.npy": npy("(2,)", b"\xff\0\xff\0", "'|S2'")}, "byte 0 is not text"),
        ({"x.npy": npy_of(np.array([Evil()], object))}, "holds Python objects"),
        ({"x.npy": pickle.dumps(Evil())}, "cannot read `t.npz: x`"),
        ({"x.npy": DEEP}, "cannot read `t.npz: x`"),
        ({"x.npy": b""}, "cannot read `t.npz: x`"),
        ({"x.npy": GOOD, "y.npy": GOOD[:-8]}, "is damaged"),
        ({"x.npy": GOOD, "y.npy": npy_of(np.arange(3))}, "differ in length"),
        ({"x.npy": GOOD, "readme.txt": b"hello"}, "holds `readme.txt`, which is not an array"),
        ({"x.npy": npy_of(np.zeros((0, 3)))}, "has no rows"),
        ({}, "holds no arrays"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_archives_of_arrays(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert message in faults("npz", tmp_path / "t.npz")
    assert not Path("PWNED").exists()


def test_an_archive_with_a_name_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("x.npy", GOOD)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", GOOD)
    assert "two arrays `x`" in faults("npz", tmp_path / "t.npz")


def test_names_and_texts_of_arrays(tmp_path: Path) -> None:
    """Nothing is unpacked to the disk, so any name is allowed. Texts of both kinds are cells."""
    np.savez(tmp_path / "t.npz", **{"../../x": np.array(["a", "b"]), "/y": np.array([b"a", "\u00e9".encode()])})
    with nothing_else_runs():
        table = read("npz", tmp_path / "t.npz", "t.npz", NOWHERE)
    assert {name: list(column[np.arange(2)]) for name, column in table.columns.items()} == {
        "../../x": ["a", "b"],
        "/y": ["a", "\u00e9"],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x08\xff" + b"\xff" * 1020 + b"abc", "is not an idx file"),
        (b"\0\0\x08\x46" + struct.pack(">I", 1) * 70 + b"a", "is not an idx file"),
        (b"\0\0\x08\x00", "is not an idx file"),
        (b"\0\0\x08\x20" + b"\xff" * 128, "0 bytes where its head says"),
        (b"\0\0\x08\x03" + struct.pack(">III", 1 << 30, 1 << 30, 16) + b"abc", "3 bytes where its head says"),
        (b"\0\0\x08\x02" + struct.pack(">II", 0, 0xFFFFFFFF), "has no rows"),
        (b"\0\0\x08\x02\0", "is cut short"),
        (b"", "is not an idx file"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_idx_files(content: bytes, message: str, tmp_path: Path) -> None:
    put(tmp_path, {"d/x.idx": content})
    assert message in faults("idx", tmp_path / "d")


@pytest.mark.parametrize("name", ["**", "[", "?", "no\0where", "x" * 300, "nowhere/x"])
def test_idx_files_that_end_early(name: str, tmp_path: Path) -> None:
    put(tmp_path, {"d/x.idx": idx_file(4, 2)})
    assert "there are no idx files" in faults("idx", tmp_path / "d" / name)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"x": ' + "1" * 5000 + "}", "line 3 is not JSON"),
        ('{"x": ' + "[" * 100_000, "line 3 is not JSON"),
        ('{"x": ' + '{"a": ' * 100_000, "line 3 is not JSON"),
        ("[1]", "line 3 is not a JSON object"),
        ("NaN", "line 3 is not a JSON object"),
        ('{"x": 1}}', "line 3 is not JSON"),
    ],
    ids=lambda value: value[:12],
)
def test_wrong_lines_of_json(row: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"x": 1}\n{"x": 2}\n' + row + "\n", encoding="utf-8")
    assert message in faults("jsonl", tmp_path / "t.jsonl")


CELLS = """data {
  source = jsonl("t.jsonl")
  x = column("x")FIELD
  split = (train = 1)
}
model {
  input x: TYPE
  output p = x
}
"""


@pytest.mark.parametrize(
    "cell",
    [
        *("1" * 400, "-" + "1" * 400, "1e999", "NaN", "null", '"a"', "[1]", "[[1], [2, 3]]", '{"a": 1}', "true"),
        *("[" + "1" * 400 + "]", '["a", 1]', "[null]", "[]", "[[]]", "[" * 500 + "]" * 500, '"\\ud800"', '"1_0"'),
        '{"a": ' * 300 + "1" + "}" * 300,
    ],
    ids=lambda cell: cell[:12],
)
@pytest.mark.parametrize(
    ("field", "type_"),
    [
        ("", "float"),
        ("", "class(3)"),
        (" -> classes", "class(2)"),
        (" -> standardize", "float"),
        (" -> impute(median)", "float"),
        (" -> impute(mode) -> one_hot", "float[2]"),
        (" -> date", "float"),
        ("", "float[time]"),
        (" -> words -> vocabulary", "class(3)[time]"),
        (" -> ngrams(2, 5)", "float[5]"),
    ],
    ids=lambda value: value.removeprefix(" -> "),
)
def test_a_cell_in_every_step(cell: str, field: str, type_: str, tmp_path: Path) -> None:
    """NaN, a number of 400 digits, a list and an object, beside a right cell."""
    (tmp_path / "t.jsonl").write_text(f'{{"x": 1}}\n{{"x": {cell}}}\n', encoding="utf-8")
    (tmp_path / "m.net").write_text(CELLS.replace("FIELD", field).replace("TYPE", type_), encoding="utf-8")
    try:
        with at_most(10), nothing_else_runs():
            _load(tmp_path / "m.net")
    except netc.Fault as fault:
        message = str(fault)
    else:
        message = ""
    assert len(message) < 2_000


@pytest.mark.parametrize("largest", ["1e999", "1" * 400, "1.5", "-1"])
def test_counting_classes_of_a_field_without_labels(largest: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(f'{{"x": 0, "y": 1}}\n{{"x": 1, "y": {largest}}}\n', encoding="utf-8")
    text = CELLS.replace("FIELD", '\n  y = column("y")').replace("TYPE", "float\n  target y: class(auto)")
    text = text.replace("output p = x", "z = stack(x, x) -> dense(size(y))\n  loss cross_entropy(z, y)")
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    with at_most(10), pytest.raises(netc.Fault) as raised:
        _load(tmp_path / "m.net")
    assert re.match(r"error\[E080[345]\]", str(raised.value))


def test_classes_of_a_field_that_lacks_all_labels(tmp_path: Path) -> None:
    """Rows without a label are left out, but for a file in which all are."""
    (tmp_path / "t.jsonl").write_text('{"x": 0, "y": NaN}\n{"x": 1, "y": NaN}\n', encoding="utf-8")
    text = CELLS.replace("FIELD", '\n  y = column("y")').replace("TYPE", "float\n  target y: class(auto)")
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    with at_most(10), pytest.raises(netc.Fault, match="E0803"):
        _load(tmp_path / "m.net")


def _load(path: Path) -> None:
    model = netc.load(path)
    load(model, parse_data(model))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("x" * 200_000 + ",y\n1,0\n2\n3,1\n", "row 3 has 1 cell"),
        ("a\rb,y\n1,0\n2\n", "carriage return"),
        ("x,y\r1,0\r2,1,3\r", "row 3 has 3 cells"),
        ("\0,y\n1,0\n2\n", "row 3 has 1 cell"),
        ('x,y\n1,0\n"abc,1\n1,2\n', "cannot read"),
        ("x,x\n1,2\n", "two columns `x`"),
        ("", "has no rows"),
        ("\n\n", "has no rows"),
        ("x,y\n1,2,3\n", "row 2 has 3 cells"),
    ],
    ids=lambda value: repr(value[:10]),
)
def test_tables_of_text(table: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(table.encode())
    assert message in faults("csv", tmp_path / "t.csv")


# ------------------------------------------------------------------ what is not a regular file


def odd_paths(folder: Path) -> dict[str, Path]:
    """Paths that are not regular files, by what is wrong with them."""
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "broken").symlink_to("nowhere")
    (folder / "folder").mkdir()
    return {
        **{name: folder / name for name in ("pipe", "link", "loop", "broken", "folder", "nowhere")},
        "device": Path("/dev/zero"),
        "terminal": Path("/dev/tty"),
        "long": folder / ("x" * 300),
        "long folder": folder / ("x" * 300) / "x",
        "null": folder / "a\0b",
        "surrogate": folder / "a\ud800b",
        "file as folder": folder / "file" / "x",
    }


@pytest.mark.parametrize("reader", [*READERS])
def test_paths_that_are_no_regular_files(reader: str, tmp_path: Path) -> None:
    """Nothing waits for the other end of a pipe, and a name that no file can have is a message."""
    (tmp_path / "file").write_text("x,y\n1,2\n", encoding="utf-8")
    options = {"engine": "sqlite", "query": "select 1"} if reader == "sql" else {}
    for kind, path in odd_paths(tmp_path).items():
        assert faults(reader, path, **options).startswith("error[E0801]: "), kind


def test_pipes_in_folders(tmp_path: Path) -> None:
    for folder in ("p/a", "d"):
        (tmp_path / folder).mkdir(parents=True)
    os.mkfifo(tmp_path / "p/a/x.png")
    os.mkfifo(tmp_path / "d/x.idx")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "d/y.idx").mkdir()
    assert "it is not a regular file" in faults("images", tmp_path / "p")
    assert "it is not a regular file" in faults("idx", tmp_path / "d")
    for name in ("pipe.png", "a\0b.png", "x" * 300 + ".png", "../../../../etc/passwd", "/dev/zero", "p"):
        (tmp_path / "l.csv").write_text(f"path,label\n{name},a\n", encoding="utf-8")
        assert "cannot decode" in faults("images", tmp_path / "l.csv")
        assert "no picture" in faults("images", tmp_path / "l.csv", broken="skip")


@pytest.mark.parametrize(
    "raised",
    [KeyError("a"), RecursionError(), ZeroDivisionError(), EOFError("\x1b"), OSError(5, "x")],
    ids=lambda raised: type(raised).__name__,
)
def test_wrong_readers_of_plugins(raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any exception or result of a plug-in's reader on a broken file is a message."""

    def broken(path: Path) -> dict[str, Any]:
        raise raised

    (tmp_path / "t.arff").touch()
    monkeypatch.setitem(READERS, "arff", simple_reader("arff", "", broken))
    assert "cannot read `t.arff`" in faults("arff", tmp_path / "t.arff")
    for columns_ in ({"a": 1}, {"a": [1], "b": [1, 2]}, {"a": [[1], [2, 3]]}, {"a": []}, {}, [1], None):
        monkeypatch.setitem(READERS, "arff", simple_reader("arff", "", lambda path, columns=columns_: columns))
        assert "error[E0801]" in faults("arff", tmp_path / "t.arff")


# ------------------------------------------------------------------ .net files and runs


def test_texts_that_are_no_regular_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for kind, path in odd_paths(tmp_path).items():
        with at_most(10), pytest.raises(netc.Fault) as raised:
            netc.load(path)
        assert str(raised.value).startswith("error[E0104]"), kind
        with at_most(10), pytest.raises(netc.Fault) as raised:
            netc.open(path)
        assert str(raised.value).startswith("error[E1001]"), kind
    for name in ("x" * 300, "loop", "pipe", "folder", "broken", "x" * 300 + "/y"):
        target = tmp_path / f"{name}.net"
        if name in ("loop", "pipe", "folder", "broken"):
            (tmp_path / name).rename(target)
        (tmp_path / "m.net").write_text(f'import "{name}.net"\nmodel {{ output y = 1 }}\n', encoding="utf-8")
        with at_most(10), pytest.raises(netc.Fault, match="E0203"):
            netc.load(tmp_path / "m.net")


def workbook(cell: bytes) -> bytes:
    """A workbook with a table of two cells and this cell besides."""
    import openpyxl

    stream, result = io.BytesIO(), io.BytesIO()
    book = openpyxl.Workbook()
    for row in (("a", "b"), (1, 2)):
        book.active.append(row)
    book.save(stream)
    with zipfile.ZipFile(stream) as source, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "xl/worksheets/sheet1.xml":
                content = content.replace(b"</sheetData>", b'<row r="9">' + cell + b"</row></sheetData>")
            target.writestr(name, content)
    return result.getvalue()


@pytest.mark.parametrize(
    "cell",
    [b'<c r="XFD1048576"><v>1</v></c>', b"<c t='n' r = 'XFE9999999'><v>1</v></c>", b'<x:c r="A99999999999"><v/></x:c>'],
)
def test_a_sheet_with_a_cell_far_away_is_refused(cell: bytes, tmp_path: Path) -> None:
    """Its decoder takes the memory of the whole rectangle, and ends the process if there is not enough."""
    pytest.importorskip("fastexcel")
    (tmp_path / "t.xlsx").write_bytes(workbook(cell))
    message = faults("xlsx", tmp_path / "t.xlsx")
    assert "E1005" in message
    assert "rows and" in message


def test_a_styled_cell_far_away_is_no_cell(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    (tmp_path / "t.xlsx").write_bytes(workbook(b'<c r="XFD1048576" s="0"/>'))
    assert len(read("xlsx", tmp_path / "t.xlsx", "t.xlsx", NOWHERE)) == 1


OTHER_KINDS = {
    "packed twice": lambda: gzip.compress(gzip.compress(b"a,b\n1,2\n")),
    "a zip archive": lambda: workbook(b""),
    "a Parquet file": lambda: _frame_bytes(polars.DataFrame.write_parquet),
    "an Arrow file": lambda: _frame_bytes(polars.DataFrame.write_ipc),
    "a SQLite database": lambda: b"SQLite format 3\0" + bytes(84),
    "a single NumPy array": lambda: npy("(2,)", bytes(16)),
}


def _frame_bytes(write: Any) -> bytes:
    stream = io.BytesIO()
    write(polars.DataFrame({"a": [1, 2]}), stream)
    return stream.getvalue()


@pytest.mark.parametrize("reader", ["csv", "jsonl", "json", "text"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_file_of_another_kind_is_named(kind: str, reader: str, tmp_path: Path) -> None:
    """Its bytes are not text in another encoding."""
    if kind == "a zip archive":
        pytest.importorskip("openpyxl")
    name = f"t.{reader}.gz" if kind == "packed twice" else f"t.{reader}"
    (tmp_path / name).write_bytes(OTHER_KINDS[kind]())
    message = faults(reader, tmp_path / name)
    assert f"`{name}` is {kind.replace('packed twice', 'packed by gzip')}, and no text" in message
    assert "hint: " in message


def test_a_column_whose_name_begins_like_another_kind(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("PAR1,ARROW1\n1,2\n", encoding="utf-8")
    assert len(read("csv", tmp_path / "t.csv", "t.csv", NOWHERE)) == 1


def test_a_database_that_is_cut_short_has_no_zeros(tmp_path: Path) -> None:
    """SQLite itself reads the missing end of a page as zeros."""
    database = sqlite3.connect(":memory:")
    database.execute("create table t (a real, k text)")
    database.executemany("insert into t values (?, ?)", [(1, "x"), (2, "y")])
    database.commit()
    (tmp_path / "t.db").write_bytes(database.serialize()[:-1000])
    assert "cut short" in faults("sql", tmp_path / "t.db", engine="sqlite", query="select * from t")


def test_heads_that_say_less_than_a_file_has(tmp_path: Path) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(idx_file(3, 2) + b"\0")
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(idx_file(3))
    assert "is longer than its head says" in faults("idx", tmp_path / "t")
    with zipfile.ZipFile(tmp_path / "none.npz", "w"):
        pass
    assert "holds no arrays" in faults("npz", tmp_path / "none.npz")
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("x.npy", npy("(2,)", bytes(16)).replace(b"False", b"Flase"))
    message = faults("npz", tmp_path / "t.npz")
    assert "the head of `x` in `t.npz` is broken" in message
    assert "0x" not in message
