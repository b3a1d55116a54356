"""Check `compiled`: machine code against the reference interpreter, in the model's own precision."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from netc.compiler import pipeline
from netc.compiler.cost import flops
from netc.compiler.emulator.run import random_order
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.kernels.machine import Machine
from netc.compiler.kernels.targets import machine_for
from netc.compiler.passes.update import STEP
from netc.dsl.source import NOWHERE, Span
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.program import Fields, Program
from netc.runtime.step import Backend, Step, longest_of, sizes_of
from netc.runtime.verification.comparison import Rounding, difference, differences
from netc.runtime.verification.interpreter import Noise, results
from netc.runtime.verification.subject import (
    Difference,
    Subject,
    chosen,
    has_loss,
    move_parameters,
    program_of,
    ready_fields,
)


class NoisyProgram(Program):
    """The reference interpreter with rounding noise in every operation."""

    noise: Noise | None = None

    def _made_ready(self, graph: Graph, fields: Fields, profiled: bool = False) -> Step:
        step = super()._made_ready(graph, fields, profiled)
        step.trace = lambda graph, leaves, sizes: results(graph, leaves, sizes, self.noise)
        return step


class Pair:
    """A program under test, and the reference with the same parameters and states."""

    def __init__(self, subject: Subject, backend: Backend, threads: int, machine: Machine | None = None) -> None:
        self.tested = program_of(subject, backend, threads, machine=machine)
        self.reference = NoisyProgram(subject.model, subject.seed, "reference", threads=1)
        move_parameters(subject.model, self.reference.persistent, subject.seed)

    def level(self) -> None:
        """The reference goes on from the states of the program under test: so that a step is judged alone."""
        for name, array in self.tested.persistent.items():
            self.reference.persistent[name][...] = array


def check(subject: Subject) -> Iterator[Difference]:
    """Loss, gradients, predictions and evaluation, and three steps of the optimizer."""
    pair = Pair(subject, "numba", 1)
    for part in _PARTS:
        yield from part(pair, "compiled", subject)


def check_plan(subject: Subject) -> Iterator[Difference]:
    """The same by the plan, emulated in a random order of tasks: by one member for this machine, by three and by five for one with tiny caches, in which
    whatever can be cut is. Each part of the comparison has one of these settings; another seed turns them round."""
    if _is_too_large(subject):
        return
    host = machine_for()
    tiny = replace(
        host, first_cache=1 << 10, second_cache=1 << 12, many_bytes=1 << 8, few_weights=1 << 8, shard_ratio=1
    )
    settings = ((1, host), (3, tiny), (5, tiny))
    for number, part in enumerate(_PARTS):
        members, machine = settings[(number + subject.seed) % len(settings)]
        with random_order(subject.seed + members):
            for wrong in part(Pair(subject, "plan", members, machine), "plan", subject):
                yield replace(wrong, where=f"{wrong.where}, by {members} members")


def _compare_gradients(pair: Pair, name: str, subject: Subject) -> Iterator[Difference]:
    """Loss and gradients of a full batch, of the rest that the data leaves, and of a sample alone; up to the first of them that differ."""
    if not has_loss(subject.model):
        return
    fields = ready_fields(subject.model, subject.fields)
    for samples in batches_of(subject):
        wrong = list(_gradients(pair, name, chosen(fields, samples)))
        yield from wrong
        if wrong:
            return


def _compare_steps(pair: Pair, name: str, subject: Subject) -> Iterator[Difference]:
    """Three steps of the optimizer, after which the reference goes on from the states of the program under test."""
    if has_loss(subject.model):
        yield from _steps(pair, name, ready_fields(subject.model, subject.fields), subject)
        pair.level()


def _compare_uses(pair: Pair, name: str, subject: Subject) -> Iterator[Difference]:
    """Predictions, and the evaluation of all samples."""
    given: dict[str, Any] = dict(ready_fields(subject.model, subject.fields))
    if subject.model.outputs:
        yield from _compare(pair, name, "a prediction", lambda program: program.predict(given))
    if any(result.startswith(("loss.", "metric.", "watch.")) for result in subject.model.graph.results):
        yield from _compare(pair, name, "an evaluation", lambda program: program.evaluate(given))


_PARTS = (_compare_gradients, _compare_steps, _compare_uses)


def batches_of(subject: Subject) -> list[Array]:
    """The samples of a batch as large as there is, of the rest that the data leaves, and the first sample alone."""
    count, batch = subject.count, subject.model.train.batch
    rest = count % batch if count > batch else 0
    sizes = [np.arange(min(count, batch)), np.arange(count - rest, count), np.arange(1)]
    return [one for i, one in enumerate(sizes) if len(one) and all(len(one) != len(before) for before in sizes[:i])]


def _gradients(pair: Pair, check_name: str, fields: Mapping[str, Field]) -> Iterator[Difference]:
    def run(program: Program) -> dict[str, Any]:
        loss, gradients = program.gradients(fields)
        return {
            "loss": np.asarray(loss, dtype_of(program)),
            **{f"gradient.{key}": one for key, one in gradients.items()},
        }

    count = len(next(iter(fields.values())))
    wrong = list(_compare(pair, check_name, f"the gradients of {count} samples", run))
    if wrong:
        place = _first_place(pair, pipeline.gradient_graph(pair.tested.model), fields)
        wrong = [replace(one, span=place) for one in wrong] if place is not None else wrong
    yield from wrong


def _first_place(pair: Pair, graph: Graph, fields: Mapping[str, Field]) -> Span | None:
    """The source of the first value of a graph that differs, if every value is made a result. None if then none does: a fault of what is fused."""
    graph = pipeline.run_passes(graph)
    probes = {f"probe {one.number}": one for one in graph.values() if one.operands and one.role is not Role.SCAN}
    graph, copies = graph.subgraph(probes)
    values = dict(zip(probes, (copies[one] for one in probes.values()), strict=True))
    count = len(next(iter(fields.values())))

    def run(program: Program) -> dict[str, Any]:
        step = program.step_of("probes", lambda: graph, fields)
        found = program.run_step(step, fields, np.arange(count), epoch_of(program))
        return {name: list(one) if isinstance(one, Ragged) else one for name, one in found.items()}

    try:
        found, expected = run(pair.tested), run(pair.reference)
    except Exception:  # the same fault, or one of its own: where it is stays unknown
        return None
    names = (name for name in values if difference(found[name], expected[name], _CLEAR) is not None)
    first = next(names, None)
    return None if first is None else values[first].span


def epoch_of(program: Program) -> int:
    """What stands for the epoch in single steps."""
    return int(program.persistent[STEP]) if STEP in program.persistent else 0


def _steps(pair: Pair, check_name: str, fields: Mapping[str, Field], subject: Subject) -> Iterator[Difference]:
    """Three steps, one after the other, each judged alone: of all samples that a step takes, of fewer, and of all once more."""
    most = min(subject.count, subject.model.train.samples_per_step)
    for number, count in enumerate((most, max(most // 2, 1), most), 1):
        samples = (np.arange(count) + number) % subject.count
        part = chosen(fields, samples)
        before = {name: array.copy() for name, array in pair.tested.persistent.items()}

        def run(program: Program, part: Mapping[str, Field] = part, before: Any = before) -> dict[str, Any]:
            for name, array in before.items():
                program.persistent[name][...] = array
            losses = program.step(part)
            kept = {name: array.copy() for name, array in program.persistent.items()}
            return {**{f"loss.{name}": np.asarray(one, dtype_of(program)) for name, one in losses.items()}, **kept}

        wrong = list(_compare(pair, check_name, f"step {number}, of {count} samples", run))
        yield from wrong
        if wrong:
            return
        pair.level()


def _is_too_large(subject: Subject) -> bool:
    """Whether a step has too many operations to emulate them: that takes minutes."""
    count = min(subject.count, subject.model.train.batch)
    longest = {dim: min(length, 10) for dim, length in longest_of(subject.model).items()}
    return flops(subject.model.graph, sizes_of(subject.model.graph, count, longest)) > _MOST_EMULATED


_CLEAR = 1e-6  # what a value differs by at least, where its difference is to say something
_MOST_EMULATED = 20_000_000  # FLOPs of the graph of the file


def dtype_of(program: Program) -> Any:
    return np.float64 if program.model.train.precision == "f64" else np.float32


def _compare(pair: Pair, check_name: str, what: str, run: Any) -> Iterator[Difference]:
    found, expected = run(pair.tested), run(pair.reference)
    kept = {name: array.copy() for name, array in pair.tested.persistent.items()}

    def disturbed(noise: Noise) -> Mapping[str, Any]:
        pair.reference.noise = noise
        try:
            return dict(run(pair.reference))
        finally:
            pair.reference.noise = None

    for name, detail in differences(_in_precision(found, pair), _in_precision(expected, pair), Rounding(disturbed)):
        span = span_of(pair.tested, name)
        yield Difference(check_name, f"{what}: {name}", span, detail)
    for name, array in kept.items():
        pair.tested.persistent[name][...] = array


def _in_precision(found: Mapping[str, Any], pair: Pair) -> dict[str, Any]:
    """Plain floats (figures) as arrays of the model's precision: they are sums in it."""
    kind = dtype_of(pair.tested)
    return {name: np.asarray(one, kind) if isinstance(one, float) else one for name, one in found.items()}


def span_of(program: Program, result: str) -> Span:
    """The source of a parameter, a state, an output, a loss or a metric, whichever a result is called by."""
    model = program.model
    name = result.removeprefix("gradient.").removeprefix("update.")
    own = {**model.trainables, **model.states}
    for owner, info in own.items():
        if name == owner or name.endswith(f".{owner}"):
            return info.span
    for key in (result, f"output.{result}", f"loss.{result}", f"metric.{result}", f"loss.{name.removeprefix('loss.')}"):
        if key in model.graph.results:
            return model.graph.results[key].span
    losses = [value.span for key, value in model.graph.results.items() if key.startswith("loss.")]
    return losses[0] if losses else NOWHERE
