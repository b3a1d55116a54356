"""Check `passes`: a pass changes no result of a graph, and leaves a sound graph that reads back when printed."""

from collections.abc import Iterator, Mapping

import numpy as np

from netc.compiler import pipeline
from netc.compiler.ir.graph import Body, Graph, print_graph, verify
from netc.compiler.ir.graph_parser import parse_graph
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.value import Value
from netc.compiler.passes.update import STEP
from netc.dsl.source import NOWHERE, Span
from netc.runtime.data.stored import Array
from netc.runtime.training import schedule
from netc.runtime.verification.comparison import Rounding, difference, differences
from netc.runtime.verification.interpreter import Noise
from netc.runtime.verification.precision import in_f64
from netc.runtime.verification.situation import Situation
from netc.runtime.verification.stages import Chain, Stage, chains
from netc.runtime.verification.subject import Difference, Subject, first_batch, has_loss, program_of

_NAME = "passes"
_NEVER = 2**53  # steps an epoch: a schedule that counts epochs stays at its beginning, as it does in Program.step


def check(subject: Subject) -> Iterator[Difference]:
    """All chains of graphs of the model, in f64, on one batch, each up to the first stage that differs."""
    model = in_f64(subject.model)
    situation = situation_of(Subject(model, subject.fields, subject.seed))
    for chain in chains(model):
        yield from _along(chain, situation)


def situation_of(subject: Subject) -> Situation:
    """A batch of the subject after one step of the optimizer, so that its states are not all 0.

    The step is undone if it leaves numbers that are not finite.
    """
    model, fields = subject.model, first_batch(subject)
    program = program_of(subject, "reference")
    if has_loss(model):
        before = {name: array.copy() for name, array in program.persistent.items()}
        program.step(fields)
        if not all(np.isfinite(array).all() for array in program.persistent.values() if array.dtype.kind == "f"):
            for name, array in before.items():
                program.persistent[name][...] = array
    return Situation(model, fields, program.persistent, subject.seed)


def check_updates(subject: Subject) -> Iterator[Difference]:
    """Each of two steps leaves in memory the results of its graph, computed from the old values."""
    model = subject.model
    if not has_loss(model) or model.train.truncate is not None:
        return
    fields, graph = first_batch(subject), pipeline.training_graph(model)
    program = program_of(subject, "reference")
    for turn in (1, 2):
        before = {name: array.copy() for name, array in program.persistent.items()}
        done = int(before[STEP]) if STEP in before else 0
        scheduled = schedule.scheduled(model.train, np.array([done]), _NEVER)
        moving = {name: values[0] for name, values in scheduled.items()}
        situation = Situation(model, fields, {**before, **moving}, subject.seed, epoch=done)
        expected = {**before, **graph.select(ResultKind.UPDATE, situation.results(graph))}
        program.step(fields)

        def updates_with(noise: Noise, at: Situation = situation) -> dict[str, Array]:
            return graph.select(ResultKind.UPDATE, at.results(graph, noise))

        rounding = Rounding(updates_with)
        wrong = list(differences(program.persistent, expected, rounding))
        for name, detail in wrong:
            updates = graph.results_of(ResultKind.UPDATE)
            span = updates[name].span if name in updates else NOWHERE
            yield Difference("updates", f"after step {turn}: {name}", span, detail)
        if wrong:
            return


def _along(chain: Chain, situation: Situation) -> Iterator[Difference]:
    """The differences of the first stage of a chain that has some."""
    first: Stage | None = None
    expected: Mapping[str, Array] = {}
    last = first
    for stage in chain.stages:
        where = f"after `{stage.name}`: {chain.program}"
        if (fault := _unsound(stage.graph)) is not None:
            value, detail = fault
            yield Difference(_NAME, where, value.span if value is not None else NOWHERE, detail)
            return
        actual = situation.results(stage.graph)
        if first is None or last is None:
            first, last, expected = stage, stage, actual
            continue
        # if a pass finds that a parameter does not matter, its gradient is gone: it was zero
        actual = {
            name: array
            for name, array in actual.items()
            if name in expected or not (stage.name in _ADDING or _is_zero_gradient(name, array))
        }
        expected = {
            name: array for name, array in expected.items() if name in actual or not _is_zero_gradient(name, array)
        }
        rounding = Rounding(lambda noise, graph=first.graph: situation.results(graph, noise))  # type: ignore[misc]
        compared = _where_finite(actual, expected) if stage.is_stabler else actual
        wrong = list(differences(compared, expected, rounding))
        for name, detail in wrong:
            span = origin(stage.graph, last.graph, name, situation)
            yield Difference(_NAME, f"after `{stage.name}`: {name}", span, f"{detail} ({chain.program})")
        if wrong:
            return
        last = stage


_ADDING = ("differentiate",)  # stages that add results


def _is_zero_gradient(name: str, array: Array) -> bool:
    return parse_result(name).kind is ResultKind.GRADIENT and not array.any()


def _where_finite(actual: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, Array]:
    """The actual elements, and the expected ones where those are not finite.

    A stable form may well be finite where the expected result is not: that is what it is for.
    """
    with np.errstate(invalid="ignore"):
        return {
            name: np.where(np.isfinite(expected[name]), array, expected[name])
            if name in expected and array.shape == expected[name].shape and array.dtype.kind == "f"
            else array
            for name, array in actual.items()
        }


def _unsound(graph: Graph) -> tuple[Value | None, str] | None:
    """The value that makes a graph or a scan's body unsound, and a sentence; None if the graph is sound."""
    try:
        verify(graph)
    except AssertionError as error:
        value = error.args[0] if error.args and isinstance(error.args[0], Value) else None
        return value, f"the graph is not sound: {error}"
    if (value := unlike(graph, parse_graph(print_graph(graph)))) is not None:
        name = f"`{value.operation}` (%{value.number})"
        return value, f"{name}, or the result it is, does not read back from the printed graph"
    for value in graph.values():
        for attribute in value.keywords.values():
            if isinstance(attribute, Body) and (fault := _unsound(attribute.graph)) is not None:
                return fault
    return None


def unlike(graph: Graph, read: Graph) -> Value | None:
    """The first value of a graph, or the first result, that differs in the graph that was read back."""
    expected, actual = graph.values(), read.values()
    for i, value in enumerate(expected):
        other = actual[i] if i < len(actual) else None
        if other is None or not _is_same(value, other):
            return value
    for name, value in graph.results.items():
        if name not in read.results or read.results[name].number != value.number:
            return value
    return None


def _is_same(value: Value, other: Value) -> bool:
    """Whether two values have the same operation, type, operands and attributes."""
    if (value.operation, str(value.type)) != (other.operation, str(other.type)):
        return False
    if [operand.number for operand in value.operands] != [operand.number for operand in other.operands]:
        return False
    expected, actual = value.keywords, other.keywords
    if expected.keys() != actual.keys():
        return False
    for name, attribute in expected.items():
        twin = actual[name]
        if isinstance(attribute, Body) and isinstance(twin, Body):
            if unlike(attribute.graph, twin.graph) is not None:
                return False
        elif repr(attribute) != repr(twin):
            return False
    return True


def origin(graph: Graph, before: Graph, result: str, situation: Situation) -> Span:
    """The source of the first value on the path to a result that the graph before the pass did not have."""
    key = parse_result(result)
    if key not in graph.results:
        return before.results[key].span if key in before.results else NOWHERE
    memory, memory_before = situation.values(graph), situation.values(before)
    by_type: dict[str, list[Array]] = {}
    for value in before.values():
        if value in memory_before:
            by_type.setdefault(str(value.type), []).append(memory_before[value])

    def was_there(value: Value) -> bool:
        if value not in memory:  # a scan
            return False
        return any(difference(memory[value], array) is None for array in by_type.get(str(value.type), ()))

    value = graph.results[key]
    while (operand := next((operand for operand in value.operands if not was_there(operand)), None)) is not None:
        value = operand
    return value.span
