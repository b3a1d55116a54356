"""Checks of what must not change the result: threads, the samples beside a sample, how a batch is cut, how many steps a call makes, a limit on memory.

All but `accumulate` (whose sums are taken in another order) and `alone` in the interpreter (NumPy's are) compare bits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from netc.compiler import pipeline
from netc.compiler.ir.roles import Role
from netc.compiler.model import Limit, Model
from netc.dsl.source import Span
from netc.runtime import schedule
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.program import Program
from netc.runtime.step import Backend, in_a_step, step_memory
from netc.runtime.verification.backends import batches_of, dtype_of, span_of
from netc.runtime.verification.comparison import Rounding, differences, different_bits
from netc.runtime.verification.mixing import is_random, mixes_samples
from netc.runtime.verification.subject import Difference, Subject, chosen, has_loss, program_of, ready_fields

_THREADS = (2, 3, 5)
_ALONE = 5  # samples that are computed alone


def threads(subject: Subject) -> Iterator[Difference]:
    """The same bits on 1, 2, 3 and 5 threads: gradients, states after two steps, predictions."""
    expected: dict[str, Any] = {}
    for count in (1, *_THREADS):
        program = program_of(subject, "numba", count)
        found = _all_of(program, subject)
        expected = expected or found
        wrong = list(different_bits(found, expected))
        for name, detail in wrong:
            yield Difference("threads", f"on {count} threads: {name}", span_of(program, name), f"{detail}, as on 1")
        if wrong:
            return


def _all_of(program: Program, subject: Subject) -> dict[str, Any]:
    """Gradients of each kind of batch, states after two steps, predictions."""
    fields, found = ready_fields(subject.model, subject.fields), dict[str, Any]()
    if has_loss(subject.model):
        for samples in batches_of(subject):
            loss, gradients = program.gradients(chosen(fields, samples))
            found |= {f"loss of {len(samples)} samples": np.array(loss)}
            found |= {f"gradient.{name}": array for name, array in gradients.items()} if len(samples) > 1 else {}
        for turn in range(2):
            part = chosen(
                fields,
                np.arange(min(subject.count, subject.model.train.samples_per_step))
                if turn == 0
                else batches_of(subject)[-1],
            )
            found |= {f"loss of step {turn + 1}": np.array(program.step(part)["loss"])}
        found |= _states(program)
    if subject.model.outputs:
        found |= program.predict(fields)
    return found


def _states(program: Program) -> dict[str, Array]:
    return {name: array.copy() for name, array in program.persistent.items()}


def alone(subject: Subject) -> Iterator[Difference]:
    """Each sample alone is predicted as in the batch, in the interpreter."""
    yield from _alone(subject, "alone", "reference")


def alone_compiled(subject: Subject) -> Iterator[Difference]:
    """Each sample alone is predicted as in the batch: the same bits."""
    yield from _alone(subject, "alone_compiled", "numba")


def _alone(subject: Subject, name: str, backend: Backend) -> Iterator[Difference]:
    graph = pipeline.prediction_graph(subject.model)
    outputs = [one for one in graph.results if one.startswith("output.") and graph.results[one].type.is_batched]
    outputs = [one for one in outputs if not mixes_samples(graph, [one]) and not is_random(graph, [one])]
    if not outputs:
        return
    program, fields = program_of(subject, backend), ready_fields(subject.model, subject.fields)
    together = program.predict(fields)
    last = subject.count - 1
    for sample in sorted({*np.linspace(0, last, _ALONE).astype(int).tolist(), last}):
        single = program.predict(chosen(fields, np.array([sample])))
        found = {one: single[one.removeprefix("output.")][0] for one in outputs}
        expected = {one: together[one.removeprefix("output.")][sample] for one in outputs}
        wrong = list(different_bits(found, expected) if backend == "numba" else differences(found, expected))
        for one, detail in wrong:
            yield Difference(
                name, f"sample {sample} alone: {one}", graph.results[one].span, f"{detail}, as in the batch"
            )
        if wrong:
            return


def accumulate(subject: Subject) -> Iterator[Difference]:
    """A step over one large batch, and over the same samples in several that are accumulated, where samples do not meet but in the sum of the loss."""
    model = subject.model
    if not has_loss(model) or model.train.truncate is not None or subject.count < 2:
        return
    graph = model.graph.of("loss.", "weight.loss.", "update.")
    data = [name for name, value in graph.results.items() if name.startswith("update.") or value.type.is_batched]
    if any(_depends_on_data(graph, name) and not graph.results[name].type.is_batched for name in graph.results):
        return
    if mixes_samples(graph, data) or is_random(graph, graph.results) or any(one.startswith("update.") for one in data):
        return
    fields, count = ready_fields(model, subject.fields), min(subject.count, model.train.samples_per_step)
    small = max(count // 3, 1)
    fields = chosen(fields, np.arange(count))
    large_model = replace(model, train=replace(model.train, batch=count, accumulate=1, memory=None))
    parts_model = replace(model, train=replace(model.train, batch=small, accumulate=-(-count // small), memory=None))
    large, parts = (program_of(subject, "reference", model=one) for one in (large_model, parts_model))

    def step(program: Program) -> dict[str, Any]:
        losses = program.step(fields)
        kept = {name: array.copy() for name, array in program.persistent.items() if not name.startswith("accumulated.")}
        return {**{f"loss.{name}": np.asarray(one, dtype_of(program)) for name, one in losses.items()}, **kept}

    found, expected = step(parts), step(large)
    rounding = Rounding(lambda noise: _noisy_step(large_model, subject, fields, noise))
    for name, detail in differences(found, expected, rounding):
        where = f"{count} samples in batches of {small}: {name}"
        yield Difference("accumulate", where, span_of(large, name), f"{detail}, as in one batch")


def _noisy_step(model: Model, subject: Subject, fields: Mapping[str, Field], noise: Any) -> dict[str, Any]:
    from netc.runtime.verification.backends import NoisyProgram
    from netc.runtime.verification.subject import move_parameters

    program = NoisyProgram(model, subject.seed, "reference", threads=1)
    program.noise = noise
    move_parameters(model, program.persistent, subject.seed)
    losses = program.step(fields)
    return {**{f"loss.{name}": np.array(one) for name, one in losses.items()}, **_states(program)}


def _depends_on_data(graph: Any, name: str) -> bool:
    from netc.compiler.ir.graph import needed_by

    return any(value.role in (Role.INPUT, Role.TARGET) for value in needed_by([graph.results[name]]))


def many_steps(subject: Subject) -> Iterator[Difference]:
    """All steps of an epoch in one call, and one call a step: the same bits."""
    model = subject.model
    if not has_loss(model):
        return
    fields, size = ready_fields(model, subject.fields), model.train.samples_per_step
    order = np.random.default_rng(subject.seed).permutation(subject.count)
    if subject.count <= size:  # there is no second step in the data: the samples once more, in another order
        order = np.concatenate([np.resize(order, size), order[::-1]])
    steps = -(-len(order) // size)
    factors = schedule.factors(model.train, 0, steps, steps)
    together, single = (program_of(subject, "numba", 2) for _ in range(2))
    losses = together.steps(fields, order, 1, factors)
    pieces = [
        single.steps(
            fields, order[i * size : (i + 1) * size], 1, {name: one[i : i + 1] for name, one in factors.items()}
        )
        for i in range(steps)
    ]
    found = {f"loss.{name}": values for name, values in losses.values.items()} | _states(together)
    expected = {
        f"loss.{name}": np.concatenate([piece.values[name] for piece in pieces]) for name in losses.values
    } | _states(single)
    for name, detail in different_bits(found, expected):
        yield Difference(
            "many_steps", f"{steps} steps in one call: {name}", span_of(together, name), f"{detail}, as in single ones"
        )


def memory(subject: Subject) -> Iterator[Difference]:
    """Under the least limit on memory that a step can keep to, the bits are the same."""
    model = subject.model
    if not has_loss(model) or not model.graph.values("scan"):
        return
    fields = ready_fields(model, subject.fields)
    bounds = dict(model.bounds)
    for name, field in fields.items():
        if isinstance(field, Ragged):
            dim = str({**model.inputs, **model.targets}[name].rows)
            bounds[dim] = max(bounds.get(dim, 0), int(field.lengths.max()))
    plain_model = replace(model, bounds=bounds, train=replace(model.train, memory=None))
    longest = in_a_step(plain_model, bounds)
    least, most = (sum(step_memory(plain_model, 1, longest, is_frugal)) for is_frugal in (True, False))
    if least >= most:
        return
    limit = Limit(least, Span(model.source, 0, 0))
    frugal_model = replace(plain_model, train=replace(plain_model.train, memory=limit))
    frugal, plain = (program_of(subject, "numba", 1, one) for one in (frugal_model, plain_model))
    found, expected = dict[str, Any](), dict[str, Any]()
    part = chosen(fields, np.arange(min(subject.count, model.train.samples_per_step)))
    for program, kept in ((frugal, found), (plain, expected)):
        for turn in range(2):
            kept[f"loss of step {turn + 1}"] = np.array(program.step(part)["loss"])
        kept |= _states(program)
    for name, detail in different_bits(found, expected):
        where = f"in {least:,} bytes in place of {most:,}: {name}"
        yield Difference("memory", where, span_of(plain, name), f"{detail}, as without a limit")
