"""Metrics at the end of a program: a table of templates with the operands that each takes."""

from collections.abc import Callable

from msgspec import Struct

from tests.programs.growth import Growth
from tests.programs.program import Statement
from tests.programs.values import floats

Operands = tuple[str, ...]


class Metric(Struct, frozen=True):
    """The text of a metric, and all operands in scope that it may take."""

    name: str
    template: str
    operands: Callable[[Growth], list[Operands]]
    is_named: bool = False


def _floats(g: Growth) -> list[Operands]:
    """A value and a target of its type."""
    return [
        (value.name, target.names[0])
        for target in g.shared.targets
        for value in g.values.values()
        if target.types[0].is_float and value.type == target.types[0] and value.is_batched
    ]


def _fixed_floats(g: Growth) -> list[Operands]:
    """A value and a target of its type, without steps."""
    fixed = [value.name for value in g.values.values() if value.type.is_fixed]
    return [operands for operands in _floats(g) if operands[0] in fixed]


def _logits(g: Growth) -> list[Operands]:
    """A score for each class, and the label."""
    return [
        (value.name, target.names[0])
        for target in g.shared.targets
        for value in g.values.values()
        if target.types[0].kind == "class"
        and target.types[0].rank == 0
        and value.type == floats(target.types[0].classes)
        and value.is_batched
        and not value.is_discrete
    ]


def _tokens(g: Growth) -> list[Operands]:
    """Two sequences of labels."""
    tokens = [
        value for value in g.values.values() if value.type.kind == "class" and value.type.rank == 1 and value.is_batched
    ]
    return [(a.name, b.name) for a in tokens for b in tokens if a.type.classes == b.type.classes]


def _number(g: Growth) -> list[Operands]:
    """A number of each sample."""
    return [(value.name,) for value in g.values.values() if value.type == floats() and value.is_batched]


METRICS = (
    Metric("mae", "mae({0}, {1})", _floats),
    Metric("rmse", "rmse({0}, {1})", _floats),
    Metric("r2", "r2({0}, {1})", _floats),
    Metric("largest error", "max(abs({0} - {1}), over = batch)", _floats, is_named=True),
    Metric("weighted metric", "weighted(square({0} - {1}), 0.5)", _floats, is_named=True),
    Metric("accuracy", "accuracy({0}, {1})", _logits),
    Metric("confusion", "confusion({0}, {1})", _logits),
    Metric("perplexity", "perplexity({0}, {1})", _logits),
    Metric("top_k", "top_k({0}, {1}, choices(2, 3))", _logits),
    Metric("auc", "auc({0}, {1})", _logits),
    Metric("f1", "f1({0}, {1})", _logits),
    Metric("quantile", "quantile({0}, 0.4)", _number, is_named=True),
    Metric("mean over batch as a metric", "mean({0}, over = batch)", _number, is_named=True),
    Metric("edit_distance", "edit_distance({0}, {1})", _tokens),
    Metric("pinball", "levels(0.5, 1) * pinball({0}, {1}, 0.3)", _floats, is_named=True),
    Metric("calibration_error", "calibration_error(softmax({0}), {1})", _logits),
    Metric("temperature", "temperature({0}, {1})", _logits),
    Metric("calibrated", "accuracy(calibrated({0}, {1}), {1})", _logits, is_named=True),
    Metric("conformal_quantile", "conformal_quantile({0}, 0.5)", _number, is_named=True),
    Metric("coverage of an interval", "coverage(conformal({0}, {1}, 0.5), {1})", _fixed_floats, is_named=True),
    Metric(
        "sharpness of an adaptive set",
        "sharpness(conformal_adaptive(softmax({0}), {1}, 0.5), {1})",
        _logits,
        is_named=True,
    ),
    Metric("sharpness of a set", "sharpness(conformal(softmax({0}), {1}, 0.5), {1})", _logits, is_named=True),
)


def metrics(g: Growth) -> None:
    """Adds up to three metrics that have operands."""
    pending = list(METRICS)
    g.draw.shuffle(pending)
    count = g.draw.choice((0, 1, 1, 2, 3))
    for metric in pending:
        choices = metric.operands(g)
        if not choices or count <= 0:
            continue
        names = (g.new_name("metric"),) if metric.is_named else ()
        equals = " = " if metric.is_named else ""
        g.add(Statement("metric", names, f"{equals}{metric.template}", g.draw.choice(choices)))
        g.feature("metric", metric.name)
        count -= 1
