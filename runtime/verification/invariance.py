"""Checks of what must not change a result: threads, ranks, the other samples of a batch, how a batch is cut, the number
of steps in a call, a limit on memory.

All compare bits but `accumulate`, whose sums run in another order, and `alone`, which uses NumPy's sums.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from netc.compiler import pipeline
from netc.compiler.backends import Backend, emulated_ranks
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import TRAINED, Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.model import Limit, Model
from netc.compiler.targets.named import machine_for
from netc.dsl.plural import counted
from netc.dsl.source import Span
from netc.dsl.structs import replace
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.execution.shared_executables import SharedExecutables
from netc.runtime.execution.step_cost import in_a_step, step_memory
from netc.runtime.program import Program
from netc.runtime.training import schedule
from netc.runtime.verification.backends import (
    NoisyProgram,
    batches_of,
    dtype_of,
    is_too_large,
    span_of,
    with_small_limits,
)
from netc.runtime.verification.comparison import Rounding, differences, different_bits
from netc.runtime.verification.interpreter import Noise
from netc.runtime.verification.mixing import is_random, mixes_samples
from netc.runtime.verification.subject import (
    Difference,
    Subject,
    chosen,
    has_loss,
    move_parameters,
    program_of,
    ready_fields,
)

_RANKS = (4, 2, 16)
_THREADS = (2, 3, 5)
_ALONE = 5  # samples that are computed alone
Compare = Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[tuple[str, str]]]


def threads(subject: Subject) -> Iterator[Difference]:
    """The same bits on 1, 2, 3 and 5 threads: gradients, states after two steps, predictions."""
    expected: dict[str, Any] = {}
    for count in (1, *_THREADS):
        program = program_of(subject, "cpu", count)
        actual = _all_of(program, subject)
        expected = expected or actual
        wrong = list(different_bits(actual, expected))
        for name, detail in wrong:
            yield Difference("threads", f"on {count} threads: {name}", span_of(program, name), f"{detail}, as on 1")
        if wrong:
            return


def constants(subject: Subject) -> Iterator[Difference]:
    """The same bits whether numbers of the model are literals of its kernels or inputs of its steps."""
    inputs, literals = (program_of(subject, "cpu", executables=shared) for shared in (SharedExecutables(), None))
    for name, detail in different_bits(_all_of(inputs, subject), _all_of(literals, subject)):
        yield Difference(
            "constants", f"with numbers as inputs: {name}", span_of(literals, name), f"{detail}, as in kernels"
        )


def ranks(subject: Subject) -> Iterator[Difference]:
    """The same bits on one rank and on several: gradients, states after two steps, predictions.

    The plan for small limits is emulated, and each rank has memory of its own. Another seed takes another number of
    ranks, among those that can share the shards of a batch. Does not apply to a batch of one shard.
    """
    counts = [count for count in _RANKS if count <= subject.model.train.shards]
    if not counts or is_too_large(subject):
        return
    machine, count = with_small_limits(machine_for()), counts[subject.seed % len(counts)]
    expected = _all_of(program_of(subject, "plan", machine=machine), subject)
    program = program_of(subject, emulated_ranks(count, machine))
    for name, detail in different_bits(_all_of(program, subject), expected):
        yield Difference("ranks", f"on {count} ranks: {name}", span_of(program, name), f"{detail}, as on 1")


def _all_of(program: Program, subject: Subject) -> dict[str, Any]:
    """Gradients of each kind of batch, states after two steps, predictions."""
    fields, arrays = ready_fields(subject.model, subject.fields), dict[str, Any]()
    if has_loss(subject.model):
        for samples in batches_of(subject):
            loss, gradients = program.gradients(chosen(fields, samples))
            arrays |= {f"loss of {counted(len(samples), 'sample')}": np.array(loss)}
            arrays |= (
                {str(ResultKind.GRADIENT.named(name)): array for name, array in gradients.items()}
                if len(samples) > 1
                else {}
            )
        all_samples = np.arange(min(subject.count, subject.model.train.samples_per_step))
        for number, samples in enumerate((all_samples, batches_of(subject)[-1]), 1):
            arrays |= {f"loss of step {number}": np.array(program.step(chosen(fields, samples))["loss"])}
        arrays |= _states(program)
    if subject.model.outputs:
        arrays |= program.predict(fields)
    return arrays


def _states(program: Program) -> dict[str, Array]:
    """A copy of what stays between steps."""
    return {name: array.copy() for name, array in program.persistent.items()}


def alone(subject: Subject) -> Iterator[Difference]:
    """Each sample alone is predicted as in the batch, in the interpreter."""
    yield from _alone(subject, "alone", "reference", differences)


def alone_compiled(subject: Subject) -> Iterator[Difference]:
    """Each sample alone is predicted as in the batch: the same bits."""
    yield from _alone(subject, "alone_compiled", "cpu", different_bits)


def _alone(subject: Subject, name: str, backend: Backend, compare: Compare) -> Iterator[Difference]:
    """Compares the outputs that neither mix samples nor are random, for a few samples."""
    graph = pipeline.prediction_graph(subject.model)
    outputs = [
        result
        for result, value in graph.results.items()
        if result.kind is ResultKind.OUTPUT
        and value.type.is_batched
        and not mixes_samples(graph, [result])
        and not is_random(graph, [result])
    ]
    if not outputs:
        return
    program, fields = program_of(subject, backend), ready_fields(subject.model, subject.fields)
    together = program.predict(fields)
    last = subject.count - 1
    for sample in sorted({*np.linspace(0, last, _ALONE).astype(int).tolist(), last}):
        single = program.predict(chosen(fields, np.array([sample])))
        actual = {str(result): single[result.name][0] for result in outputs}
        expected = {str(result): together[result.name][sample] for result in outputs}
        wrong = list(compare(actual, expected))
        for result, detail in wrong:
            where = f"sample {sample} alone: {result}"
            yield Difference(name, where, graph.printed_results()[result].span, f"{detail}, as in the batch")
        if wrong:
            return


def accumulate(subject: Subject) -> Iterator[Difference]:
    """A step over one large batch gives the same as one over the same samples in accumulated batches.

    Does not apply to models that mix samples elsewhere than in the sum of the loss, and to optimizers that are `lazy`:
    these cannot be combined with `accumulate`. Nothing is rounded to bf16: a gradient is divided by the number of
    samples before its rounding or after it.
    """
    model = subject.model
    model = replace(model, train=replace(model.train, precision=model.train.floats))
    if model.train.optimizer.numbers.get("lazy"):
        return
    if not has_loss(model) or model.train.truncate is not None or subject.count < 2 or not _is_sum_of_samples(model):
        return
    fields, count = ready_fields(model, subject.fields), min(subject.count, model.train.samples_per_step)
    small = max(count // 3, 1)
    fields = chosen(fields, np.arange(count))
    large_model = replace(model, train=replace(model.train, batch=count, accumulate=1, memory=None))
    parts_model = replace(model, train=replace(model.train, batch=small, accumulate=-(-count // small), memory=None))
    large, parts = (program_of(subject, "reference", model=variant) for variant in (large_model, parts_model))

    def step(program: Program) -> dict[str, Any]:
        losses = program.step(fields)
        kept = {name: program.persistent[name].copy() for name in large.persistent}  # without accumulated gradients
        return {
            **{str(ResultKind.LOSS.named(name)): np.asarray(loss, dtype_of(program)) for name, loss in losses.items()},
            **kept,
        }

    actual, expected = step(parts), step(large)
    rounding = Rounding(lambda noise: _noisy_step(large_model, subject, fields, noise))
    for name, detail in differences(actual, expected, rounding):
        where = f"{counted(count, 'sample')} in batches of {small}: {name}"
        yield Difference("accumulate", where, span_of(large, name), f"{detail}, as in one batch")


def _is_sum_of_samples(model: Model) -> bool:
    """Whether a step depends on its samples through sums over them alone: no state, no random number, nothing mixed."""
    graph = model.graph.of(*TRAINED)
    if graph.has(ResultKind.UPDATE):
        return False
    batched = [result for result, value in graph.results.items() if value.type.is_batched]
    if any(_depends_on_data(graph, result) for result in graph.results if result not in batched):
        return False
    return not mixes_samples(graph, batched) and not is_random(graph, graph.results)


def _noisy_step(model: Model, subject: Subject, fields: Mapping[str, Field], noise: Noise) -> dict[str, Any]:
    """The losses and states of a step in the interpreter, with rounding noise."""
    program = NoisyProgram(model, subject.seed)
    program.noise = noise
    move_parameters(model, program.persistent, subject.seed)
    losses = program.step(fields)
    return {**{str(ResultKind.LOSS.named(name)): np.array(loss) for name, loss in losses.items()}, **_states(program)}


def _depends_on_data(graph: Graph, result: Result) -> bool:
    return any(value.role in (Role.INPUT, Role.TARGET) for value in needed_by([graph.results[result]]))


def many_steps(subject: Subject) -> Iterator[Difference]:
    """All steps of an epoch in one call, and one call a step: the same bits."""
    model = subject.model
    if not has_loss(model):
        return
    fields, size = ready_fields(model, subject.fields), model.train.samples_per_step
    order = np.random.default_rng(subject.seed).permutation(subject.count)
    if subject.count <= size:  # the data is one step: a second one takes the samples in another order
        order = np.concatenate([np.resize(order, size), order[::-1]])
    steps = -(-len(order) // size)
    moving = schedule.scheduled(model.train, np.arange(steps), steps)
    together, single = (program_of(subject, "cpu", 2) for _ in range(2))
    losses = together.steps(fields, order, 1, moving)
    pieces = []
    for i in range(steps):
        rates = {name: values[i : i + 1] for name, values in moving.items()}
        pieces.append(single.steps(fields, order[i * size : (i + 1) * size], 1, rates))
    actual = {str(ResultKind.LOSS.named(name)): values for name, values in losses.values.items()} | _states(together)
    joined = {
        str(ResultKind.LOSS.named(name)): np.concatenate([piece.values[name] for piece in pieces])
        for name in losses.values
    }
    for name, detail in different_bits(actual, joined | _states(single)):
        where = f"{counted(steps, 'step')} in one call: {name}"
        yield Difference("many_steps", where, span_of(together, name), f"{detail}, as in single ones")


def memory(subject: Subject) -> Iterator[Difference]:
    """The bits are the same under the lowest limit on memory that a step can keep."""
    model = subject.model
    if not has_loss(model) or not model.graph.values(Role.SCAN):
        return
    fields = ready_fields(model, subject.fields)
    bounds = dict(model.bounds)
    for name, field in fields.items():
        if isinstance(field, Ragged):
            dim = str({**model.inputs, **model.targets}[name].rows)
            bounds[dim] = max(bounds.get(dim, 0), int(field.lengths.max()))
    plain_model = replace(model, bounds=bounds, train=replace(model.train, memory=None))
    longest = in_a_step(plain_model, bounds)
    least, most = (sum(step_memory(plain_model, 1, longest, saves_little)) for saves_little in (True, False))
    if least >= most:
        return
    limit = Limit(least, Span(model.source, 0, 0))
    limited_model = replace(plain_model, train=replace(plain_model.train, memory=limit))
    limited, plain = (program_of(subject, "cpu", 1, variant) for variant in (limited_model, plain_model))
    part = chosen(fields, np.arange(min(subject.count, model.train.samples_per_step)))

    def two_steps(program: Program) -> dict[str, Any]:
        losses = {f"loss of step {number}": np.array(program.step(part)["loss"]) for number in (1, 2)}
        return losses | _states(program)

    for name, detail in different_bits(two_steps(limited), two_steps(plain)):
        where = f"in {least:,} bytes in place of {most:,}: {name}"
        yield Difference("memory", where, span_of(plain, name), f"{detail}, as without a limit")
