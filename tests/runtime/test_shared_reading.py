"""Processes of one host that read the same data: each file is read once, and all have the table of a process by itself.

Threads stand for the processes: the locks of files hold between them too.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from PIL import Image
from right_files import idx_file

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.pictures import reader as images
from netc.runtime.data.readers import readers
from netc.runtime.data.readers.readers import read
from netc.runtime.data.readers.request import Use, Uses, every
from netc.runtime.data.readers.sources import read_source
from netc.runtime.data.tables import sharing, store
from netc.runtime.data.tables.sharing import Sharing
from netc.runtime.data.tables.table import Table

COUNT = 3


def together(folder: Path, work: Callable[[], Any]) -> list[Any]:
    """The results of `work` in each of COUNT processes that share a folder, or what it raised."""
    results: list[Any] = [None] * COUNT

    def run(number: int) -> None:
        try:
            with sharing.sharing(Sharing(folder, number, COUNT)):
                results[number] = work()
        except netc.Fault as fault:
            results[number] = str(fault)

    folder.mkdir(exist_ok=True)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def contents(table: Table) -> dict[str, Any]:
    """All that steps see of a table, with the types of cells."""
    rows = np.arange(len(table))
    some = rows[::-2].reshape(-1, 1)
    columns = {}
    for name, column in table.columns.items():
        cells, turned = column[rows], column[some]
        columns[name] = (cells.dtype, cells.shape, repr(cells.tolist()), repr(turned.tolist()))
    return {"columns": columns, "rows": table.numbers(rows).tolist(), "names": table.names, "notes": table.notes}


@pytest.fixture(autouse=True)
def shares_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files of any size are worth sharing."""
    monkeypatch.setattr(sharing, "WORTH_A_COPY", 0)
    monkeypatch.setattr("netc.runtime.data.tables.shared_tables.WORTH_A_COPY", 0)
    monkeypatch.setattr("netc.runtime.data.csv.reader._SMALL", 0)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was read, and not taken from what other processes have read."""
    counts: Counter[str] = Counter()
    for name, reader in {**readers.READERS}.items():

        def counted(request: Any, of_reader: Callable[[Any], Table] = reader.read) -> Table:
            counts[request.path.name] += 1
            return of_reader(request)

        monkeypatch.setitem(
            readers.READERS, name, readers.Reader(reader.name, "", counted, takes_folder=reader.takes_folder)
        )
    return counts


ROWS: list[dict[str, Any]] = [
    {"n": 1, "t": "a", "s": [1, 2.5], "d": [[1.0, 2.0]], "w": ["x", "y"], "m": 1, "b": True, "z": None},
    {"n": 2.5, "t": "b", "s": [3], "d": [[3.0, 4.0]], "w": [], "m": "one", "b": False, "few": "rare"},
    {"n": None, "t": None, "s": [4, 5, 6], "d": [[5.0, 6.0]], "w": ["z"], "m": 2.0, "b": None, "few": 7},
    {"n": -3, "t": "a", "s": [], "d": [[7.0, 8.0]], "w": None, "m": [1, ["deep"]], "b": True},
]


def write_jsonl(folder: Path) -> Path:
    lines = [json.dumps(row) for row in ROWS]
    (folder / "t.jsonl").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return folder / "t.jsonl"


def write_json(folder: Path) -> Path:
    (folder / "t.json").write_text(json.dumps(ROWS), encoding="utf-8")
    return folder / "t.json"


def write_npz(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(5, 2, 3)), "u": np.arange(5, dtype=np.uint8), "t": np.array([*"abcab"])}
    np.savez(folder / "t.npz", **arrays, i=np.asfortranarray(rng.integers(0, 9, (5, 2), np.int32)))
    return folder / "t.npz"


def write_xlsx(folder: Path) -> Path:
    from openpyxl import Workbook

    workbook = Workbook()
    for row in (("a", "k"), (1.0, "x"), (None, "y"), (3.5, None)):
        workbook.active.append(row)
    workbook.save(folder / "t.xlsx")
    return folder / "t.xlsx"


def write_sqlite(folder: Path) -> Path:
    import sqlite3

    database = sqlite3.connect(folder / "t.db")
    database.execute("create table t (a real, k text)")
    database.executemany("insert into t values (?, ?)", [(1.5, "x"), (None, "y"), (3, None)])
    database.commit()
    database.close()
    return folder / "t.db"


def write_text(folder: Path) -> Path:
    (folder / "t.txt").write_text("To be, or not to be — that is the question\n", encoding="utf-8")
    return folder / "t.txt"


def write_idx(folder: Path) -> Path:
    (folder / "t-images-idx3-ubyte").write_bytes(idx_file(4, 2, 3))
    (folder / "t-labels-idx1-ubyte").write_bytes(idx_file(4))
    return folder / "t"


def write_frame(folder: Path, suffix: str) -> Path:
    frame = polars.DataFrame({"a": [1.0, None, 3.5] * 9, "k": ["x", "y", None] * 9})
    path = folder / f"t.{suffix}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "arrow": frame.write_ipc}[suffix](path)
    return path


KINDS: dict[str, tuple[str, Callable[[Path], Path], dict[str, Any]]] = {
    "jsonl": ("jsonl", write_jsonl, {}),
    "json": ("json", write_json, {}),
    "npz": ("npz", write_npz, {}),
    "xlsx": ("xlsx", write_xlsx, {}),
    "sqlite": ("sql", write_sqlite, {"engine": "sqlite", "query": "select * from t"}),
    "text": ("text", write_text, {}),
    "idx": ("idx", write_idx, {}),
    **{name: (name, lambda folder, name=name: write_frame(folder, name), {}) for name in ("csv", "parquet", "arrow")},
}
NUMBERS, LABELS = every(Use.NUMBERS), every(Use.LABELS)


@pytest.mark.parametrize("uses", [NUMBERS, LABELS], ids=["numbers", "labels"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_processes_have_the_table_of_one(kind: str, uses: Uses, tmp_path: Path, reads: Counter[str]) -> None:
    reader, write, options = KINDS[kind]
    path = write(tmp_path)
    expected = contents(read(reader, path, path.name, NOWHERE, uses, options))
    reads.clear()

    def work() -> dict[str, Any]:
        return contents(read(reader, path, path.name, NOWHERE, uses, options))

    assert together(tmp_path / "shared", work) == [expected] * COUNT
    if kind not in ("csv", "parquet", "arrow"):  # their columns are kept by store.py
        assert reads == {path.name: 1}


def test_large_columns_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copied = write_frame(tmp_path, "csv"), []
    write = store._write
    monkeypatch.setattr(store, "_write", lambda *arguments: (copied.append(1), write(*arguments)))
    together(tmp_path / "shared", lambda: read("csv", path, path.name, NOWHERE, NUMBERS, {}))
    assert len(copied) == 1


def test_a_file_is_read_again_for_other_uses_of_its_columns(tmp_path: Path, reads: Counter[str]) -> None:
    path = write_jsonl(tmp_path)

    def work() -> list[dict[str, Any]]:
        return [contents(read("jsonl", path, path.name, NOWHERE, uses, {})) for uses in (NUMBERS, LABELS, NUMBERS)]

    first, second, third = together(tmp_path / "shared", work)
    assert first == second == third
    assert first[0] == first[2] != first[1]
    assert reads == {path.name: 2}


def test_processes_begin_with_other_files_of_a_pattern(tmp_path: Path, reads: Counter[str]) -> None:
    for number in range(5):
        rows = [json.dumps({"x": [number] * (row + 1), "y": f"c{row}"}) for row in range(3)]
        (tmp_path / f"part-{number}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    source = SourceSpec("jsonl", "part-*.jsonl", NOWHERE)
    expected = contents(read_source(source, tmp_path, LABELS))
    reads.clear()
    results = together(tmp_path / "shared", lambda: contents(read_source(source, tmp_path, LABELS)))
    assert results == [expected] * COUNT
    assert reads == {f"part-{number}.jsonl": 1 for number in range(5)}


def test_a_broken_file_has_the_message_of_one_process(tmp_path: Path) -> None:
    for number, line in enumerate(('{"x": 1}', '{"x": ', '{"x": 2}', "[")):
        (tmp_path / f"part-{number}.jsonl").write_text(line, encoding="utf-8")
    source = SourceSpec("jsonl", "part-*.jsonl", NOWHERE)
    with pytest.raises(netc.Fault) as raised:
        read_source(source, tmp_path, LABELS)
    assert "part-1.jsonl" in str(raised.value)
    results = together(tmp_path / "shared", lambda: contents(read_source(source, tmp_path, LABELS)))
    assert results == [str(raised.value)] * COUNT


@pytest.mark.parametrize(
    "lines", ['{"x": 1, "n": {"inner": 1}}\n{"x": 2, "n": 3}\n', r'{"x": 1, "n": "\ud83d"}', r'{"x": 1, "\ud83d": 2}']
)
def test_what_cannot_be_written_is_read_by_each(lines: str, tmp_path: Path, reads: Counter[str]) -> None:
    (tmp_path / "t.jsonl").write_text(lines, encoding="utf-8")
    path = tmp_path / "t.jsonl"
    work = lambda: contents(read("jsonl", path, path.name, NOWHERE, LABELS, {}))  # noqa: E731
    expected = work()
    assert together(tmp_path / "shared", work) == [expected] * COUNT
    assert reads["t.jsonl"] == 1 + COUNT


def write_pictures(folder: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    for number in range(count):
        (folder / f"class{number % 3}").mkdir(parents=True, exist_ok=True)
        shape = (6, 5, 3) if number == count - 2 else (6, 5)  # one has colours
        pixels = rng.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(folder / f"class{number % 3}" / f"{number:03}.png")


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("skips", [False, True])
def test_pictures_are_decoded_once(broken: bool, skips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    write_pictures(folder, 70)
    if broken:
        (folder / "class1" / "031.png").write_bytes(b"no picture")
    options = {"broken": "skip"} if skips else {}

    def work() -> Any:
        return contents(read("images", folder, "pictures", NOWHERE, LABELS, options))

    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "alone"))
    try:
        expected = work()
    except netc.Fault as fault:
        expected = str(fault)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    decoded: Counter[str] = Counter()
    pixels = images.decoder.pixels

    def counted(file: Path, settings: Any) -> Any:
        decoded[file.name] += 1
        return pixels(file, settings)

    monkeypatch.setattr(images.decoder, "pixels", counted)
    assert together(tmp_path / "shared", work) == [expected] * COUNT
    if not broken:
        assert decoded == {f"{number:03}.png": 1 for number in range(70)}
