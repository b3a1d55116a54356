"""Tables with more columns than the files that a process may open, and their copies on disk."""

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars
import pytest

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.readers.collected import collected
from netc.runtime.data.readers.readers import read
from netc.runtime.data.readers.request import AS_NUMBERS
from netc.runtime.data.tables import store
from netc.runtime.data.tables.cell_text import PLAIN
from netc.runtime.data.tables.table import Table

COLUMNS, ROWS = 300, 90
SPARE = 16  # the number of files that a test may open


@contextmanager
def few_files() -> Iterator[None]:
    """Within this context, the process can open at most SPARE more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + SPARE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every table counts as large. Returns the folder of the copies."""
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "LARGE", 1)
    return tmp_path / "cache" / "tables"


def table(kind: str, path: Path) -> Table:
    return read(kind, path, path.name, NOWHERE)


def frame() -> polars.DataFrame:
    """Numbers in all columns except the last one, which contains texts."""
    numbers = np.arange(COLUMNS * ROWS).reshape(COLUMNS, ROWS) / 4
    columns = {f"c{i}": column for i, column in enumerate(numbers)}
    return polars.DataFrame({**columns, "kind": [["red", "blue", None][i % 3] for i in range(ROWS)]})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_may_have_more_columns_than_open_files(kind: str, tmp_path: Path, on_disk: Path) -> None:
    """It is read twice: the first time writes the copy, and the second time opens it."""
    path = tmp_path / f"t.{kind}"
    (frame().write_csv if kind == "csv" else frame().write_parquet)(path)
    expected = frame()
    for _ in range(2):
        with few_files():
            columns = table(kind, path).columns
            assert list(columns) == expected.columns
            for name in expected.columns[:-1]:
                assert np.array_equal(columns[name][np.arange(ROWS)], expected[name].to_numpy())
            assert columns["kind"][np.arange(ROWS)].tolist() == expected["kind"].to_list()
        assert sorted(file.name for file in next(on_disk.iterdir()).iterdir()) == [
            "columns.bin",
            "columns.json",
            "origin.json",
        ]


def test_a_wide_table_is_written_a_few_rows_at_a_time(
    tmp_path: Path, on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of cells in a piece is limited, and the pieces are joined again."""
    frame().write_parquet(tmp_path / "t.parquet")
    heights: list[int] = []
    collect = polars.LazyFrame.collect_batches

    def watched(self: polars.LazyFrame, **options: object) -> Iterator[polars.DataFrame]:
        for batch in collect(self, **options):
            if self.collect_schema().len() > 1:  # the column with texts is read first, to see whether it has some
                assert options["chunk_size"] == 7
                heights.append(batch.height)
            yield batch

    monkeypatch.setattr(polars.LazyFrame, "collect_batches", watched)
    monkeypatch.setattr(store, "_CELLS", 7 * (COLUMNS + 1) + 3)
    columns = table("parquet", tmp_path / "t.parquet").columns
    assert sum(heights) == ROWS
    assert np.array_equal(columns["c7"][np.arange(ROWS)], frame()["c7"].to_numpy())


def test_rows_are_not_counted_by_line_ends(tmp_path: Path, on_disk: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n"x\ny\n",1\n"",2\n,3\n"z\r\n",4', encoding="utf-8")
    columns = table("csv", tmp_path / "t.csv").columns
    assert columns["b"][np.arange(4)].tolist() == [1, 2, 3, 4]
    assert columns["a"][np.arange(4)].tolist() == ["x\ny\n", None, None, "z\r\n"]


@pytest.mark.parametrize("change", ["shorter", "longer"])
def test_a_table_that_changes_while_it_is_read_is_refused(
    change: str, tmp_path: Path, on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    frame().write_csv(path)
    count = store._count

    def counted(*arguments: object) -> tuple[int, set[str]]:
        result = count(*arguments)
        changed = frame().head(ROWS // 2) if change == "shorter" else polars.concat([frame(), frame()])
        changed.write_csv(path)
        return result

    monkeypatch.setattr(store, "_count", counted)
    with pytest.raises(netc.Fault, match=r"E0801(.|\n)*it changed while it was read"):
        table("csv", path)
    assert not list(on_disk.iterdir())


def test_a_table_that_grows_between_two_readings_is_refused() -> None:
    """Texts in a column of numbers are read once more."""
    counts = iter([3, 5])

    def batches(names: Sequence[str]) -> Iterator[polars.DataFrame]:
        count = next(counts)
        yield polars.DataFrame({"a": ["1"] * count, "b": ["x"] * count}).select(names)

    with pytest.raises(ValueError, match="it changed while it was read"):
        collected(batches, ["a", "b"], AS_NUMBERS, PLAIN)
