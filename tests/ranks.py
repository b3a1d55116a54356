"""Ranks for tests: threads of this process that wait for one another, and processes of a launcher of MPI."""

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from msgspec import Struct
from support import netc_command

from netc.compiler.targets.target import Part
from netc.runtime.data.stored import Array

_C_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_PATIENCE = 120.0  # seconds until a test with ranks that wait for one another fails


class _Shared:
    """The state that the threads share."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.parts = [np.empty(0, np.uint8)] * count
        self.barrier = threading.Barrier(count, timeout=_PATIENCE)


class ThreadExchange:
    """A message between threads. The bytes arrive when they are waited for, so a value that is read too early is
    missing."""

    def __init__(self, ranks: "ThreadRank", parts: Sequence[Part]) -> None:
        self._ranks, self._parts, self._received = ranks, parts, list[Array]()
        self._functions = [_C_FUNCTION(self._start), _C_FUNCTION(self._wait)]
        self.starts, self.waits = ([(_address(function), 0, 0, 0)] for function in self._functions)

    def run(self) -> None:
        """See Exchange.run."""
        if self._start() or self._wait():
            raise self._ranks.failure(1)

    def _start(self, *_: int) -> int:
        at = self._ranks.rank
        sent = [_bytes(part)[part.ends[at] - part.ends[0] : part.ends[at + 1] - part.ends[0]] for part in self._parts]
        try:
            self._received = self._ranks.exchange_arrays(np.concatenate([*sent, np.empty(0, np.uint8)]))
        except threading.BrokenBarrierError:
            return 1
        return 0

    def _wait(self, *_: int) -> int:
        for rank, received in enumerate(self._received):
            for part in self._parts if rank != self._ranks.rank else ():
                low, high = (end - part.ends[0] for end in part.ends[rank : rank + 2])
                _bytes(part)[low:high], received = received[: high - low], received[high - low :]
        return 0


def _bytes(part: Part) -> Array:
    """The bytes of all ranks."""
    size = part.ends[-1] - part.ends[0]
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(part.address + part.ends[0]))


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


class ThreadRank(Struct, frozen=True):
    """One of several threads that share the steps of their programs out, as ranks of MPI do."""

    shared: _Shared
    rank: int
    must_share: bool = True

    @property
    def count(self) -> int:
        return self.shared.count

    def exchange(self, parts: Sequence[Part]) -> ThreadExchange:
        """See Ranks.exchange."""
        return ThreadExchange(self, parts)

    def failure(self, code: int) -> Exception:
        """See Ranks.failure."""
        return OSError(code, "a message between threads")

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """See Ranks.largest."""
        return [int(number) for number in np.max(self.exchange_arrays(np.array(numbers)), axis=0)]

    def copy_from_first(self, array: Array) -> None:
        """See Ranks.copy_from_first."""
        array[...] = self.exchange_arrays(array.copy())[0]

    def exchange_arrays(self, array: Array) -> list[Array]:
        """The arrays of all ranks."""
        self.shared.parts[self.rank] = array
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
    return launched_program(ranks, *netc_command(*arguments), cwd=cwd, **environment)


def launched_program(ranks: int, *program: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Starts a program on several ranks."""
    variables = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    words = [launcher(), "--oversubscribe", "--bind-to", "none"] if _is_open_mpi() else [launcher()]
    return subprocess.Popen(
        [*words, "-n", str(ranks), *program],
        cwd=cwd,
        env={**os.environ, **variables, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


@cache
def _is_open_mpi() -> bool:
    return "Open MPI" in subprocess.run([launcher(), "--version"], capture_output=True, text=True).stdout


def cache_of_kernels(folder: Path) -> Path:
    """Makes a cache in a new folder that has the kernels of the tests' cache, and nothing else: data is read anew."""
    folder.mkdir(mode=0o700)
    for path in Path(os.environ["NETC_CACHE"]).glob("*.o"):
        with suppress(FileNotFoundError):  # the cache has removed it meanwhile
            os.link(path, folder / path.name)
    return folder


def on_mpi(ranks: int, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `netc` on several ranks to its end."""
    process = launched(ranks, *arguments, cwd=cwd, **environment)
    try:
        out, err = process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    return subprocess.CompletedProcess(list(map(str, arguments)), process.returncode, out, err)
