"""A signal ends training after a checkpoint, and reaches the handlers of the user's program."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from support import PROJECT as TEXT
from support import command, netc_command, write_project

import netc

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path)
    return tmp_path


def test_a_closed_terminal_keeps_a_checkpoint(project: Path) -> None:
    (project / "m.net").write_text(TEXT.replace("epochs = 40", "epochs = 100000"), encoding="utf-8")
    mine, its = os.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    running = subprocess.Popen(
        netc_command("train", "m.net", "--out", "run"),
        cwd=project,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(its)
    shown = b""
    while b"epoch 3" not in shown:
        shown += os.read(mine, 1000)
    os.close(mine)
    assert running.wait(timeout=600) == 128 + signal.SIGHUP
    epochs = netc.open(project / "run").progress.epoch + 1
    assert command("train", "--resume", "run", "--epochs", epochs, cwd=project).returncode == 0
    assert netc.open(project / "run").progress.epoch == epochs >= 3


class Asked(Exception):
    """Raised by a signal handler of the test."""


def stop(number: int, frame: object) -> NoReturn:
    raise Asked


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_handler_of_the_user_is_called_after_the_checkpoint(
    number: int, raises: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training then ends with the exception of the handler, or with KeyboardInterrupt."""
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        seen.append(netc.open(project / "run").progress.step)

    handler, asked = stop if raises else note, Asked if raises else KeyboardInterrupt
    real_steps, chunks = netc.Program.steps, []

    def steps(self: netc.Program, *arguments: object) -> object:
        chunks.append(0)
        if len(chunks) == 2:
            os.kill(os.getpid(), number)
            assert not seen, "it came inside of a step"
        return real_steps(self, *arguments)

    monkeypatch.setattr(netc.Program, "steps", steps)
    before = signal.signal(number, handler)
    try:
        with pytest.raises(asked):
            netc.train(netc.load(project / "m.net"), out=project / "run")
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    run = netc.open(project / "run")
    assert seen == [run.progress.step] * (not raises)
    assert run.progress.step > 0, "the step was lost"


def test_a_signal_that_ends_the_process_does_so_after_the_checkpoint(project: Path) -> None:
    """The data is in arrays, because the readers of tables have threads, which a fork does not copy."""
    model = netc.parse(TEXT[TEXT.index("model {") :].replace("  keep = best(valid.loss)\n", ""))
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((40, 2), np.float32), "y": rng.standard_normal(40, np.float32)}
    if (child := os.fork()) == 0:
        real_steps = netc.Program.steps

        def steps(self: netc.Program, *arguments: object) -> object:
            os.kill(os.getpid(), signal.SIGTERM)
            return real_steps(self, *arguments)

        netc.Program.steps = steps
        try:
            netc.train(model, data, out=project / "run", threads=1)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert netc.open(project / "run").progress.step > 0


def test_training_in_a_thread_changes_no_signal_handler(project: Path) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    seen: list[list[object]] = []
    program = netc.Program.steps

    def steps(self: netc.Program, *arguments: object) -> object:
        seen.append([signal.getsignal(number) for number in SIGNALS])
        return program(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netc.Program, "steps", steps)
        thread = threading.Thread(
            target=netc.train, args=(netc.load(project / "m.net"),), kwargs={"out": project / "run", "epochs": 1}
        )
        thread.start()
        thread.join()
    assert (project / "run" / "checkpoint.safetensors").exists()
    assert seen
    assert all(handlers == before for handlers in seen)


WAITING = """
import ctypes, sys, threading, time
from netc.runtime import signals

class Ranks:
    rank = 0
    def largest(self, numbers):
        return list(numbers)

def wait_in_machine_code():
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)

try:
    with signals.signals_between_steps(Ranks()) as pause:
        for _ in range(3):
            pause(1)
        if sys.argv[1] == "evaluates":
            pause(0)
        print("ready", flush=True)
        if sys.argv[1] == "stuck":
            wait_in_machine_code()
        if sys.argv[1] == "evaluates":
            time.sleep(2 * signals._PATIENCE)
        try:
            while True:
                pause(1)
        except KeyboardInterrupt:
            for thread in threading.enumerate():
                if thread.name == "netc signals":
                    thread.join()  # a checkpoint that takes longer than the patience with a stuck rank
            print("checkpoint", flush=True)
            raise
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.every(2)  # each way has one of the signals
@pytest.mark.parametrize(("way", "written"), [("stuck", ""), ("runs", "checkpoint\n"), ("evaluates", "checkpoint\n")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_rank_that_waits_for_one_that_has_gone_ends(way: str, written: str, number: int) -> None:
    """No handler of Python runs while machine code waits. A rank that goes on leaves a checkpoint first,
    also one whose evaluation takes longer than steps did."""
    process = subprocess.Popen([sys.executable, "-c", WAITING, way], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    rest, _ = process.communicate(timeout=600)
    if way == "stuck":
        assert (rest, process.returncode) == ("", 128 + number)
    elif number == signal.SIGTERM:  # the signal has its usual effect at the end of the context
        assert (rest, process.returncode) == (written, -signal.SIGTERM)
    else:
        assert (rest, process.returncode) == (f"{written}interrupted\n", 0)
