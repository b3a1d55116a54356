"""The control groups of this process under Linux, in which a container or a service has its limits."""

import math
from collections.abc import Iterator
from pathlib import Path

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def folders_of(controller: str, proc: Path = PROC, groups: Path = GROUPS) -> Iterator[tuple[Path, bool]]:
    """Yields the folder of each control group of the process for a controller (`memory`, `cpu`), and of each group
    around it, with whether it is one of version 2. `proc` and `groups` are where Linux reports them.

    A container does not see the groups of the machine: the root is its own group. Folders may be missing.
    """
    for line in lines_of(proc / "self" / "cgroup"):
        _, kinds, path = [*line.split(":", 2), "", ""][:3]
        if not kinds:  # version 2, at the root or, beside version 1, in `unified`
            roots = [groups, groups / "unified"]
        elif controller in kinds.split(","):
            roots = [groups / kinds, groups / controller]
        else:
            continue
        inner = Path(path.lstrip("/"))
        for root in roots:
            for folder in dict.fromkeys([root / inner, *(root / parent for parent in inner.parents), root]):
                yield folder, not kinds


def processors(proc: Path = PROC, groups: Path = GROUPS) -> int | None:
    """The processors whose time the groups of this process may use, rounded up; None without a limit.

    A group has a quota of processor time in each period. With more threads than that all of them stand still for the
    rest of the period.
    """
    limits = [
        limit for folder, is_new in folders_of("cpu", proc, groups) if (limit := _quota(folder, is_new)) is not None
    ]
    return max(math.ceil(min(limits)), 1) if limits else None


def _quota(folder: Path, is_new: bool) -> float | None:
    """The periods of processor time that a group may use in each period; None without a limit (`max`, -1)."""
    files = ["cpu.max"] if is_new else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    words = " ".join(line for file in files for line in lines_of(folder / file)).split()
    quota, period = [*words, "", ""][:2]
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def lines_of(path: Path) -> list[str]:
    """The lines of a file of the system; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
