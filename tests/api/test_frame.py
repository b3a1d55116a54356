"""Every command ends with a message and a documented status, whatever ends it and wherever its output goes."""

import os
import pty
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, command, netc_command

from netc.commands import failures, frame
from netc.commands.frame import FAILED, INTERRUPTED, NO_READER, STATUSES, WRONG
from netc.dsl.codes import CODES

ENDS = """
import sys
from netc.commands import frame
def deep(n=0):
    return deep(n + 1)
def chained():
    try:
        {}["inner\\x1b[31m"]
    except KeyError as error:
        raise RuntimeError("outer\\nsecond line") from error
def unwritable():
    raise OSError(28, "No space left on device", "/some/\\x1b[2Jfile")
def memory():
    raise MemoryError("Unable to allocate 7 TiB")
class Odd(BaseException):
    pass
def odd():
    raise Odd
def interrupt():
    raise KeyboardInterrupt
def printing():
    print("x" * 200_000)
def failing_print():
    print("x" * 200_000)
    raise KeyError("late")
def eof():
    raise EOFError("no more")
frame.run(globals()[sys.argv[1]])
"""


def ended(how: str, *, shell: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that ends in one of the ways of ENDS. `shell` redirects its streams."""
    environment = {**os.environ, "NETC_DEBUG": "0", **settings}
    words = ["sh", "-c", f'"$@" {shell}', "sh", sys.executable, "-c", ENDS, how]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return folder


def test_a_bug_of_netc_is_one_message_with_a_file_for_the_report(cache: Path) -> None:
    done = ended("chained", NETC_CACHE=str(cache))
    assert done.returncode == FAILED
    (path,) = (cache / failures.FOLDER).iterdir()
    assert done.stdout == ""
    assert done.stderr == (
        f"error[E1302]: netc failed: RuntimeError: outer\n --> {path}\n"
        "  | versions, the command and the traceback are in this file\n"
        "  = hint: this is a fault of netc; please report it, with that text and your files\n"
    )
    text = path.read_text(encoding="utf-8")
    assert text.startswith("command: netc chained\n")
    assert "llvmlite" in text
    assert "KeyError: 'inner\\x1b[31m'" in text
    assert "RuntimeError: outer\nsecond line" in text
    assert "\x1b" not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failure_is_kept_where_there_is_room(tmp_path: Path, cache: Path) -> None:
    """In the cache, or else among the temporary files, or else on the error stream."""
    (tmp_path / "file").touch()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = ended("chained", NETC_CACHE=str(tmp_path / "file"), TMPDIR=str(temporary))
    (path,) = temporary.glob("netc-failure-*")
    assert f" --> {path}\n" in done.stderr
    (cache / failures.FOLDER).touch()  # a file that has the name of the folder
    done = ended("chained", NETC_CACHE=str(cache), TMPDIR=str(temporary))
    assert len(list(temporary.iterdir())) == 2
    nowhere = "import tempfile; tempfile.gettempdir = lambda: '/proc'\n"
    words = [sys.executable, "-c", nowhere + ENDS, "chained"]
    environment = {**os.environ, "NETC_CACHE": str(tmp_path / "file"), "NETC_DEBUG": "0"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == FAILED
    assert "RuntimeError" in done.stderr
    assert "versions: netc " in done.stderr
    assert done.stderr.index("versions: ") < done.stderr.index("error[E1302]")


def test_old_failure_files_are_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(cache))
    folder = cache / failures.FOLDER
    folder.mkdir()
    for number in range(40):
        (folder / f"20200101-{number:06d}-1.txt").touch()
    path = failures.keep("new")
    assert path is not None
    assert path.read_text(encoding="utf-8") == "new"
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == 20
    assert kept[0] == "20200101-000021-1.txt"


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("memory", WRONG, "error[E1005]: the memory does not suffice"),
        ("deep", WRONG, "error[E1008]: something is nested too deeply for netc"),
        (
            "unwritable",
            WRONG,
            (
                "error[E1007]: the system refuses a file or a folder\n --> /some/\\x1b[2Jfile\n"
                "  | No space left on device\n"
            ),
        ),
        ("odd", FAILED, "error[E1302]: netc failed: Odd\n"),
        ("eof", FAILED, "error[E1302]: netc failed: EOFError: no more\n"),
        ("interrupt", INTERRUPTED, ""),
    ],
)
def test_each_way_to_end_has_its_status_and_message(how: str, status: int, message: str, cache: Path) -> None:
    done = ended(how, NETC_CACHE=str(cache))
    assert done.returncode == status
    assert status in STATUSES
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
    if not message:
        assert done.stderr == ""


def test_debugging_prints_a_traceback(cache: Path) -> None:
    done = ended("chained", NETC_CACHE=str(cache), NETC_DEBUG="1")
    assert done.returncode == FAILED
    assert "Traceback (most recent call last)" in done.stderr
    assert "error[E1302]" in done.stderr


@pytest.mark.parametrize(
    ("shell", "how", "status", "message"),
    [
        (">&-", "printing", 0, ""),
        (">&- 2>&- <&-", "printing", 0, ""),
        ("2>&-", "chained", FAILED, ""),
        (">/dev/full", "printing", WRONG, "No space left on device"),
        ("2>/dev/full", "chained", FAILED, ""),
        (">/dev/full", "failing_print", WRONG, "No space left on device"),
    ],
)
def test_redirected_outputs_end_with_a_status_and_a_message(
    shell: str, how: str, status: int, message: str, cache: Path
) -> None:
    if "/dev/full" in shell and not os.path.exists("/dev/full"):
        pytest.skip("this system has no full device")
    done = ended(how, shell=shell, NETC_CACHE=str(cache))
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert bool(message) == bool(done.stderr)


@pytest.mark.parametrize(
    "words", [("ops",), ("--help",), ("check", ROOT / "examples" / "lenet.net", "--json")], ids=str
)
def test_a_reader_that_ends_early_is_no_error(words: tuple[object, ...], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "NETC_DEBUG": "0"}
    done = subprocess.run(
        netc_command(*words), stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, check=False
    )
    os.close(writer)
    assert done.returncode == NO_READER
    assert done.stderr == b""


def test_a_command_without_an_output_does_its_work(tmp_path: Path) -> None:
    """With closed streams, as in `netc train iris.net >&-`: files that are opened do not take their numbers."""
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    shutil.copy(ROOT / "examples" / "iris.net", tmp_path)
    words = ["sh", "-c", '"$@" >&- 2>&- <&-', "sh", *netc_command("train", "iris.net", "--epochs", "1", "--out", "run")]
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "run" / "curves.svg").read_bytes().startswith(b"<svg")
    assert command("eval", "run", cwd=tmp_path).returncode == 0


LABELS = ("ros\u00e9", "\u2192", "\x1b[31mred", "long " * 60)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table that has these labels, and a run on it."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = [f'{i % 7}.5,{i % 5},"{LABELS[i % 4]}"\n' for i in range(80)]
    (folder / "d.csv").write_text("a,b,kind\n" + "".join(rows), encoding="utf-8")
    (folder / "ros\u00e9.net").write_text(
        """data {
  source = csv("d.csv")
  x = columns("a", "b") -> standardize
  y = column("kind") -> classes
  split = (train = 0.8, test = 0.2)
}
model {
  input x: float[2]
  target y: class(auto)
  z = x -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric confusion(z, y)
}
train { epochs = 1 }
""",
        encoding="utf-8",
    )
    done = command("train", "ros\u00e9.net", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    "words",
    [("predict", "run", "d.csv"), ("check", "ros\u00e9.net"), ("report", "run", "-o", "ros\u00e9.html"), ("--help",)],
    ids=lambda words: words[0],
)
def test_characters_that_a_terminal_lacks_are_escaped(words: tuple[str, ...], labelled: Path) -> None:
    """On a terminal whose encoding is ASCII."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "NETC_DEBUG": "0"}
    done = subprocess.run(netc_command(*words), capture_output=True, cwd=labelled, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    text = done.stdout.decode("ascii")
    if words[0] in ("predict", "report"):
        assert "ros\\xe9" in text
    if words[0] == "predict":
        assert "\\u2192" in text


def test_cells_are_cut_on_a_terminal_alone(labelled: Path) -> None:
    """A terminal shows labels escaped and cut. Files and pipes receive them unchanged."""
    piped = command("predict", "run", "d.csv", cwd=labelled)
    assert piped.returncode == 0, piped.stderr
    assert f"p[{LABELS[2]}]" in piped.stdout
    assert f"p[{LABELS[3]}]" in piped.stdout
    main, other = pty.openpty()
    process = subprocess.Popen(netc_command("predict", "run", "d.csv"), stdout=other, stderr=other, cwd=labelled)
    os.close(other)
    shown = b""
    try:
        while piece := os.read(main, 1 << 16):
            shown += piece
    except OSError:  # the other side is closed
        pass
    os.close(main)
    assert process.wait() == 0
    text = shown.decode()
    assert "\x1b" not in text
    assert "p[\\x1b[31mred]" in text
    assert LABELS[3] not in text
    assert max(len(cell) for line in text.splitlines() for cell in line.split(",")) <= 80


def test_wrong_usage_is_escaped(tmp_path: Path) -> None:
    done = command("check", "m.net", "--set", "\x1b]0;title\x07", cwd=tmp_path)
    assert done.returncode == 2
    assert "\x1b]0" not in done.stderr
    assert "\\x1b" in done.stderr


def test_messages_are_bounded(tmp_path: Path) -> None:
    """A message stays short, however long the cell, the column name or the line of the file is."""
    (tmp_path / "m.net").write_text(
        'data {\n  source = csv("d.csv")\n  x = column("x")\n  y = column("y") -> classes\n}\n'
        "model {\n  input x: float\n  target y: class(2)\n  z = stack(x, x) -> dense(2)\n  output p = z\n"
        "  loss cross_entropy(z, y)\n}\n",
        encoding="utf-8",
    )
    long = "z" * 300_000
    for table in (f"x,y\n1,0\n{long},1\n", f"{long},y\n1,0\n", f"x,y\n1,0\n1,{long}\n2,{long}\n3,b\n", f"{long}\n"):
        (tmp_path / "d.csv").write_text(table, encoding="utf-8")
        done = command("train", "m.net", cwd=tmp_path)
        assert done.returncode == 1
        assert len(done.stderr) < 2_000
    (tmp_path / "w.net").write_text(
        f'let t = "{long}"  # {long}\nmodel {{\n  output y = nobody  # {long}\n  output z = t\n}}\n', encoding="utf-8"
    )
    wide = command("check", "w.net", cwd=tmp_path)
    assert wide.returncode == 1
    assert len(wide.stderr) < 3_000


def test_the_number_of_messages_is_limited(tmp_path: Path) -> None:
    names = "".join(f"  a{i} = b{i}\n" for i in range(500))
    (tmp_path / "m.net").write_text(f"model {{\n{names}  output y = 1\n}}\n", encoding="utf-8")
    done = command("check", "m.net", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("error[E0201]") == 50
    assert done.stderr.endswith("\n... and 50 more\n\n100 errors, and the rest of the file was not checked\n")


def test_statuses_and_codes_are_documented() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert all(f"| {status} | {meaning} |" in page for status, meaning in frame.STATUSES.items())
    assert {"E1005", "E1007", "E1008", "E1302"} <= {*CODES}


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_ends_after_its_threads_and_exit_functions(status: int) -> None:
    start = (
        "import atexit, sys, threading, time\n"
        "from netc.commands import frame\n"
        "atexit.register(print, 'exit function')\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\n"
        f"frame.leave({status})\n"
    )
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "thread\nexit function\n", "")


def test_a_process_ends_although_a_pool_of_threads_waits_for_work() -> None:
    """The readers of some versions of polars leave one."""
    start = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from netc.commands import frame\n"
        "pool = ThreadPoolExecutor(1)\n"
        "pool.submit(print, 'done').result()\n"
        "frame.leave(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
