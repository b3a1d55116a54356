"""Temporary files: a file is complete or absent, and files of dead processes are removed, but no others."""

import os
import signal
import time
from pathlib import Path

import pytest

from netc.dsl.storage import temporary

_HOST = temporary._host()
_OLD = 2 * temporary._UNTOUCHED


def name_of(host: str, pid: int, start: int) -> str:
    return f".netc-{host}-{pid}-{start}-0123abcd.tmp"


def mine() -> temporary._Process:
    return temporary._process(os.getpid())


def dead() -> temporary._Process:
    """The id of a process that has ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, " ".join(map(str, mine())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    host, pid, start = os.read(reader, 1000).decode().split()
    assert int(pid) == child
    return temporary._Process(host, child, int(start))


def put(path: Path, is_folder: bool, age: float = 0.0) -> Path:
    inside = path
    if is_folder:
        path.mkdir()
        inside = path / "content"
    inside.write_bytes(b"half")
    for changed in (inside, path):
        os.utime(changed, (time.time() - age,) * 2)
    return path


def test_a_file_is_complete_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    temporary.write(path, b"first")
    real = os.replace

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        temporary.write(path, b"second")
    monkeypatch.setattr(os, "replace", real)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    temporary.write(path, b"second", is_durable=True)
    assert path.read_bytes() == b"second"


def test_a_file_system_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_write_nameless", lambda *_: False)
    temporary.write(tmp_path / "a", b"content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"content")]


def test_a_link_that_is_refused_falls_back_to_a_named_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("no /proc")

    monkeypatch.setattr(os, "link", refused)
    temporary.write(tmp_path / "a", b"content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"content")]


@pytest.mark.parametrize("is_folder", [False, True])
def test_files_of_dead_processes_are_removed(tmp_path: Path, is_folder: bool) -> None:
    process = dead()
    if process.host == temporary._UNKNOWN:
        pytest.skip("this system does not tell when a process started")
    left = [
        put(tmp_path / name_of(*process), is_folder),
        put(
            tmp_path / name_of(_HOST, os.getpid(), mine().start + 1), is_folder
        ),  # the number of this process, which it got after a dead one
        put(tmp_path / name_of("0123abcd", os.getpid(), mine().start), is_folder, age=_OLD),  # an earlier boot
    ]
    temporary.sweep(tmp_path)
    assert not [path for path in left if path.exists()]


@pytest.mark.parametrize("is_folder", [False, True])
def test_files_of_users_and_living_processes_stay(tmp_path: Path, is_folder: bool) -> None:
    kept = [
        put(tmp_path / name_of(*mine()), is_folder, age=_OLD),  # of a living process
        put(tmp_path / name_of("0123abcd", 1, 1), is_folder),  # of another machine, which is writing it
        put(tmp_path / ".netc-notes.tmp", is_folder, age=_OLD),  # a file of the user
        put(tmp_path / f"{name_of(*dead())}.bak", is_folder, age=_OLD),
        put(tmp_path / f"x{name_of(*dead())}", is_folder, age=_OLD),
    ]
    link = tmp_path / name_of(_HOST, 999999999, 1)  # a name that only looks like one of netc
    link.symlink_to(kept[2])
    temporary.sweep(tmp_path)
    assert all(path.exists() for path in [*kept, link])


@pytest.mark.parametrize("is_folder", [False, True])
def test_locked_files_of_another_machine_stay(tmp_path: Path, is_folder: bool) -> None:
    import fcntl

    path = put(tmp_path / name_of("0123abcd", 1, 1), is_folder, age=_OLD)
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        temporary.sweep(tmp_path)
        assert path.exists()
    finally:
        os.close(handle)
    temporary.sweep(tmp_path)
    assert not path.exists()


def kill_me(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_killed_writer_leaves_what_the_next_one_removes(tmp_path: Path, is_folder: bool) -> None:
    """The writer is killed while its temporary file exists.

    It counts as dead even before its parent has waited for it.
    """
    child = os.fork()
    if child == 0:
        os.replace = kill_me
        if is_folder:
            with temporary.folder(tmp_path) as beside:
                (beside / "a").write_bytes(b"content")
                os.replace(beside, tmp_path / "a")
        temporary.write(tmp_path / "a", b"content")
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    (left,) = tmp_path.iterdir()
    assert temporary.is_temporary(left.name)
    temporary.write(tmp_path / "b", b"mine")
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_child_of_a_fork_is_another_process(tmp_path: Path) -> None:
    """Files of a forked child are removed when the child is dead, although its parent lives."""
    temporary.write(tmp_path / "a", b"content")
    child = os.fork()
    if child == 0:
        os.mkdir(tmp_path / temporary._new_name())
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 2
    temporary.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_temporary_folder_is_renamed_or_removed(tmp_path: Path, is_renamed: bool) -> None:
    with temporary.folder(tmp_path) as path:
        (path / "content").write_bytes(b"x")
        if is_renamed:
            path.rename(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"] * is_renamed
