"""The kernel cache, when it is shared, killed, damaged, read-only or of another toolchain, and traps of compilation.

The cache may make netc slow, but never wrong.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import llvmlite.binding as llvm
import numpy as np
import pytest
from both import compiled, evaluate, examples, graph_of, random_array

import netc
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.value import OPERATIONS
from netc.compiler.program import schedule
from netc.compiler.targets.cpu import cache, compile, helper_processes
from netc.compiler.targets.cpu.schedule import emit
from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.machine import Machine, host
from netc.dsl.structs import replace

# there is no product, whose kernel would take seconds to compile
NET = """model {
  input x: float[6]
  target y: float
  param w: float[6] = normal(1)
  output p = sum(tanh(x * w) + w)
  loss mse(p, y)
}
"""
TRAIN = f"""
import numpy, netc, sys
program = netc.compile(netc.parse({NET!r}))
x = numpy.linspace(-1, 1, 60, dtype=numpy.float32).reshape(10, 6)
loss = program.step(dict(x=x, y=x[:, 0]))["loss"]
translates = "netc.compiler.targets.cpu.text.translate" in sys.modules
print(repr(loss), program.training(dict()).executable.linked.compiled, translates)
"""


def start(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "NETC_CACHE": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN], env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def finish(running: subprocess.Popen) -> list[str]:
    out, _ = running.communicate(timeout=600)
    assert running.returncode == 0
    return out.split()


def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The loss that this process computes with a cache, and the number of kernels that it compiles."""
    monkeypatch.setenv("NETC_CACHE", str(folder))
    x = np.linspace(-1, 1, 60, dtype=np.float32).reshape(10, 6)
    program = netc.compile(netc.parse(NET))
    loss = program.step({"x": x, "y": x[:, 0]})["loss"]
    return repr(loss), program.training({}).executable.linked.compiled


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A cache that two processes filled at the same time, and the loss that both computed."""
    folder = tmp_path_factory.mktemp("cache")
    shutil.rmtree(folder)
    (first, *_), (other, *_) = (finish(running) for running in [start(folder), start(folder)])
    assert first == other
    return folder, first


@pytest.fixture
def copy(filled: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(filled[0], tmp_path / "cache")
    (tmp_path / "cache").chmod(0o700)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_processes_fill_a_cache_together_and_a_third_compiles_nothing(filled: tuple[Path, str]) -> None:
    folder, loss = filled
    assert folder.stat().st_mode & 0o777 == 0o700
    kinds = {path.suffix or path.name.partition("-")[0] for path in folder.iterdir()}
    assert kinds == {".o", ".tables", "processor"}
    assert finish(start(folder)) == [loss, "0", "False"]


def test_a_killed_process_leaves_no_entry_that_is_used(
    filled: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    running = start(folder)
    while not folder.is_dir() or not any(folder.glob("*.o")):
        assert running.poll() is None
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    (folder / "0123abcd").write_bytes(b"half of an entry")
    (folder / "0123abcd.o").write_bytes(b"")
    assert here(folder, monkeypatch)[0] == filled[1]


@pytest.mark.filterwarnings("ignore:the cache is not used")
def test_without_a_usable_cache_folder_everything_runs(
    filled: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here(Path("/proc/netc"), monkeypatch)[0] == filled[1]
    shutil.copytree(filled[0], tmp_path / "open")
    (tmp_path / "open").chmod(0o777)
    loss, count = here(tmp_path / "open", monkeypatch)
    assert loss == filled[1]
    assert count > 0, "a folder that others can write to was trusted"


def test_a_damaged_or_renamed_entry_is_a_miss(copy: Path) -> None:
    first, other = (entry for entry in list(cache.entries())[:2])
    assert first.parts
    assert other.parts
    code = cache.read(first.parts)
    assert code
    stored = first.path.read_bytes()
    for at in (0, 40, len(stored) // 2, len(stored) - 1):
        first.path.write_bytes(stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :])
        assert cache.read(first.parts) is None
        assert cache.why_missing(first.parts, []) == "its entry is damaged"
    first.path.write_bytes(stored[:-10])
    assert cache.read(first.parts) is None
    first.path.write_bytes(other.path.read_bytes())
    assert cache.read(first.parts) is None, "the code of another kernel was taken"
    first.path.write_bytes(stored)
    assert cache.read(first.parts) == code


@pytest.mark.parametrize("field", cache.Parts.__struct_fields__)
def test_everything_that_decides_the_code_is_in_the_key(copy: Path, field: str) -> None:
    readable = [entry for entry in cache.entries() if entry.parts]
    parts = readable[0].parts
    assert parts
    changed = replace(parts, **{field: "other"})
    assert changed.name != parts.name
    assert cache.read(changed) is None
    assert (changed.family == parts.family) == (field != "kernel")
    assert [entry.parts for entry in cache.entries({parts.family})] == [parts]
    why = cache.why_missing(changed, readable)
    words = {"kernel": "it is new", "features": "instruction sets", "sources": "kernels have changed"}
    assert words.get(field, f"{field} was {getattr(parts, field)}, is other") in why


def test_another_llvmlite_compiles_anew_and_says_why(
    filled: tuple[Path, str], copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from netc.commands.table import app_of

    toolchain = cache._toolchain()
    monkeypatch.setattr(cache, "_toolchain", lambda: {**toolchain, "llvmlite": "0.0.1"})
    assert here(copy, monkeypatch) == (filled[1], len(list(filled[0].glob("*.o"))))
    (copy.parent / "m.net").write_text(NET, encoding="utf-8")
    app_of()(["explain", str(copy.parent / "m.net"), "--cache"], standalone_mode=False)
    rows = capsys.readouterr().out.splitlines()[1:]
    assert rows
    assert all(row.endswith(f"llvmlite was {toolchain['llvmlite']}, is 0.0.1") for row in rows)
    app_of()(["cache"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "llvmlite 0.0.1" in shown
    assert f"llvmlite {toolchain['llvmlite']}" in shown
    app_of()(["cache", "--clear"], standalone_mode=False)
    assert list(copy.iterdir()) == []


def test_a_helper_that_dies_loses_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = [KernelSource(f"def kernel(p0):\n    store_f32_0(p0, {i}, F32(0))\n", 1) for i in range(12)]
    monkeypatch.setattr(compile.sys, "executable", shutil.which("false"))
    monkeypatch.setattr(compile, "cores", lambda: 3)
    compiled_kernels = dict(compile.compile_all(kernels, host()))
    assert compiled_kernels.keys() == set(kernels)
    for kernel, code in compiled_kernels.items():
        assert compile.symbol_of(compile.parts_of(kernel, host())).encode() in code.code, "the key is in no symbol"


def test_a_helper_that_ends_while_nothing_waits_loses_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last kernel is yielded even if it comes after this process has looked for it."""
    kernels = [KernelSource(f"def kernel(p0):\n    store_f32_0(p0, {i}, F32(2))\n", 1) for i in range(12)]

    class LateHelper:
        """Takes all kernels, and hands them over just before its end is noticed."""

        def __init__(self, target: object, args: tuple) -> None:
            self.waiting, self.done, _ = args

        def start(self) -> None:
            self.taken = list(self.waiting)
            self.waiting.clear()

        def join(self, timeout: float) -> None:
            pass

        def is_alive(self) -> bool:
            self.done.extend((kernel, compile.Compiled(b"", 1)) for kernel in self.taken)
            self.taken.clear()
            return False

    monkeypatch.setattr(compile.threading, "Thread", LateHelper)
    monkeypatch.setattr(compile, "cores", lambda: 2)
    assert dict(compile.compile_all(kernels, host())).keys() == set(kernels)


def test_helpers_compile_the_same_code_as_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = [KernelSource(f"def kernel(p0):\n    store_f32_0(p0, {i}, F32(1))\n", 1) for i in range(12)]
    monkeypatch.setattr(compile, "cores", lambda: 3)
    asked = []
    real = compile.compile_kernel
    exactly, has_come = compile._exactly, threading.Event()

    def read(stream: IO[bytes], count: int) -> bytes:
        content = exactly(stream, count)
        has_come.set()
        return content

    def compile_later(kernel: KernelSource, machine: Machine) -> compile.Compiled:
        """This process waits until a helper has compiled the first kernel."""
        asked.append(kernel)
        assert has_come.wait(600), "no helper compiled anything"
        return real(kernel, machine)

    monkeypatch.setattr(compile, "_exactly", read)
    monkeypatch.setattr(compile, "compile_kernel", compile_later)
    compiled_kernels = dict(compile.compile_all(kernels, host()))
    assert compiled_kernels.keys() == set(kernels)
    assert len(asked) < len(kernels)
    monkeypatch.undo()
    assert all(code == compile.compile_kernel(kernel, host()) for kernel, code in compiled_kernels.items())


def test_the_first_program_starts_a_helper_before_it_knows_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the first kernels, or ends with the program; later programs start helpers when they need some."""
    kernels = [KernelSource(f"def kernel(p0):\n    store_f32_0(p0, {i}, F32(3))\n", 1) for i in range(12)]
    monkeypatch.setattr(helper_processes, "_programs", itertools.count())
    monkeypatch.setattr(helper_processes, "cores", lambda: 2)
    monkeypatch.setattr(compile, "cores", lambda: 2)
    with helper_processes.expecting_kernels():
        (helper,) = helper_processes._idle
        schedules: list[int] = []
        compiled_kernels = dict(compile.compile_all(kernels, host(), lambda: schedules.append(1)))
        assert (schedules, helper_processes._idle) == ([1], [])
    assert compiled_kernels.keys() == set(kernels)
    assert helper.poll() is not None
    with helper_processes.expecting_kernels():
        assert helper_processes._idle == []
    monkeypatch.setattr(helper_processes, "_programs", itertools.count())
    with helper_processes.expecting_kernels():
        (helper,) = helper_processes._idle
    assert helper.poll() is not None


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("name", "types", "attributes"),
    [case[0:1] + case[2:] for case in examples() if case[0] not in ("argmax", "scramble", "unit")],
)
def test_nan_is_kept_by_every_kernel(name: str, types: tuple, attributes: dict) -> None:
    graph, leaves, result = graph_of(OPERATIONS[name], types, attributes, "f32")
    graph.results[parse_result("y")] = result
    rng = np.random.default_rng(1)
    arrays = {leaf.name: random_array(leaf.type, rng, OPERATIONS[name].domain) for leaf in leaves}
    for array in arrays.values():
        if array.dtype == np.float32:
            array.ravel()[array.size // 2] = np.nan
    expected = evaluate(graph, arrays, 5)["y"]
    computed = compiled(graph, arrays)["y"]
    if name == "conv2d_input":  # elements between others are 0, and 0 times a weight that is NaN is NaN
        assert (np.isnan(computed) >= np.isnan(expected)).all()
    elif result.type.dtype in ("f32", "f64"):
        np.testing.assert_array_equal(np.isnan(computed), np.isnan(expected))
    else:
        np.testing.assert_array_equal(computed, expected)


def test_a_schedule_for_another_cpu_uses_no_feature_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit.llvm, "get_default_triple", lambda: "aarch64-unknown-linux-gnu")
    text = emit.emit(schedule.Schedule((), ()), {})
    assert "x86" not in text
    llvm.parse_assembly(text).verify()
