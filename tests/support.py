"""Functions for tests: a program from a text, finite differences, and commands in processes."""

import ast
import atexit
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

import netc
from netc.compiler.backends import Backend
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.execution.fields import Fields
from netc.runtime.loading import load_model
from netc.runtime.studies.check import check_study
from netc.runtime.training.checks import check_schedules, check_training

ROOT = Path(__file__).parent.parent


@cache
def syntax(path: Path) -> ast.Module:
    """The syntax tree of a Python file, which tests of the source share."""
    return ast.parse(path.read_text(encoding="utf-8"))


def run(text: str, backend: Backend = "cpu", threads: int = 1) -> netc.Program:
    """The program of a model's text, with initial parameters."""
    return netc.compile(netc.parse(text), backend=backend, threads=threads)


def slope(program: netc.Program, fields: Fields, name: str, index: tuple[int, ...], step: float) -> float:
    """The derivative of the loss with respect to one element of a parameter, as a central difference."""
    parameter, losses = program.parameters[name], []
    before = parameter[index]
    for side in (step, -step):
        parameter[index] = before + side
        losses.append(program.gradients(fields)[0])
    parameter[index] = before
    return (losses[0] - losses[1]) / (2 * step)


def netc_command(*arguments: object) -> list[str]:
    """The words of the command line that start `netc` in this environment."""
    return [sys.executable, "-c", "from netc.commands.main import console; console()", *map(str, arguments)]


def killed_once(is_far_enough: Callable[[], bool], *arguments: object, cwd: Path) -> None:
    """Starts a command and kills it as soon as it is far enough, unless it ends before."""
    process = subprocess.Popen(netc_command(*arguments), cwd=cwd, stdout=subprocess.DEVNULL)
    while process.poll() is None and not is_far_enough():
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def has_epochs(run: Path, count: int) -> bool:
    """Whether a run's folder has the metrics of so many epochs."""
    metrics = run / "metrics.jsonl"
    return metrics.exists() and metrics.read_bytes().count(b"\n") >= count


@cache
def _command_server() -> subprocess.Popen:
    """The server of commands of this process.

    Importing netc takes a second, which each of hundreds of commands would need.
    """
    server = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "command_server.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    atexit.register(server.kill)
    return server


IMPORTED_BY_COMMANDS: list[str] = []  # modules that commands need seconds to import, and find imported instead


def command(*arguments: object, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess:
    """Runs a command to its end, in a process with this one's environment.

    `path` is a folder of modules that the command may import.
    """
    words, server = [str(argument) for argument in arguments], _command_server()
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("stdout", "stderr")}
        for file in files.values():
            file.touch()
        paths = {name: str(file) for name, file in files.items()}
        environment = dict(os.environ)
        if path is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(path), environment.get("PYTHONPATH", "")])
        request = {"arguments": words, "cwd": str(cwd), "environment": environment, **paths}
        request["imports"] = IMPORTED_BY_COMMANDS
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        out, err = (file.read_text(encoding="utf-8") for file in files.values())
    return subprocess.CompletedProcess(["netc", *words], status, out, err)


def forge(folder: Path, **changes: object) -> None:
    """Changes run.json and writes the hash that belongs to it."""
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    info = {key: value for key, value in {**info, **changes}.items() if value is not None}
    info.pop("hash")
    info["hash"] = hashlib.sha256(json.dumps(dict(sorted(info.items())), sort_keys=True).encode()).hexdigest()
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")


def warnings_of(path: Path) -> list[Diagnostic]:
    """The warnings of netc about a file and its data, with the name of the file only.

    Raises Fault if the file is wrong.
    """
    text = path.read_bytes().decode()  # line ends stay as they are in the file
    file = parse(Source(path.name, text, path))
    model = load_model(file, {})
    if model.study is not None:
        check_study(model)
    if model.data is None:
        return [*model.warnings, *check_schedules(model)]
    dataset = load(model, parse_data(model))
    return [*model.warnings, *dataset.warnings, *check_training(model, dataset)]


@contextmanager
def at_most(seconds: int, error: type[BaseException] = TimeoutError) -> Iterator[None]:
    """Raises the error inside after so many seconds, so that a test that hangs fails."""

    def late(*_: object) -> None:
        signal.alarm(5)  # the signal is repeated, in case the first exception was caught
        raise error(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


LONGEST_MESSAGE = 20_000  # in characters: one diagnostic fills at most two screens, however large the file is


def problem_of(run: Callable[[], object], seconds: int = 300) -> str | None:
    """Describes how a call ends wrongly, or returns None.

    It ends wrongly with an exception that is not a Fault, or with a Fault that no terminal should print.
    """
    try:
        with at_most(seconds):
            run()
    except netc.Fault as fault:
        message = str(fault)
        if not fault.diagnostics or not all(diagnostic.primary.span.source.name for diagnostic in fault.diagnostics):
            return f"a message without a place: {message!r}"
        if len(message) > LONGEST_MESSAGE:
            return f"a message of {len(message)} characters: {message[:300]!r} ..."
        unprintable = {character for line in message.split("\n") for character in line if not character.isprintable()}
        return f"{unprintable} in a message: {message[:1000]!r}" if unprintable - {"\xa0", "\u3000"} else None
    except BaseException:
        return traceback.format_exc(limit=-4)
    return None


PROJECT = """data {
  source = csv("t.csv")
  x = columns("a", "b") -> standardize
  y = column("y") -> standardize
  unread = column("a") -> standardize  # without an input or a target nothing is fitted
  split = (train = 0.8, valid = 0.2)
}
model {
  input x: float[2]
  target y: float
  h = x -> dense(8) -> tanh -> dropout(0.1)
  output z = h -> dense(1) -> squeeze
  loss mse(z, y)
}
train {
  epochs = 40
  batch = 8
  keep = best(valid.loss)
}
"""


def write_project(folder: Path) -> None:
    """A small table and a model of it, t.csv and m.net, whose epochs take milliseconds."""
    rng = np.random.default_rng(0)
    rows = ["a,b,y"] + [f"{a:.4f},{b:.4f},{a * b:.4f}" for a, b in rng.standard_normal((200, 2))]
    (folder / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "m.net").write_text(PROJECT, encoding="utf-8")
