"""Whether an installation works: operations, small models, the kernel cache. What `netc selftest` runs; each group yields what is wrong, in sentences.

Takes nothing from the user. The kernels that the groups need are compiled where the cache does not hold them.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import DTYPES, Type, parse_type
from netc.compiler.ir.value import OPERATIONS, Operation, Value, Whole
from netc.compiler.model import Model
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.madeup import made_up
from netc.runtime.data.stored import Array
from netc.runtime.program import Program
from netc.runtime.step import State, Step
from netc.runtime.verification import CHECKS, Subject, verify
from netc.runtime.verification.comparison import compared, differences
from netc.runtime.verification.interpreter import results
from netc.runtime.verification.models import MODELS
from netc.runtime.workers import Workers

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
_TOGETHER = 8  # operations in one program
_CHECKS = ("updates", "compiled", "threads", "alone_compiled", "many_steps")  # what depends on the machine


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the self-test. `run` yields a sentence for each thing that is wrong."""

    name: str
    doc: str
    run: Callable[[], Iterator[str]]


def _operations() -> Iterator[str]:
    """Each operation's first example, compiled in f32, on two threads."""
    pending = [
        operation for operation in OPERATIONS.values() if operation.examples and not isinstance(operation.lower, Whole)
    ]
    for i in range(0, len(pending), _TOGETHER):
        some = pending[i : i + _TOGETHER]
        graph, arrays = Graph(), dict[str, Array]()
        graph.precision = "f32"
        for operation in some:
            for n, result in enumerate(_applied(operation, graph, arrays)):
                graph.results[f"{operation.name} {n}"] = result
        try:
            found = _compiled(graph, arrays)
        except Exception as error:  # whatever the compiler raises is what is looked for
            yield f"{', '.join(one.name for one in some)}: {type(error).__name__}: {error}"
            continue
        for name, detail in differences(found, results(graph, arrays, _BATCH)):
            yield f"{name.partition(' ')[0]}: {detail}"


def _applied(operation: Operation, graph: Graph, arrays: dict[str, Array]) -> tuple[Value, ...]:
    """The operation on random arrays of its first example's types, f64 in them being f32."""
    types, attributes = operation.examples[0]
    random, leaves = np.random.default_rng(len(arrays)), list[Value]()
    for text in types:
        leaf = graph.leaf("input", f"x{len(arrays)}", parse_type(text.replace("f64", "f32")))
        leaves.append(leaf)
        arrays[leaf.name] = _random(leaf.type, operation.domain, random)
    given = {key: "f32" if value == "f64" else value for key, value in attributes.items()}
    found: Value | tuple[Value, ...] = operation(*leaves, **given)
    return found if isinstance(found, tuple) else (found,)


def _random(type_: Type, domain: tuple[float, float], random: np.random.Generator) -> Array:
    shape = type_.shape(_BATCH)
    if type_.classes is not None:
        return random.integers(0, type_.classes, shape).astype(np.int32)
    if type_.dtype == "bool":
        return np.asarray(random.random(shape) > 0.5)
    if type_.dtype == "i32":
        return random.integers(int(domain[0]), int(domain[1]), shape).astype(np.int32)
    return random.uniform(*domain, shape).astype(DTYPES[type_.dtype].numpy)


def _compiled(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    workers = Workers(2)
    workers.shares_small_steps = True
    step = Step(graph, State.of(None, graph), _BATCH, workers)
    return {
        name: np.asarray(value) if graph.results[name].type.is_batched else np.asarray(value)[0]
        for name, value in step.run(arrays, np.arange(_BATCH)).items()
    }


def model_of(text: str, name: str) -> Model:
    """The model of a text of the package."""
    return elaborate(parse(Source(f"{name}.net", text)), {}, None)


def subject_of(text: str, name: str) -> Subject:
    """A model with synthetic samples for one step and half a one."""
    model = model_of(text, name)
    count = model.train.samples_per_step
    return Subject(model, made_up(model, count + count // 2, longest=_LONGEST))


def _models() -> Iterator[str]:
    for name, text in MODELS.items():
        yield from (f"{name}: {one}" for one in verify(subject_of(text, name), _CHECKS))


def _exports() -> Iterator[str]:
    for name, text in MODELS.items():
        yield from (f"{name}: {one}" for one in CHECKS["export"].run(subject_of(text, name)))


def _kernel_cache() -> Iterator[str]:
    """A folder of its own: what is written is read, what is damaged is compiled again, and a folder that cannot be written does no harm."""
    with tempfile.TemporaryDirectory() as folder, _cache_in(Path(folder) / "cache") as path:
        subject = subject_of(_SMALL, "small")
        first, compiled = _loss(subject)
        if not list(path.glob("*.o")):
            yield f"nothing is written to {path}"
            return
        yield from _again(subject, first, 0, "what is in the cache is not read")
        for entry in path.glob("*.o"):
            code = bytearray(entry.read_bytes())
            code[len(code) // 2] ^= 1
            entry.write_bytes(code)
        yield from _again(subject, first, compiled, "damaged entries are not compiled again")
        path.chmod(0o500)
        try:
            yield from _again(subject, first, 0, "a read-only cache is not read")
            smaller = Subject(subject.model, made_up(subject.model, 2), seed=1)
            _loss(smaller)
        finally:
            path.chmod(0o700)


def _again(subject: Subject, expected: float, compiled: int, told: str) -> Iterator[str]:
    loss, count = _loss(subject)
    compared()
    if count != compiled:
        yield f"{told}: {count} kernels were compiled, and not {compiled}"
    if loss != expected:
        yield f"{told}: the loss is {loss!r}, and was {expected!r}"


def _loss(subject: Subject) -> tuple[float, int]:
    """The loss of a step, and how many kernels were compiled for it."""
    program = Program(subject.model, subject.seed, threads=1)
    part = {name: np.asarray(one)[: program.batch] for name, one in subject.fields.items()}
    loss = program.step(part)["loss"]
    linked = program.training(part).linked
    assert linked is not None
    return loss, linked.compiled


@contextmanager
def _cache_in(path: Path) -> Iterator[Path]:
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
        "kernels are written, read back, compiled again where damaged, and a read-only folder is borne",
        _kernel_cache,
    ),
    Group("export", "the models as NumPy and as ONNX (if onnx and onnxruntime are installed)", _exports),
)
