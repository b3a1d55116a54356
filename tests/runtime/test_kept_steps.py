"""Steps from the cache compute the same bits as planned ones, from records that may vanish, be damaged or not fit."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import netc_command

import netc
from netc.compiler.ir.value import OPERATIONS
from netc.compiler.program.plan import Plan
from netc.compiler.targets.named import machine_for
from netc.dsl.storage import records
from netc.dsl.structs import replace
from netc.runtime import environment, plugins
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.execution import kept_steps, prepared

DENSE = """model {
  input x: float[5]
  target y: class(3)
  h = x -> dense(4) -> tanh -> dropout(0.5)
  z = h -> dense(3)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train {
  optimizer = adam(lr = 0.01)
  batch = 8
}
"""
LENGTHS = """model {
  input x: float[time, 3]
  target y: float
  h = last(gru(x, 4))
  z = h -> dense(1) -> squeeze
  output size = z
  loss mse(z, y)
}
train {
  batch = 4
}
"""
BOUNDED = LENGTHS.replace("float[time, 3]", "float[time <= 6, 3]")
CHUNKS = """model {
  input x: float[time, 3]
  target y: float[time, 2]
  z = gru(x, 4) -> dense(2)
  output size = z
  loss mse(z, y)
}
train {
  batch = 4
  truncate = (time = 3)
}
"""
MODELS = {
    "dense": DENSE,
    "lengths": LENGTHS,
    "bounded": BOUNDED,
    "accumulated": DENSE.replace("batch = 8", "batch = 8\n  accumulate = 2"),
    "in chunks": CHUNKS,
}


@pytest.fixture(autouse=True)
def fingerprints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leaves the debugging mode. The cache of all tests serves, for its kernels, with names of records of their own.

    Returns the list with the one text by which these names differ from other tests'.
    """
    monkeypatch.delenv("NETC_DEBUG")
    folders = [str(tmp_path)]
    monkeypatch.setattr(kept_steps, "fingerprint", lambda: f"{environment.fingerprint()} {folders[0]}")
    monkeypatch.setattr(kept_steps, "_ENVIRONMENT", kept_steps.fingerprint())
    return folders


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that were made."""
    plans, real = list[Plan](), prepared.plan_step

    def counted(*arguments: Any) -> Plan:
        plans.append(real(*arguments))
        return plans[-1]

    monkeypatch.setattr(prepared, "plan_step", counted)
    return plans


def ran(text: str, **options: Any) -> dict[str, Any]:
    """All that two steps of a new program and its predictions compute."""
    model = netc.parse(text)
    program = netc.compile(model, **options)
    fields = synthetic_data(model, model.train.batch * model.train.accumulate)
    losses = {f"loss {step}": np.array(program.step(fields)["loss"]) for step in range(2)}
    predicted = program.predict({name: fields[name] for name in model.inputs})
    return {**losses, **predicted, **program.persistent, **program.evaluate(fields)}


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        arrays = (value, second[name]) if isinstance(value, list) else ([value], [second[name]])
        for left, right in zip(*arrays, strict=True):
            np.testing.assert_array_equal(left, right, strict=True)


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of the records that were written."""
    written, real = list[Path](), records.write

    def noted(name: str, content: bytes) -> None:
        real(name, content)
        written.append(Path(os.environ["NETC_CACHE"]) / name)

    monkeypatch.setattr(kept_steps.records, "write", noted)
    return written


@pytest.mark.parametrize("name", MODELS)
def test_a_step_from_the_cache_gives_the_same_bits(name: str, plans: list[Plan]) -> None:
    first = ran(MODELS[name])
    assert plans
    plans.clear()
    assert_same(ran(MODELS[name]), first)
    assert not plans
    assert_same(ran(MODELS[name], threads=1), first)
    assert not plans, "the number of threads is not part of a plan"


def change_head(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Changes the data of a record, whose digest is right afterwards."""

    def changed(content: bytes) -> bytes:
        head, line, step = content[32:].partition(b"\n")
        record = json.loads(head)
        change(record)
        content = json.dumps(record).encode() + line + step
        return hashlib.sha256(content).digest() + content

    return changed


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:-1],
    "a bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "empty": lambda content: b"",
    "no JSON": lambda content: hashlib.sha256(b"{\n").digest() + b"{\n",
    "another type": lambda content: hashlib.sha256(b"[1, 2]\n").digest() + b"[1, 2]\n",
    "no kernels": change_head(lambda record: record.update(kernels=[], given=1)),
    "a path for a kernel": change_head(lambda record: record.update(kernels=["../../etc/passwd"], given=1)),
    "a text for a number": change_head(lambda record: record.update(facts="8", dims=8)),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_a_miss(name: str, plans: list[Plan], paths: list[Path]) -> None:
    first = ran(DENSE)
    for path in paths:
        path.write_bytes(DAMAGES[name](path.read_bytes()))
    plans.clear()
    assert_same(ran(DENSE), first)
    assert plans
    plans.clear()
    assert_same(ran(DENSE), first)
    assert not plans, "it was written again"


def test_records_and_kernels_may_vanish(
    plans: list[Plan], paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    first = ran(LENGTHS)
    for pattern in ("*.o", "step-*"):
        for path in (tmp_path / "cache").glob(pattern):
            path.unlink()
        plans.clear()
        assert_same(ran(LENGTHS), first)
        assert plans


CHANGES = {  # and which of training, prediction and evaluation they change
    "the model": (DENSE.replace("dense(4)", "dense(6)"), 3),
    "a number of training": (DENSE.replace("dropout(0.5)", "dropout(0.4)"), 1),
    "the batch": (DENSE.replace("batch = 8", "batch = 9"), 3),
    "the type of the numbers": (DENSE.replace("batch = 8", "batch = 8\n  precision = f64"), 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_program_has_another_record(change: str, plans: list[Plan]) -> None:
    ran(DENSE)
    plans.clear()
    text, count = CHANGES[change]
    ran(text)
    assert len(plans) == count


def test_another_machine_has_another_record(plans: list[Plan]) -> None:
    machine = machine_for("sse2")
    for described in (
        machine,
        replace(machine, first_cache=machine.first_cache // 2),
        replace(machine, cores=machine.cores + 1),
    ):
        plans.clear()
        netc.compile(netc.parse(DENSE), machine=described).predict({"x": np.zeros((1, 5))})
        assert len(plans) == 1


def test_nothing_is_kept_if_files_of_netc_changed_since_they_were_imported(
    plans: list[Plan], paths: list[Path], fingerprints: list[str]
) -> None:
    fingerprints[0] += " and a new file"
    ran(DENSE)
    assert not paths


@pytest.mark.parametrize("reason", ["debugging", "plug-ins", "reference", "plan", "no fingerprint"])
def test_nothing_is_kept(reason: str, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    options = {}
    match reason:
        case "debugging":
            monkeypatch.setenv("NETC_DEBUG", "1")
        case "plug-ins":
            tanh = OPERATIONS["tanh"]
            monkeypatch.setattr(plugins, "_added", [])
            monkeypatch.delitem(OPERATIONS, "tanh")
            plugins.register(tanh)
        case "no fingerprint":
            monkeypatch.setattr(kept_steps, "_ENVIRONMENT", None)
        case backend:
            options = {"backend": backend}
    netc.compile(netc.parse(DENSE), **options).predict({"x": np.zeros((1, 5))})
    assert not paths


IMPORTS = """
import sys
from netc.commands.main import main

sys.argv = ["netc", *sys.argv[1:]]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
NEVER = (
    *("llvmlite", "networkx", "polars", "pydantic", "rich", "jinja2"),
    *("netc.compiler.lowering", "netc.compiler.planning", "netc.compiler.targets.cpu.compile"),
)


def test_a_second_check_imports_little(tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(DENSE)
    environ = {name: value for name, value in os.environ.items() if name != "NETC_DEBUG"}
    words = ["check", "--try", str(tmp_path / "m.net")]
    first = subprocess.run(netc_command(*words), capture_output=True, text=True, check=True, env=environ)
    second = subprocess.run(
        [sys.executable, "-c", IMPORTS, *words], capture_output=True, text=True, check=True, env=environ
    )
    assert second.stdout == first.stdout
    modules = set(second.stderr.split())
    assert "netc.runtime.execution.kept_steps" in modules
    assert not modules & {*NEVER}
