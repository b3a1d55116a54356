"""The quota of processor time of a control group is the number of threads that a process starts at most."""

from pathlib import Path

import pytest

from netc.compiler.targets import machine
from netc.dsl.storage.control_groups import processors


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"a/cpu.max": "max 100000\n", "cpu.max": "300000 100000\n"}, 3),
        ({"a/b/cpu.max": "500000 100000\n", "a/cpu.max": "100000 100000\n"}, 1),
        ({"unified/a/b/cpu.max": "400000 100000\n"}, 4),
        ({"cpu/c/cpu.cfs_quota_us": "-1\n", "cpu/c/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/c/cpu.cfs_quota_us": "250000\n", "cpu/c/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu.max": "nonsense\n", "cpu/c/cpu.cfs_quota_us": "5\n", "cpu/c/cpu.cfs_period_us": "0\n"}, None),
        ({"cpu.max": ""}, None),
    ],
)
def test_the_least_quota_counts(files: dict[str, str], expected: int | None, tmp_path: Path) -> None:
    for name, text in {"proc/self/cgroup": "3:cpu,cpuacct:/c\n0::/a/b\n", **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert processors(tmp_path / "proc", tmp_path) == expected


def test_a_process_has_no_more_threads_than_its_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    for quota in (None, 1, 1000):
        monkeypatch.setattr(machine, "_quota", lambda quota=quota: quota)
        assert machine.cores() <= (quota or 1000)
    assert machine.cores() >= 1
