"""How much memory there is, so that what does not fit is refused before it is taken, with a message that says how much is needed.

Memory is what the machine has free, or less where a control group (of a container or a service) or `ulimit -v` leaves less.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from netc.dsl.diagnostics import fault
from netc.dsl.source import Span

SMALL = 1 << 26  # bytes that are taken without asking
_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60  # version 1 of control groups says so with a number of this size


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that this process may still take, and who says so."""

    nbytes: int
    where: str

    def __str__(self) -> str:
        return f"{self.where} {self.nbytes:,} bytes free"


class NotEnough(MemoryError):
    """Something is larger than the memory that is there. `needed` are its bytes, `room` what there is, `span` the place that asks for it, if that is known."""

    def __init__(self, what: str, needed: int, room: Room, span: Span | None = None) -> None:
        super().__init__(f"{what} would take {needed:,} bytes; {room}")
        self.what, self.needed, self.room, self.span = what, needed, room, span


def require(needed: int, what: str, span: Span | None = None) -> None:
    """Raise NotEnough if the memory does not hold so many more bytes; `what` is what they are for, as a message says it."""
    if needed >= SMALL and needed > (room := memory()).nbytes:
        raise NotEnough(what, needed, room, span)


def require_at(needed: int, what: str, span: Span, hint: str | None = None) -> None:
    """As `require`: a Fault E1005 at the place of the text that asks for it."""
    try:
        require(needed, what)
    except NotEnough as lack:
        refuse(lack, span, hint)


def refuse(lack: NotEnough, span: Span, hint: str | None = None) -> NoReturn:
    """Raise the Fault E1005 that says what is too large, at its place."""
    fault("E1005", f"{lack.what} would take {lack.needed:,} bytes", span, str(lack.room), hint=hint)


def memory(proc: Path = _PROC, groups: Path = _GROUPS) -> Room:
    """The least of what the machine, the control groups around this process, and the limit of its addresses leave. `proc` and `groups` are where Linux says
    it; other systems say what the machine has in all, or nothing, which is no limit."""
    rooms = [_of_machine(proc), *_of_groups(proc, groups), _of_addresses(proc)]
    return min((room for room in rooms if room is not None), key=lambda room: room.nbytes, default=Room(1 << 62, ""))


def _of_machine(proc: Path) -> Room | None:
    fields = _numbers(proc / "meminfo")
    if "MemAvailable:" in fields:  # what files keep in memory may go, and other memory may go to the swap
        return Room(1024 * (fields["MemAvailable:"] + fields.get("SwapFree:", 0)), "this machine has")
    try:
        return Room(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine has")
    except (AttributeError, ValueError, OSError):
        return None


def _of_groups(proc: Path, groups: Path) -> Iterator[Room]:
    """What each control group of the process leaves, and each group around it. In a container the groups of the machine are not to be seen: the root is its own."""
    for line in _lines(proc / "self" / "cgroup"):
        _, kinds, path = [*line.split(":", 2), "", ""][:3]
        if not kinds:  # version 2, at the root or, beside version 1, in `unified`
            files = ("memory.max", "memory.current", "inactive_file")
            roots = [groups, groups / "unified"]
        elif "memory" in kinds.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            roots = [groups / kinds, groups / "memory"]
        else:
            continue
        inner = Path(path.lstrip("/"))
        for root in roots:
            for folder in dict.fromkeys([root / inner, *(root / one for one in inner.parents), root]):
                if (room := _of_group(folder, *files)) is not None:
                    yield room


def _of_group(folder: Path, limit_file: str, usage_file: str, reclaimable: str) -> Room | None:
    limit, usage = _number(folder / limit_file), _number(folder / usage_file)
    if limit is None or usage is None or limit >= _NO_LIMIT:
        return None
    kept_files = _numbers(folder / "memory.stat").get(reclaimable, 0)
    return Room(max(limit - usage + kept_files, 0), f"its control group, limited to {limit:,} bytes, has")


def _of_addresses(proc: Path) -> Room | None:
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = [*" ".join(_lines(proc / "self" / "statm")).split(), "0"][0]
    if limit == resource.RLIM_INFINITY or not pages.isdigit():
        return None
    taken = int(pages) * os.sysconf("SC_PAGE_SIZE")
    return Room(max(limit - taken, 0), f"this process, limited to {limit:,} bytes of addresses (ulimit -v), has")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    """The number that a file holds; None where it is not there, or says `max`."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _numbers(path: Path) -> dict[str, int]:
    """The numbers of a file with a name and a number on each line."""
    words = [line.split() for line in _lines(path)]
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}
