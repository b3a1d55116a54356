"""Memory is checked before it is allocated: limits of the machine, and a message for whatever is too large."""

import gzip
import resource
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from support import command

import netc
from netc.compiler.ir.results import parse_result
from netc.compiler.program.plan import Plan
from netc.runtime import available
from netc.runtime.available import FreeMemory, NotEnough, memory, require, require_at
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.readers import content
from netc.runtime.data.tables import store
from netc.runtime.execution import prepared
from netc.runtime.execution.memory import ArenaPool, Memory

GB = 10**9


def says(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """/proc and /sys/fs/cgroup of a machine with 8 GB free."""
    proc = says(tmp_path / "proc", {"meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\nSwapFree: 0 kB\n"})
    groups = tmp_path / "cgroup"
    groups.mkdir()
    return proc, groups


def test_the_free_memory_of_the_machine(machine: tuple[Path, Path]) -> None:
    proc, groups = machine
    assert memory(proc, groups) == FreeMemory(8_192_000_000, "this machine has")
    says(proc, {"meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\nSwapFree: 1000000 kB\n"})
    assert memory(proc, groups).nbytes == 9_216_000_000


@pytest.mark.parametrize("path", ["/", "/system.slice/a.service", "/not/to/be/seen"])
def test_control_groups_of_version_2(machine: tuple[Path, Path], path: str) -> None:
    """The limit is the smallest of the group and of all groups around it. Memory for cached files counts as free."""
    proc, groups = machine
    says(proc, {"self/cgroup": f"0::{path}\n"})
    root = {
        "memory.max": "5000000000\n",
        "memory.current": "2000000000\n",
        "memory.stat": "anon 5\ninactive_file 500000000\n",
    }
    says(groups, root)
    assert memory(proc, groups).nbytes == 3_500_000_000
    says(groups, {"system.slice/memory.max": "max\n", "system.slice/memory.current": "1\n"})
    says(
        groups,
        {"system.slice/a.service/memory.max": "1000000000", "system.slice/a.service/memory.current": "400000000"},
    )
    expected = 600_000_000 if "slice" in path else 3_500_000_000
    assert memory(proc, groups).nbytes == expected
    assert "control group, limited to" in str(memory(proc, groups))


def test_control_groups_of_version_1(machine: tuple[Path, Path]) -> None:
    proc, groups = machine
    says(proc, {"self/cgroup": "9:cpu:/a\n5:memory:/docker/abc\n0::/\n"})
    says(groups, {"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "5"})
    assert memory(proc, groups).nbytes == 8_192_000_000
    inner = {
        "limit_in_bytes": "2000000000",
        "usage_in_bytes": "1500000000",
        "stat": "cache 7\ntotal_inactive_file 100000000\n",
    }
    says(groups, {f"memory/docker/abc/memory.{name}": text for name, text in inner.items()})
    assert memory(proc, groups) == FreeMemory(600_000_000, "its control group, limited to 2,000,000,000 bytes, has")


def test_damaged_or_missing_files_are_no_limit(machine: tuple[Path, Path], tmp_path: Path) -> None:
    proc, groups = machine
    says(proc, {"self/cgroup": "nonsense\n0::/x\n\n:::\n", "self/statm": "?\n"})
    says(groups, {"memory.max": "?\n", "memory.current": ""})
    assert memory(proc, groups).nbytes == 8_192_000_000
    assert memory(tmp_path / "nowhere", tmp_path / "nowhere").nbytes > GB // 10


def test_the_limit_of_the_address_space(machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    proc, groups = machine
    says(proc, {"self/statm": "1000 10 10 1 0 1 0\n"})
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (3 * GB, -1))
    assert memory(proc, groups).nbytes == 3 * GB - 1000 * resource.getpagesize()
    assert "ulimit -v" in str(memory(proc, groups))


@pytest.fixture
def small_machine(machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has 400 MB free, whatever is written; which pages are written is real."""
    proc, groups = machine
    says(proc, {"meminfo": "MemAvailable: 400000 kB\n"})
    (proc / "self").symlink_to("/proc/self")
    monkeypatch.setattr(available.memory, "__defaults__", (proc, groups))
    monkeypatch.setattr(available, "_of_addresses", lambda proc: None)


def test_memory_that_is_allocated_counts_before_it_is_written(small_machine: None) -> None:
    """The system counts a page once it is written: two arrays that do not fit together were both allocated."""
    before = memory().nbytes
    first = Memory(200_000_000)
    assert before - memory().nbytes == pytest.approx(200_000_000, rel=0.02)
    with pytest.raises(NotEnough, match="an array would take"):
        Memory(300_000_000)
    first.bytes[:150_000_000] = 1  # the system counts these itself
    assert before - memory().nbytes == pytest.approx(50_000_000, rel=0.1)
    view = first.array(0, "f32", (10,))
    del first
    assert before - memory().nbytes == pytest.approx(50_000_000, rel=0.1), "the view keeps the memory"
    del view
    assert memory().nbytes == before
    Memory(300_000_000)


def test_an_arena_for_another_call_counts_the_first(small_machine: None) -> None:
    pool = ArenaPool(150_000_000, 0, 1)
    first = pool.take(1)
    second = pool.take(1)
    with pytest.raises(NotEnough):
        pool.take(1)
    pool.give_back(first)
    assert pool.take(1) is first
    assert second is not first


def test_pages_are_unknown_without_pagemap(tmp_path: Path) -> None:
    array = Memory(200_000_000)
    assert available.unwritten(tmp_path) == 0
    assert available.unwritten() >= 190_000_000
    assert len(array.bytes) == 200_000_000


def test_a_requirement_beyond_the_free_memory_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "memory", lambda: FreeMemory(available.SMALL + 5, "this machine has"))
    require(available.SMALL + 5, "a step")
    with pytest.raises(NotEnough, match=r"a step would take 67,108,870 bytes; this machine has 67,108,869 bytes free"):
        require(available.SMALL + 6, "a step")
    with pytest.raises(MemoryError):
        Memory(available.SMALL + 5)
    span = netc.parse("model {\n  input x: float\n  output y = x\n}\n").graph.results[parse_result("output.y")].span
    with pytest.raises(netc.Fault, match="E1005") as fault:
        require_at(1 << 40, "a table", span, "less data")
    assert fault.value.diagnostics[0].primary.span is span


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine with 200 MB free."""
    limit = 200_000_000
    for module in (available, content):
        monkeypatch.setattr(module, "memory", lambda: FreeMemory(limit, "this machine has"))
    return limit


# ------------------------------------------------------------------ a step

TEXT = """model {
  input x: float[4]
  target y: float
  h = x -> dense(WIDTH) -> tanh
  output z = h -> dense(1) -> squeeze
  loss mse(z, y)
}
train {
  epochs = 1
  batch = BATCH
}
"""


def program(batch: int, width: int = 8, **options: object) -> netc.Program:
    return netc.Program(netc.parse(TEXT.replace("BATCH", str(batch)).replace("WIDTH", str(width))), seed=1, **options)


def fields(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    return {"x": rng.standard_normal((rows, 4)).astype(np.float32), "y": rng.standard_normal(rows).astype(np.float32)}


def test_a_step_has_memory_for_the_rows_of_the_data_only() -> None:
    assert program(10**12).training(fields(32)).plan.sizes == 32
    assert program(10).training(fields(32)).plan.sizes == 10
    assert program(10).training({}).plan.sizes == 10
    small, large = program(10**6, 1000).training(fields(32)).plan, program(32, 1000).training(fields(32)).plan
    assert small.shared + small.private <= 2 * (large.shared + large.private)


def test_memory_grows_with_the_rows_and_bits_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is planned for few rows computes the same as one for a batch.

    Before and after it is planned again.
    """
    plans: list[Plan] = []
    real = prepared.plan_step

    def counted(*arguments: Any) -> Plan:
        plans.append(real(*arguments))
        return plans[-1]

    monkeypatch.setattr(prepared, "plan_step", counted)
    grown, reserved = program(2000, 33), program(2000, 33)
    reserved.training(fields(2000))
    for rows in (3, 7, 100, 5, 2000, 1999):
        losses = [each.step(fields(rows)) for each in (grown, reserved)]
        assert losses[0] == losses[1]
        for name, array in grown.persistent.items():
            np.testing.assert_array_equal(array, reserved.persistent[name], strict=True)
    assert [plan.sizes for plan in plans] == [2000, 3, 7, 100, 2000]
    plans.clear()
    for rows in range(1, 40):
        np.testing.assert_array_equal(grown.predict(fields(rows))["z"], reserved.predict(fields(rows))["z"])
    assert [plan.sizes for plan in plans] == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64]


def test_a_step_of_sequences_has_memory_for_its_samples() -> None:
    text = TEXT.replace("x: float[4]", "x: float[time, 4]").replace("h = x ->", "h = x -> mean(over = time) ->")
    model = netc.parse(text.replace("BATCH", "1000000").replace("WIDTH", "8"))
    rng = np.random.default_rng(0)

    def drawn(count: int) -> dict[str, object]:
        sequences = [rng.standard_normal((n, 4)).astype(np.float32) for n in rng.integers(1, 9, count)]
        return {"x": sequences, "y": fields(count)["y"]}

    grown, reserved = netc.Program(model, seed=1), netc.Program(model, seed=1)
    first = {name: array.copy() for name, array in reserved.persistent.items()}
    largest = drawn(40)
    reserved.step(largest)  # plans for all samples at once
    reserved.predict(largest)
    for name, array in first.items():
        reserved.persistent[name][...] = array
    for arrays in (drawn(3), largest, drawn(7)):
        assert grown.step(arrays) == reserved.step(arrays)
        np.testing.assert_array_equal(grown.predict(arrays)["z"], reserved.predict(arrays)["z"])
        for name, array in grown.persistent.items():
            np.testing.assert_array_equal(array, reserved.persistent[name])
    assert grown.training({}).plan.sizes["batch"] == 40


def test_a_step_larger_than_memory_is_a_message(little: int) -> None:
    large = program(200_000, 1000)
    with pytest.raises(netc.Fault, match=r"E1005\]: a step of 200,000 samples would take") as fault:
        large.step(fields(200_000))
    (diagnostic,) = fault.value.diagnostics
    assert diagnostic.primary.span.text == "batch = 200000"
    assert "this machine has 200,000,000 bytes free" in diagnostic.primary.text
    proposed = int(diagnostic.hint.removeprefix("batch = "))
    assert 1000 < proposed < 200_000
    program(proposed, 1000).step(fields(proposed))
    large.step(fields(100))  # no memory was allocated


def test_results_larger_than_memory_are_a_message(little: int) -> None:
    model = netc.parse("model {\n  input x: float[2]\n  output y = x -> dense(100)\n  output z = x\n}\n")
    with pytest.raises(netc.Fault, match=r"`output.y` of 600,000 samples would take 240,000,000 bytes") as fault:
        netc.Program(model).predict({"x": np.zeros((600_000, 2), np.float32)})
    assert fault.value.diagnostics[0].primary.span.line == 3


def test_parameters_larger_than_memory_are_a_message(little: int) -> None:
    with pytest.raises(netc.Fault, match="parameters and the optimizer's states") as fault:
        program(8, 10_000_000)
    assert fault.value.diagnostics[0].primary.span.line == 4


def test_check_takes_no_memory_for_a_large_batch(tmp_path: Path) -> None:
    """The memory of a step is computed, so this costs the same for any batch."""
    for batch in ("10**12", "2**62"):
        (tmp_path / "m.net").write_text(TEXT.replace("BATCH", batch).replace("WIDTH", "8"), encoding="utf-8")
        result = command("check", "m.net", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert f"a step of {eval(batch):,} samples: " in result.stdout
    refused = command("check", "m.net", "--try", cwd=tmp_path)
    assert refused.returncode == 1
    assert "would take" in refused.stderr
    assert "batch = 2**62" in refused.stderr


# ------------------------------------------------------------------ data


def data(source: str, block: str = 'x = column("x")') -> netc.Model:
    text = (
        f"data {{\n  source = {source}\n  {block}\n  split = (train = 1)\n}}\nmodel {{\n  input x: float\n"
        f"  output y = x\n}}\n"
    )
    return netc.parse(text)


def refused(model: netc.Model, folder: Path, line: int = 2) -> str:
    """The message about data that is too large. It points at the line that names the data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(netc.Fault) as fault:
            load(model, parse_data(model))
    (diagnostic,) = fault.value.diagnostics
    assert (diagnostic.code, diagnostic.primary.span.line) == ("E1005", line)
    return diagnostic.render()


@pytest.mark.parametrize(("reader", "line"), [("csv", b"1,0\n"), ("jsonl", b'{"x": 1}\n'), ("text", b"abc ")])
def test_a_packed_file_is_counted_while_it_is_unpacked(
    tmp_path: Path, little: int, reader: str, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 200 MB are never in memory: reading ends at a share of the free memory."""
    unpacked: list[int] = []
    real = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int = -1) -> bytes:
        piece = real(self, size)
        unpacked.append(len(piece))
        return piece

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    with gzip.open(tmp_path / "bomb.gz", "wb", compresslevel=1) as file:
        piece = line * (10_000_000 // len(line))
        for _ in range(20):
            file.write(piece)
    message = refused(data(f'{reader}("bomb.gz")'), tmp_path)
    assert "`bomb.gz` unpacks to more than 67,108,864 bytes" in message
    assert "this machine has 200,000,000 bytes free" in message
    assert sum(unpacked) <= 67_108_864 + 2 * max(unpacked)
    assert max(unpacked) <= 1 << 20


def test_a_packed_file_that_fits_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with gzip.open("t.csv.gz", "wb") as file:
        file.write(b"\xef\xbb\xbfx,y\n" + b"".join(b"%d,0\n" % i for i in range(300_000)))
    model = data('csv("t.csv.gz")')
    np.testing.assert_array_equal(
        load(model, parse_data(model)).parts["train"]["x"], np.arange(300_000, dtype=np.float32)
    )


@pytest.mark.parametrize(
    ("reader", "name", "line", "size"),
    [
        ("csv", "t.csv", b"1\n", 60_000_000),  # its column is an array
        ("jsonl", "t.jsonl", b'{"x":1}\n', 9_000_000),
        ("text", "t.txt", "Ж".encode(), 9_000_000),
    ],
)
def test_cells_larger_than_memory_are_a_message(
    tmp_path: Path, little: int, reader: str, name: str, line: bytes, size: int
) -> None:
    """A file that is much smaller than its cells."""
    head = b"x\n" if reader == "csv" else b""
    (tmp_path / name).write_bytes(head + line * (size // len(line)))
    message = refused(data(f'{reader}("{name}")'), tmp_path)
    assert ("characters of" if reader == "text" else "cells of") in message


def head(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_arrays_of_an_archive_are_unpacked_when_all_fit(
    tmp_path: Path, little: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np.lib.format, "read_array", lambda *arguments, **options: pytest.fail("an array was read"))
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("x", "y"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                file.write(head("(15000000,)"))
                for _ in range(12):
                    file.write(bytes(10_000_000))
    assert "the arrays of `t.npz` would take 240,00" in refused(data('npz("t.npz")'), tmp_path)


def test_arrays_of_other_lengths_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.lib.format, "read_array", lambda *arguments, **options: pytest.fail("an array was read"))
    np.savez(tmp_path / "t.npz", x=np.zeros(100), y=np.zeros(20))
    monkeypatch.chdir(tmp_path)
    model = data('npz("t.npz")')
    with pytest.raises(netc.Fault, match=r"the arrays of `t\.npz` differ in length"):
        load(model, parse_data(model))


def test_a_table_of_few_bytes_and_many_rows(tmp_path: Path, little: int) -> None:
    polars.select(x=polars.repeat(1.5, 20_000_000)).write_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 10_000_000
    assert "20,000,000 rows of 1 columns would take" in refused(data('parquet("t.parquet")'), tmp_path)


def test_a_picture_of_many_pixels(tmp_path: Path, little: int) -> None:
    from PIL import Image

    (tmp_path / "p" / "a").mkdir(parents=True)
    Image.new("1", (9000, 9000)).save(tmp_path / "p" / "a" / "x.png")
    model = netc.parse(
        'data {\n  source = images("p", size = (2, 2), channels = 1)\n  x = field("image")\n  split = (train = 1)\n}\n'
        "model {\n  input x: float[2, 2, 1]\n  output y = x\n}\n"
    )
    assert "x.png`, 9000 x 9000 pixels, would take" in refused(model, tmp_path)


def test_one_hot_labels_larger_than_memory_are_a_message(tmp_path: Path, little: int) -> None:
    (tmp_path / "t.csv").write_text("x\n" + "\n".join(f"a{i}" for i in range(20_000)) + "\n", encoding="utf-8")
    model = netc.parse(
        'data {\n  source = csv("t.csv")\n  x = column("x") -> one_hot\n  split = (train = 1)\n}\nmodel {\n'
        "  input x: float[20000]\n  output y = x\n}\n"
    )
    assert "20,000 cells of 20,000 numbers would take 3,200,000,000 bytes" in refused(model, tmp_path, 3)


def test_windows_larger_than_memory_are_a_message(tmp_path: Path, little: int) -> None:
    (tmp_path / "t.csv").write_text("x\n" + "1\n" * 200_000, encoding="utf-8")
    model = netc.parse(
        'data {\n  source = csv("t.csv")\n  x = column("x") -> window(10000, 1)\n  split = ordered(train = 1)\n}\n'
        "model {\n  input x: float[10000]\n  output y = x\n}\n"
    )
    assert "190,001 windows of `x` would take" in refused(model, tmp_path, 3)


def test_one_hot_labels_are_those_of_numpy() -> None:
    from netc.dsl.source import NOWHERE
    from netc.runtime.data.steps.steps import STEPS
    from netc.runtime.data.tables.cells import Location

    labels = np.array([["b", "a"], ["c", "b"]], object)
    location = Location("t", ("x", "y"), np.arange(2), NOWHERE)
    encoded = STEPS["one_hot"].apply(labels, {"classes": ["a", "b", "c"]}, location)
    np.testing.assert_array_equal(encoded, np.eye(3)[[[1, 0], [2, 1]]], strict=True)


def test_mapped_memory_is_reserved_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole file is reserved, because a page without space on the disk would end the process."""
    reserved: list[tuple[int, int]] = []
    monkeypatch.setattr(store.os, "posix_fallocate", lambda file, start, size: reserved.append((start, size)))
    monkeypatch.setattr(store, "LARGE", 1000)
    array = store.allocate((50, 10), np.float32)
    assert isinstance(array, np.memmap)
    assert reserved == [(0, 2000)]

    def full(file: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        store.allocate((50, 10), np.float32)
