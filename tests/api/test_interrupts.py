"""Ctrl-C in a terminal: it is answered while data is read, while kernels are compiled, and while the main thread is in
compiled code and cannot answer itself."""

from pathlib import Path

import pytest
from support import ROOT
from terminals import Moment, record

# main is in OpenSSL, which holds no lock of Python's, for longer than anybody waits
STUCK = """
import hashlib, threading
from netc.commands.interrupts import Interrupts
with Interrupts() as interrupts:
    interrupts.at(PLACE)
    threading.Timer(1, print, ["ready"], {"flush": True}).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
CTRL_C = b"\x03"


@pytest.mark.parametrize("moment", ["reading the data", r"compiling  .*of \d+ kernels"])
def test_a_command_ends_before_there_is_anything_to_save(moment: str, tmp_path: Path) -> None:
    words = ("train", ROOT / "examples" / "lenet.net", "--out", tmp_path / "run")
    environment = {"NETC_CACHE": str(tmp_path / "cache")}
    recording = record(100, tmp_path, *words, moments=[Moment(moment, CTRL_C)], environment=environment)
    assert recording.status == 130
    task = "reading the data" if "reading" in moment else "compiling"
    assert recording.text.splitlines()[-1] == f"interrupted while {task}: nothing was kept"
    assert not (tmp_path / "run").exists()


def test_compiled_code_with_nothing_to_save_is_left(tmp_path: Path) -> None:
    program = STUCK.replace("PLACE", '"while reading the data"')
    recording = record(80, tmp_path, program=program, moments=[Moment("ready", CTRL_C)])
    assert recording.status == 130
    assert recording.text.splitlines()[-1] == "interrupted while reading the data: nothing was kept"


def test_a_step_is_finished_unless_ctrl_c_comes_again(tmp_path: Path) -> None:
    arguments = '"in epoch 3 of 9", "epoch 2 is saved", "netc train --resume run", finishing="saving after this step"'
    moments = [Moment("ready", CTRL_C), Moment(r"saving after this step \(Ctrl-C again ends at once\)", CTRL_C)]
    recording = record(80, tmp_path, program=STUCK.replace("PLACE", arguments), moments=moments)
    assert recording.status == 130
    assert recording.text.splitlines()[-2:] == [
        "interrupted in epoch 3 of 9: epoch 2 is saved",
        "to go on: netc train --resume run",
    ]


def test_without_a_terminal_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    from netc.commands.interrupts import Interrupts

    def interrupted() -> None:
        with Interrupts() as interrupts:
            assert not interrupts.are_answered
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capfd.readouterr() == ("", "")
