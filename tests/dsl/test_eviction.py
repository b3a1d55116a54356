"""The cache's size limit and its folder.

Entries are evicted as a simple model of LRU predicts, also with many processes at once. A folder that is refused is
reported once.
"""

import os
import pwd
import random
import time
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

import pytest

from netc.dsl.storage import eviction, home, temporary


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    folder = home.folder()
    assert folder is not None
    return folder


def path_of(folder: Path, number: int) -> Path:
    """The path of an entry. Kernels, parsers, copies of tables and copies of pictures take turns."""
    name = f"{number:032x}"
    tables = folder / eviction.TABLES
    return (folder / f"{name}.o", folder / f"parser-{name}.tables", tables / name, tables / f"images-{name}")[
        number % 4
    ]


def put(folder: Path, number: int, size: int) -> Path:
    """Writes an entry as netc does."""
    path = path_of(folder, number)
    if number % 4 < 2:
        temporary.write(path, bytes(size))
        return path
    path.parent.mkdir(exist_ok=True)
    with temporary.folder(path.parent) as beside:
        (beside / "0.bin").write_bytes(bytes(size // 2))
        (beside / "1.bin").write_bytes(bytes(size - size // 2))
        temporary.name_folder(beside, path)
    return path


def names(folder: Path) -> set[Path]:
    return {entry.path for entry in eviction.entries(folder)}


class Model:
    """LRU as a list: the entry that was used least recently is the first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sizes: dict[int, int] = {}

    def use(self, number: int) -> None:
        if number in self.sizes:
            self.sizes[number] = self.sizes.pop(number)

    def put(self, number: int, size: int) -> None:
        self.sizes.pop(number, None)
        if size <= self.limit:
            self.sizes[number] = size
        while sum(self.sizes.values()) > self.limit:
            del self.sizes[next(iter(self.sizes))]


@pytest.mark.parametrize("seed", range(8))
def test_the_least_recently_used_entries_are_evicted(folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, now = random.Random(seed), 10**18
    limit = draw.choice((1, 100, 1000, 5000))
    monkeypatch.setenv("NETC_CACHE_LIMIT", str(limit))
    monkeypatch.setattr(eviction, "_PRECISION", 1)
    monkeypatch.setattr(eviction, "_now", lambda: now)
    model = Model(limit)
    users = [
        folder / "notes.o",
        folder / "tables" / "mine",
        folder / f"{1:032x}",
    ]  # files of the user, who chose this folder
    for path in users:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(10_000))
    for _ in range(150):
        now += draw.choice((1, 10**9, 10**12))
        number = draw.randrange(24)
        if draw.random() < 0.5:
            size = draw.choice((0, 1, 10, 100, 400, 2000))
            eviction.use(put(folder, number, size)) or os.utime(path_of(folder, number), ns=(now, now))
            model.put(number, size)
            eviction.enforce()
        else:
            eviction.use(path_of(folder, number))
            model.use(number)
        assert names(folder) == {path_of(folder, kept) for kept in model.sizes}
    assert all(path.stat().st_size == 10_000 for path in users)
    assert not [path for path in folder.rglob("*") if temporary.is_temporary(path.name)]


def test_a_cache_with_room_is_measured_seldom(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that knows how much room is left looks at all entries again when it has written an eighth of that."""
    monkeypatch.setenv("NETC_CACHE_LIMIT", "9000")
    measured: list[Path] = []
    size_of = eviction._size_of
    monkeypatch.setattr(eviction, "_size_of", lambda path: measured.append(path) or size_of(path))
    for number in range(24):
        put(folder, 4 * number, 400)
        eviction.enforce(400)
        assert sum(entry.size for entry in eviction.entries(folder)) <= 9000
    assert 5 < len(measured) < 24
    eviction.enforce()
    monkeypatch.setenv("NETC_CACHE_LIMIT", "2000")
    eviction.enforce(1)
    assert sum(entry.size for entry in eviction.entries(folder)) <= 2000, "another limit is another room"


def test_a_use_is_recorded_once_an_hour(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(folder, 0, 10)
    touched: list[Path] = []
    real = os.utime
    monkeypatch.setattr(os, "utime", lambda path, **times: touched.append(path) or real(path, **times))
    for _ in range(3):
        eviction.use(path)
    assert not touched, "it has just been written"
    for age in (3 * 3600 * 10**9, -3 * 3600 * 10**9):  # a clock may have been wrong
        real(path, ns=(time.time_ns() - age,) * 2)
        touched.clear()
        for _ in range(3):
            eviction.use(path)
        assert touched == [path]
        assert abs(path.stat().st_mtime_ns - time.time_ns()) < 3600 * 10**9
    eviction.use(folder / "gone.o")


def test_many_processes_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writes, reads and evicts.

    A reader never sees half of an entry, an open entry stays unchanged, and the limit holds in the end.
    """
    limit = 20_000
    monkeypatch.setenv("NETC_CACHE_LIMIT", str(limit))
    monkeypatch.setattr(eviction, "_PRECISION", 1)

    def work(seed: int) -> None:
        draw = random.Random(seed)
        opened = []
        for _ in range(120):
            number = draw.randrange(20)
            path, size = path_of(folder, number), 500 + 100 * number
            try:
                paths = [path] if number % 4 < 2 else sorted(path.iterdir())
                files = [open(entry, "rb") for entry in paths]  # noqa: SIM115  they stay open
                opened += [(files, size)] if len(files) == (1 if number % 4 < 2 else 2) else []
                eviction.use(path)
            except FileNotFoundError:
                put(folder, number, size)
                eviction.enforce()
        for files, size in opened:
            assert sum(len(file.read()) for file in files) == size
        assert opened, "nothing was ever read"

    children = []
    for seed in range(3):
        if (child := os.fork()) == 0:
            status = 1
            try:
                work(seed)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    eviction.enforce()
    kept = list(eviction.entries(folder))
    assert sum(entry.size for entry in kept) <= limit
    assert len(kept) > 5
    assert all(
        entry.size == 500 + 100 * number
        for entry in kept
        for number in range(20)
        if entry.path == path_of(folder, number)
    )
    assert not [path for path in folder.rglob("*") if temporary.is_temporary(path.name)]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 << 30),
        ("500M", 500 << 20),
        ("1.5 GiB", 3 << 29),
        ("64kb", 64 << 10),
        ("1T", 1 << 40),
        ("12345", 12345),
        ("0", 0),
        ("", 10 << 30),
    ],
)
def test_sizes_may_have_units(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE_LIMIT", text)
    assert home.limit() == size


@pytest.mark.parametrize("text", ["many", "-1", "2 G B", "1e9", "9" * 5000, "nan"])
def test_a_wrong_limit_is_reported_once(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE_LIMIT", text)
    monkeypatch.setattr(home, "_warned", set())
    with pytest.warns(home.CacheWarning, match="is not a size such as 2G or 500M; the cache holds up to 10G") as warned:
        assert [home.limit() for _ in range(3)] == [10 << 30] * 3
    assert len(warned) == 1


def no_home(uid: int) -> NoReturn:
    raise KeyError(uid)


def refuse(case: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes a cache folder that must be refused, and returns the reason."""
    monkeypatch.setenv("NETC_CACHE", str(path))
    match case:
        case "open":
            path.mkdir()
            path.chmod(0o777)
            return f"other users can write to {path} (chmod go-w prevents it)"
        case "foreign":
            path.mkdir(0o700)
            monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
            return f"{path} belongs to another user"
        case "file":
            path.write_text("", encoding="utf-8")
            return f"{path} is not a folder"
        case "nowhere":
            path.write_text("", encoding="utf-8")
            monkeypatch.setenv("NETC_CACHE", str(path / "cache"))
            return f"{path / 'cache'} cannot be created (Not a directory)"
    monkeypatch.setenv("NETC_CACHE", "")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_home)
    return "this user has no home directory, and NETC_CACHE names no folder"


@pytest.mark.parametrize("case", ["open", "foreign", "file", "nowhere", "homeless"])
def test_a_refused_folder_is_reported_once(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "_warned", set())
    reason = refuse(case, tmp_path / "cache", monkeypatch)
    with pytest.warns(home.CacheWarning) as warned:
        assert [home.folder() for _ in range(3)] == [None] * 3
    assert [str(warning.message) for warning in warned] == [f"the cache is not used: {reason}; netc goes on without it"]
    assert home.why_unusable() == reason
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(home, "_warned", set())
        monkeypatch.setenv("NETC_CACHE_LIMIT", "0")  # as the user wants it
        assert home.folder() is None


def test_the_folder_is_that_of_earlier_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that earlier versions cached on Linux are still found."""
    monkeypatch.setenv("NETC_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert home.preferred_folder() == tmp_path / ".cache" / "netc"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert home.preferred_folder() == tmp_path / "xdg" / "netc"
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "own"))
    assert home.preferred_folder() == tmp_path / "own"
