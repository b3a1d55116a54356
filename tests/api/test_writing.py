"""Files that cannot be written: each command that writes a file ends with a message and leaves nothing behind."""

import ast
import errno
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest
from support import ROOT, at_most, command, syntax

import netc
from netc.runtime.runs.checkpoint import write_whole

LONG = "a" * 300


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with iris.net, its data, and a run of it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").symlink_to(ROOT / "examples" / "data")
    shutil.copy(ROOT / "examples" / "iris.net", folder)
    done = command("train", "iris.net", "--epochs", "1", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


# ------------------------------------------------------------------ the one way to write


def unwritable(folder: Path) -> dict[str, Path]:
    """Names that cannot be written there, each with the reason."""
    (folder / "file").write_text("kept", encoding="utf-8")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    return {
        "Not a directory": folder / "file" / "x.csv",
        "File name too long": folder / LONG,
        "Is a directory": folder / "folder",
        "No such file or directory": folder / "nowhere" / "x.csv",
        "Too many levels of symbolic links": folder / "loop" / "x.csv",
        "null": folder / "a\0b",
        "surrogates": folder / "a\ud800b",
    }


def test_a_path_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    for why, path in unwritable(tmp_path).items():
        with pytest.raises(netc.Fault) as raised:
            write_whole(path, b"content")
        message = str(raised.value)
        assert message.startswith("error[E1001]: cannot write `")
        assert why in message or why in ("null", "surrogates")
        assert message.isprintable() or message.replace("\n", "").isprintable()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "loop"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "kept"


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_whole(tmp_path / ("a" * 255), b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["a" * 255]


def test_a_read_only_folder_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write to every folder, so the error of the system is simulated."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "there")

    before = set(tmp_path.iterdir())
    for name in ("open", "replace", "unlink", "link"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(netc.Fault, match="Read-only file system"):
        write_whole(tmp_path / "x", b"content")
    monkeypatch.undo()
    assert set(tmp_path.iterdir()) == before


def test_a_pipe_takes_what_is_written(tmp_path: Path) -> None:
    """`-o` may name a pipe or a device: netc writes to it and does not replace it by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with at_most(10), pytest.raises(netc.Fault, match="E1001"):  # nothing reads from the pipe
        write_whole(pipe, b"lost")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    content = b"content" * 30_000  # more bytes than a pipe takes
    with at_most(20):
        while True:
            try:
                write_whole(pipe, content)
                break
            except netc.Fault:  # the reader has not opened it yet
                continue
        reader.join()
    assert read == [content]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


# ------------------------------------------------------------------ each command that writes


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "run", "data/iris/iris.csv", "-o", "iris.net/x.csv"),
        ("predict", "run", "data/iris/iris.csv", "-o", f"{LONG}.csv"),
        ("predict", "run", "data/iris/iris.csv", "-o", "data"),
        ("export", "run", "-o", "iris.net/x.py"),
        ("export", "run", "-o", f"{LONG}.onnx"),
        ("report", "run", "-o", "iris.net/x.html"),
        ("report", "run", "-o", f"{LONG}.html"),
        ("show", "iris.net", "-o", "iris.net/x.svg"),
        ("show", "iris.net", "-o", f"{LONG}.html"),
        ("profile", "iris.net", "-o", "iris.net/x.svg"),
        ("new", "iris.net/x"),
        ("new", LONG),
        ("new", "nowhere/x"),
        ("train", "iris.net", "--epochs", "1", "--out", "iris.net/run"),
        ("train", "iris.net", "--epochs", "1", "--out", LONG),
        ("train", "iris.net", "--epochs", "1", "--out", "/"),
        ("train", "--resume", LONG),
        ("eval", LONG),
        ("check", LONG),
        ("check", "data"),
        ("fmt", "data"),
        ("runs", LONG),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_each_command_that_cannot_write_ends_in_a_message(words: tuple[str, ...], project: Path) -> None:
    before = sorted(path.name for path in project.iterdir())
    done = command(*words, cwd=project)
    assert "Traceback" not in done.stderr
    if words[0] == "runs":
        assert done.returncode == 0
    else:
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("error[E")
        assert "E1302" not in done.stderr
    assert sorted(path.name for path in project.iterdir()) == before


def test_a_run_that_cannot_be_written(project: Path, tmp_path: Path) -> None:
    """A folder has the name of one of the run's files. Existing files stay as they are."""
    shutil.copytree(project / "run", tmp_path / "run")
    for name in ("report.html", "gradients.svg", "curves.svg"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
        (tmp_path / "run" / name).mkdir()
    for written, *words in (
        ("report.html", "report", "run"),
        ("gradients.svg", "diagnose", "run"),
        ("curves.svg", "train", "--resume", "run", "--epochs", "2"),
    ):
        done = command(*words, cwd=tmp_path)
        assert done.returncode == 1
        assert f"cannot write `run/{written}" in done.stderr
        assert "Is a directory" in done.stderr
        assert "Traceback" not in done.stderr
    assert netc.open(tmp_path / "run").progress.epoch == 2, "training itself was done"


# ------------------------------------------------------------------ nothing goes past it

# modules that may write files: those that define the two ways, and writers to netc's folders or for other processes
_WRITERS = {
    *(
        "dsl/storage/temporary.py",
        "dsl/tables.py",
        "dsl/storage/files.py",
        "api/commands/failures.py",
        "runtime/data/tables/store.py",
    ),
    *(
        "runtime/data/pictures/reader.py",
        "runtime/data/tables/packed.py",
        "runtime/data/tables/copies.py",
        "runtime/export/separate.py",
        "runtime/verification/installation.py",
    ),
    *("compiler/targets/cpu/cache.py", "runtime/runs/checkpoint.py"),
}
_PRINTERS = {
    *("api/commands/terminal.py", "compiler/targets/cpu/compile.py", "api/notebook/magic.py"),
    "api/commands/interrupts.py",  # moves the cursor of a terminal
}
_STREAMS = {
    "api/commands/frame.py",
    "api/commands/display.py",
    "api/commands/fmt.py",
    "api/commands/prediction_files.py",
    "api/commands/generate.py",
}
_FILES = [path for floor in ("dsl", "compiler", "runtime", "api") for path in (ROOT / floor).rglob("*.py")]


def calls(path: Path) -> list[str]:
    """The functions that a file calls: `open`, `.write_text`, ..., each with its module if the call names one."""
    calls = []
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            calls += [name, name.rpartition(".")[2]]
    return calls


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_certain_modules_write_files_and_print(path: Path) -> None:
    relative, called = path.relative_to(ROOT).as_posix(), {*calls(path)}
    if relative not in _WRITERS:
        assert not called & {"write_text", "write_bytes", "savez", "np.save"}, "write_whole writes files"
    if relative not in _PRINTERS:
        assert not called & {"print", "typer.echo", "click.echo", "secho"}, "terminal.say prints"
    if relative not in _PRINTERS | _STREAMS:
        assert not any(name.startswith(("sys.stdout.write", "sys.stderr.write")) for name in called)
    if relative not in _WRITERS:
        asked = {name for name in called if name.endswith((".is_file", ".is_dir", ".exists"))} - {"os.path.exists"}
        assert not asked, "they raise for a name that is too long; os.path.exists and the like are False"
