"""What tests share: a program from a text, slopes by finite differences, the command line as a process of its own."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.dataset import class_counter, load
from netc.runtime.data.spec import parse_data
from netc.runtime.program import Fields
from netc.runtime.step import Backend

ROOT = Path(__file__).parent.parent


def run(text: str, backend: Backend = "numba", threads: int = 1) -> netc.Program:
    """A program of a model's text, with fresh parameters."""
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
    """The words that start `netc` in this environment."""
    return [sys.executable, "-c", "from netc.commands.main import main; main()", *map(str, arguments)]


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    return subprocess.run(
        netc_command(*arguments), cwd=cwd, capture_output=True, text=True, check=False, encoding="utf-8"
    )


def warnings_of(path: Path) -> list[Diagnostic]:
    """What netc warns of in a file and its data, called by the file's name alone. Raises Fault where it is wrong."""
    file = parse(Source(path.name, path.read_text(encoding="utf-8"), path))
    model = elaborate(file, {}, class_counter(file))
    return [*model.warnings, *(load(model, parse_data(model)).warnings if model.data is not None else ())]


@contextmanager
def at_most(seconds: int, error: type[BaseException] = TimeoutError) -> Iterator[None]:
    """Raises the error inside after so many seconds: what hangs is a failure."""

    def late(*_: object) -> None:
        signal.alarm(5)  # again, if somebody swallowed the first
        raise error(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
