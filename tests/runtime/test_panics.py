"""While polars reads, panics are kept off the error stream, and all other text arrives there."""

import gc
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.readers.panics import quiet_panics, without_panics
from netc.runtime.data.readers.readers import read

NOTE = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
PANIC = "\nthread 'async-executor-0' (31819) panicked at crates/polars-arrow/src/bitmap.rs:329:9:\nit is broken\n"
ASSERTION = "\nthread '<unnamed>' panicked at src/lib.rs:3:9:\nassertion `left == right` failed\n  left: 1\n right: 2\n"
BACKTRACE = (
    "stack backtrace:\n   0: main\n             at src/lib.rs:1\n  1: _start\n"
    "note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n"
)


class Panic(BaseException):
    """No Exception, like the panics of polars."""


@pytest.mark.parametrize("panic", [PANIC, PANIC + NOTE, ASSERTION, ASSERTION + NOTE, PANIC + BACKTRACE])
@pytest.mark.parametrize(("before", "after"), [("", ""), ("a line\n", ""), ("", "a line\n"), ("one\n\n", "\ntwo\n")])
def test_panics_are_removed_from_a_text(panic: str, before: str, after: str) -> None:
    assert without_panics((before + panic + panic + after).encode(), []).decode() == before + after


def test_a_message_of_several_lines_is_removed_if_python_received_it() -> None:
    text = PANIC.replace("it is broken", "it is broken\n\nin two places") + "a line\n"
    assert without_panics(text.encode(), ["it is broken\n\nin two places", "it is"]) == b"a line\n"


@pytest.mark.parametrize(
    "text", ["thread 'a' is late\n", "panicked at x.rs:1:1:\n", "a thread 'b' panicked at c:1:1:\nd\n"]
)
def test_other_text_stays(text: str) -> None:
    assert without_panics(text.encode(), []).decode() == text


@pytest.mark.parametrize("setting", ["0", "1", "full"])
def test_a_file_that_makes_polars_panic_leads_to_one_message(setting: str, tmp_path: Path) -> None:
    """In a separate process, because Rust reads the setting once."""
    program = (
        "import sys, netc\nfrom pathlib import Path\nfrom netc.dsl.source import NOWHERE\n"
        "from netc.runtime.data.readers.readers import read\n"
        "try: read('parquet', Path(sys.argv[1]), 'panic.parquet', NOWHERE)\n"
        "except netc.Fault as fault: print(fault, file=sys.stderr)\n"
    )
    words = [sys.executable, "-c", program, str(Path(__file__).parent / "panic.parquet")]
    environment = {**os.environ, "RUST_BACKTRACE": setting}
    result = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    assert result.stderr.startswith("error[E0801]: cannot read `panic.parquet`\n")
    assert len(result.stderr.splitlines()) == 3


def test_text_of_other_threads_arrives_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    """Text before a panic arrives at once, and text after it at the end of the call.

    Two calls overlap.
    """
    first_reads, second_reads = threading.Event(), threading.Event()

    def second() -> None:
        first_reads.wait()
        with quiet_panics():
            second_reads.set()
            os.write(2, b"two\n")

    other = threading.Thread(target=second)
    other.start()
    with suppress(Panic), quiet_panics():
        os.write(2, b"one\n")
        first_reads.set()
        second_reads.wait()
        other.join()
        os.write(2, PANIC.encode())
        os.write(2, b"three\n")
        raise Panic("it is broken")
    os.write(2, b"four\n")
    assert capfd.readouterr().err == "one\ntwo\nthree\nfour\n"


def test_text_before_a_panic_is_not_held_back(tmp_path: Path) -> None:
    """A reader of the error stream receives it while the call lasts."""
    program = (
        "import sys, os\nfrom netc.runtime.data.readers.panics import quiet_panics\n"
        "with quiet_panics():\n    os.write(2, b'working\\n')\n    sys.stdin.readline()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"working\n"
        _, rest = process.communicate(b"\n")
    assert (process.returncode, rest) == (0, b"")


def test_a_program_that_is_started_meanwhile_keeps_its_error_stream(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys; sys.stdin.readline(); sys.stderr.write('from a child')"
    with quiet_panics():
        child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    child.communicate(b"\n")
    assert child.returncode == 0
    for _ in range(1000):
        text = capfd.readouterr().err
        if text:
            break
        threading.Event().wait(0.01)
    assert text == "from a child"


@pytest.fixture(autouse=True)
def _earlier_calls_are_over() -> None:
    """The thread of an earlier call closes its files a moment after the call; tests compare the files that are open."""
    for thread in threading.enumerate():
        if thread.name == "netc error stream":
            thread.join(10)


def open_files() -> list[str]:
    """The numbers of the process's open files."""
    return os.listdir("/proc/self/fd")


def test_a_process_that_is_forked_meanwhile_writes_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    """It has the open files of a process that is forked outside of the context: a fork may close files of others."""
    gc.collect()  # files of earlier tests
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, ",".join(open_files()).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    expected = os.read(reading, 1 << 16).decode().split(",")
    with quiet_panics():
        child = os.fork()
        if not child:
            if open_files() != expected:
                os._exit(1)
            os.write(2, b"from a fork\n")
            with quiet_panics():
                os.write(2, PANIC.encode())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    for end in (reading, writing):
        os.close(end)
    assert capfd.readouterr().err == "from a fork\n"


def test_files_are_read_where_no_thread_can_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    (tmp_path / "t.csv").write_text("a\n1\n", encoding="utf-8")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    before = open_files()
    with quiet_panics():
        assert open_files() == before
        os.write(2, b"as before\n")
    assert len(read("csv", tmp_path / "t.csv", "t.csv", NOWHERE)) == 1
    assert capfd.readouterr().err == "as before\n"


def test_an_error_stream_that_is_redirected_meanwhile_stays_so(tmp_path: Path) -> None:
    program = (
        "import os\nfrom netc.runtime.data.readers.panics import quiet_panics\n"
        "with quiet_panics():\n    os.write(2, b'before\\n')\n"
        "    os.dup2(os.open('other', os.O_CREAT | os.O_WRONLY), 2)\n    os.write(2, b'within\\n')\n"
        "os.write(2, b'after\\n')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stderr == "before\n"
    assert (tmp_path / "other").read_text(encoding="utf-8") == "within\nafter\n"


def test_an_error_stream_may_be_closed_meanwhile(tmp_path: Path) -> None:
    program = (
        "import os\nfrom netc.runtime.data.readers.panics import quiet_panics\n"
        "with quiet_panics():\n    os.write(2, b'before\\n')\n    os.close(2)\nprint('done')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert (result.stdout, result.stderr) == ("done\n", "before\n")


def test_without_an_error_stream_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n", encoding="utf-8")
    program = (
        "import os\nfrom pathlib import Path\nfrom netc.dsl.source import NOWHERE\n"
        "from netc.runtime.data.readers.readers import read\nos.close(2)\n"
        "print(len(read('csv', Path('t.csv'), 't.csv', NOWHERE)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout == "1\n"


def test_an_error_that_is_no_panic_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(netc.Fault, match="there is no file"):
        read("csv", Path("missing.csv"), "missing.csv", NOWHERE)
    with pytest.raises(ZeroDivisionError), quiet_panics():
        _ = 1 / 0
    os.write(2, b"as before\n")
    assert capfd.readouterr().err == "as before\n"
