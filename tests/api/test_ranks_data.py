"""`mpiexec -n 4 netc train M.net`: from every kind of source, the bytes of one process. Skipped without MPI."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from PIL import Image
from ranks import cache_of_kernels, launched_program, on_mpi
from safetensors.numpy import load_file
from support import command

TEXT = """data {
  source = SOURCE
  x = X
  y = field("y") -> classes
  split = (train = 0.8, valid = 0.2)
}
model {
  input x: TYPE
  target y: class(auto)
  z = x -> LAYERS dense(8) -> relu -> dense(size(y))
  loss cross_entropy(z, y)
}
train { optimizer = adam(lr = 0.01)
  batch = 32
  epochs = 2 }
"""
COLUMNS = ('columns("a", "b") -> standardize', "float[2]", "")
SOURCES = {
    "csv": ('csv("t-*.csv")', *COLUMNS),
    "parquet": ('parquet("t-*.parquet")', *COLUMNS),
    "arrow": ('arrow("t-*.arrow")', *COLUMNS),
    "jsonl": ('jsonl("s-*.jsonl")', 'field("s")', "float[time, 2]", "gru(4) -> last ->"),
    "json": ('json("t.json")', *COLUMNS),
    "xlsx": ('xlsx("t.xlsx")', *COLUMNS),
    "sqlite": ('sql("sqlite:///t.db", "select * from t")', *COLUMNS),
    "npz": ('npz("t.npz")', 'field("x")', "float[5, 4]", "flatten ->"),
    "images": ('images("pictures")', 'field("image") -> scale(1 / 255)', "float[6, 6, 1]", "flatten ->"),
}
# prints a checksum of all arrays of each file, of which this rank has its copy
PROGRAM = """
import hashlib, json, sys
from netc.commands.launched import together
from netc.runtime.data.csv import reader as csv_reader
from netc.runtime.data.tables import shared_tables, sharing
from netc.runtime.data.dataset import load
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.stored import Ragged
import netc

csv_reader._SMALL = sharing.WORTH_A_COPY = shared_tables.WORTH_A_COPY = 0
checksums = {}
with together() as launched:
    for name in sys.argv[2:]:
        with launched.reading():
            model = netc.load(f"{name}.net")
            data = load(model, parse_data(model))
        launched.share(data)
        total = hashlib.sha256()
        for part, fields in sorted(data.parts.items()):
            for field, values in sorted(fields.items()):
                is_ragged = isinstance(values, Ragged)
                for array in [values.rows, values.lengths] if is_ragged else [getattr(values, "array", values)]:
                    total.update(f"{part} {field} {array.dtype} {array.shape}".encode() + array.tobytes())
            total.update(repr(data.rows[part].tolist()).encode())
        checksums[name] = total.hexdigest()
    rank = 0 if launched.ranks is None else launched.ranks.rank
    with open(f"{sys.argv[1]}-{rank}.json", "w") as file:
        json.dump(checksums, file)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model for each kind of source, and its data."""
    import sqlite3

    from openpyxl import Workbook

    folder, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    rows = [{"a": float(a), "b": float(b), "y": f"c{int(a > 0)}"} for a, b in rng.normal(size=(150, 2))]
    for number in range(5):
        frame = polars.DataFrame(rows[number::5])
        frame.write_csv(folder / f"t-{number}.csv")
        frame.write_parquet(folder / f"t-{number}.parquet")
        frame.write_ipc(folder / f"t-{number}.arrow")
        sequences = (
            {"s": rng.normal(size=(int(rng.integers(1, 9)), 2)).tolist(), "y": int(rng.integers(3))} for _ in range(40)
        )
        (folder / f"s-{number}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in sequences), "utf-8")
        for label in "pq":
            (folder / "pictures" / label).mkdir(parents=True, exist_ok=True)
            for picture in range(20):
                pixels = rng.integers(0, 256, (6, 6), np.uint8)
                Image.fromarray(pixels).save(folder / "pictures" / label / f"{number}-{picture}.png")
    (folder / "t.json").write_text(json.dumps(rows), "utf-8")
    workbook, database = Workbook(), sqlite3.connect(folder / "t.db")
    database.execute("create table t (a real, b real, y text)")
    database.executemany("insert into t values (?, ?, ?)", [[*row.values()] for row in rows])
    database.commit()
    database.close()
    for row in ([*rows[0]], *([*row.values()] for row in rows)):
        workbook.active.append(row)
    workbook.save(folder / "t.xlsx")
    np.savez(folder / "t.npz", x=rng.normal(size=(150, 5, 4)), y=rng.integers(0, 3, 150))
    for name, (source, field, type_, layers) in SOURCES.items():
        text = (
            TEXT.replace("SOURCE", source).replace("X", field).replace("TYPE", type_).replace("LAYERS ", f"{layers} ")
        )
        text = text.replace('field("y")', 'field("label")') if name == "images" else text
        (folder / f"{name}.net").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, str]:
    subprocess.run([sys.executable, "-c", PROGRAM, "alone", *SOURCES], cwd=folder, check=True)
    checksums: dict[str, str] = json.loads((folder / "alone-0.json").read_text("utf-8"))
    return checksums


@pytest.mark.every(2)
@pytest.mark.parametrize("ranks", [2, 4])
def test_all_ranks_have_the_arrays_of_one_process(ranks: int, folder: Path, alone: Any, tmp_path: Path) -> None:
    process = launched_program(
        ranks, sys.executable, "-c", PROGRAM, f"on-{ranks}", *SOURCES, cwd=folder, NETC_CACHE=str(tmp_path / "cache")
    )
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, (out, err)
    for rank in range(ranks):
        assert json.loads((folder / f"on-{ranks}-{rank}.json").read_text("utf-8")) == alone
    left = [path.name for path in (tmp_path / "cache").iterdir()]
    assert not [name for name in left if name.startswith((".netc-", "shared-"))], "what ranks shared is left"


@pytest.mark.every(2)
@pytest.mark.parametrize("ranks", [2, 4])
def test_a_run_from_pictures_has_the_bytes_of_one_process(ranks: int, folder: Path, tmp_path: Path) -> None:
    if not (folder / "one").exists():
        done = command("train", "images.net", "--out", "one", "--threads", 1, cwd=folder)
        assert done.returncode == 0, done.stderr
    run, cache = f"of-{ranks}", cache_of_kernels(tmp_path / "cache")
    done = on_mpi(ranks, "train", "images.net", "--out", run, "--threads", 1, cwd=folder, NETC_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    first, second = (load_file(folder / name / "checkpoint.safetensors") for name in ("one", run))
    assert {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in second.items()
    }
