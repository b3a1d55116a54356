"""The target or input that each output of a model belongs to: read from the graph, never from shapes or numbers.

A loss compares logits with a target. An output belongs to that target if it is made of the same logits by operations
that keep their order: a softmax of them holds a probability for each class. Knows nothing of runs or files.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto

from netc.compiler.analysis.conformal import covered
from netc.compiler.analysis.equal_values import unified
from netc.compiler.analysis.units import units_of_values
from netc.compiler.ir.attributes import Over
from netc.compiler.ir.graph import Graph, dependents, needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.operations.elementwise import add, cast, divide, multiply, subtract
from netc.compiler.operations.functions import exp, log, sigmoid
from netc.compiler.operations.reduce import argmax, log_softmax, softmax
from netc.dsl.structs import replace
from netc.runtime.columns import Distribution, OutputFacts
from netc.runtime.data.block.declarations import FieldSpec
from netc.runtime.data.pipeline import labels_of
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.target_encodings import is_number_of_class, marks_classes

_NORMALISED = (softmax, log_softmax, sigmoid, log)  # operations that keep the order of the logits
_ARITHMETIC = (add, subtract, multiply, divide)


def distributions(model: Model, outputs: Sequence[str] | None = None) -> dict[str, Distribution]:
    """The output that holds the probabilities of the classes of a target, by target in declared order.

    `outputs` may name other values of the model. Targets without such an output are left out. For a float target, and
    one of two classes, it may be the sigmoid of the logit in its loss; for a sequence of classes that the loss compares
    without their order, the sigmoid of a logit for each class. Of several outputs the calibrated one is meant, and then
    the one that is nearest to the logits.
    """
    model = model.described
    names = [*model.outputs] if outputs is None else [name for name in outputs if name in model.values]
    first = unified(model.graph)
    matches: dict[str, Distribution] = {}
    leaves = {leaf.name: leaf for leaf in model.graph.values(Role.TARGET)}
    for target, type_ in model.targets.items():
        compared, leaf = _comparisons(model.graph, target), leaves[target]
        logits = {first[_logits(value)] for value in compared}
        candidates: list[tuple[tuple[bool, int], Distribution]] = []
        for name in names:
            path = [*_to_logits(model.values[name])]
            kind = _kind(model.graph, path, leaf, compared, first) if first[path[-1]] in logits else None
            if kind is not None:
                entries = type_.size(1) if type_.sample and not type_.is_varying else 0
                entry = Distribution(target, name, type_.classes or 2, kind is not _Kind.CLASSES, entries)
                is_calibrated = any(_is_scaled(step) for step in path)
                candidates.append(((not is_calibrated, len(path)), replace(entry, is_multiple=kind is _Kind.MARKS)))
        if candidates:
            _, matches[target] = min(candidates, key=lambda candidate: candidate[0])
    return matches


class _Kind(Enum):
    """The kinds of probabilities of a target: of each of its classes, of the second of two, of each by itself."""

    CLASSES = auto()
    SECOND = auto()
    MARKS = auto()


def _kind(
    graph: Graph,
    path: Sequence[Value],
    target: Value,
    compared: Mapping[Value, Sequence[Value]],
    first: Mapping[Value, Value],
) -> _Kind | None:
    """The kind of probabilities of a target that the first value of a path to logits holds, if it does.

    It is a softmax or sigmoid, or the loss compares its logarithm. A sigmoid is the probability of what the loss has
    as 1, which the target has to be, or to mark.
    """
    value, type_ = path[0], target.type
    applied = next((step for step in path if step.role is not Role.SHAPE), value)
    if applied.definition is sigmoid:
        logits = [logit for logit in compared if first[_logits(logit)] is first[path[-1]]]
        codes = [code for logit in logits for code in compared[logit]]
        if value.type.dims == type_.dims and type_.classes is None and type_.is_float:
            is_share = any(logit.definition is sigmoid for logit in logits)  # a number from 0 to 1, as of `mse`
            return _Kind.SECOND if not is_share and all(code.role is Role.TARGET for code in codes) else None
        if value.type.dims == type_.dims and type_.classes == 2:
            return _Kind.SECOND if all(is_number_of_class(graph, code, target) for code in codes) else None
        if type_.is_varying and value.type.dims == (BATCH, type_.classes):
            return _Kind.MARKS if all(marks_classes(graph, code, target) for code in codes) else None
        return None
    logarithms = [other for other in compared if other.definition is log]
    is_logarithm_compared = any(first[other.operands[0]] is first[value] for other in logarithms)
    if type_.classes is None or value.type.dims != (*type_.dims, type_.classes):
        return None
    if applied.definition is softmax:
        return _Kind.CLASSES if applied.attributes_as(Over).over == (applied.type.rank - 1,) else None
    return _Kind.CLASSES if is_logarithm_compared else None


def _to_logits(value: Value) -> Iterator[Value]:
    """Yields a value and what it is made of, as long as the order of its numbers stays: the logits are the last."""
    yield value
    while (source := _source(value)) is not None:
        value = source
        yield value


def _logits(value: Value) -> Value:
    """The last value that `_to_logits` yields."""
    return [*_to_logits(value)][-1]


def _source(value: Value) -> Value | None:
    """The operand whose order a value keeps, or None if it does not keep that of one operand."""
    if value.role is Role.SHAPE or value.definition in _NORMALISED or value.definition in (argmax, cast):
        return value.operands[0]
    if value.definition in _ARITHMETIC:
        left, right = value.operands
        if right.role is Role.CONSTANT or _is_scaled(value):
            return left
        if left.role is Role.CONSTANT and value.definition is not divide:
            return right
    return None


def _is_scaled(value: Value) -> bool:
    """Whether a value is a product with a positive number that is the same for all samples: calibrated logits are."""
    factor = value.operands[1] if value.definition is multiply else value
    return factor is not value and factor.definition is exp and not factor.type.dims


def reconstructions(model: Model) -> dict[str, str]:
    """The input that an output is to be like, by output: a loss compares the output, or its logits, with that input."""
    model = model.described
    first = unified(model.graph)
    matches: dict[str, str] = {}
    for name, type_ in model.inputs.items():
        if not type_.is_float:
            continue
        logits = {first[_logits(value)] for value in compared_with(model.graph, name)}
        for output, value in model.graph.results_of(ResultKind.OUTPUT).items():
            is_alike = value.type.dims == type_.dims and value.type.is_float
            if is_alike and first[_logits(value)] in logits:
                matches.setdefault(output, name)
    return matches


def output_facts(model: Model, outputs: Sequence[str]) -> OutputFacts:
    """The facts about these outputs of a model, or about other named values."""
    units = units_of_values(model)
    tokens = {name: field for name in outputs if (field := field_of_tokens(model, name)) is not None}
    in_units = {name: target for name in outputs if (target := units.get(name)) is not None}
    conformal = [entry for entry in covered(model.described.graph) if entry.output in outputs]
    intervals = [entry.output for entry in conformal if not entry.is_set]
    targets = {entry.output: entry.target for entry in conformal if entry.is_set}
    sets = {output: (target, model.targets[target].classes or 0) for output, target in targets.items()}
    return OutputFacts([*distributions(model, outputs).values()], tokens, in_units, intervals, sets)


def in_words_of(distribution: Distribution, field: FieldSpec, states: Sequence[State]) -> Distribution | None:
    """A distribution with the names of the entries of its target, as the data has them.

    Each of several columns of numbers is a class by itself, which has the column's name. Returns None for any other
    float target: the data does not name its two classes.
    """
    labels = labels_of(field, states)
    has_columns = not field.is_single and len(field.columns) == distribution.entries
    if distribution.is_binary and not distribution.is_multiple and len(labels) != 2:
        return replace(distribution, is_multiple=True, names=field.columns) if has_columns and not labels else None
    separators = [STEPS[step.name].separator for step in field.steps]
    separator = next((text for text in separators if text is not None), None)
    return replace(distribution, names=field.columns if has_columns else (), separator=separator)


def field_of_tokens(model: Model, output: str) -> tuple[str, int] | None:
    """The field whose tokens an output holds, and its number of classes: a target, or else an input.

    A loss compares the field with logits, and the output is computed from these, as `argmax(logits)` is, or by the same
    last layer, as a decoder in use is.

    Returns None if the output holds no tokens, or if the losses do not say whose.
    """
    model = model.described
    classes = model.values[output].type.classes if output in model.values else None
    if classes is None:
        return None
    for fields in (model.targets, model.inputs):
        names = [name for name, type_ in fields.items() if type_.classes == classes]
        if (name := _nearest_related(model, output, names)) is not None:
            return name, classes
    return None


def _nearest_related(model: Model, output: str, fields: Sequence[str]) -> str | None:
    """The one of these fields whose logits the output is computed from.

    Of several it is the one with the nearest logits: these share most of what they are computed from. Returns None if
    there is none, or no single nearest one.
    """
    sources = needed_by([model.values[output]])
    distances: dict[str, int] = {}
    for field in fields:
        compared = [
            value
            for value in compared_with(model.graph, field)
            if value in sources or ((layer := _last_layer(value)) and sources.issuperset(layer))
        ]
        if compared:
            distances[field] = min(len(sources ^ needed_by([value])) for value in compared)
    nearest = [field for field, distance in distances.items() if distance == min(distances.values())]
    return nearest[0] if len(nearest) == 1 else None


def _last_layer(value: Value) -> set[Value]:
    """The parameters of the matrix product that logits end in; empty if they end otherwise."""
    value = _logits(value)
    if value.definition is add:  # a bias
        value = next((operand for operand in value.operands if operand.role is Role.CONTRACTION), value)
    is_product = value.role is Role.CONTRACTION
    return {operand for operand in value.operands if is_product and operand.role is Role.PARAMETER}


def compared_with(graph: Graph, field: str) -> list[Value]:
    """The values that the losses (or, if none reads it, the metrics) compare with a target or an input."""
    return [*_comparisons(graph, field)]


def _comparisons(graph: Graph, field: str) -> dict[Value, list[Value]]:
    """The values that are compared with a target or an input, each with those made of that field that it meets.

    A value is compared with the field if it depends on an input, and for an input on parameters, and some operation
    combines it with a value that is computed only from the field.
    """
    is_target = any(leaf.name == field for leaf in graph.values(Role.TARGET))
    fields, parameters = [*graph.values(Role.TARGET), *graph.values(Role.INPUT)], graph.values(Role.PARAMETER)
    leaves = [leaf for leaf in fields if leaf.name == field]
    others = [*(leaf for leaf in fields if leaf.name != field), *parameters, *graph.values(Role.STATE)]
    alone = dependents(graph, leaves) - dependents(graph, others)
    if not is_target and leaves[0].type.is_float:
        alone = {value for value in alone if _logits(value) in leaves}  # the input itself, in another shape say
    computed = dependents(graph, graph.values(Role.INPUT) if is_target else parameters)
    for kind in (ResultKind.LOSS, ResultKind.METRIC):
        live = needed_by(graph.results_of(kind).values())
        compared: dict[Value, list[Value]] = {}
        for value in graph.values():
            codes = [operand for operand in value.operands if operand in alone]
            if not codes or value not in live or value.role is Role.DERIVATIVE:
                continue
            for operand in value.operands:
                if operand in computed and (is_target or _ends_in_comparison(graph, value, operand, live)):
                    compared.setdefault(operand, []).extend(codes)
        if compared:
            return compared
    return {}


def _ends_in_comparison(graph: Graph, value: Value, operand: Value, live: set[Value]) -> bool:
    """Whether `value`, which combines `operand` with an input, is reduced before it meets what the operand does not
    contain already.

    `again - x` of a mean squared error is; the `x + f(x)` of a residual layer is not, since parameters follow.
    """
    if not operand.type.is_batched:
        return False
    contained = needed_by([operand, value])
    waiting, leaves = [value], (Role.PARAMETER, Role.STATE, Role.TARGET, Role.INPUT)
    while waiting:
        value = waiting.pop()
        for user in graph.users(value):
            if user not in live or user.type.rank < operand.type.rank:
                continue
            if any(leaf.role in leaves for leaf in needed_by([user]) - contained):
                return False
            waiting.append(user)
    return True
