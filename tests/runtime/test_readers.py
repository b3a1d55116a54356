"""Readers of text keep cells and names as the file has them, at a cost that is linear in the file's size."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.division.split import chunks_of
from netc.runtime.data.readers.content import content
from netc.runtime.data.readers.readers import read
from netc.runtime.data.readers.request import Use, every
from netc.runtime.data.tables import store
from netc.runtime.data.tables.columns import TextColumn
from netc.runtime.data.tables.table import SparseColumn, Table, column_of


def table(reader: str, path: Path, use: Use = Use.TEXT) -> Table:
    return read(reader, path, path.name, NOWHERE, every(use))


def drawn_value(draw: random.Random) -> Any:
    return draw.choice([1, 2.5, True, None, "a", "a\u2028b\x85c\x0bd\x1ee", [1, 2], [[1.5], [2]], [], {"k": 1}, 10**30])


def columns_of(names: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns of a table of rows, by definition: a key that a row lacks is None."""
    return {name: column_of([row.get(name) for row in rows]) for name in names}


@pytest.mark.parametrize("seed", range(20))
def test_jsonl_has_the_cells_of_its_rows(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    keys, is_alike = [f"k{i}" for i in range(draw.randrange(1, 8))], draw.random() < 0.3
    rows = [
        {key: 1.5 if is_alike else drawn_value(draw) for key in keys if is_alike or draw.random() < 0.7}
        for _ in range(draw.randrange(1, 30))
    ]
    rows[draw.randrange(len(rows))]["always"] = 1
    ends = draw.choice(["\n", "\r\n", "\n\n"])
    text = "".join(json.dumps(row, ensure_ascii=draw.random() < 0.5) + ends for row in rows)
    (tmp_path / "t.jsonl").write_bytes(text.encode())
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = table("jsonl", tmp_path / "t.jsonl", Use.NUMBERS)
    assert list(columns.columns) == names
    chosen = np.array([draw.randrange(len(rows)) for _ in range(20)])
    for name, column in columns_of(names, rows).items():
        assert len(columns.columns[name]) == len(rows)
        for picked in (np.arange(len(rows)), chosen):
            np.testing.assert_equal(columns.columns[name][picked].tolist(), column[picked].tolist())
            assert columns.columns[name][picked].dtype == column.dtype


def test_a_new_key_in_each_line_is_one_cell(tmp_path: Path) -> None:
    """Memory is taken for the cells of the file, and not for a cell of each key in each line."""
    count = 3_000
    lines = "".join(json.dumps({f"k{i}": i, "x": i % 7}) + "\n" for i in range(count))
    (tmp_path / "t.jsonl").write_text(lines, encoding="utf-8")
    columns = table("jsonl", tmp_path / "t.jsonl", Use.NUMBERS)
    sparse = [column for column in columns.columns.values() if isinstance(column, SparseColumn)]
    assert len(sparse) == count
    assert sum(len(column.cells) + len(column.rows) for column in sparse) == 2 * count
    assert columns.columns["k17"][np.array([16, 17, 18, 17])].tolist() == [None, 17, None, 17]
    assert columns.columns["k0"][np.arange(count)].tolist() == [0] + [None] * (count - 1)
    assert columns.columns[f"k{count - 1}"][np.array([count - 1, 0])].tolist() == [count - 1, None]
    np.testing.assert_array_equal(columns.columns["x"][np.arange(count)], np.arange(count) % 7)


def test_objects_without_keys(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("{}\n{}\n", encoding="utf-8")
    with pytest.raises(netc.Fault, match="has no columns"):
        table("jsonl", tmp_path / "t.jsonl", Use.NUMBERS)


HEADERS = ['a,"b ""q""",c', '"a,b",c,d', 'a b,"c\nd",e', '"""",x,y', "a,b,c", '"a",b,"c"']


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("large", [False, True])
def test_column_names_of_a_csv_are_unquoted(
    tmp_path: Path, header: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import csv
    import io

    names = next(csv.reader(io.StringIO(header)))
    for bom in (b"", b"\xef\xbb\xbf"):
        path = tmp_path / f"t{len(bom)}.csv"
        path.write_bytes(bom + header.encode() + b'\n1,2,3\n4,"5 ""q""",6\n')
        if large:
            monkeypatch.setattr(store, "LARGE", 1)
        columns = table("csv", path)
        assert list(columns.columns) == names
        assert columns.columns[names[1]][np.arange(2)].tolist() == ["2", '5 "q"']


def test_a_header_of_many_columns(tmp_path: Path) -> None:
    """Each name is compared with all others once."""
    names = [f"c{i}" for i in range(60_000)]
    (tmp_path / "t.csv").write_text(",".join([*names, "c7"]) + "\n" + ",".join("1" * 60_001) + "\n", encoding="utf-8")
    with pytest.raises(netc.Fault, match=r"two columns `c7`"):
        table("csv", tmp_path / "t.csv")


def test_texts_on_disk_are_read_for_the_selected_rows_only() -> None:
    class Words(tuple[str, ...]):
        looked_up = 0

        def __getitem__(self, index: Any) -> Any:
            Words.looked_up += 1
            return super().__getitem__(index)

        def __iter__(self) -> Any:
            raise AssertionError("all words are gone through")

    column = TextColumn(np.array([3, -1, 0, 3, 2], np.int32), Words(f"w{i}" for i in range(1000)))
    assert column[np.array([[0, 1], [3, 4]])].tolist() == [["w3", None], ["w3", "w2"]]
    assert column[np.array([], np.int64)].tolist() == []
    assert Words.looked_up == 2


@pytest.mark.parametrize(
    "members", [[b""], [b"text"], [b"long " * 500_000], [b"long " * 500_000, b"", b"x"], [b"x", b"long" * 500_000]]
)
@pytest.mark.parametrize("tail", [b"", bytes(7)])
def test_packed_files_are_unpacked_to_their_end(tmp_path: Path, members: list[bytes], tail: bytes) -> None:
    """The size at the end of a file is that of its last member, or none at all."""
    (tmp_path / "t.gz").write_bytes(b"".join(gzip.compress(member, 1) for member in members) + tail)
    assert content(tmp_path / "t.gz", "t.gz", NOWHERE) == b"".join(members)


@pytest.mark.parametrize(("shape", "dtype"), [((70_000,), np.uint8), ((300, 200, 100), np.uint8), ((9, 3), np.float32)])
def test_chunks_are_all_rows_in_order(shape: tuple[int, ...], dtype: Any) -> None:
    rows = np.arange(shape[0])[::-1]
    chunks = [*chunks_of(rows, np.zeros(shape, dtype))]
    np.testing.assert_array_equal(np.concatenate(chunks), rows)
    assert len(chunks) == {70_000: 2, 300: 2, 9: 1}[shape[0]]
    assert [*chunks_of(rows[:0], np.zeros(shape, dtype))] == []
