"""Right files of every format, each with the text that reads it: the beginnings of files that tests change."""

import gzip
import importlib.util
import io
import json
import sqlite3
import struct
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars
from PIL import Image

ROWS = 24
TABLE = """data {
  source = READER("NAME")
  x = columns("a", "b") -> impute(median) -> standardize
  s = column("s") -> lowercase -> ngrams(2, 30)
  d = column("d") -> impute(mode) -> date
  y = column("y") -> impute(drop) -> classes
  split = (train = 0.75, test = 0.25)
}
model {
  input x: float[2]
  input s: float[30]
  input d: float
  target y: class(2)
  z = concat(x, s, stack(d, d)) -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
ARRAYS = """data {
  source = READER("NAME")
  x = field("FIELD") -> flatten -> scale(0.1)
  y = field("label")
  split = (train = 0.75, test = 0.25)
}
model {
  input x: float[SIZE]
  target y: class(2)
  z = x -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
SEQUENCES = """data {
  source = READER("NAME")
  x = field("x")
  t = column("t") -> characters -> vocabulary(4)
  split = (train = 0.75, test = 0.25)
}
model {
  input x: float[time]
  input t: class(5)[length]
  output p = sum(x) + sum(t -> embed(1))
}
"""
TEXT = """data {
  source = READER("NAME")
  x = field("text") -> characters -> vocabulary(8) -> window(8)
  y = field("text") -> characters -> vocabulary(8) -> next(1) -> window(8)
}
model {
  input x: class(9)[8]
  target y: class(9)[8]
  z = x -> embed(4) -> dense(9)
  output p = z
  loss cross_entropy(z, y)
}
"""


def csv_file() -> bytes:
    rows = [f'{i}.5,{i % 7},"w{i % 5} ""q""",2020-01-{i % 28 + 1:02d},{("no", "yes")[i % 2]}\n' for i in range(ROWS)]
    return ("a,b,s,d,y\n" + "".join(rows)).encode()


def columns() -> dict[str, list[Any]]:
    return {
        "a": [i / 2 for i in range(ROWS)],
        "b": [i % 7 for i in range(ROWS)],
        "s": [f"w{i % 5}" for i in range(ROWS)],
        "d": [f"2020-01-{i % 28 + 1:02d}" for i in range(ROWS)],
        "y": [i % 2 for i in range(ROWS)],
    }


def jsonl_file() -> bytes:
    rows = [dict(zip(columns(), row, strict=True)) for row in zip(*columns().values(), strict=True)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def sequences_file() -> bytes:
    rows = [{"x": [1.5, -i, 3.0][: i % 3 + 1], "t": "a\u00e9bc"[: i % 4 + 1]} for i in range(ROWS)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet_file() -> bytes:
    stream = io.BytesIO()
    polars.DataFrame(columns()).write_parquet(stream)
    return stream.getvalue()


def npz_file(save: Callable[..., None] = np.savez) -> bytes:
    stream = io.BytesIO()
    image = np.arange(ROWS * 12, dtype=np.uint8).reshape(ROWS, 3, 4)
    save(stream, image=image, label=np.arange(ROWS) % 2, name=np.array(["a", "b\u00e9"] * (ROWS // 2)))
    return stream.getvalue()


def idx_file(*dims: int) -> bytes:
    count = int(np.prod(dims))
    return (
        struct.pack(">BBBB", 0, 0, 8, len(dims)) + struct.pack(f">{len(dims)}I", *dims) + bytes([0, 1] * (count // 2))
    )


def picture(mode: str, kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(stream, kind)
    return stream.getvalue()


def net(template: str, reader: str, name: str, field: str = "", size: int = 0) -> str:
    text = template.replace("READER", reader).replace("NAME", name)
    return text.replace("FIELD", field).replace("SIZE", str(size))


def json_file() -> bytes:
    return json.dumps(
        [dict(zip(columns(), row, strict=True)) for row in zip(*columns().values(), strict=True)]
    ).encode()


def arrow_file() -> bytes:
    stream = io.BytesIO()
    polars.DataFrame(columns()).write_ipc(stream)
    return stream.getvalue()


def xlsx_file() -> bytes:
    import openpyxl

    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in (columns(), *zip(*columns().values(), strict=True)):
        book.active.append(list(row))
    book.save(stream)
    return stream.getvalue()


def sqlite_file() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (a, b, s, d, y)")
        connection.executemany("insert into t values (?, ?, ?, ?, ?)", zip(*columns().values(), strict=True))
        connection.commit()
        return connection.serialize()


def duckdb_file() -> bytes:
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        with duckdb.connect(f"{folder}/t.duckdb", config={"default_block_size": "16384"}) as connection:
            connection.execute("create table t (a double, b integer, s varchar, d varchar, y integer)")
            rows = list(zip(*columns().values(), strict=True))
            connection.executemany("insert into t values (?, ?, ?, ?, ?)", rows)
        return Path(f"{folder}/t.duckdb").read_bytes()


QUERY = net(TABLE, "sql", "sqlite:///t.db").replace('t.db")', 't.db", "select * from t")')
# a `.net` text, the file that is mutated, its content, and the other files that it needs
SEEDS: dict[str, tuple[str, str, bytes, dict[str, bytes]]] = {
    "csv": (net(TABLE, "csv", "t.csv"), "t.csv", csv_file(), {}),
    "csv.gz": (net(TABLE, "csv", "t.csv.gz"), "t.csv.gz", gzip.compress(csv_file(), mtime=0), {}),
    "jsonl": (net(TABLE, "jsonl", "t.jsonl"), "t.jsonl", jsonl_file(), {}),
    "jsonl of sequences": (net(SEQUENCES, "jsonl", "t.jsonl"), "t.jsonl", sequences_file(), {}),
    "json": (net(TABLE, "json", "t.json"), "t.json", json_file(), {}),
    "arrow": (net(TABLE, "arrow", "t.arrow"), "t.arrow", arrow_file(), {}),
    "sql": (QUERY, "t.db", sqlite_file(), {}),
    "parquet": (net(TABLE, "parquet", "t.parquet"), "t.parquet", parquet_file(), {}),
    "npz": (net(ARRAYS, "npz", "t.npz", "image", 12), "t.npz", npz_file(), {}),
    "npz, compressed": (net(ARRAYS, "npz", "t.npz", "image", 12), "t.npz", npz_file(np.savez_compressed), {}),
    "idx": (
        net(ARRAYS, "idx", "d", "image", 12),
        "d/image.idx",
        idx_file(ROWS, 3, 4),
        {"d/label.idx": idx_file(ROWS)},
    ),
    "idx.gz": (
        net(ARRAYS, "idx", "d", "image", 12),
        "d/image.idx.gz",
        gzip.compress(idx_file(ROWS, 3, 4), mtime=0),
        {"d/label.idx": idx_file(ROWS)},
    ),
    "text": (net(TEXT, "text", "t.txt"), "t.txt", "Call me Ishmael, \u00e9.\n".encode() * 6, {}),
    **{
        f"images, {mode} {kind}": (
            net(ARRAYS, "images", "p", "image", 81 if mode == "L" else 243).replace(
                'y = field("label")', 'y = column("label") -> classes'
            ),
            f"p/a/0.{kind.lower()}",
            picture(mode, kind),
            {f"p/{'ab'[i % 2]}/{i}x.{kind.lower()}": picture(mode, kind) for i in range(8)},
        )
        for mode, kind in (("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGB", "JPEG"))
    },
    "images, a list": (
        net(ARRAYS, "images", "l.csv", "image", 243).replace('y = field("label")', 'y = column("label") -> classes'),
        "l.csv",
        b"path,label\n" + b"".join(b"%d.png,%s\n" % (i % 3, b"ab"[i % 2 :][:1]) for i in range(8)),
        {f"{i}.png": picture("RGB", "PNG") for i in range(3)},
    ),
}
if importlib.util.find_spec("openpyxl") and importlib.util.find_spec("fastexcel"):
    SEEDS["xlsx"] = (net(TABLE, "xlsx", "t.xlsx"), "t.xlsx", xlsx_file(), {})
if importlib.util.find_spec("duckdb"):
    SEEDS["duckdb"] = (QUERY.replace("sqlite:///t.db", "duckdb:///t.duckdb"), "t.duckdb", duckdb_file(), {})
