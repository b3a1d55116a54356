"""The groups of tests that `netc selftest` runs: operations, small models, the kernel cache, exports.

Each group yields a sentence for everything that is wrong with the installation. Takes nothing from the user; kernels
that the cache does not hold are compiled.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.forms import SplitMetric
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTYPES, Type, parse_type
from netc.compiler.ir.value import OPERATIONS, Operation, Value
from netc.compiler.model import Model
from netc.compiler.targets.cpu.target import MachineCode
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.stored import Array
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.execution.resources import Resources, State
from netc.runtime.execution.step import Step
from netc.runtime.execution.workers import Workers
from netc.runtime.program import Program
from netc.runtime.verification import CHECKS, verify
from netc.runtime.verification.comparison import compared, differences
from netc.runtime.verification.interpreter import results
from netc.runtime.verification.models import MODELS
from netc.runtime.verification.subject import Subject

_BATCH, _LONGEST = 5, 7
_SMALL = """model {
  input x: float[3]
  output z = x -> dense(2)
  loss mean(square(z))
}
train {
  optimizer = sgd(lr = 0.1)
  batch = 4
}
"""
_PER_PROGRAM = 8  # operations
_CHECKS = ("updates", "compiled", "threads", "alone_compiled", "many_steps")  # those that depend on the machine


class Group(Struct, frozen=True):
    """A part of the self-test. `run` yields a sentence for each thing that is wrong."""

    name: str
    doc: str
    run: Callable[[], Iterator[str]]


def _operations() -> Iterator[str]:
    """Each operation's first example, compiled in f32, on two threads."""
    pending = [
        operation
        for operation in OPERATIONS.values()
        if operation.examples and not isinstance(operation.lower, SplitMetric)
    ]
    for i in range(0, len(pending), _PER_PROGRAM):
        some = pending[i : i + _PER_PROGRAM]
        graph, arrays = Graph(), dict[str, Array]()
        graph.precision = "f32"
        for operation in some:
            for n, result in enumerate(_applied(operation, graph, arrays)):
                graph.results[ResultKind.VALUE.named(f"{operation.name} {n}")] = result
        try:
            actual = _compiled(graph, arrays)
        except Exception as error:  # any exception of the compiler is a fault
            yield f"{', '.join(operation.name for operation in some)}: {type(error).__name__}: {error}"
            continue
        for name, detail in differences(actual, results(graph, arrays, _BATCH)):
            yield f"{name.partition(' ')[0]}: {detail}"


def _applied(operation: Operation, graph: Graph, arrays: dict[str, Array]) -> tuple[Value, ...]:
    """The results of the operation for random arrays of its first example's types, with f32 in place of f64."""
    types, attributes = operation.examples[0]
    random, leaves = np.random.default_rng(len(arrays)), list[Value]()
    for text in types:
        leaf = graph.leaf(Role.INPUT, f"x{len(arrays)}", parse_type(text.replace("f64", "f32")))
        leaves.append(leaf)
        arrays[leaf.name] = _random(leaf.type, operation.domain, random)
    narrowed = {key: "f32" if value == "f64" else value for key, value in attributes.items()}
    applied: Value | tuple[Value, ...] = operation(*leaves, **narrowed)
    return applied if isinstance(applied, tuple) else (applied,)


def _random(type_: Type, domain: tuple[float, float], random: np.random.Generator) -> Array:
    """Random elements of a type, numbers within the domain."""
    shape = type_.shape(_BATCH)
    if type_.classes is not None:
        return random.integers(0, type_.classes, shape).astype(np.int32)
    if type_.dtype == "bool":
        return np.asarray(random.random(shape) > 0.5)
    if type_.dtype == "i32":
        return random.integers(int(domain[0]), int(domain[1]), shape).astype(np.int32)
    return random.uniform(*domain, shape).astype(DTYPES[type_.dtype].numpy)


def _compiled(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The results of a graph by machine code, on two threads."""
    workers = Workers(2)
    workers.shares_small_steps = True
    step = Step(graph, Resources(State.of(None, graph), workers), _BATCH)
    types = {name: value.type for name, value in graph.printed_results().items()}
    return {
        name: np.asarray(value) if types[name].is_batched else np.asarray(value)[0]
        for name, value in step.run(arrays, np.arange(_BATCH)).items()
    }


def model_of(text: str, name: str) -> Model:
    """The model of a text of the package."""
    return elaborate(parse(Source(f"{name}.net", text)), {}, None)


def subject_of(text: str, name: str) -> Subject:
    """A model with synthetic samples for one and a half steps."""
    model = model_of(text, name)
    count = model.train.samples_per_step
    return Subject(model, synthetic_data(model, count + count // 2, longest=_LONGEST))


def _models() -> Iterator[str]:
    """The checks that depend on the machine, for each small model."""
    for name, text in MODELS.items():
        yield from (f"{name}: {difference}" for difference in verify(subject_of(text, name), _CHECKS))


def _exports() -> Iterator[str]:
    """Each small model as an exported file."""
    for name, text in MODELS.items():
        yield from (f"{name}: {difference}" for difference in CHECKS["export"].run(subject_of(text, name)))


def _kernel_cache() -> Iterator[str]:
    """In a folder of its own: kernels are read back and compiled again if damaged; a read-only folder does no harm."""
    with tempfile.TemporaryDirectory() as folder, _cache_in(Path(folder) / "cache") as path:
        subject = subject_of(_SMALL, "small")
        first, compiled = _loss(subject)
        if not list(path.glob("*.o")):
            yield f"nothing is written to {path}"
            return
        yield from _compare_with(first, subject, 0, "the cache is not read")
        for entry in path.glob("*.o"):
            code = bytearray(entry.read_bytes())
            code[len(code) // 2] ^= 1
            entry.write_bytes(code)
        yield from _compare_with(first, subject, compiled, "damaged entries are not compiled again")
        path.chmod(0o500)
        try:
            yield from _compare_with(first, subject, 0, "a read-only cache is not read")
            smaller = Subject(subject.model, synthetic_data(subject.model, 2), seed=1)
            _loss(smaller)
        finally:
            path.chmod(0o700)


def _compare_with(expected: float, subject: Subject, compiled: int, failure: str) -> Iterator[str]:
    """Repeats the step; `compiled` is the number of kernels that must be compiled for it."""
    loss, count = _loss(subject)
    compared()
    if count != compiled:
        yield f"{failure}: {count} kernels were compiled, and not {compiled}"
    if loss != expected:
        yield f"{failure}: the loss is {loss!r}, and was {expected!r}"


def _loss(subject: Subject) -> tuple[float, int]:
    """The loss of a step, and the number of kernels that were compiled for it."""
    program = Program(subject.model, subject.seed, threads=1)
    part = {name: np.asarray(field)[: program.batch] for name, field in subject.fields.items()}
    loss = program.step(part)["loss"]
    executable = program.training(part).executable
    assert isinstance(executable, MachineCode)
    return loss, executable.linked.compiled


@contextmanager
def _cache_in(path: Path) -> Iterator[Path]:
    """Keeps the kernel cache in this folder inside."""
    before: Any = os.environ.get("NETC_CACHE")
    os.environ["NETC_CACHE"] = str(path)
    try:
        yield path
    finally:
        os.environ.pop("NETC_CACHE")
        if before is not None:
            os.environ["NETC_CACHE"] = before


GROUPS = (
    Group("operations", "each operation, compiled, against its reference", _operations),
    Group(
        "models",
        f"{len(MODELS)} small models: {', '.join(_CHECKS[:-1])} and {_CHECKS[-1]}, as `netc check --verify` has them",
        _models,
    ),
    Group(
        "kernel cache",
        "kernels are written, read back and compiled again if damaged; a read-only folder does no harm",
        _kernel_cache,
    ),
    Group("export", "the models as NumPy and as ONNX (if onnx and onnxruntime are installed)", _exports),
)
