"""The memory that is available, so that what does not fit is refused before it is allocated, with a message.

That is the machine's free memory, or less if a control group (of a container or a service) or `ulimit -v` sets a limit.
Linux counts a page as used only once it is written: `pledge` counts arrays that will be written later.
"""

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from msgspec import Struct

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.dsl.storage.control_groups import GROUPS, PROC, folders_of, lines_of

SMALL = 1 << 26  # bytes that are allocated without asking
_NO_LIMIT = 1 << 60  # version 1 of control groups writes a number of this size for "no limit"
_PAGEMAP_BYTES = 8  # of a page in /proc/self/pagemap; its two highest bits say that it is in memory, or swapped out
_PIECE = 1 << 20  # bytes of it that are read at a time
_PLEDGED: dict[int, tuple[int, int]] = {}  # address and bytes of the arrays that were pledged


class FreeMemory(Struct, frozen=True):
    """The bytes that this process may still allocate, and what limits them, as the start of a message."""

    nbytes: int
    where: str

    def __str__(self) -> str:
        return f"{self.where} {self.nbytes:,} bytes free"


class NotEnough(MemoryError):
    """Something is larger than the available memory.

    `needed` are its bytes, `free` the free memory, `span` the text that asks for it, if known.
    """

    def __init__(self, what: str, needed: int, free: FreeMemory, span: Span | None = None) -> None:
        super().__init__(f"{what} would take {needed:,} bytes; {free}")
        self.what, self.needed, self.free, self.span = what, needed, free, span


def require(needed: int, what: str, span: Span | None = None) -> None:
    """Raises NotEnough unless `needed` more bytes are available; `what` names their purpose in the message."""
    if needed >= SMALL and needed > (free := memory()).nbytes:
        raise NotEnough(what, needed, free, span)


def require_at(needed: int, what: str, span: Span, hint: str | None = None) -> None:
    """Like `require`, but raises Fault E1005 at the span of the text that asks for the memory."""
    try:
        require(needed, what)
    except NotEnough as lack:
        refuse(lack, span, hint)


def refuse(lack: NotEnough, span: Span, hint: str | None = None) -> NoReturn:
    """Raises Fault E1005 for what is too large, at its span in the text."""
    fault("E1005", f"{lack.what} would take {lack.needed:,} bytes", span, str(lack.free), hint=hint)


def pledge(array: np.ndarray[Any, Any]) -> None:
    """Counts the memory of a new array as used, although most of its pages may be written only later."""
    if array.nbytes >= SMALL:
        key = id(array)
        _PLEDGED[key] = array.ctypes.data, array.nbytes
        weakref.finalize(array, _PLEDGED.pop, key, None).atexit = False


def unwritten(proc: Path = PROC) -> int:
    """The bytes of pledged arrays that the system does not count as used yet; 0 where it does not say which those are.

    Pages that were only read count as written.
    """
    if not _PLEDGED:
        return 0
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        with (proc / "self" / "pagemap").open("rb", buffering=0) as pagemap:
            ranges = [(start // page, (start + size) // page) for start, size in list(_PLEDGED.values())]
            return page * sum(last - first - _written(pagemap, first, last) for first, last in ranges)
    except OSError:
        return 0


def _written(pagemap: IO[bytes], first: int, last: int) -> int:
    """The number of pages from `first` to before `last` that are in memory or swapped out. Raises OSError."""
    pagemap.seek(_PAGEMAP_BYTES * first)
    count, rest = 0, _PAGEMAP_BYTES * (last - first)
    while rest and (piece := pagemap.read(min(rest, _PIECE))):
        count += int(np.count_nonzero(np.frombuffer(piece, np.uint64) >> 62))
        rest -= len(piece)
    return count


def memory(proc: Path = PROC, groups: Path = GROUPS) -> FreeMemory:
    """The least that the machine, the control groups of this process, and its address limit leave.

    `proc` and `groups` are where Linux reports it; other systems report the machine's total memory, or no limit at all.
    """
    pledged = unwritten(proc)
    physical = [free for free in (_of_machine(proc), *_of_groups(proc, groups)) if free is not None]
    limits = [*(FreeMemory(max(free.nbytes - pledged, 0), free.where) for free in physical), _of_addresses(proc)]
    return min(
        (free for free in limits if free is not None), key=lambda free: free.nbytes, default=FreeMemory(1 << 62, "")
    )


def _of_machine(proc: Path) -> FreeMemory | None:
    fields = _numbers(proc / "meminfo")
    if "MemAvailable:" in fields:  # cached files may be dropped, and other memory may be swapped out
        return FreeMemory(1024 * (fields["MemAvailable:"] + fields.get("SwapFree:", 0)), "this machine has")
    try:
        return FreeMemory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine has")
    except (AttributeError, ValueError, OSError):
        return None


def _of_groups(proc: Path, groups: Path) -> Iterator[FreeMemory]:
    """The free memory in each control group of the process, and in each group around it."""
    for folder, is_new in folders_of("memory", proc, groups):
        files = ("max", "current") if is_new else ("limit_in_bytes", "usage_in_bytes")
        limit_file, usage_file = (f"memory.{file}" for file in files)
        free = _of_group(folder, limit_file, usage_file, "inactive_file" if is_new else "total_inactive_file")
        if free is not None:
            yield free


def _of_group(folder: Path, limit_file: str, usage_file: str, reclaimable: str) -> FreeMemory | None:
    limit, usage = _number(folder / limit_file), _number(folder / usage_file)
    if limit is None or usage is None or limit >= _NO_LIMIT:
        return None
    kept_files = _numbers(folder / "memory.stat").get(reclaimable, 0)
    return FreeMemory(max(limit - usage + kept_files, 0), f"its control group, limited to {limit:,} bytes, has")


def _of_addresses(proc: Path) -> FreeMemory | None:
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = [*" ".join(lines_of(proc / "self" / "statm")).split(), "0"][0]
    if limit == resource.RLIM_INFINITY or not pages.isdigit():
        return None
    taken = int(pages) * os.sysconf("SC_PAGE_SIZE")
    return FreeMemory(max(limit - taken, 0), f"this process, limited to {limit:,} bytes of addresses (ulimit -v), has")


def _number(path: Path) -> int | None:
    """The number in a file; None if there is no file, or if it says `max`."""
    text = "".join(lines_of(path)).strip()
    return int(text) if text.isdigit() else None


def _numbers(path: Path) -> dict[str, int]:
    """The numbers by name of a file that has a name and a number on each line."""
    words = [line.split() for line in lines_of(path)]
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}
