"""Ranks for tests: threads of this process that wait for one another, and processes of a launcher of MPI."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support import netc_command

from netc.runtime.data.stored import Array

_PATIENCE = 120.0  # seconds until a test with ranks that wait for one another fails


@dataclass(slots=True)
class _Shared:
    """What the threads have in common."""

    count: int
    parts: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parts = [np.empty(0, np.uint8)] * self.count
        self.barrier = threading.Barrier(self.count, timeout=_PATIENCE)

    barrier: threading.Barrier = field(init=False)


@dataclass(frozen=True, slots=True)
class ThreadRank:
    """One of several threads that share the steps of their programs out, as ranks of MPI do."""

    shared: _Shared
    rank: int

    @property
    def count(self) -> int:
        return self.shared.count

    def gather(self, own: Array, sizes: Sequence[int], everything: Array, is_due: bool) -> Callable[[], None]:
        """See Ranks.gather. The bytes arrive when they are waited for, so a value that is read too early is missing."""
        assert len(own) == sizes[self.rank]
        received = np.concatenate(self._exchange(own.copy()))
        if is_due:
            everything[:] = received
            return lambda: None
        return lambda: everything.__setitem__(slice(None), received)

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """See Ranks.largest."""
        return [int(number) for number in np.max(self._exchange(np.array(numbers)), axis=0)]

    def copy_from_first(self, array: Array) -> None:
        """See Ranks.copy_from_first."""
        array[...] = self._exchange(array.copy())[0]

    def _exchange(self, own: Array) -> list[Array]:
        self.shared.parts[self.rank] = own
        self.shared.barrier.wait()
        parts = [*self.shared.parts]
        self.shared.barrier.wait()
        return parts


def on_ranks(count: int, work: Callable[[ThreadRank], object]) -> list[object]:
    """The results of `work` on every rank, which run at the same time. Raises what ended one of them."""
    shared, results, errors = _Shared(count), [None] * count, list[BaseException]()

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadRank(shared, rank))  # type: ignore[call-overload]
        except BaseException as error:
            errors.append(error)
            shared.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


@cache
def launcher() -> str:
    """The path of mpiexec. Skips the test if MPI is not installed (`pip install "netc[mpi]"`)."""
    done = subprocess.run(
        [sys.executable, "-c", "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"], capture_output=True
    )
    beside = Path(sys.executable).parent / "mpiexec"
    path = str(beside) if beside.exists() else shutil.which("mpiexec")
    if done.returncode or path is None:
        pytest.skip("MPI is not installed")
    return path


def launched(ranks: int, *arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Starts `netc` on several ranks."""
    own = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    words = [launcher(), "--oversubscribe", "--bind-to", "none"] if _is_open_mpi() else [launcher()]
    return subprocess.Popen(
        [*words, "-n", str(ranks), *netc_command(*arguments)],
        cwd=cwd,
        env={**os.environ, **own, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


@cache
def _is_open_mpi() -> bool:
    return "Open MPI" in subprocess.run([launcher(), "--version"], capture_output=True, text=True).stdout


def on_mpi(ranks: int, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `netc` on several ranks to its end."""
    process = launched(ranks, *arguments, cwd=cwd, **environment)
    try:
        out, err = process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    return subprocess.CompletedProcess(list(map(str, arguments)), process.returncode, out, err)
