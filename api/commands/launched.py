"""`mpiexec -n 4 netc train M.net`: a command that all processes run together, of which one speaks.

Rank 0 prints. Others are silent, unless one of them fails alone: it names itself in its message, and ends all. A silent
rank ends with the status 0: a launcher ends all ranks at once when it sees another one, before they have printed.
"""

import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from netc.commands import frame
from netc.commands.terminal import say
from netc.runtime.distributed.launch import launch_span, launched_rank, launched_ranks, start

if TYPE_CHECKING:
    from netc.runtime.data.dataset import Dataset
    from netc.runtime.distributed.mpi import MpiRanks

TOGETHER = ("train", "study", "check")  # the commands that ranks run together

_FORWARDED = 0.2  # seconds in which the launcher forwards a message; once it ends the ranks, it may not


class Launched(Struct, frozen=True):
    """The ranks of a command, None in a process by itself, and a folder for what a rank other than 0 keeps."""

    ranks: "MpiRanks | None"
    temporary: Path

    def threads(self, number: int | None) -> int | None:
        """The number of threads that a user gave, or else that of a rank. None is for a process by itself."""
        if number is not None or self.ranks is None:
            return number
        from netc.runtime.distributed.launch import threads_of_rank

        return threads_of_rank(self.ranks)

    def output_path(self, path: Path) -> Path:
        """The path of a file or folder that rank 0 writes; another path for what other ranks write."""
        return path if self.ranks is None or self.ranks.rank == 0 else self.temporary / "own"

    def reading(self) -> AbstractContextManager[None]:
        """Inside, ranks read data, once on each host."""
        from netc.runtime.distributed.shared_data import read_once

        return read_once(self.ranks)

    def share(self, dataset: "Dataset") -> None:
        """Keeps the data of ranks once on each host."""
        if self.ranks is not None:
            from netc.runtime.distributed.shared_data import share_on_hosts

            share_on_hosts(dataset, self.ranks)

    def agreed(self, is_true: bool) -> bool:
        """Whether something is true on rank 0."""
        return is_true if self.ranks is None else self.ranks.from_first(b"1" if is_true else b"") == b"1"

    def claimed(self, folder: Path, files: Sequence[str] | None = None) -> AbstractContextManager[Path]:
        """The lock of a folder, which rank 0 takes: gives the folder that this rank uses. See `claimed_together`."""
        from netc.runtime.distributed.folders import RUN_FILES, claimed_together

        return claimed_together(folder, self.ranks, self.temporary, RUN_FILES if files is None else files)


@contextmanager
def together() -> Iterator[Launched]:
    """Runs what is inside on all ranks. All of them end in the same way, or else one of them ends all."""
    if launched_ranks() == 1:
        yield Launched(None, Path())
        return
    with tempfile.TemporaryDirectory(prefix="netc-rank-") as temporary, _silent(launched_rank() > 0) as loud:
        ranks: MpiRanks | None = None
        failure: BaseException | None = None
        try:
            ranks = start()
            yield Launched(ranks, Path(temporary))
        except BaseException as error:
            failure = error
        if ranks is not None:
            _end(ranks, failure, loud)
        elif failure is not None:
            raise failure if launched_rank() == 0 else SystemExit(frame.DONE)


def refuse_ranks(command: str) -> None:
    """Ends a command that several ranks were started with and that one process does: rank 0 says so."""
    from netc.dsl.diagnostics import fault

    if launched_ranks() == 1 or command in TOGETHER:
        return
    if launched_rank() > 0:
        raise SystemExit(frame.DONE)
    title = f"`netc {command}` runs in one process"
    fault(
        "E1013",
        title,
        launch_span(),
        "`netc train` and `netc study` share their work out",
        hint="start it without mpiexec",
    )


def _end(ranks: "MpiRanks", failure: BaseException | None, loud: "_Streams") -> None:
    """Waits for the other ranks. Raises the failure on the rank that speaks, and SystemExit on others that failed."""
    failed, number = ranks.failed_together(failure is not None), ranks.rank
    name = f"rank {number} of {ranks.count} on {socket.gethostname()}"
    if failed is None:
        assert failure is not None
        loud.restore()
        say(f"{name} failed, which ends all ranks:", is_error=True)
        status = frame.status_of(failure)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        time.sleep(_FORWARDED)
        ranks.abort(status)
        return
    ranks.finish()
    if failure is not None:
        if number != failed.index(True):
            raise SystemExit(frame.DONE)
        if not all(failed):
            loud.restore()
            say(f"{name} failed:", is_error=True)
        raise failure


class _Streams:
    """The standard streams before they went to /dev/null."""

    def __init__(self) -> None:
        self._before = sys.stdout, sys.stderr

    def restore(self) -> None:
        sys.stdout, sys.stderr = self._before


@contextmanager
def _silent(is_silent: bool) -> Iterator[_Streams]:
    """Sends the output to /dev/null, until the end or until the yielded streams are restored."""
    streams = _Streams()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        if is_silent:
            sys.stdout = sys.stderr = nowhere
        try:
            yield streams
        finally:
            streams.restore()
