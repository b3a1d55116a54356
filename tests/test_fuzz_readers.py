"""Hostile data files through every reader: a message with a location, or a right table.

Nothing in the files is executed, nothing hangs, and memory is limited. `pytest --long tests/test_fuzz_readers.py` reads
10,000 of them.
"""

import random
import resource
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hostile_files import KINDS, Kind, written
from support import problem_of
from watching import nothing_else_runs

import netc
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load

SEED = 20261128
MOST_MEMORY = 512 << 20  # bytes that reading may add to the process: no file has more than 4 MB, unpacked
SECONDS = 10


def read(path: Path) -> None:
    """Does what training does before its first step. The arrays must have the types of the model."""
    model = netc.load(path)
    data = load(model, parse_data(model))
    for fields in data.parts.values():
        assert len({len(column) for column in fields.values()}) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_hostile_files(kind: Kind, tmp_path: Path, is_long: bool) -> None:
    draw, problems = random.Random(SEED), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for turn in range(10_000 // len(KINDS) + 1 if is_long else 25):
        folder = tmp_path / str(turn)
        written(kind, folder, draw)
        with nothing_else_runs():
            problem = problem_of(lambda folder=folder: read(folder / "m.net"), SECONDS)
        problems += [f"{kind.name}, turn {turn}: {problem}"] if problem else []
        shutil.rmtree(folder)
    assert not problems, "\n\n".join(problems[:5])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < MOST_MEMORY, f"{grown >> 20} MiB more"


def test_some_files_are_right(tmp_path: Path) -> None:
    """Not all files are refused at their first byte, so the code after reading runs too."""
    for kind in (kind for kind in KINDS if not kind.name.startswith("no ")):
        draw, is_read = random.Random(SEED), False
        for turn in range(80):
            folder = tmp_path / f"{kind.name}{turn}"
            written(kind, folder, draw)
            with suppress(netc.Fault):
                read(folder / "m.net")
                is_read = True
                break
        assert is_read, kind.name
