"""The folder of a run that several ranks train: rank 0 writes it, and the others have a copy of what they read.

So ranks on several machines need no common disk for it.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from netc.dsl.diagnostics import Fault, fault
from netc.runtime.runs.checkpoint import BEST, CHECKPOINT, path_span, write_whole
from netc.runtime.runs.claim import claimed
from netc.runtime.runs.run_files import INFO, METRICS, MODEL, STATES

if TYPE_CHECKING:  # a process that was started by itself imports nothing of MPI
    from netc.runtime.distributed.mpi import MpiRanks

RUN_FILES = (INFO, MODEL, STATES, METRICS, CHECKPOINT, BEST)


@contextmanager
def claimed_together(
    folder: Path, ranks: "MpiRanks | None", temporary: Path, files: Sequence[str] = RUN_FILES
) -> Iterator[Path]:
    """Locks the folder of a run for rank 0. Yields it there, and a copy in the folder `temporary` to the other ranks.

    The copy has those of the `files` that are there. Rank 0 names these, by their paths in the folder. Raises E1001 on
    all ranks if rank 0 cannot lock it.
    """
    if ranks is None:
        with claimed(folder):
            yield folder
    elif ranks.rank == 0:
        try:
            lock = claimed(folder)
            lock.__enter__()
        except Fault:
            ranks.from_first(b"")
            raise
        try:
            ranks.from_first(_packed(folder, files))
            yield folder
        finally:
            lock.__exit__(None, None, None)
    else:
        content = ranks.from_first(b"")
        if not content:
            fault("E1001", f"rank 0 cannot use `{folder}`", path_span(folder))
        _unpack(content, temporary)
        yield temporary


def _packed(folder: Path, files: Sequence[str]) -> bytes:
    """The files that are there, behind a line with their names and sizes."""
    contents = {name: path.read_bytes() for name in files if os.path.isfile(path := folder / name)}
    sizes = {name: len(content) for name, content in contents.items()}
    return json.dumps(sizes).encode() + b"\n" + b"".join(contents.values())


def _unpack(content: bytes, folder: Path) -> None:
    head, _, rest = content.partition(b"\n")
    for name, size in json.loads(head).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write_whole(path, rest[:size])
        rest = rest[size:]
