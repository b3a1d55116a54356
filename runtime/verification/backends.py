"""Checks `compiled` and `plan`: machine code and the emulated plan against the reference interpreter, in the model's
precision.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from netc.compiler import pipeline
from netc.compiler.analysis.cost import flops
from netc.compiler.backends import Backend, interpreted_by
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.model import Model
from netc.compiler.passes.pack import at_length
from netc.compiler.passes.update import STEP
from netc.compiler.targets.emulator.run import random_order
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import machine_for
from netc.dsl.plural import counted
from netc.dsl.source import NOWHERE, Span
from netc.dsl.structs import replace
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.execution.step_cost import longest_of, sizes_of
from netc.runtime.program import Program
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

    def __init__(self, model: Model, seed: int) -> None:
        target = interpreted_by(lambda graph, leaves, sizes: results(graph, leaves, sizes, self.noise))
        super().__init__(model, seed, target, threads=1)


class Pair:
    """A program under test, and the reference with the same parameters and states."""

    def __init__(self, subject: Subject, backend: Backend, threads: int, machine: Machine | None = None) -> None:
        self.tested = program_of(subject, backend, threads, machine=machine)
        self.reference = NoisyProgram(subject.model, subject.seed)
        move_parameters(subject.model, self.reference.persistent, subject.seed)

    def level(self) -> None:
        """Copies the states of the program under test to the reference, so that each step is judged alone."""
        for name, array in self.tested.persistent.items():
            self.reference.persistent[name][...] = array


def check(subject: Subject) -> Iterator[Difference]:
    """Compares loss, gradients, three steps of the optimizer, predictions and evaluation.

    An odd seed runs a plan that cuts even small programs into shards and row blocks.
    """
    machine = machine_for()
    pair = Pair(subject, "cpu", 1, with_small_limits(machine) if subject.seed % 2 else machine)
    for part in _PARTS:
        yield from part(pair, "compiled", subject)


def check_plan(subject: Subject) -> Iterator[Difference]:
    """Compares the same for the plan, emulated in a random order of tasks.

    One member runs the plan for this machine; three and five run that for small limits. Each part of the comparison
    has one of these settings; another seed exchanges them.
    """
    if is_too_large(subject):
        return
    machine = machine_for()
    small = with_small_limits(machine)
    settings = ((1, machine), (3, small), (5, small))
    for number, part in enumerate(_PARTS):
        members, machine = settings[(number + subject.seed) % len(settings)]
        with random_order(subject.seed + members):
            for wrong in part(Pair(subject, "plan", members, machine), "plan", subject):
                yield replace(wrong, where=f"{wrong.where}, by {members} members")


def with_small_limits(machine: Machine) -> Machine:
    """Returns a machine with the same kernels, for which a plan cuts whatever can be cut."""
    return replace(
        machine, first_cache=1 << 10, second_cache=1 << 12, many_bytes=1 << 8, few_weights=1 << 8, shard_ratio=1
    )


def _compare_gradients(pair: Pair, name: str, subject: Subject) -> Iterator[Difference]:
    """Loss and gradients of a full batch, of the remainder and of a single sample, up to the first that differs."""
    if not has_loss(subject.model):
        return
    fields = ready_fields(subject.model, subject.fields)
    for samples in batches_of(subject):
        wrong = list(_gradients(pair, name, chosen(fields, samples)))
        yield from wrong
        if wrong:
            return


def _compare_steps(pair: Pair, name: str, subject: Subject) -> Iterator[Difference]:
    """Three steps of the optimizer; afterwards the reference has the states of the program under test."""
    if has_loss(subject.model):
        yield from _steps(pair, name, ready_fields(subject.model, subject.fields), subject)
        pair.level()


def _compare_uses(pair: Pair, name: str, subject: Subject) -> Iterator[Difference]:
    """Predictions, and the evaluation of all samples."""
    fields: dict[str, Any] = dict(ready_fields(subject.model, subject.fields))
    if subject.model.outputs:
        yield from _compare(pair, name, "a prediction", lambda program: program.predict(fields))
    if subject.model.graph.has(ResultKind.LOSS, ResultKind.METRIC, ResultKind.WATCH):
        yield from _compare(pair, name, "an evaluation", lambda program: program.evaluate(fields))


_PARTS = (_compare_gradients, _compare_steps, _compare_uses)


def batches_of(subject: Subject) -> list[Array]:
    """The samples of a full batch, of the remainder of the data, and the first sample alone, if they differ in size."""
    count, batch = subject.count, subject.model.train.batch
    rest = count % batch if count > batch else 0
    batches = [np.arange(min(count, batch)), np.arange(count - rest, count), np.arange(1)]
    by_size = {len(samples): samples for samples in reversed(batches) if len(samples)}
    return [samples for samples in batches if by_size.get(len(samples)) is samples]


def _gradients(pair: Pair, check_name: str, fields: Mapping[str, Field]) -> Iterator[Difference]:
    def run(program: Program) -> dict[str, Any]:
        loss, gradients = program.gradients(fields)
        return {
            "loss": np.asarray(loss, dtype_of(program)),
            **{str(ResultKind.GRADIENT.named(key)): gradient for key, gradient in gradients.items()},
        }

    count = len(next(iter(fields.values())))
    wrong = list(_compare(pair, check_name, f"the gradients of {counted(count, 'sample')}", run))
    if wrong:
        span = _first_different(pair, pipeline.gradient_graph(pair.tested.model), fields)
        wrong = [replace(difference, span=span) for difference in wrong] if span is not None else wrong
    yield from wrong


def _first_different(pair: Pair, graph: Graph, fields: Mapping[str, Field]) -> Span | None:
    """The source of the first value of a graph that differs when every value is a result.

    Returns None if no value differs then, which is a fault of fusion.
    """
    graph = pipeline.run_passes(graph)
    probes = {
        ResultKind.VALUE.named(f"probe {value.number}"): value
        for value in graph.values()
        if value.operands and value.role is not Role.SCAN
    }
    graph, _ = graph.subgraph(probes)
    values = graph.printed_results()
    count = len(next(iter(fields.values())))

    def run(program: Program) -> dict[str, Any]:
        step = program.step_of("probes", lambda: graph, fields)
        arrays = program.run_step(step, fields, np.arange(count), epoch_of(program))
        return {name: list(array) if isinstance(array, Ragged) else array for name, array in arrays.items()}

    try:
        actual, expected = run(pair.tested), run(pair.reference)
    except Exception:  # the same fault or another one: its source stays unknown
        return None
    names = (name for name in values if difference(actual[name], expected[name], _CLEAR) is not None)
    first = next(names, None)
    return None if first is None else values[first].span


def epoch_of(program: Program) -> int:
    """The number that single steps use as their epoch."""
    return int(program.persistent[STEP]) if STEP in program.persistent else 0


def _steps(pair: Pair, check_name: str, fields: Mapping[str, Field], subject: Subject) -> Iterator[Difference]:
    """Three steps, each judged alone: of all samples that a step takes, of fewer, and of all again."""
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
            arrays = {
                str(ResultKind.LOSS.named(name)): np.asarray(loss, dtype_of(program)) for name, loss in losses.items()
            }
            return {**arrays, **kept}

        wrong = list(_compare(pair, check_name, f"step {number}, of {counted(count, 'sample')}", run))
        yield from wrong
        if wrong:
            return
        pair.level()


def is_too_large(subject: Subject) -> bool:
    """Whether emulating the operations of a step would take minutes."""
    count = min(subject.count, subject.model.train.batch)
    longest = {dim: min(length, 10) for dim, length in longest_of(subject.model).items()}
    graph, _ = at_length(subject.model.graph, max(longest.values(), default=1))
    return flops(graph, sizes_of(graph, count, longest)) > _MOST_EMULATED


_CLEAR = 1e-6  # a value that differs by less is not where the fault is
_MOST_EMULATED = 20_000_000  # FLOPs of the graph of the file


def dtype_of(program: Program) -> Any:
    """The element type of the program's results."""
    return np.float64 if program.model.train.precision == "f64" else np.float32


def _compare(pair: Pair, check_name: str, what: str, run: Any) -> Iterator[Difference]:
    """The results of `run(program)` that differ. The program under test keeps the states that it has after its run."""
    actual, expected = run(pair.tested), run(pair.reference)
    kept = {name: array.copy() for name, array in pair.tested.persistent.items()}

    def disturbed(noise: Noise) -> Mapping[str, Any]:
        pair.reference.noise = noise
        try:
            return dict(run(pair.reference))
        finally:
            pair.reference.noise = None

    rounding = Rounding(disturbed)
    for name, detail in differences(_in_precision(actual, pair), _in_precision(expected, pair), rounding):
        yield Difference(check_name, f"{what}: {name}", span_of(pair.tested, name), detail)
    for name, array in kept.items():
        pair.tested.persistent[name][...] = array


def _in_precision(results: Mapping[str, Any], pair: Pair) -> dict[str, Any]:
    """Results with plain floats (metrics) as arrays of the model's precision, in which they were summed."""
    dtype = dtype_of(pair.tested)
    return {name: np.asarray(value, dtype) if isinstance(value, float) else value for name, value in results.items()}


def span_of(program: Program, result: str) -> Span:
    """The source of the parameter, state, output, loss or metric that a result is named after."""
    model = program.model
    key = parse_result(result)
    name = key.name if key.kind in (ResultKind.GRADIENT, ResultKind.UPDATE) else result
    stored = {**model.trainables, **model.states}
    for owner, info in stored.items():
        if name == owner or name.endswith(f".{owner}"):
            return info.span
    kinds = (ResultKind.OUTPUT, ResultKind.LOSS, ResultKind.METRIC)
    for candidate in (key, *(kind.named(result) for kind in kinds)):
        if candidate in model.graph.results:
            return model.graph.results[candidate].span
    return next((value.span for value in model.graph.results_of(ResultKind.LOSS).values()), NOWHERE)
