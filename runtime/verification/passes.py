"""Check `passes`: each pass leaves the results of a graph as they are, leaves a graph that is sound, and one that reads back from its printed form."""

from collections.abc import Iterator, Mapping

import numpy as np

from netc.compiler import pipeline
from netc.compiler.ir.graph import Body, Graph, parse_graph, print_graph, verify
from netc.compiler.ir.value import Value
from netc.compiler.passes.update import STEP
from netc.dsl.source import NOWHERE, Span
from netc.runtime import schedule
from netc.runtime.data.stored import Array
from netc.runtime.verification.comparison import Rounding, difference, differences
from netc.runtime.verification.precision import in_f64
from netc.runtime.verification.situation import Situation
from netc.runtime.verification.stages import Chain, Stage, chains
from netc.runtime.verification.subject import Difference, Subject, first_batch, has_loss, program_of

_NAME = "passes"
_NEVER = 2**53  # steps an epoch: a schedule that counts epochs stands at its beginning, as it does in Program.step


def check(subject: Subject) -> Iterator[Difference]:
    """All chains of graphs of the model, in f64, on one batch. Where a stage differs from the first one, it is named, and its chain is left."""
    model = in_f64(subject.model)
    situation = situation_of(Subject(model, subject.fields, subject.seed))
    for chain in chains(model):
        yield from _along(chain, situation)


def situation_of(subject: Subject) -> Situation:
    """A batch of the subject after one step of the optimizer, so that its states are not all 0 (unless that step leaves no numbers)."""
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
    """What each of two steps leaves in memory is what the graph of a step says, computed from what was there before."""
    model = subject.model
    if not has_loss(model) or model.train.truncate is not None:
        return
    fields, graph = first_batch(subject), pipeline.training_graph(model)
    program = program_of(subject, "reference")
    for turn in (1, 2):
        before = {name: array.copy() for name, array in program.persistent.items()}
        done = int(before[STEP]) if STEP in before else 0
        factors = {name: one[0] for name, one in schedule.factors(model.train, done, 1, _NEVER).items()}
        situation = Situation(model, fields, {**before, **factors}, subject.seed, epoch=done)
        expected = {**before, **_updates(situation.results(graph))}
        program.step(fields)
        rounding = Rounding(lambda noise, at=situation: _updates(at.results(graph, noise)))  # type: ignore[misc]
        wrong = list(differences(program.persistent, expected, rounding))
        for name, detail in wrong:
            span = graph.results[f"update.{name}"].span if f"update.{name}" in graph.results else NOWHERE
            yield Difference("updates", f"after step {turn}: {name}", span, detail)
        if wrong:
            return


def _updates(found: Mapping[str, Array]) -> dict[str, Array]:
    """The next values of what stays between steps, by name."""
    prefix = "update."
    return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}


def _along(chain: Chain, situation: Situation) -> Iterator[Difference]:
    first: Stage | None = None
    expected: Mapping[str, Array] = {}
    last = first
    for stage in chain.stages:
        where = f"after `{stage.name}`: {chain.program}"
        if (fault := _unsound(stage.graph)) is not None:
            value, detail = fault
            yield Difference(_NAME, where, value.span if value is not None else NOWHERE, detail)
            return
        found = situation.results(stage.graph)
        if first is None or last is None:
            first, last, expected = stage, stage, found
            continue
        # a parameter that a pass finds not to matter has no gradient there: it is zero
        found = {
            name: array
            for name, array in found.items()
            if name in expected or not (stage.name in _ADDING or _is_no_gradient(name, array))
        }
        expected = {
            name: array for name, array in expected.items() if name in found or not _is_no_gradient(name, array)
        }
        rounding = Rounding(lambda noise, graph=first.graph: situation.results(graph, noise))  # type: ignore[misc]
        now = _where_a_number(found, expected) if stage.is_stabler else found
        wrong = list(differences(now, expected, rounding))
        for name, detail in wrong:
            span = origin(stage.graph, last.graph, name, situation)
            yield Difference(_NAME, f"after `{stage.name}`: {name}", span, f"{detail} ({chain.program})")
        if wrong:
            return
        last = stage


_ADDING = ("differentiate",)  # stages that add results


def _is_no_gradient(name: str, array: Array) -> bool:
    return name.startswith("gradient.") and not array.any()


def _where_a_number(found: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, Array]:
    """What was found, and what was expected where that is no number: to be a number there is what a stable form is for."""
    with np.errstate(invalid="ignore"):
        return {
            name: np.where(np.isfinite(expected[name]), array, expected[name])
            if name in expected and array.shape == expected[name].shape and array.dtype.kind == "f"
            else array
            for name, array in found.items()
        }


def _unsound(graph: Graph) -> tuple[Value | None, str] | None:
    """What is wrong with a graph as such, or with the body of a scan in it."""
    try:
        verify(graph)
    except AssertionError as error:
        value = error.args[0] if error.args and isinstance(error.args[0], Value) else None
        return value, f"the graph is not sound: {error}"
    if (value := unlike(graph, parse_graph(print_graph(graph)))) is not None:
        return (
            value,
            f"`{value.operation}` (%{value.number}), or the result it is, does not read back from the printed graph",
        )
    for value in graph.values():
        for attribute in value.keywords.values():
            if isinstance(attribute, Body) and (fault := _unsound(attribute.graph)) is not None:
                return fault
    return None


def unlike(graph: Graph, read: Graph) -> Value | None:
    """The first value that is another one in a graph that was read."""
    own, others = graph.values(), read.values()
    for i, value in enumerate(own):
        other = others[i] if i < len(others) else None
        if other is None or not _is_same(value, other):
            return value
    for name, value in graph.results.items():
        if name not in read.results or read.results[name].number != value.number:
            return value
    return None


def _is_same(value: Value, other: Value) -> bool:
    if (value.operation, str(value.type)) != (other.operation, str(other.type)):
        return False
    if [one.number for one in value.operands] != [one.number for one in other.operands]:
        return False
    own, others = value.keywords, other.keywords
    if own.keys() != others.keys():
        return False
    for name, attribute in own.items():
        twin = others[name]
        if isinstance(attribute, Body) and isinstance(twin, Body):
            if unlike(attribute.graph, twin.graph) is not None:
                return False
        elif repr(attribute) != repr(twin):
            return False
    return True


def origin(graph: Graph, before: Graph, result: str, situation: Situation) -> Span:
    """The source of the first value on the way to a result that the graph before the pass had not, or had otherwise."""
    if result not in graph.results:
        return before.results[result].span if result in before.results else NOWHERE
    memory, known = situation.values(graph), situation.values(before)
    by_type: dict[str, list[Array]] = {}
    for value in before.values():
        if value in known:
            by_type.setdefault(str(value.type), []).append(known[value])

    def is_known(value: Value) -> bool:
        if value not in memory:  # a scan
            return False
        return any(difference(memory[value], array) is None for array in by_type.get(str(value.type), ()))

    value = graph.results[result]
    while (operand := next((one for one in value.operands if not is_known(one)), None)) is not None:
        value = operand
    return value.span
